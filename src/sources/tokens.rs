//! Tokens that are minted: OAuth 2.0 (RFC 6749), GitHub Apps, Google Cloud service accounts.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use http::{Method, StatusCode, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};
use serde::Deserialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::client::{Answer, Ask, Client};
use super::jwt;
use crate::credential::{
    Cause, ClientAuth, Fetched, GcpServiceAccount, GithubApp, Grant, OAuth2, Source, TokenUrl,
};
use crate::secret::Secret;

const FORM: &str = "application/x-www-form-urlencoded";
/// Clocks that differ by more make servers refuse signed tokens.
const SKEW: Duration = Duration::from_secs(30);
/// RFC 6749 §5.2 and RFC 7523 §3.1, and what servers add to them: other words of an error may
/// repeat what they were sent.
const ERRORS: [&str; 9] = [
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
    "access_denied",
    "server_error",
    "temporarily_unavailable",
];

#[derive(Deserialize)]
#[expect(clippy::struct_field_names, reason = "as RFC 6749 §5.1 has them")]
struct Token {
    access_token: Option<String>,
    expires_in: Option<Value>,
    refresh_token: Option<String>,
}

/// A token for client credentials or a refresh token, which is kept in `file` where the server
/// replaces it.
pub(super) async fn oauth2(
    client: &Client,
    oauth2: &OAuth2,
    secret: Secret,
    file: &Path,
) -> Result<Fetched, Cause> {
    let mut fields = Fields::new();
    let mut field = |key, value: &str| fields.push((key, Zeroizing::new(value.to_owned())));
    let mut refresh = None;
    let client_secret = match oauth2.grant {
        Grant::ClientCredentials => {
            field("grant_type", "client_credentials");
            Some(secret)
        }
        Grant::RefreshToken => {
            let kept = Kept::open(file, &secret).map_err(|error| unkept(file, &error))?;
            field("grant_type", "refresh_token");
            field(
                "refresh_token",
                &text(kept.token.as_ref().unwrap_or(&secret))?,
            );
            refresh = Some((kept, secret));
            let secret = oauth2.client_secret.as_ref();
            secret.map(Source::read_now).transpose()?
        }
    };
    if !oauth2.scopes.is_empty() {
        field("scope", &oauth2.scopes.join(" "));
    }
    if let Some(audience) = &oauth2.audience {
        field("audience", audience);
    }
    let headers = prove(oauth2, client_secret.as_ref(), &mut fields)?;
    let ask = Ask {
        method: Method::POST,
        target: oauth2.token_url.target.clone(),
        headers,
        body: Some((FORM, encode(&fields))),
    };
    let answer = ask_for_token(client, &oauth2.token_url, ask).await?;
    let token = token(&oauth2.token_url, &answer)?;
    let mut beside: Vec<Secret> = client_secret.into_iter().collect();
    if let Some((mut kept, first)) = refresh {
        if let Some(next) = token.refresh_token {
            let next = Secret::new(next.into_bytes());
            kept.replace(&next).map_err(|error| unkept(file, &error))?;
            beside.push(next);
        }
        beside.extend(kept.token.take());
        beside.push(first);
    }
    fetched(
        &oauth2.token_url,
        token.access_token,
        token.expires_in.as_ref(),
        beside,
    )
}

/// The fields of a form.
type Fields<'a> = Vec<(&'a str, Zeroizing<String>)>;

