//! AWS Signature Version 4, made anew with the real key: the agent signs with any other.
//!
//! The algorithm is short and has not changed since 2012; the official crate for it would
//! bring two dozen others and a second implementation of SHA-256 and HMAC. Source: AWS
//! General Reference, "Create a signed AWS API request".

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::SystemTime;

use aws_lc_rs::{digest, hmac};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::Cause;
use crate::error::{Reason, Refusal};
use crate::policy::Request;
use crate::secret::Secret;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");
const CONTENT: HeaderName = HeaderName::from_static("x-amz-content-sha256");

/// The unreserved characters of RFC 3986 §2.3 stand for themselves.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
/// As above, and slashes.
const ENCODED_PATH: &AsciiSet = &ENCODED.remove(b'/');

/// A key, and what it signs for.
#[derive(Debug)]
pub struct Signer {
    key_id: String,
    secret: Arc<Secret>,
    token: Option<Arc<Secret>>,
    region: Option<String>,
    service: Option<String>,
}

/// The secret of a credential: the secret key alone, or what `credential_process` of the AWS
/// command line prints (AWS SDKs and Tools Reference Guide, "Process credential provider").
#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Process {
    access_key_id: String,
    secret_access_key: String,
    session_token: Option<String>,
}

impl Signer {
    pub(super) fn new(
        secret: &Arc<Secret>,
        key_id: Option<&str>,
        region: Option<&str>,
        service: Option<&str>,
    ) -> Result<Self, Cause> {
        let own = |text: String| Arc::new(Secret::new(text.into_bytes()));
        let (id, secret, token) = if secret.expose().first() == Some(&b'{') {
            let process: Process =
                serde_json::from_slice(secret.expose()).map_err(|_| Cause::NoAwsKey)?;
            let id = process.access_key_id;
            let token = process.session_token.map(own);
            (id, own(process.secret_access_key), token)
        } else {
            let id = key_id.ok_or(Cause::NoAwsKey)?.to_owned();
            (id, Arc::clone(secret), None)
        };
        let plain = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_graphic);
        let token_fits = token.as_ref().is_none_or(|token| plain(token.expose()));
        let id_fits = id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !plain(secret.expose()) || !token_fits || id.is_empty() || !id_fits {
            return Err(Cause::NoAwsKey);
        }
        Ok(Self {
            key_id: id,
            secret,
            token,
            region: region.map(ToOwned::to_owned),
            service: service.map(ToOwned::to_owned),
        })
    }

    /// What of it must not come back from a server.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &Arc<Secret>> {
        [&self.secret].into_iter().chain(&self.token)
    }

    /// The fields that signing sets.
    pub(super) fn sets() -> &'static [HeaderName] {
        static SET: [HeaderName; 3] = [header::AUTHORIZATION, DATE, TOKEN];
        &SET
    }

    /// For region and service of the agent's own signature, where they are not fixed.
    pub(super) fn signing(self: &Arc<Self>, request: &Request) -> Result<Signing, Refusal> {
        let query = request.target.query().unwrap_or_default();
        let presigned = query.split('&').any(|pair| {
            let name = pair.split('=').next().unwrap_or_default();
            let name: Vec<u8> = percent_decode_str(name).collect();
            name.eq_ignore_ascii_case(b"x-amz-signature")
                || name.eq_ignore_ascii_case(b"x-amz-algorithm")
        });
        if presigned {
            return Err(unsigned(
                "a presigned URL cannot be signed anew; send the request itself, with the signature in `Authorization`",
            ));
        }
        let scope = scope(request)?;
        let (region, service) = scope.map_or((None, None), |(region, service)| {
            (Some(region), Some(service))
        });
        let missing = || {
            unsigned(
                "the gateway signs requests here, and needs region and service: sign the request with any key, such as `test`",
            )
        };
        Ok(Signing {
            region: self.region.clone().or(region).ok_or_else(missing)?,
            service: self.service.clone().or(service).ok_or_else(missing)?,
            signer: Arc::clone(self),
        })
    }
}

