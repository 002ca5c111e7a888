//! What follows from a rule: its action, and what is done to requests that go out.

use std::ops::Range;

use toml::Spanned;

use super::check::Check;
use super::credentials::Credentials;
use super::finding::Severity;
use super::hosts::pattern;
use super::nearest::suggest;
use super::rules::Known;
use super::units::Complaint;
use super::written::{self, Text, WordOrList};
use crate::name::CredentialName;
use crate::policy::rule::{Action, Cookies, ForeignCredentials, HostPattern, Hosts, Schemes};

impl Check<'_> {
    pub(super) fn action(&mut self, damaged: bool, rule: &written::Rule) -> Action {
        let words = [("allow", false), ("deny", true)];
        let deny = rule
            .action
            .as_ref()
            .and_then(|text| self.word("action", text, &words));
        match (deny, &rule.reason, &rule.action) {
            (Some(true), Some(reason), _) => {
                let reason = self.parse(reason, sentence).unwrap_or_default();
                self.meaningless_on_deny(rule);
                Action::Deny { reason }
            }
            (Some(true), None, Some(action)) => {
                if !damaged {
                    let message = "a denial needs a `reason` that the agent can read";
                    self.error(
                        action.span(),
                        message,
                        "write `reason = \"…\"`, one sentence",
                    );
                }
                self.meaningless_on_deny(rule);
                Action::Deny {
                    reason: String::new(),
                }
            }
            (_, Some(reason), None) if !damaged => {
                let message = "`reason` without `action = \"deny\"`";
                self.error(
                    reason.span(),
                    message,
                    "write `action = \"deny\"`, or leave `reason` out",
                );
                Action::Allow
            }
            (Some(false), Some(reason), _) => {
                let message = "`reason` goes with `action = \"deny\"` only";
                self.error(reason.span(), message, "leave `reason` out, or deny");
                Action::Allow
            }
            _ => Action::Allow,
        }
    }

    /// Tells what only changes requests that go out.
    fn meaningless_on_deny(&mut self, rule: &written::Rule) {
        let keys = [
            ("credential", rule.credential.as_ref().map(Spanned::span)),
            (
                "foreign_credentials",
                rule.foreign_credentials.as_ref().map(Spanned::span),
            ),
            ("set_headers", rule.set_headers.as_ref().map(Spanned::span)),
            (
                "remove_headers",
                rule.remove_headers.as_ref().map(Spanned::span),
            ),
            ("cookies", rule.cookies.as_ref().map(Spanned::span)),
            ("dlp", rule.dlp.as_ref().map(Spanned::span)),
            ("websocket", rule.websocket.as_ref().map(Spanned::span)),
            ("on_limit", rule.on_limit.as_ref().map(Spanned::span)),
            (
                "share_upstream",
                rule.share_upstream.as_ref().map(Spanned::span),
            ),
            ("echo_recode", rule.echo_recode.as_ref().map(Spanned::span)),
        ];
        self.meaningless(keys, "where the action is `deny`", "");
    }

    /// Tells those of `keys` that are written, where they have no effect.
    fn meaningless<const COUNT: usize>(
        &mut self,
        keys: [(&str, Option<Range<usize>>); COUNT],
        place: &str,
        instead: &str,
    ) {
        for (key, span) in keys {
            if let Some(span) = span {
                let message = format!("`{key}` means nothing {place}");
                self.error(span, message, format!("leave `{key}` out{instead}"));
            }
        }
    }

    /// Tells what nobody can look at in what stays encrypted.
    pub(super) fn meaningless_on_splice(&mut self, rule: &written::Rule) {
        let keys = [
            ("methods", rule.methods.as_ref().map(Spanned::span)),
            ("paths", rule.paths.as_ref().map(Spanned::span)),
            (
                "encoded_slash",
                rule.encoded_slash.as_ref().map(Spanned::span),
            ),
            ("query", rule.query.as_ref().map(Spanned::span)),
            ("query_only", rule.query_only.as_ref().map(Spanned::span)),
            ("headers", rule.headers.as_ref().map(Spanned::span)),
            ("action", rule.action.as_ref().map(Spanned::span)),
            ("credential", rule.credential.as_ref().map(Spanned::span)),
            (
                "foreign_credentials",
                rule.foreign_credentials.as_ref().map(Spanned::span),
            ),
            ("set_headers", rule.set_headers.as_ref().map(Spanned::span)),
            (
                "remove_headers",
                rule.remove_headers.as_ref().map(Spanned::span),
            ),
            ("cookies", rule.cookies.as_ref().map(Spanned::span)),
            (
                "share_upstream",
                rule.share_upstream.as_ref().map(Spanned::span),
            ),
            (
                "record_query",
                rule.record_query.as_ref().map(Spanned::span),
            ),
            ("echo_recode", rule.echo_recode.as_ref().map(Spanned::span)),
            ("dlp", rule.dlp.as_ref().map(Spanned::span)),
            ("on_limit", rule.on_limit.as_ref().map(Spanned::span)),
            ("websocket", rule.websocket.as_ref().map(Spanned::span)),
            ("trust", rule.trust.as_ref().map(Spanned::span)),
            ("pins", rule.pins.as_ref().map(Spanned::span)),
            // Clear HTTP has no TLS to pass, and any host is no name to pass it to.
            ("schemes", rule.schemes.as_ref().map(Spanned::span)),
            ("any_host", rule.any_host.as_ref().map(Spanned::span)),
        ];
        self.meaningless(keys, "where TLS is spliced", ", or intercept");
    }

    pub(super) fn cookies(&mut self, rule: &written::Rule) -> Cookies {
        let words = [("drop", Cookies::Drop), ("pass", Cookies::Pass)];
        let default = if rule.credential.is_some() {
            Cookies::Drop
        } else {
            Cookies::Pass
        };
        let written = rule
            .cookies
            .as_ref()
            .and_then(|text| self.word("cookies", text, &words));
        written.unwrap_or(default)
    }

    pub(super) fn foreign_credentials(&mut self, rule: &written::Rule) -> ForeignCredentials {
        let Some(text) = &rule.foreign_credentials else {
            return ForeignCredentials::Strip;
        };
        if rule.credential.is_none() {
            let message = "`foreign_credentials` means nothing without a `credential`";
            self.error(
                text.span(),
                message,
                "leave it out, or use `remove_headers`",
            );
        }
        let words = [
            ("strip", ForeignCredentials::Strip),
            ("refuse", ForeignCredentials::Refuse),
        ];
        self.word("foreign_credentials", text, &words)
            .unwrap_or(ForeignCredentials::Refuse)
    }

    /// Everything that a rule with a credential may not say (I4).
    pub(super) fn credential_of(
        &mut self,
        rule: &written::Rule,
        hosts: &Hosts,
        schemes: Schemes,
        known: &mut Known<'_>,
    ) {
        let Some(written) = &rule.credential else {
            return;
        };
        let texts = WordOrList::texts(written);
        self.not_empty("credential", &Spanned::new(written.span(), texts.clone()));
        for text in &texts {
            known.used.insert(text.get_ref().clone());
            self.credential_exists(text, known.credentials);
            self.hosts_of_credential(rule, text, known.credentials);
        }
        let credentials = known.credentials;
        let spec = |text: Text| {
            let spec = credentials.spec(text.get_ref());
            (text, spec)
        };
        let specs: Vec<_> = texts.into_iter().map(spec).collect();
        self.conflicts(&specs);
        if let (true, Some(list)) = (schemes.http, &rule.schemes) {
            let message = "a credential never goes over clear HTTP";
            self.error(
                list.span(),
                message,
                "make a rule of its own for `http`, without `credential`",
            );
        }
        if let Some(flag) = rule.share_upstream.as_ref().filter(|flag| *flag.get_ref()) {
            let message = "connections with a credential are never shared between agents";
            self.error(flag.span(), message, "leave `share_upstream` out");
        }
        if *hosts == Hosts::Any {
            let span = rule.any_host.as_ref().map_or(written.span(), Spanned::span);
            let message = "a credential never goes to any host";
            self.error(
                span,
                message,
                "write `hosts` with the hosts of the credential",
            );
        }
    }

    /// Tells hosts of a rule that its credential may not go to.
    fn hosts_of_credential(&mut self, rule: &written::Rule, text: &Text, all: &Credentials) {
        let name = text.get_ref().as_str();
        let Some(spec) = all.spec(name) else {
            return;
        };
        for text in rule.hosts.iter().flat_map(Spanned::get_ref) {
            let message = match pattern(text.get_ref()) {
                Ok(HostPattern::Exact(host)) if spec.hosts.contains(&host) => continue,
                Ok(HostPattern::Exact(host)) => {
                    format!("the credential `{name}` may not go to `{host}`")
                }
                Ok(HostPattern::Under(_)) => {
                    format!(
                        "`{}` is no exact host, which a credential needs",
                        text.get_ref()
                    )
                }
                // Told already.
                Err(_) => continue,
            };
            let allowed: Vec<_> = spec
                .hosts
                .iter()
                .map(|host| format!("`{}`", host.text()))
                .collect();
            self.tell(Severity::Error, text.span(), message, |finding| {
                let help = format!("`{name}` goes to {}", allowed.join(", "));
                finding
                    .related(spec.place.clone(), "the credential is written")
                    .help(help);
            });
        }
    }

    fn credential_exists(&mut self, text: &Text, credentials: &Credentials) {
        let name = CredentialName::new(text.get_ref());
        if credentials.incomplete || credentials.named.contains_key(&name) {
            return;
        }
        let mut names: Vec<_> = credentials
            .named
            .keys()
            .map(CredentialName::as_str)
            .collect();
        names.sort_unstable();
        let help = if names.is_empty() {
            "describe it as a [[credential]]; there is none yet".to_owned()
        } else {
            suggest(text.get_ref(), &names)
        };
        let message = format!(
            "no credential is called `{}`",
            text.get_ref().escape_debug()
        );
        self.error(text.span(), message, help);
    }
}

/// One line that the agent reads.
fn sentence(text: &str) -> Result<String, Complaint> {
    if text.trim().is_empty() || text.chars().any(char::is_control) || text.chars().count() > 500 {
        return Err(Complaint::new("`reason` is no sentence")
            .help("one line of up to 500 characters that says what would be allowed instead"));
    }
    Ok(text.to_owned())
}