/// Says who the client is, in a header field or in the form (RFC 6749 §2.3.1).
fn prove(
    oauth2: &OAuth2,
    client_secret: Option<&Secret>,
    fields: &mut Fields<'_>,
) -> Result<Vec<(header::HeaderName, Zeroizing<String>)>, Cause> {
    let mut field = |key, value: &str| fields.push((key, Zeroizing::new(value.to_owned())));
    match (client_secret, oauth2.client_auth) {
        (Some(secret), ClientAuth::Basic) => {
            // Both are form-encoded before they are joined.
            let secret = text(secret)?;
            let pair = format!("{}:{}", form(&oauth2.client_id), form(&secret));
            let pair = Zeroizing::new(pair);
            let value = Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())));
            return Ok(vec![(header::AUTHORIZATION, value)]);
        }
        (Some(secret), ClientAuth::Body) => {
            field("client_id", &oauth2.client_id);
            field("client_secret", &text(secret)?);
        }
        (None, _) => field("client_id", &oauth2.client_id),
    }
    Ok(Vec::new())
}

/// An installation token. A GitHub App proves itself by a token that it signs itself.
pub(super) async fn github_app(
    client: &Client,
    app: &GithubApp,
    key: &Secret,
) -> Result<Fetched, Cause> {
    #[derive(Deserialize)]
    struct Installation {
        token: Option<String>,
        expires_at: Option<String>,
    }
    let now = seconds(SystemTime::now());
    // Back a minute for clocks that differ; ten minutes are the most that is taken.
    let claims = json!({ "iss": app.app_id, "iat": now.saturating_sub(60), "exp": now + 480 });
    let jwt = jwt::sign(key.expose(), None, &claims);
    let jwt = jwt.map_err(|bad| bad_key(bad, "generate a private key in the app's settings"))?;
    let mut wanted = json!({});
    if let Some(wanted) = wanted.as_object_mut() {
        if !app.repositories.is_empty() {
            wanted.insert("repositories".to_owned(), json!(app.repositories));
        }
        if !app.permissions.is_empty() {
            wanted.insert("permissions".to_owned(), json!(app.permissions));
        }
    }
    let base = app.api.target.trim_end_matches('/');
    let id = app.installation_id;
    let ask = Ask {
        method: Method::POST,
        target: format!("{base}/app/installations/{id}/access_tokens"),
        headers: vec![(header::AUTHORIZATION, bearer(&jwt))],
        body: Some(("application/json", Zeroizing::new(wanted.to_string()))),
    };
    let answer = ask_for_token(client, &app.api, ask).await?;
    if answer.status == StatusCode::NOT_FOUND {
        return Err(refused(
            &app.api,
            &format!(
                "knows no installation {id} of this app: see whether `installation_id` and `app_id` belong together"
            ),
        ));
    }
    if answer.status == StatusCode::UNPROCESSABLE_ENTITY {
        return Err(refused(
            &app.api,
            "grants the installation less than `repositories` and `permissions` ask for: ask for less, or extend the installation",
        ));
    }
    if !answer.status.is_success() {
        return Err(not_granted(&app.api, &answer));
    }
    let granted: Installation =
        serde_json::from_slice(&answer.body).map_err(|_| no_token(&app.api))?;
    // By the server's clock where it tells it, since it made the time that is compared.
    let now = answer.date.unwrap_or_else(SystemTime::now);
    let format = &time::format_description::well_known::Rfc3339;
    let end = granted
        .expires_at
        .and_then(|text| time::OffsetDateTime::parse(&text, format).ok());
    let left = end.and_then(|end| SystemTime::from(end).duration_since(now).ok());
    let left = left.map(|left| json!(left.as_secs_f64()));
    fetched(&app.api, granted.token, left.as_ref(), Vec::new())
}

