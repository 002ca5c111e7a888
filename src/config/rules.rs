//! `[[rule]]`: the operator's sentences, each checked for what it says and for what it forgot.

use std::collections::{HashMap, HashSet};

use toml::Spanned;

use super::agents::Agents as KnownAgents;
use super::check::{Check, plain_name};
use super::credentials::Credentials;
use super::fields::removable_field;
use super::nearest::{nearest, suggest};
use super::read::Read;
use super::rule_target::{path, query};
use super::units::Complaint;
use super::upstream::Believed;
use super::written::{self, WordOrList};
use crate::credential::Claim;
use crate::name::{AgentName, CredentialName, RuleName};
use crate::policy::agents::is_reserved;
use crate::policy::rule::{Agents, Dlp, OnLimit, Place, Rule, Tls};

/// What rules refer to, and what all files share.
pub(super) struct Known<'a> {
    pub(super) agents: &'a KnownAgents,
    pub(super) credentials: &'a Credentials,
    /// The redirected ports; `None` when whatever rules name will be redirected.
    pub(super) ports: Option<&'a [u16]>,
    /// Rule names so far.
    pub(super) named: HashMap<RuleName, Place>,
    /// Credentials that some rule names.
    pub(super) used: HashSet<String>,
    /// Rules that say for themselves which servers they believe.
    pub(super) believed: Vec<(RuleName, Believed)>,
}

