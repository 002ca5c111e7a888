//! Secrets in HashiCorp Vault and OpenBao, by their HTTP API: KV version 1 and 2, and every
//! engine that lends secrets for a while.

use std::time::Duration;

use http::header::HeaderName;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::client::{Answer, Ask, Client};
use crate::credential::{Cause, Fetched, Vault, VaultAuth};
use crate::secret::Secret;

const TOKEN: HeaderName = HeaderName::from_static("x-vault-token");
const NAMESPACE: HeaderName = HeaderName::from_static("x-vault-namespace");
const REQUEST: HeaderName = HeaderName::from_static("x-vault-request");

/// The login and what was lent under it.
#[derive(Default)]
pub(super) struct Session {
    login: Option<Login>,
    lease: Option<Lease>,
}

struct Login {
    token: Zeroizing<String>,
    /// When half of its life is over; `None` for one that does not end.
    renew_at: Option<Instant>,
}

struct Lease {
    id: String,
    value: Zeroizing<Vec<u8>>,
    first: Duration,
}

/// Reads the secret, or prolongs the one that was lent.
pub(super) async fn read(
    client: &Client,
    vault: &Vault,
    session: &mut Session,
) -> Result<Fetched, Cause> {
    let known = session.login.is_some();
    match attempt(client, vault, session).await {
        // A token that was fine may have been revoked, or the vault made anew.
        Err(Trouble::Denied) if known => {
            *session = Session::default();
            attempt(client, vault, session).await
        }
        other => other,
    }
    .map_err(|trouble| trouble.cause(vault))
}

async fn attempt(
    client: &Client,
    vault: &Vault,
    session: &mut Session,
) -> Result<Fetched, Trouble> {
    let token = logged_in(client, vault, session).await?;
    if let Some(lease) = session.lease.take()
        && let Some(fetched) = prolonged(client, vault, &token, &lease).await?
    {
        session.lease = Some(lease);
        return Ok(fetched);
    }
    let path = format!("/v1/{}", vault.path);
    let answer = ask(client, vault, Some(&token), Method::GET, path, None).await?;
    let value = json(&answer)?;
    let data = value
        .get("data")
        .and_then(Value::as_object)
        .ok_or(Trouble::NoSecret)?;
    // KV version 2 wraps what version 1 has at the top.
    let inner = data.get("data").filter(|_| data.contains_key("metadata"));
    let data = match inner {
        Some(Value::Object(inner)) => inner,
        Some(_) => return Err(Trouble::NoSecret),
        None => data,
    };
    let field = match data.get(&vault.field) {
        Some(Value::String(text)) => text.as_bytes(),
        Some(_) => return Err(Trouble::NotText),
        None => return Err(Trouble::NoField),
    };
    let secret = crate::credential::trimmed(field).map_err(Trouble::Other)?;
    let lifetime = lent_for(&value);
    if let (Some(first), Some(id)) = (lifetime, value.get("lease_id").and_then(Value::as_str))
        && !id.is_empty()
        && value.get("renewable").and_then(Value::as_bool) == Some(true)
    {
        session.lease = Some(Lease {
            id: id.to_owned(),
            value: Zeroizing::new(secret.expose().to_vec()),
            first,
        });
    }
    Ok(Fetched {
        secret,
        beside: Vec::new(),
        lifetime,
    })
}

/// A lease says how long; KV says 0, or for version 1 how often to look, with no lease.
fn lent_for(value: &Value) -> Option<Duration> {
    let lease = value.get("lease_id").and_then(Value::as_str)?;
    let seconds = value.get("lease_duration").and_then(Value::as_u64)?;
    (!lease.is_empty() && seconds > 0).then(|| Duration::from_secs(seconds))
}

/// `None` where what was lent is better given up: it ends, or what is left of it is short.
async fn prolonged(
    client: &Client,
    vault: &Vault,
    token: &str,
    lease: &Lease,
) -> Result<Option<Fetched>, Trouble> {
    let wanted = json!({ "lease_id": lease.id, "increment": lease.first.as_secs() });
    let path = "/v1/sys/leases/renew".to_owned();
    let answer = match ask(client, vault, Some(token), Method::PUT, path, Some(wanted)).await {
        Ok(answer) => answer,
        Err(trouble @ (Trouble::Unreachable(_) | Trouble::Sealed)) => return Err(trouble),
        Err(_) => return Ok(None),
    };
    let left = lent_for(&json(&answer)?);
    Ok(left
        .filter(|left| *left >= lease.first / 2)
        .map(|left| Fetched {
            secret: Secret::new(lease.value.to_vec()),
            beside: Vec::new(),
            lifetime: Some(left),
        }))
}