/// Region and service of the agent's signature.
fn scope(request: &Request) -> Result<Option<(String, String)>, Refusal> {
    let mut values = request.headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default();
    if text.starts_with("AWS4-ECDSA") {
        return Err(unsigned(
            "signatures over several regions (SigV4A) are not made here; use an endpoint of one region",
        ));
    }
    let Some(rest) = text.strip_prefix(ALGORITHM) else {
        return Ok(None);
    };
    let scope = rest
        .split(',')
        .find_map(|part| part.trim().strip_prefix("Credential="));
    let parts: Vec<&str> = scope.unwrap_or_default().split('/').collect();
    let word = |text: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        (1..=64).contains(&text.len()) && text.bytes().all(plain)
    };
    match parts.as_slice() {
        [_, _, region, service, "aws4_request"]
            if word(region) && word(service) && values.next().is_none() =>
        {
            Ok(Some(((*region).to_owned(), (*service).to_owned())))
        }
        _ => Err(unsigned("the `Authorization` of the request does not read")),
    }
}

fn unsigned(sentence: &str) -> Refusal {
    Refusal::new(Reason::Unsignable, sentence)
}

/// The body as far as it is known when the head is signed.
#[derive(Clone, Copy, Debug)]
pub enum Payload<'a> {
    /// All of it.
    Held(&'a [u8]),
    /// It comes while it is sent.
    Streamed,
}

/// A request's head, as it will be sent.
#[derive(Debug)]
pub struct Head<'a> {
    /// The method.
    pub method: &'a str,
    /// The `Host` field.
    pub host: &'a str,
    /// Path and query.
    pub target: &'a str,
    /// The fields; those of the signature are set.
    pub headers: &'a mut HeaderMap,
}

/// A signer with region and service.
#[derive(Clone, Debug)]
pub struct Signing {
    signer: Arc<Signer>,
    region: String,
    service: String,
}

impl Signing {
    /// Signs a head.
    ///
    /// # Errors
    /// [`Reason::Unsignable`] for bodies that no signature can be made for.
    pub fn sign(
        &self,
        head: &mut Head<'_>,
        payload: Payload<'_>,
        now: SystemTime,
    ) -> Result<(), Refusal> {
        let now = OffsetDateTime::from(now);
        let day = format!(
            "{:04}{:02}{:02}",
            now.year(),
            u8::from(now.month()),
            now.day()
        );
        let moment = format!(
            "{day}T{:02}{:02}{:02}Z",
            now.hour(),
            now.minute(),
            now.second()
        );
        let content = self.content(head.headers, payload)?;
        set(head.headers, DATE, moment.as_bytes(), false)?;
        if let Some(token) = &self.signer.token {
            set(head.headers, TOKEN, token.expose(), true)?;
        }
        if self.is_s3() || head.headers.contains_key(CONTENT) {
            set(head.headers, CONTENT, content.as_bytes(), false)?;
        }
        let (fields, names) = canonical_fields(head);
        let (path, query) = head.target.split_once('?').unwrap_or((head.target, ""));
        let canonical = Zeroizing::new(format!(
            "{}\n{}\n{}\n{}\n{names}\n{content}",
            head.method,
            self.path(path),
            canonical_query(query),
            fields.as_str(),
        ));
        let scope = format!("{day}/{}/{}/aws4_request", self.region, self.service);
        let text = format!(
            "{ALGORITHM}\n{moment}\n{scope}\n{}",
            hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref())
        );
        let signature = hex(hmac::sign(&self.key(&day), text.as_bytes()).as_ref());
        let value = format!(
            "{ALGORITHM} Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
            self.signer.key_id
        );
        set(head.headers, header::AUTHORIZATION, value.as_bytes(), true)
    }

    fn key(&self, day: &str) -> hmac::Key {
        let first = Zeroizing::new([b"AWS4", self.signer.secret.expose()].concat());
        let mut key = hmac::Key::new(hmac::HMAC_SHA256, &first);
        for part in [day, &self.region, &self.service, "aws4_request"] {
            let tag = hmac::sign(&key, part.as_bytes());
            key = hmac::Key::new(hmac::HMAC_SHA256, tag.as_ref());
        }
        key
    }

    /// S3 and its kin take paths as they are.
    fn is_s3(&self) -> bool {
        self.service.starts_with("s3")
    }

    /// What stands for the body: its hash, the agent's own word for it, or that it is not
    /// signed, which servers take over TLS only.
    fn content(&self, headers: &HeaderMap, payload: Payload<'_>) -> Result<String, Refusal> {
        const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
        let given = headers.get(CONTENT).map(HeaderValue::to_str);
        let given = given.map(Result::unwrap_or_default);
        match (given, payload) {
            (Some(word @ (UNSIGNED | "STREAMING-UNSIGNED-PAYLOAD-TRAILER")), _) => {
                Ok(word.to_owned())
            }
            (Some(word), _) if word.starts_with("STREAMING-") => Err(unsigned(
                "a body whose chunks are signed one by one cannot be signed anew; send it with `x-amz-content-sha256: UNSIGNED-PAYLOAD`, or its whole hash",
            )),
            (_, Payload::Held(body)) => Ok(hex(digest::digest(&digest::SHA256, body).as_ref())),
            (Some(hash), Payload::Streamed)
                if hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) =>
            {
                Ok(hash.to_owned())
            }
            (_, Payload::Streamed) if self.is_s3() => Ok(UNSIGNED.to_owned()),
            (_, Payload::Streamed) => Err(unsigned(
                "the body is too long to be hashed before it is sent (limits.hold_bytes); send its hash as `x-amz-content-sha256`",
            )),
        }
    }

    /// Every other service wants the path encoded once more.
    fn path<'p>(&self, path: &'p str) -> Cow<'p, str> {
        if self.is_s3() {
            Cow::Borrowed(path)
        } else {
            percent_encode(path.as_bytes(), ENCODED_PATH).into()
        }
    }
}