impl Check<'_> {
    /// Checks every `[[rule]]` of a file. What is handed back may be used only when no error
    /// was told.
    pub(super) fn rules(
        &mut self,
        written: &Read<written::Rules>,
        known: &mut Known<'_>,
    ) -> Vec<Rule> {
        let mut rules = Vec::new();
        for (index, table) in written.value.rule.iter().enumerate() {
            let damaged = written.is_damaged("rule", index);
            let name = self.rule_name(damaged, table, known);
            rules.push(self.rule(damaged, name, table, known));
        }
        rules
    }

    fn rule_name(
        &mut self,
        damaged: bool,
        table: &Spanned<written::Rule>,
        known: &mut Known<'_>,
    ) -> Option<RuleName> {
        let Some(text) = &table.get_ref().name else {
            self.absent(damaged, table, "rule", "name");
            return None;
        };
        let name = self.parse(text, |text| plain_name(text).map(RuleName::new))?;
        self.unique("rule", &name, text, &mut known.named);
        Some(name)
    }

    fn rule(
        &mut self,
        damaged: bool,
        name: Option<RuleName>,
        table: &Spanned<written::Rule>,
        known: &mut Known<'_>,
    ) -> Rule {
        let rule = table.get_ref();
        let hosts = self.hosts(damaged, table);
        let schemes = self.schemes(rule);
        let action = self.action(damaged, rule);
        self.credential_of(rule, &hosts, schemes, known);
        let credentials = rule.credential.as_ref().map(WordOrList::texts);
        let credentials = credentials.unwrap_or_default();
        let attached: Vec<Claim> = credentials
            .iter()
            .filter_map(|name| known.credentials.spec(name.get_ref()))
            .flat_map(|spec| spec.attach.claims())
            .collect();
        let (tls, dlp) = (self.tls(rule), self.dlp(rule));
        let name = name.unwrap_or_else(|| RuleName::new("?"));
        let believed = self.believed(rule, schemes);
        known.believed.extend(believed.map(|it| (name.clone(), it)));
        Rule {
            name,
            place: self.file.place(table.span().start),
            agents: self.agents_of(damaged, table, known.agents),
            hosts,
            schemes,
            ports: self.ports_of(table, schemes, known.ports),
            methods: self.methods(rule),
            paths: rule
                .paths
                .as_ref()
                .map(|list| self.list("paths", list, path)),
            encoded_slash: is_true(rule.encoded_slash.as_ref()),
            query: query(rule),
            query_only: is_true(rule.query_only.as_ref()),
            headers: rule
                .headers
                .as_ref()
                .map_or(Vec::new(), |pairs| self.required_fields(pairs)),
            action,
            credentials: credentials
                .iter()
                .map(|name| CredentialName::new(name.get_ref()))
                .collect(),
            foreign_credentials: self.foreign_credentials(rule),
            set_headers: rule
                .set_headers
                .as_ref()
                .map_or(Vec::new(), |pairs| self.set_fields(pairs, &attached)),
            remove_headers: rule.remove_headers.as_ref().map_or(Vec::new(), |list| {
                self.list("remove_headers", list, removable_field)
            }),
            cookies: self.cookies(rule),
            share_upstream: is_true(rule.share_upstream.as_ref()),
            record_query: is_true(rule.record_query.as_ref()),
            echo_recode: is_true(rule.echo_recode.as_ref()),
            dlp,
            tls,
            // A list of methods says what may leave, and a WebSocket carries anything.
            websocket: rule
                .websocket
                .as_ref()
                .map_or(rule.methods.is_none(), |flag| *flag.get_ref()),
            on_limit: self.on_limit(rule, dlp),
        }
    }

    /// Agents must be named as soon as there are any: a forgotten word must not mean everybody.
    fn agents_of(
        &mut self,
        damaged: bool,
        table: &Spanned<written::Rule>,
        known: &KnownAgents,
    ) -> Agents {
        let configured = !known.names.is_empty();
        let Some(list) = &table.get_ref().agents else {
            if configured && !damaged {
                let message = "this [[rule]] has no `agents`, though there are [[agent]] tables";
                self.error(
                    table.span(),
                    message,
                    "name them, or write `agents = [\"any\"]`",
                );
            }
            return Agents::Any;
        };
        let any = list.get_ref().iter().find(|text| text.get_ref() == "any");
        if let (Some(any), true) = (any, list.get_ref().len() > 1) {
            let message = "`any` stands for all agents, so it stands alone";
            self.error(
                any.span(),
                message,
                "write `agents = [\"any\"]`, or only names",
            );
        }
        if any.is_some() {
            return Agents::Any;
        }
        let names: Vec<_> = known.names.iter().map(AgentName::as_str).collect();
        Agents::These(self.list("agents", list, |name| {
            if names.contains(&name) || (known.incomplete && !is_reserved(name)) {
                return Ok(AgentName::new(name));
            }
            Err(unknown_agent(name, &names))
        }))
    }

    fn dlp(&mut self, rule: &written::Rule) -> Dlp {
        let words = [
            ("default", Dlp::Default),
            ("strict", Dlp::Strict),
            ("off", Dlp::Off),
        ];
        let text = rule.dlp.as_ref();
        text.and_then(|text| self.word("dlp", text, &words))
            .unwrap_or_default()
    }

    fn on_limit(&mut self, rule: &written::Rule, dlp: Dlp) -> OnLimit {
        let words = [
            ("deny", OnLimit::Deny),
            ("alert", OnLimit::Alert),
            ("allow", OnLimit::Allow),
        ];
        let Some(text) = &rule.on_limit else {
            return OnLimit::Deny;
        };
        if dlp == Dlp::Off {
            let message = "`on_limit` means nothing where nothing is scanned";
            self.error(text.span(), message, "set `dlp`, or leave `on_limit` out");
        }
        self.word("on_limit", text, &words).unwrap_or_default()
    }

    fn tls(&mut self, rule: &written::Rule) -> Tls {
        let words = [("intercept", Tls::Intercept), ("splice", Tls::Splice)];
        let text = rule.tls.as_ref();
        let tls = text.and_then(|text| self.word("tls", text, &words));
        if tls == Some(Tls::Splice) {
            self.meaningless_on_splice(rule);
        }
        tls.unwrap_or_default()
    }
}

/// Whether a flag is there and set.
pub(super) fn is_true(flag: Option<&Spanned<bool>>) -> bool {
    flag.is_some_and(|flag| *flag.get_ref())
}

fn unknown_agent(name: &str, names: &[&str]) -> Complaint {
    let near = nearest(name, names.iter().copied().chain(["any"]));
    if is_reserved(name) {
        return Complaint::new(format!(
            "`{name}` is a built-in agent that no rule may name"
        ))
        .help("write an [[agent]] for these sources, or `any` for all agents");
    }
    let help = match (near, names) {
        (Some(near), _) => format!("did you mean `{near}`?"),
        (None, []) => {
            "describe it as an [[agent]] in portreeve.toml, or leave `agents` out".to_owned()
        }
        (None, names) => suggest(name, names),
    };
    Complaint::new(format!("no agent is called `{}`", name.escape_debug())).help(help)
}