/// An access token for a service account's own signed token (RFC 7523 §2.1).
pub(super) async fn gcp(
    client: &Client,
    account: &GcpServiceAccount,
    key_file: &Secret,
) -> Result<Fetched, Cause> {
    #[derive(Deserialize)]
    struct KeyFile {
        client_email: String,
        private_key: String,
        private_key_id: Option<String>,
        token_uri: String,
    }
    const REMEDY: &str = "create a key of type JSON for the service account";
    let bad_file = |what: &str| Cause::Fetch {
        brief: "its key file is none of a service account".to_owned(),
        detail: format!("the secret {what}: {REMEDY}"),
    };
    let file: KeyFile = serde_json::from_slice(key_file.expose())
        .map_err(|_| bad_file("is no key file with client_email, private_key and token_uri"))?;
    let private_key = Zeroizing::new(file.private_key);
    let url = https_url(&file.token_uri)
        .ok_or_else(|| bad_file("has a token_uri that is no https URL"))?;
    let now = seconds(SystemTime::now());
    let claims = json!({
        "iss": file.client_email,
        "scope": account.scopes.join(" "),
        "aud": file.token_uri,
        "iat": now,
        "exp": now + 3600,
    });
    let jwt = jwt::sign(
        private_key.as_bytes(),
        file.private_key_id.as_deref(),
        &claims,
    );
    let jwt = jwt.map_err(|bad| bad_key(bad, REMEDY))?;
    let grant = "urn:ietf:params:oauth:grant-type:jwt-bearer".to_owned();
    let fields = [("grant_type", Zeroizing::new(grant)), ("assertion", jwt)];
    let ask = Ask {
        method: Method::POST,
        target: url.target.clone(),
        headers: Vec::new(),
        body: Some((FORM, encode(&fields))),
    };
    let answer = ask_for_token(client, &url, ask).await?;
    let token = token(&url, &answer)?;
    fetched(
        &url,
        token.access_token,
        token.expires_in.as_ref(),
        Vec::new(),
    )
}

async fn ask_for_token(client: &Client, url: &TokenUrl, ask: Ask<'_>) -> Result<Answer, Cause> {
    let answer = client.token(url, ask).await;
    answer.map_err(|why| Cause::Fetch {
        brief: "the server that makes its token cannot be reached".to_owned(),
        detail: format!("no token from {}: {}", url.authority.host, why.0),
    })
}

fn token(url: &TokenUrl, answer: &Answer) -> Result<Token, Cause> {
    if !answer.status.is_success() {
        return Err(not_granted(url, answer));
    }
    serde_json::from_slice(&answer.body).map_err(|_| no_token(url))
}

fn fetched(
    url: &TokenUrl,
    token: Option<String>,
    seconds: Option<&Value>,
    beside: Vec<Secret>,
) -> Result<Fetched, Cause> {
    let token = token
        .filter(|token| !token.is_empty())
        .ok_or_else(|| no_token(url))?;
    // Some servers write the number as a string.
    let number = |value: &Value| value.as_f64().or_else(|| value.as_str()?.parse().ok());
    let lifetime = seconds
        .and_then(number)
        // Some say so where a token has no end.
        .filter(|seconds| *seconds > 0.0)
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    Ok(Fetched {
        secret: Secret::new(token.into_bytes()),
        beside,
        lifetime,
    })
}

/// A refusal, in the server's own words only where those are known words.
fn not_granted(url: &TokenUrl, answer: &Answer) -> Cause {
    #[derive(Deserialize)]
    struct Problem {
        error: Option<String>,
    }
    if let Some(skew) = skew(answer.date)
        && matches!(answer.status.as_u16(), 400..=403)
    {
        return Cause::Fetch {
            brief: "the clock of the gateway is wrong".to_owned(),
            detail: format!(
                "{} refuses the gateway, whose clock is {skew}: set the clock (`timedatectl set-ntp true`)",
                url.authority.host
            ),
        };
    }
    let problem = serde_json::from_slice::<Problem>(&answer.body).ok();
    let word = problem.and_then(|problem| problem.error);
    let word = ERRORS.iter().find(|known| word.as_deref() == Some(**known));
    let status = answer.status.as_u16();
    let remedy = match word {
        Some(&"invalid_client") => {
            "see whether `client_id`, `client_auth` and the secret are right"
        }
        Some(&"invalid_grant") => {
            "the refresh token, key or account is expired or revoked: get a new one"
        }
        Some(&"invalid_scope") => "see whether `scopes` are granted to this client",
        Some(&"unauthorized_client" | &"unsupported_grant_type") => {
            "the server does not give this client this grant: see `grant`"
        }
        _ if status == 401 || status == 403 => "see whether the id and the secret belong together",
        _ => "see what is configured, or try later",
    };
    let said = word.map_or_else(|| format!("status {status}"), |word| format!("`{word}`"));
    refused(url, &format!("answers {said}: {remedy}"))
}

