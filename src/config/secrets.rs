//! Where secrets come from, and what tokens are made of them: the longer forms of `secret` and
//! `attach`.

use std::collections::BTreeMap;
use std::time::Duration;

use toml::Spanned;

use super::check::Check;
use super::credentials::{systemd_name, variable};
use super::fields::field_text;
use super::units::{Complaint, duration};
use super::written::{self, Text, Texts};
use crate::credential::{
    ClientAuth, GcpServiceAccount, GithubApp, Grant, Mint, OAuth2, Source, TokenUrl, Vault,
    VaultAuth,
};
use crate::name::{Authority, Host};

/// How long the last value is used on.
pub(super) const STALE_FOR: Duration = Duration::from_secs(3600);
/// How often a file is looked at, which costs a system call.
const LOOK: Duration = Duration::from_secs(2);
/// How often a program is run or a server asked, where it does not say when.
const ASK: Duration = Duration::from_secs(300);
/// A program that takes longer hangs. Below the limit of a whole fetch.
const COMMAND_TIME: Duration = Duration::from_secs(5);
const COMMAND_TIME_MOST: Duration = Duration::from_secs(9);

pub(super) fn default_refresh(fetched: bool) -> Duration {
    if fetched { ASK } else { LOOK }
}

impl Check<'_> {
    fn missing<T>(&mut self, damaged: bool, table: &Spanned<T>, kind: &str, key: &str) {
        if !damaged {
            let message = format!("`{kind}` has no `{key}`");
            self.error(table.span(), message, format!("every `{kind}` needs one"));
        }
    }

    /// A duration that is not nothing.
    pub(super) fn period(&mut self, key: &str, text: Option<&Text>, default: Duration) -> Duration {
        const LEAST: Duration = Duration::from_millis(100);
        let read = |text: &str| match duration(text)? {
            period if period < LEAST && key == "refresh" => {
                Err(Complaint::new(format!("`{key}` is too short"))
                    .help("at least `100ms`; `5m` is plenty for most"))
            }
            period => Ok(period),
        };
        text.and_then(|text| self.parse(text, read))
            .unwrap_or(default)
    }

    pub(super) fn command(&mut self, argv: &Texts, timeout: Option<&Text>) -> Option<Source> {
        let words: Vec<String> = argv
            .get_ref()
            .iter()
            .map(|word| word.get_ref().clone())
            .collect();
        self.not_empty("command", argv);
        let program = argv.get_ref().first()?;
        let program = self.parse_hidden(program, |text| {
            if !text.is_empty() && !text.contains([' ', '\0']) {
                return Ok(());
            }
            Err(Complaint::new("the first word of `command` is no program")
                .help("one word each: `command = [\"/usr/bin/pass\", \"show\", \"token\"]`; there is no shell"))
        });
        let limit = match timeout {
            None => Some(COMMAND_TIME),
            Some(text) => self.parse(text, |text| match duration(text)? {
                limit if limit.is_zero() || limit > COMMAND_TIME_MOST => {
                    Err(Complaint::new("`timeout` is out of range").help("at most `9s`"))
                }
                limit => Ok(limit),
            }),
        };
        program?;
        Some(Source::Command {
            argv: words,
            timeout: limit?,
        })
    }

    pub(super) fn vault(
        &mut self,
        damaged: bool,
        table: &Spanned<written::Vault>,
    ) -> Option<Source> {
        let vault = table.get_ref();
        for (key, there) in [
            ("address", vault.address.is_some()),
            ("path", vault.path.is_some()),
            ("field", vault.field.is_some()),
        ] {
            if !there {
                self.missing(damaged, table, "vault", key);
            }
        }
        let address = self.parse(vault.address.as_ref()?, vault_address);
        let ca = vault.ca.as_ref().and_then(|text| self.path("ca", text));
        let namespace = vault.namespace.as_ref();
        let namespace = namespace
            .and_then(|text| self.parse(text, |text| field_text(text).map(ToOwned::to_owned)));
        let path = self.parse(vault.path.as_ref()?, vault_path);
        let field = vault.field.as_ref()?.get_ref().clone();
        let auth = self.vault_auth(damaged, table)?;
        let (tls, host, port) = address?;
        if let (false, Some(text)) = (tls, &vault.ca) {
            self.error(
                text.span(),
                "`ca` goes with an `https` address",
                "leave it out",
            );
        }
        if !tls && !host.ip().is_some_and(|ip| ip.is_loopback()) {
            self.warn(
                vault.address.as_ref()?.span(),
                "secrets travel in clear to this vault",
                "write an `https` address; `http` is for an agent of the vault on this machine",
            );
        }
        Some(Source::Vault(Box::new(Vault {
            tls,
            host,
            port,
            ca,
            namespace,
            path: path?,
            field,
            auth,
        })))
    }

    fn vault_auth(&mut self, damaged: bool, table: &Spanned<written::Vault>) -> Option<VaultAuth> {
        let vault = table.get_ref();
        match (&vault.token, &vault.approle) {
            (Some(token), None) => self.local("token", damaged, token).map(VaultAuth::Token),
            (None, Some(approle)) => {
                let written = approle.get_ref();
                for (key, there) in [
                    ("role_id", written.role_id.is_some()),
                    ("secret_id", written.secret_id.is_some()),
                ] {
                    if !there {
                        self.missing(damaged, approle, "approle", key);
                    }
                }
                let mount = match &written.mount {
                    Some(text) => self.parse(text, vault_path)?,
                    None => "approle".to_owned(),
                };
                let secret_id = written.secret_id.as_ref();
                Some(VaultAuth::AppRole {
                    mount,
                    role_id: written.role_id.as_ref()?.get_ref().clone(),
                    secret_id: self.local("secret_id", damaged, secret_id?)?,
                })
            }
            _ => {
                let message = "`vault` needs exactly one of `token` and `approle`";
                self.exactly_one(
                    damaged,
                    table,
                    message,
                    "write it like `token = { file = \"/path\" }`",
                );
                None
            }
        }
    }

    pub(super) fn local(
        &mut self,
        key: &str,
        damaged: bool,
        written: &Spanned<written::LocalSecret>,
    ) -> Option<Source> {
        let secret = written.get_ref();
        match (&secret.file, &secret.env, &secret.systemd) {
            (Some(text), None, None) => self.path("file", text).map(Source::File),
            (None, Some(text), None) => self.parse(text, variable).map(Source::Env),
            (None, None, Some(text)) => self.parse(text, systemd_name).map(Source::Systemd),
            _ => {
                let message = format!("`{key}` needs exactly one of `file`, `env` and `systemd`");
                let help = format!("write it like `{key} = {{ file = \"/path\" }}`");
                self.exactly_one(damaged, written, &message, &help);
                None
            }
        }
    }

    /// What is made of the secret, if anything.
    pub(super) fn mint(&mut self, damaged: bool, table: &Spanned<written::Attach>) -> Option<Mint> {
        let attach = table.get_ref();
        match (
            &attach.oauth2,
            &attach.github_app,
            &attach.gcp_service_account,
        ) {
            (None, None, None) => None,
            (Some(oauth2), None, None) => self.oauth2(damaged, oauth2).map(Mint::OAuth2),
            (None, Some(app), None) => self.github_app(damaged, app).map(Mint::GithubApp),
            (None, None, Some(account)) => {
                let Some(scopes) = &account.get_ref().scopes else {
                    self.missing(damaged, account, "gcp_service_account", "scopes");
                    return None;
                };
                let scopes = self.list("scopes", scopes, scope);
                Some(Mint::GcpServiceAccount(GcpServiceAccount { scopes }))
            }
            _ => {
                let message = "`attach` needs at most one of `oauth2`, `github_app` and `gcp_service_account`";
                self.exactly_one(damaged, table, message, "make a credential of each");
                None
            }
        }
    }

    fn oauth2(&mut self, damaged: bool, table: &Spanned<written::OAuth2>) -> Option<OAuth2> {
        let oauth2 = table.get_ref();
        for (key, there) in [
            ("token_url", oauth2.token_url.is_some()),
            ("client_id", oauth2.client_id.is_some()),
        ] {
            if !there {
                self.missing(damaged, table, "oauth2", key);
            }
        }
        let token_url = self.parse(oauth2.token_url.as_ref()?, token_url);
        let client_id = self.parse_hidden(oauth2.client_id.as_ref()?, |text| {
            field_text(text).map(ToOwned::to_owned)
        });
        let grants = [
            ("client_credentials", Grant::ClientCredentials),
            ("refresh_token", Grant::RefreshToken),
        ];
        let grant = match &oauth2.grant {
            Some(text) => self.word("grant", text, &grants)?,
            None => Grant::ClientCredentials,
        };
        let ways = [("basic", ClientAuth::Basic), ("body", ClientAuth::Body)];
        let client_auth = match &oauth2.client_auth {
            Some(text) => self.word("client_auth", text, &ways)?,
            None => ClientAuth::Basic,
        };
        let client_secret = match (&oauth2.client_secret, grant) {
            (None, _) => None,
            (Some(secret), Grant::RefreshToken) => {
                Some(self.local("client_secret", damaged, secret)?)
            }
            (Some(secret), Grant::ClientCredentials) => {
                let message = "`client_secret` goes with `grant = \"refresh_token\"` only";
                self.error(
                    secret.span(),
                    message,
                    "it is the credential's `secret`: write it there",
                );
                return None;
            }
        };
        let scopes = oauth2.scopes.as_ref();
        let scopes = scopes.map(|scopes| self.list("scopes", scopes, scope));
        Some(OAuth2 {
            token_url: token_url?,
            grant,
            client_id: client_id?,
            client_secret,
            client_auth,
            scopes: scopes.unwrap_or_default(),
            audience: oauth2.audience.as_ref().map(|text| text.get_ref().clone()),
        })
    }

    fn github_app(
        &mut self,
        damaged: bool,
        table: &Spanned<written::GithubApp>,
    ) -> Option<GithubApp> {
        let app = table.get_ref();
        for (key, there) in [
            ("app_id", app.app_id.is_some()),
            ("installation_id", app.installation_id.is_some()),
        ] {
            if !there {
                self.missing(damaged, table, "github_app", key);
            }
        }
        let api = match &app.api {
            Some(text) => self.parse(text, token_url),
            None => token_url("https://api.github.com").ok(),
        };
        let app_id = self.parse(app.app_id.as_ref()?, |text| {
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '.';
            if (1..=64).contains(&text.len()) && text.chars().all(plain) {
                return Ok(text.to_owned());
            }
            Err(Complaint::new("`app_id` is no id of a GitHub App")
                .help("the App ID or Client ID on the app's settings page, in quotes"))
        });
        let installation = self.number(app.installation_id.as_ref()?, 1, i64::MAX);
        let repositories = app.repositories.as_ref();
        let repositories = repositories.map(|names| self.list("repositories", names, repository));
        let mut permissions = BTreeMap::new();
        let levels = [("read", "read"), ("write", "write"), ("admin", "admin")];
        for (name, level) in app.permissions.iter().flat_map(Spanned::get_ref) {
            let level = self.word("permissions", level, &levels)?;
            permissions.insert(name.get_ref().clone(), level.to_owned());
        }
        Some(GithubApp {
            api: api?,
            app_id: app_id?,
            installation_id: u64::try_from(installation?).ok()?,
            repositories: repositories.unwrap_or_default(),
            permissions,
        })
    }
}