/// The token, logged in or renewed where that is due. Leases end with the token they were
/// given under, so it is renewed for as long as that works.
async fn logged_in(
    client: &Client,
    vault: &Vault,
    session: &mut Session,
) -> Result<Zeroizing<String>, Trouble> {
    let now = Instant::now();
    if let Some(login) = &mut session.login {
        if login.renew_at.is_none_or(|at| now < at) {
            return Ok(login.token.clone());
        }
        let path = "/v1/auth/token/renew-self".to_owned();
        let renewed = ask(client, vault, Some(&login.token), Method::POST, path, None).await;
        match renewed.and_then(|answer| json(&answer)) {
            Ok(value) => {
                login.renew_at = half_life(value.get("auth"), "lease_duration", now);
                return Ok(login.token.clone());
            }
            Err(trouble @ (Trouble::Unreachable(_) | Trouble::Sealed)) => return Err(trouble),
            Err(_) => *session = Session::default(),
        }
    }
    let login = match &vault.auth {
        VaultAuth::Token(source) => {
            let token = text(&source.read_now().map_err(Trouble::Other)?)?;
            let path = "/v1/auth/token/lookup-self".to_owned();
            let answer = ask(client, vault, Some(&token), Method::GET, path, None).await?;
            let value = json(&answer)?;
            let data = value.get("data");
            let renewable = data.and_then(|data| data.get("renewable")?.as_bool());
            Login {
                token,
                renew_at: half_life(data, "ttl", now).filter(|_| renewable == Some(true)),
            }
        }
        VaultAuth::AppRole {
            mount,
            role_id,
            secret_id,
        } => {
            let secret_id = text(&secret_id.read_now().map_err(Trouble::Other)?)?;
            let body = json!({ "role_id": role_id, "secret_id": secret_id.as_str() });
            let path = format!("/v1/auth/{mount}/login");
            let answer = ask(client, vault, None, Method::POST, path, Some(body)).await;
            let answer = answer.map_err(|trouble| match trouble {
                Trouble::Denied | Trouble::Invalid | Trouble::NoSecret => Trouble::NoLogin,
                other => other,
            })?;
            let value = json(&answer)?;
            let auth = value.get("auth");
            let token = auth.and_then(|auth| auth.get("client_token")?.as_str());
            Login {
                token: Zeroizing::new(token.ok_or(Trouble::NoLogin)?.to_owned()),
                renew_at: half_life(auth, "lease_duration", now),
            }
        }
    };
    let token = login.token.clone();
    session.login = Some(login);
    Ok(token)
}

fn half_life(of: Option<&Value>, key: &str, now: Instant) -> Option<Instant> {
    let seconds = of?.get(key)?.as_u64().filter(|seconds| *seconds > 0)?;
    now.checked_add(Duration::from_secs(seconds) / 2)
}

async fn ask(
    client: &Client,
    vault: &Vault,
    token: Option<&str>,
    method: Method,
    target: String,
    body: Option<Value>,
) -> Result<Answer, Trouble> {
    // Without it an agent of the vault may refuse, so that no page can ask it.
    let mut headers = vec![(REQUEST, Zeroizing::new("true".to_owned()))];
    if let Some(token) = token {
        headers.push((TOKEN, Zeroizing::new(token.to_owned())));
    }
    if let Some(namespace) = &vault.namespace {
        headers.push((NAMESPACE, Zeroizing::new(namespace.clone())));
    }
    let body = body.map(|body| ("application/json", Zeroizing::new(body.to_string())));
    let ask = Ask {
        method,
        target,
        headers,
        body,
    };
    let answer = client.vault(vault, ask).await;
    let answer = answer.map_err(|why| Trouble::Unreachable(why.0))?;
    match answer.status {
        status if status.is_success() => Ok(answer),
        StatusCode::BAD_REQUEST => Err(Trouble::Invalid),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(Trouble::Denied),
        StatusCode::NOT_FOUND => Err(Trouble::NoSecret),
        StatusCode::SERVICE_UNAVAILABLE => Err(Trouble::Sealed),
        status => Err(Trouble::Status(status)),
    }
}

fn json(answer: &Answer) -> Result<Value, Trouble> {
    serde_json::from_slice(&answer.body).map_err(|_| Trouble::NoVault)
}

fn text(secret: &Secret) -> Result<Zeroizing<String>, Trouble> {
    let text = std::str::from_utf8(secret.expose()).map_err(|_| Trouble::NotText)?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// Why there is no secret.
#[derive(Debug)]
enum Trouble {
    Unreachable(String),
    Sealed,
    Denied,
    NoLogin,
    Invalid,
    NoSecret,
    NoField,
    NotText,
    NoVault,
    Status(StatusCode),
    Other(Cause),
}

impl Trouble {
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn cause(self, vault: &Vault) -> Cause {
        let Vault {
            host,
            port,
            path,
            field,
            ..
        } = vault;
        let at = format!("the vault at {host}:{port}");
        let (brief, detail) = match self {
            Self::Other(cause) => return cause,
            Self::Unreachable(why) => (
                "the vault cannot be reached",
                format!(
                    "{at} does not answer ({why}): see whether it is up and `address` and `ca` are right"
                ),
            ),
            Self::Sealed => (
                "the vault is sealed or not ready",
                format!("{at} is sealed or in standby: unseal it"),
            ),
            Self::Denied => (
                "the vault denies access to it",
                format!(
                    "{at} denies reading `{path}`: give its token a policy with `read` there, or a new token"
                ),
            ),
            Self::NoLogin => (
                "the vault denies the login",
                format!(
                    "{at} denies the AppRole login: see whether `role_id` and `secret_id` are valid and the mount is right"
                ),
            ),
            Self::Invalid => (
                "the vault does not understand what it is asked",
                format!("{at} refuses `{path}` as invalid: see whether `path` is one that is read"),
            ),
            Self::NoSecret => (
                "the vault has no such secret",
                format!(
                    "{at} has nothing at `{path}`: for KV version 2 the path has `data/` after the mount"
                ),
            ),
            Self::NoField => (
                "the secret in the vault has no such field",
                format!(
                    "`{path}` in {at} has no field `{field}`: see `bao kv get` or `vault kv get`"
                ),
            ),
            Self::NotText => (
                "the secret in the vault is no text",
                format!("`{field}` of `{path}` in {at} is no text: store it as a string"),
            ),
            Self::NoVault => (
                "what answers is no vault",
                format!("what answers at {host}:{port} is no vault: see `address`"),
            ),
            Self::Status(status) => (
                "the vault fails",
                format!("{at} answers status {}: see its log", status.as_u16()),
            ),
        };
        Cause::Fetch {
            brief: brief.to_owned(),
            detail,
        }
    }
}