fn set(
    headers: &mut HeaderMap,
    name: HeaderName,
    value: &[u8],
    sensitive: bool,
) -> Result<(), Refusal> {
    let mut value = HeaderValue::from_bytes(value)
        .map_err(|_| unsigned("the signature is no value of a field"))?;
    value.set_sensitive(sensitive);
    headers.insert(name, value);
    Ok(())
}

/// The lines of the signed fields, and their names: what a server must not read otherwise.
/// The rest, such as `User-Agent`, may change on the way.
fn canonical_fields(head: &Head<'_>) -> (Zeroizing<String>, String) {
    let signed = |name: &HeaderName| {
        let name = name.as_str();
        name.starts_with("x-amz-") || matches!(name, "content-type" | "content-md5" | "range")
    };
    let mut names: Vec<&str> = head
        .headers
        .keys()
        .filter(|name| signed(name))
        .map(HeaderName::as_str)
        .collect();
    names.push("host");
    names.sort_unstable();
    let mut lines = Zeroizing::new(String::new());
    for name in &names {
        lines.push_str(name);
        lines.push(':');
        if *name == "host" {
            lines.push_str(head.host);
        }
        for (index, value) in head.headers.get_all(*name).iter().enumerate() {
            if index > 0 {
                lines.push(',');
            }
            // Runs of spaces are one.
            let text = String::from_utf8_lossy(value.as_bytes());
            for (index, word) in text.split(' ').filter(|word| !word.is_empty()).enumerate() {
                if index > 0 {
                    lines.push(' ');
                }
                lines.push_str(word);
            }
        }
        lines.push('\n');
    }
    (lines, names.join(";"))
}

/// Every name and value encoded the one way, in the order of both.
fn canonical_query(query: &str) -> String {
    let again = |text: &str| {
        let bytes: Vec<u8> = percent_decode_str(text).collect();
        percent_encode(&bytes, ENCODED).to_string()
    };
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let mut pairs: Vec<(String, String)> = pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (again(name), again(value))
        })
        .collect();
    pairs.sort_unstable();
    let pairs: Vec<String> = pairs
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    pairs.join("&")
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