fn refused(url: &TokenUrl, what: &str) -> Cause {
    Cause::Fetch {
        brief: "the server that makes its token refuses to".to_owned(),
        detail: format!("no token: {} {what}", url.authority.host),
    }
}

fn no_token(url: &TokenUrl) -> Cause {
    refused(
        url,
        "sent an answer without a token: see whether the URL is that of its token endpoint",
    )
}

fn bad_key(bad: jwt::BadKey, remedy: &str) -> Cause {
    Cause::Fetch {
        brief: "its key is of the wrong kind".to_owned(),
        detail: format!("the secret {bad}: {remedy}"),
    }
}

fn unkept(file: &Path, error: &io::Error) -> Cause {
    Cause::Fetch {
        brief: "its refresh token cannot be kept".to_owned(),
        detail: format!("`{}` cannot be read or written: {error}", file.display()),
    }
}

/// By how much the clocks differ, in words, if that matters.
fn skew(theirs: Option<SystemTime>) -> Option<String> {
    let (theirs, ours) = (theirs?, SystemTime::now());
    let (by, way) = match ours.duration_since(theirs) {
        Ok(by) => (by, "ahead"),
        Err(error) => (error.duration(), "behind"),
    };
    (by > SKEW).then(|| format!("{} s {way}", by.as_secs()))
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

fn https_url(text: &str) -> Option<TokenUrl> {
    let rest = text.strip_prefix("https://")?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(end);
    Some(TokenUrl {
        authority: crate::name::Authority::parse(authority.as_bytes(), 443).ok()?,
        target: target.to_owned(),
    })
}

fn bearer(token: &str) -> Zeroizing<String> {
    Zeroizing::new(format!("Bearer {token}"))
}

fn text(secret: &Secret) -> Result<Zeroizing<String>, Cause> {
    let text = std::str::from_utf8(secret.expose()).map_err(|_| Cause::Fetch {
        brief: "its secret is no text".to_owned(),
        detail: "the secret is no text (UTF-8)".to_owned(),
    })?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// `application/x-www-form-urlencoded`, every character that may mean something escaped.
fn form(text: &str) -> String {
    const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_');
    percent_encoding::utf8_percent_encode(text, ESCAPED).to_string()
}

fn encode(fields: &[(&str, Zeroizing<String>)]) -> Zeroizing<String> {
    let pairs = fields
        .iter()
        .map(|(key, value)| format!("{key}={}", form(value)));
    Zeroizing::new(pairs.collect::<Vec<_>>().join("&"))
}

/// The refresh token that replaced the configured one. The file is locked for as long as this
/// is there: a token that two use at once is revoked by careful servers.
struct Kept<'a> {
    file: &'a Path,
    _lock: fs::File,
    /// Tells which configured token it came from: a new one counts anew.
    origin: String,
    token: Option<Secret>,
}

impl<'a> Kept<'a> {
    fn open(file: &'a Path, configured: &Secret) -> io::Result<Self> {
        if let Some(folder) = file.parent() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)?;
        }
        let lock = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(with_suffix(file, ".lock"))?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive)?;
        let origin = digest::digest(&digest::SHA256, configured.expose());
        let origin = URL_SAFE.encode(origin.as_ref());
        let mut kept = Self {
            file,
            _lock: lock,
            origin,
            token: None,
        };
        kept.token = kept.read()?;
        Ok(kept)
    }

    fn read(&self) -> io::Result<Option<Secret>> {
        let mut text = Zeroizing::new(String::with_capacity(64 * 1024));
        match fs::File::open(self.file) {
            Ok(file) => file.take(64 * 1024).read_to_string(&mut text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let (origin, token) = text.split_once('\n').unwrap_or_default();
        let is_ours = origin == self.origin && !token.is_empty();
        Ok(is_ours.then(|| Secret::new(token.as_bytes().to_vec())))
    }

    /// Whole or not at all, also when the power fails: the old token is of no use any more.
    fn replace(&mut self, token: &Secret) -> io::Result<()> {
        let new = with_suffix(self.file, ".new");
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(self.origin.as_bytes())?;
        file.write_all(b"\n")?;
        file.write_all(token.expose())?;
        file.sync_all()?;
        fs::rename(&new, self.file)?;
        if let Some(folder) = self.file.parent() {
            fs::File::open(folder)?.sync_all()?;
        }
        Ok(())
    }
}

fn with_suffix(file: &Path, suffix: &str) -> std::path::PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.as_bytes().to_vec())
    }

    #[test]
    fn a_life_of_no_time_is_none_that_was_said() {
        let url = TokenUrl {
            authority: crate::name::Authority::parse(b"login.example.com", 443).unwrap(),
            target: "/token".to_owned(),
        };
        for (said, lifetime) in [
            ("0", None),
            ("-1", None),
            ("60", Some(60)),
            ("\"60\"", Some(60)),
        ] {
            let seconds: Value = serde_json::from_str(said).unwrap();
            let token = Some("token".to_owned());
            let fetched = fetched(&url, token, Some(&seconds), Vec::new()).unwrap();
            assert_eq!(
                fetched.lifetime,
                lifetime.map(Duration::from_secs),
                "{said}"
            );
        }
    }

    #[test]
    fn a_replaced_refresh_token_is_kept_until_another_is_configured() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("refresh-tokens/crm");
        let configured = secret("first");
        let mut kept = Kept::open(&file, &configured).unwrap();
        assert!(kept.token.is_none());
        assert!(Kept::open(&file, &configured).is_err(), "locked");
        kept.replace(&secret("second")).unwrap();
        drop(kept);
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let kept = Kept::open(&file, &configured).unwrap();
        assert_eq!(kept.token.as_ref().unwrap().expose(), b"second");
        drop(kept);
        let kept = Kept::open(&file, &secret("other")).unwrap();
        assert!(kept.token.is_none());
    }

    #[test]
    fn forms_are_encoded() {
        let fields = [("a", Zeroizing::new("b c&d=e+\u{e9}".to_owned()))];
        assert_eq!(encode(&fields).as_str(), "a=b%20c%26d%3De%2B%C3%A9");
    }

    #[test]
    fn clocks_that_differ_are_told() {
        let now = SystemTime::now();
        assert_eq!(skew(None), None);
        assert_eq!(skew(Some(now)), None);
        let minutes = Duration::from_secs(600);
        assert!(skew(Some(now + minutes)).unwrap().ends_with("behind"));
        assert!(skew(Some(now - minutes)).unwrap().ends_with("ahead"));
    }

    #[test]
    fn i5_a_server_cannot_put_its_words_into_the_log() {
        let url = https_url("https://login.example/token").unwrap();
        for (body, told) in [
            (
                r#"{"error":"invalid_client","error_description":"hunter2"}"#,
                "`invalid_client`",
            ),
            (r#"{"error":"hunter2"}"#, "status 401"),
            ("hunter2", "status 401"),
        ] {
            let answer = Answer {
                status: StatusCode::UNAUTHORIZED,
                date: None,
                body: Zeroizing::new(body.as_bytes().to_vec()),
            };
            let cause = not_granted(&url, &answer);
            let text = format!("{cause:?} {}", cause.in_full());
            assert!(text.contains(told) && !text.contains("hunter2"), "{text}");
        }
    }
}