/// `https://vault.example:8200`
fn vault_address(text: &str) -> Result<(bool, Host, u16), Complaint> {
    let bad = |why: &str| {
        Complaint::new(format!(
            "`{}` is no address of a vault{why}",
            text.escape_debug()
        ))
        .help("write it like `https://vault.example:8200`, without a path")
    };
    let (scheme, rest) = text.split_once("://").ok_or_else(|| bad(""))?;
    let tls = match scheme {
        "https" => true,
        "http" => false,
        _ => return Err(bad("")),
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    let authority =
        Authority::parse(authority.as_bytes(), 8200).map_err(|error| bad(&format!(": {error}")))?;
    Ok((tls, authority.host, authority.port))
}

/// As in the API, without `/v1/`.
fn vault_path(text: &str) -> Result<String, Complaint> {
    let text = text.trim_matches('/');
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./@".contains(c);
    let segments = |text: &str| text.split('/').all(|it| !matches!(it, "" | "." | ".."));
    if text.starts_with("v1/") || !text.chars().all(plain) || !segments(text) {
        return Err(
            Complaint::new(format!("`{}` is no path in a vault", text.escape_debug()))
                .help("as in its API without `/v1/`: `secret/data/app` (KV v2), `kv/app` (KV v1)"),
        );
    }
    Ok(text.to_owned())
}

/// An `https` URL without user and fragment.
fn token_url(text: &str) -> Result<TokenUrl, Complaint> {
    let bad =
        |why: String| Complaint::new(why).help("write it like `https://login.example/oauth/token`");
    let shown = text.escape_debug();
    let Some(rest) = text.strip_prefix("https://") else {
        return Err(bad(format!("`{shown}` is no `https` URL")));
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(end);
    let authority = Authority::parse(authority.as_bytes(), 443)
        .map_err(|error| bad(format!("`{shown}` is no URL: {error}")))?;
    if target.contains('#') || !target.bytes().all(|byte| (0x21..=0x7e).contains(&byte)) {
        return Err(bad(format!("`{shown}` is no URL that can be asked")));
    }
    let target = if target.starts_with('?') {
        format!("/{target}")
    } else {
        target.to_owned()
    };
    Ok(TokenUrl { authority, target })
}

/// RFC 6749 §3.3: a scope-token.
fn scope(text: &str) -> Result<String, Complaint> {
    let plain = |byte: u8| (0x21..=0x7e).contains(&byte) && !matches!(byte, b'"' | b'\\');
    if !text.is_empty() && text.bytes().all(plain) {
        return Ok(text.to_owned());
    }
    Err(Complaint::new(format!("`{}` is no scope", text.escape_debug())).help("one word each"))
}

fn repository(text: &str) -> Result<String, Complaint> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if (1..=100).contains(&text.len()) && text.chars().all(plain) {
        return Ok(text.to_owned());
    }
    Err(Complaint::new(format!(
        "`{}` is no name of a repository",
        text.escape_debug()
    ))
    .help("its name alone, without the owner"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_vaults() {
        let (tls, host, port) = vault_address("https://vault.example").unwrap();
        assert_eq!(
            (tls, host.to_string().as_str(), port),
            (true, "vault.example", 8200)
        );
        let (tls, _, port) = vault_address("http://[::1]:8201/").unwrap();
        assert_eq!((tls, port), (false, 8201));
        for text in [
            "vault",
            "ftp://a",
            "https://",
            "https://u@a",
            "https://a/v1",
            "https://a?b",
        ] {
            assert!(vault_address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn paths_in_vaults() {
        assert_eq!(vault_path("/secret/data/app").unwrap(), "secret/data/app");
        for text in ["", "a//b", "a/../b", "v1/secret/a", "a?b", "a b"] {
            assert!(vault_path(text).is_err(), "{text}");
        }
    }

    #[test]
    fn token_urls() {
        let url = token_url("https://login.example:8443/a/b?c=d").unwrap();
        assert_eq!(url.authority.to_string(), "login.example:8443");
        assert_eq!(url.target, "/a/b?c=d");
        assert_eq!(token_url("https://a.example").unwrap().target, "");
        for text in [
            "http://a.example/",
            "https://u:p@a.example/",
            "https://a/#b",
            "https://",
            "https://a/ b",
        ] {
            assert!(token_url(text).is_err(), "{text}");
        }
    }
}
