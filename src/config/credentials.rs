//! `[[credential]]`: where a secret is, whom it may reach, and how it is attached.

use std::collections::HashMap;

use toml::Spanned;

use super::check::{Check, plain_name};
use super::fields::{credential_field, field_text};
use super::hosts::exact;
use super::read::Read;
use super::secrets::{STALE_FOR, default_refresh};
use super::units::Complaint;
use super::written::{self, Text};
use crate::credential::{Attach, Source, Spec};
use crate::name::CredentialName;
use crate::policy::rule::Place;

/// What is known of the credentials before the rules are checked.
#[derive(Debug, Default)]
pub(super) struct Credentials {
    /// Those without an error.
    pub(super) specs: Vec<Spec>,
    /// Every configured name, also of those that are otherwise wrong.
    pub(super) named: HashMap<CredentialName, Place>,
    /// Whether a name may be missing because its table or file could not be read.
    pub(super) incomplete: bool,
}

impl Credentials {
    pub(super) fn spec(&self, name: &str) -> Option<&Spec> {
        self.specs.iter().find(|spec| spec.name.as_str() == name)
    }
}

impl Check<'_> {
    /// Checks every `[[credential]]` of a file.
    pub(super) fn credentials(&mut self, written: &Read<written::Rules>, all: &mut Credentials) {
        all.incomplete |= written.any_damaged("credential");
        for (index, table) in written.value.credential.iter().enumerate() {
            let damaged = written.is_damaged("credential", index);
            all.specs
                .extend(self.credential(damaged, table, &mut all.named));
        }
    }

    fn credential(
        &mut self,
        damaged: bool,
        table: &Spanned<written::Credential>,
        named: &mut HashMap<CredentialName, Place>,
    ) -> Option<Spec> {
        let errors = self.findings.errors();
        let credential = table.get_ref();
        let name = credential.name.as_ref().and_then(|text| {
            let name = self.parse(text, |text| plain_name(text).map(CredentialName::new))?;
            self.unique("credential", &name, text, named);
            Some(name)
        });
        for (key, there) in [
            ("name", credential.name.is_some()),
            ("secret", credential.secret.is_some()),
            ("hosts", credential.hosts.is_some()),
            ("attach", credential.attach.is_some()),
        ] {
            if !there {
                self.absent(damaged, table, "credential", key);
            }
        }
        let source = credential
            .secret
            .as_ref()
            .and_then(|secret| self.secret(damaged, secret));
        let hosts = credential
            .hosts
            .as_ref()
            .map(|list| self.list("hosts", list, credential_host));
        let attach = credential
            .attach
            .as_ref()
            .and_then(|attach| self.attach(damaged, attach));
        let limits = self.credential_limits(credential);
        let pinning = self.pinning(credential.upstream_identity.as_ref());
        let mint = credential
            .attach
            .as_ref()
            .and_then(|attach| self.mint(damaged, attach));
        let fetched = source.as_ref().is_some_and(|source| !source.is_local()) || mint.is_some();
        let refresh = self.period(
            "refresh",
            credential.refresh.as_ref(),
            default_refresh(fetched),
        );
        let stale_for = self.period("stale_for", credential.stale_for.as_ref(), STALE_FOR);
        // What rules are held against must be what was meant.
        if damaged || self.findings.errors() > errors {
            return None;
        }
        Some(Spec {
            name: name?,
            place: self.file.place(table.span().start),
            source: source?,
            hosts: hosts?,
            attach: attach?,
            limits,
            pinning,
            mint,
            refresh,
            stale_for,
        })
    }

    fn secret(&mut self, damaged: bool, written: &Spanned<written::Secret>) -> Option<Source> {
        let secret = written.get_ref();
        if let (None, Some(timeout)) = (&secret.command, &secret.timeout) {
            self.error(
                timeout.span(),
                "`timeout` goes with `command` only",
                "leave it out",
            );
            return None;
        }
        let written::Secret {
            file,
            env,
            systemd,
            command,
            timeout,
            vault,
        } = secret;
        match (file, env, systemd, command, vault) {
            (Some(text), None, None, None, None) => self.path("file", text).map(Source::File),
            (None, Some(text), None, None, None) => self.parse(text, variable).map(Source::Env),
            (None, None, Some(text), None, None) => {
                self.parse(text, systemd_name).map(Source::Systemd)
            }
            (None, None, None, Some(argv), None) => self.command(argv, timeout.as_ref()),
            (None, None, None, None, Some(vault)) => self.vault(damaged, vault),
            _ => {
                let message =
                    "`secret` needs exactly one of `file`, `env`, `systemd`, `command` and `vault`";
                self.exactly_one(
                    damaged,
                    written,
                    message,
                    "write it like `secret = { file = \"/path\" }`",
                );
                None
            }
        }
    }

    fn attach(&mut self, damaged: bool, written: &Spanned<written::Attach>) -> Option<Attach> {
        let attach = written.get_ref();
        if !self.companions(attach) {
            return None;
        }
        let minted = attach.oauth2.is_some()
            || attach.github_app.is_some()
            || attach.gcp_service_account.is_some();
        let methods = [
            attach.header.is_some(),
            attach.bearer.is_some(),
            attach.basic.is_some(),
            attach.query.is_some(),
            attach.cookie.is_some(),
            attach.placeholder.is_some(),
            attach.sigv4.is_some(),
            attach.client_certificate.is_some(),
        ];
        let count = methods.iter().filter(|there| **there).count();
        if count == 0 && minted {
            return Some(Attach::Bearer);
        }
        if count != 1 {
            let message = "`attach` needs exactly one of `header`, `bearer`, `basic`, `query`, `cookie`, `placeholder`, `sigv4` and `client_certificate`";
            let help = "write it like `attach = { bearer = true }`";
            self.exactly_one(damaged, written, message, help);
            return None;
        }
        if let Some(header) = &attach.header {
            return self.header(header, attach.format.as_ref());
        }
        if let Some(bearer) = &attach.bearer {
            self.only_true("bearer", bearer);
            return Some(Attach::Bearer);
        }
        if let Some(user) = &attach.basic {
            let user = self.parse_hidden(user, basic_user)?;
            return Some(Attach::Basic { user });
        }
        if let Some(key) = &attach.query {
            let key = self.parse_hidden(key, query_key)?;
            return Some(Attach::Query { key });
        }
        if let Some(name) = &attach.cookie {
            let name = self.parse_hidden(name, cookie_name)?;
            return Some(Attach::Cookie { name });
        }
        self.further_attach(attach)
    }

    /// A flag that says which method, and nothing else.
    pub(super) fn only_true(&mut self, key: &str, flag: &Spanned<bool>) {
        if !flag.get_ref() {
            let message = format!("`{key}` is `true` or left out");
            let help = format!("write `attach = {{ {key} = true }}`");
            self.error(flag.span(), message, help);
        }
    }

    fn header(&mut self, header: &Text, written: Option<&Text>) -> Option<Attach> {
        let name = self.parse(header, credential_field);
        let format = match written {
            Some(text) => self.parse_hidden(text, format),
            None => Some(Attach::PLACEHOLDER.to_owned()),
        };
        Some(Attach::Header {
            name: name?,
            format: format?,
        })
    }

    /// The key that is missing may be one that was told to be wrong.
    pub(super) fn exactly_one<T>(
        &mut self,
        damaged: bool,
        table: &Spanned<T>,
        message: &str,
        help: &str,
    ) {
        if !damaged {
            self.error(table.span(), message, help);
        }
    }

    /// Reads a value whose line is not shown, because a secret may stand there by mistake.
    pub(super) fn parse_hidden<T>(
        &mut self,
        text: &Text,
        read: impl FnOnce(&str) -> Result<T, Complaint>,
    ) -> Option<T> {
        match read(text.get_ref()) {
            Ok(value) => Some(value),
            Err(Complaint { message, help }) => {
                let severity = super::finding::Severity::Error;
                self.tell(severity, text.span(), message, |finding| {
                    finding.maybe_help(help).without_excerpt();
                });
                None
            }
        }
    }
}

