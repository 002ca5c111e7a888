//! What a rule covers: hosts, schemes, ports, methods, paths and queries.

use std::ops::Range;

use http::Method;
use toml::Spanned;

use super::check::Check;
use super::hosts::{is_shared, pattern};
use super::methods::method;
use super::nearest::suggest;
use super::rules::is_true;
use super::units::Complaint;
use super::written;
use crate::policy::path::PathPattern;
use crate::policy::rule::{HostPattern, Hosts, Methods, Schemes};

impl Check<'_> {
    pub(super) fn hosts(&mut self, damaged: bool, table: &Spanned<written::Rule>) -> Hosts {
        let rule = table.get_ref();
        if let Some(any) = &rule.any_host {
            if let (true, Some(hosts)) = (*any.get_ref(), &rule.hosts) {
                let message = "`any_host = true` and `hosts` contradict each other";
                self.error(hosts.span(), message, "keep the one that is meant");
            }
            if *any.get_ref() {
                self.shared_suffix_unneeded(rule);
                return Hosts::Any;
            }
        }
        let Some(list) = &rule.hosts else {
            if !damaged {
                let message = "this [[rule]] has no `hosts`";
                self.error(
                    table.span(),
                    message,
                    "name them, or write `any_host = true`",
                );
            }
            return Hosts::These(Vec::new());
        };
        let shared = is_true(rule.shared_suffix.as_ref());
        let mut needed = false;
        let hosts = self.list("hosts", list, |text| match pattern(text)? {
            HostPattern::Under(suffix) if is_shared(&suffix) => {
                needed = true;
                if shared {
                    return Ok(HostPattern::Under(suffix));
                }
                Err(
                    Complaint::new(format!("anybody can get a name under `{suffix}`")).help(
                        "write each name, or `shared_suffix = true` if all of them are meant",
                    ),
                )
            }
            pattern => Ok(pattern),
        });
        if !needed {
            self.shared_suffix_unneeded(rule);
        }
        Hosts::These(hosts)
    }

    fn shared_suffix_unneeded(&mut self, rule: &written::Rule) {
        if let Some(flag) = rule.shared_suffix.as_ref().filter(|flag| *flag.get_ref()) {
            let message = "no host of this rule is a wildcard on a shared suffix";
            self.warn(flag.span(), message, "leave `shared_suffix` out");
        }
    }

    pub(super) fn schemes(&mut self, rule: &written::Rule) -> Schemes {
        let Some(list) = &rule.schemes else {
            return Schemes {
                https: true,
                http: false,
            };
        };
        let words = self.list("schemes", list, |text| match text {
            "https" => Ok(true),
            "http" => Ok(false),
            _ => Err(Complaint::new(format!(
                "`{}` is no value of `schemes`",
                text.escape_debug()
            ))
            .help(suggest(text, &["https", "http"]))),
        });
        Schemes {
            https: words.contains(&true),
            http: words.contains(&false),
        }
    }

    /// The ports written, or else those of the schemes. Tells each that is not redirected.
    pub(super) fn ports_of(
        &mut self,
        table: &Spanned<written::Rule>,
        schemes: Schemes,
        redirected: Option<&[u16]>,
    ) -> Vec<u16> {
        let missed = |port: &&u16| redirected.is_some_and(|ports| !ports.contains(*port));
        let rule = table.get_ref();
        let Some(list) = &rule.ports else {
            let defaults = [(schemes.https, 443), (schemes.http, 80)];
            let ports = defaults.iter().filter(|(on, _)| *on).map(|(_, port)| *port);
            let ports: Vec<u16> = ports.collect();
            let span = rule.schemes.as_ref().map_or(table.span(), Spanned::span);
            for port in ports.iter().filter(missed) {
                self.not_redirected(*port, span.clone());
            }
            return ports;
        };
        let ports = self.ports(list);
        for port in ports.iter().filter(missed) {
            let written = list
                .get_ref()
                .iter()
                .find(|n| *n.get_ref() == i64::from(*port));
            self.not_redirected(*port, written.map_or(list.span(), Spanned::span));
        }
        ports
    }

    fn not_redirected(&mut self, port: u16, span: Range<usize>) {
        let message = format!("port {port} is not redirected, so no request comes by it");
        self.warn(span, message, "add it to `[redirect] ports`");
    }

    pub(super) fn methods(&mut self, rule: &written::Rule) -> Methods {
        let Some(list) = &rule.methods else {
            return Methods::Known;
        };
        let mut strange: Vec<(Method, Option<&'static str>)> = Vec::new();
        let methods = self.list("methods", list, |text| {
            let (method, registered) = method(text)?;
            if let Err(near) = registered {
                strange.push((method.clone(), near));
            }
            Ok(method)
        });
        for (method, near) in strange {
            let text = list
                .get_ref()
                .iter()
                .find(|text| text.get_ref() == method.as_str());
            let span = text.map_or(list.span(), Spanned::span);
            let help = near.map_or("it is passed as it is".to_owned(), |near| {
                format!("did you mean `{near}`?")
            });
            self.warn(span, format!("`{method}` is no registered method"), help);
        }
        Methods::These(methods)
    }
}

/// TOML has each key once.
pub(super) fn query(rule: &written::Rule) -> Vec<(String, String)> {
    let pairs = rule.query.iter().flat_map(Spanned::get_ref);
    pairs
        .map(|(key, value)| (key.get_ref().clone(), value.get_ref().clone()))
        .collect()
}

pub(super) fn path(text: &str) -> Result<PathPattern, Complaint> {
    let shown = text.escape_debug();
    if !text.starts_with('/') {
        let help = match text
            .split_once("://")
            .and_then(|(_, rest)| rest.split_once('/'))
        {
            Some((_, path)) => format!("write `/{path}`"),
            None => format!("write `/{shown}`"),
        };
        return Err(
            Complaint::new(format!("the path `{shown}` does not start with `/`")).help(help),
        );
    }
    if let Some((path, _)) = text.split_once('?') {
        return Err(Complaint::new(format!("the path `{shown}` has a query"))
            .help(format!("write `{path}`, and the query into `query`")));
    }
    PathPattern::parse(text).map_err(|error| Complaint::new(format!("the path `{shown}` {error}")))
}