fn credential_host(text: &str) -> Result<crate::name::Host, Complaint> {
    if text.contains('*') {
        return Err(
            Complaint::new(format!("`{}` is no exact host", text.escape_debug()))
                .help("a credential goes to exact hosts only: write each of them"),
        );
    }
    exact(text)
}

pub(super) fn variable(text: &str) -> Result<String, Complaint> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if !text.is_empty()
        && text.chars().all(plain)
        && !text.starts_with(|c: char| c.is_ascii_digit())
    {
        return Ok(text.to_owned());
    }
    // The text is not repeated: it may be the secret itself.
    Err(
        Complaint::new("`env` is no name of an environment variable")
            .help("the name of a variable such as `API_TOKEN`, not its value, without `$`"),
    )
}

/// The rule for credential names in systemd.exec(5): what can be a file name.
pub(super) fn systemd_name(text: &str) -> Result<String, Complaint> {
    let plain = |c: char| c.is_ascii_graphic() && c != '/';
    if (1..=255).contains(&text.len()) && text.chars().all(plain) && !matches!(text, "." | "..") {
        return Ok(text.to_owned());
    }
    Err(Complaint::new("`systemd` is no name of a credential")
        .help("the name in LoadCredential= or LoadCredentialEncrypted=, without a path"))
}

fn format(text: &str) -> Result<String, Complaint> {
    let text = field_text(text)?;
    let mut pieces = text.split(Attach::PLACEHOLDER);
    let (before, after) = (pieces.next().unwrap_or(""), pieces.next());
    let braces = |piece: &str| piece.contains(['{', '}']);
    match (after, pieces.next()) {
        (Some(after), None) if !braces(before) && !braces(after) => Ok(text.to_owned()),
        _ => Err(
            Complaint::new("`format` must hold `{secret}` once, and no other braces")
                .help("write it like `format = \"Token {secret}\"`"),
        ),
    }
}

/// RFC 7617 §2: a user-id holds no colon and no control character.
fn basic_user(text: &str) -> Result<String, Complaint> {
    if text.contains(':') {
        return Err(
            Complaint::new("`basic` has a colon, which no user name can have")
                .help("write the user name alone; the secret is the password"),
        );
    }
    if text.chars().any(char::is_control) {
        return Err(Complaint::new("`basic` has a control character").help("write the user name"));
    }
    Ok(text.to_owned())
}

/// A key as servers name them: nothing that a secret pasted by mistake would look like.
pub(super) fn query_key(text: &str) -> Result<String, Complaint> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.$[] ".contains(c);
    if (1..=64).contains(&text.len()) && text.chars().all(plain) {
        return Ok(text.to_owned());
    }
    Err(Complaint::new("`query` is no key of a query")
        .help("the name of the key, such as `key` or `access_token`; the secret is its value"))
}

/// RFC 6265 §4.1.1: a token.
fn cookie_name(text: &str) -> Result<String, Complaint> {
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if (1..=64).contains(&text.len()) && text.chars().all(token) {
        return Ok(text.to_owned());
    }
    Err(Complaint::new("`cookie` is no name of a cookie")
        .help("the cookie's name alone, such as `session`; the secret is its value"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats() {
        for text in ["{secret}", "Token {secret}", "{secret};v=1"] {
            assert!(format(text).is_ok(), "{text}");
        }
        for text in [
            "",
            "secret",
            "{secret}{secret}",
            "{agent}{secret}",
            "{secret",
            "{secret} ",
            "{{secret}}",
        ] {
            assert!(format(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_of_variables_and_credentials() {
        assert!(variable("API_TOKEN").is_ok());
        for text in ["", "$API_TOKEN", "9A", "a-b", "sk-live=123"] {
            let complaint = variable(text).unwrap_err();
            assert!(text.is_empty() || !complaint.message.contains(text));
        }
        assert!(systemd_name("anthropic.key").is_ok());
        for text in ["", ".", "..", "a/b", "a b", "\0"] {
            assert!(systemd_name(text).is_err(), "{text:?}");
        }
    }
}
