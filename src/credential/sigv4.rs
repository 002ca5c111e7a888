//! AWS Signature Version 4, made anew with the real key: the agent signs with any other.
//!
//! What is signed, for which region and service, and what stands for the body is decided here;
//! the signature itself is made by `aws-sigv4`, the crate that the AWS SDKs use. It says the
//! signed text in its own trace events, session token included, which is why the log never
//! shows these (`cli::log`). Source: AWS General Reference, "Create a signed AWS API request".

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningInstructions,
    SigningSettings, UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::identity::Identity;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Cause;
use crate::error::{Reason, Refusal};
use crate::policy::Request;
use crate::secret::Secret;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");
const CONTENT: HeaderName = HeaderName::from_static("x-amz-content-sha256");

/// A key, and what it signs for.
#[derive(Debug)]
pub struct Signer {
    /// Wiped when dropped; prints the key's name alone.
    identity: Identity,
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

/// The part of it that is no secret.
#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct End {
    /// RFC 3339.
    expiration: Option<String>,
}

/// How long the key in `secret` is valid, where it says so.
///
/// # Errors
/// Not any more.
pub(super) fn lifetime(secret: &Secret, now: SystemTime) -> Result<Option<Duration>, Cause> {
    let end: Option<End> = serde_json::from_slice(secret.expose()).ok();
    let Some(end) = end.and_then(|end| end.expiration) else {
        return Ok(None);
    };
    let time = OffsetDateTime::parse(&end, &Rfc3339).map_err(|_| Cause::NoAwsKey)?;
    let left = time - OffsetDateTime::from(now);
    let left = Duration::try_from(left).ok().filter(|left| !left.is_zero());
    left.map(Some).ok_or_else(|| Cause::OutOfTime {
        brief: "its AWS key has expired",
        detail: format!("the AWS key expired at {time}: put a new one where it is read from"),
    })
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
        let key = plain(&secret).ok_or(Cause::NoAwsKey)?;
        let word = token.as_ref().map(|token| plain(token));
        let id_fits = id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if word == Some(None) || id.is_empty() || !id_fits {
            return Err(Cause::NoAwsKey);
        }
        let word = word.flatten().map(ToOwned::to_owned);
        Ok(Self {
            identity: Credentials::new(id, key, word, None, "portreeve").into(),
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

/// Keys and tokens are printable.
fn plain(secret: &Secret) -> Option<&str> {
    let text = std::str::from_utf8(secret.expose()).ok()?;
    let fits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    fits.then_some(text)
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
    /// [`Reason::Unsignable`] for bodies that no signature can be made for, and for targets and
    /// fields that AWS would read in another way than they are signed.
    pub fn sign(
        &self,
        head: &mut Head<'_>,
        payload: Payload<'_>,
        now: SystemTime,
    ) -> Result<(), Refusal> {
        let body = self.content(head.headers, payload)?;
        // Set by the signature, in any case anew.
        let content = head.headers.remove(CONTENT).is_some();
        for name in [DATE, TOKEN, header::AUTHORIZATION] {
            head.headers.remove(name);
        }
        let params = v4::SigningParams::builder()
            .identity(&self.signer.identity)
            .region(&self.region)
            .name(&self.service)
            .time(now)
            .settings(self.settings(content))
            .build()
            .map_err(|_| unsigned("region or service is missing"))?;
        let made = {
            let fields = signed_fields(head)?;
            let request = SignableRequest::new(head.method, url(head)?, fields.into_iter(), body);
            let request = request.map_err(|_| unsigned(BAD_TARGET))?;
            sign(request, &params.into())
        };
        let made = made.map_err(|_| unsigned("the request has a field that cannot be signed"))?;
        set(head.headers, made.into_parts().0)
    }

    fn settings(&self, content: bool) -> SigningSettings {
        let mut settings = SigningSettings::default();
        // Every other service wants the path encoded once more.
        if self.is_s3() {
            settings.percent_encoding_mode = PercentEncodingMode::Single;
        }
        if self.is_s3() || content {
            settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        }
        // Paths with empty and dot segments have been refused before.
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        // Only what is to be signed is given.
        settings.excluded_headers = None;
        settings
    }

    /// S3 and its kin take paths as they are.
    fn is_s3(&self) -> bool {
        self.service.starts_with("s3")
    }

    /// What stands for the body: its hash, the agent's own word for it, or that it is not
    /// signed, which servers take over TLS only.
    fn content<'p>(
        &self,
        headers: &HeaderMap,
        payload: Payload<'p>,
    ) -> Result<SignableBody<'p>, Refusal> {
        let given = headers.get(CONTENT).map(HeaderValue::to_str);
        let given = given.map(Result::unwrap_or_default);
        match (given, payload) {
            (Some("UNSIGNED-PAYLOAD"), _) => Ok(SignableBody::UnsignedPayload),
            (Some("STREAMING-UNSIGNED-PAYLOAD-TRAILER"), _) => {
                Ok(SignableBody::StreamingUnsignedPayloadTrailer)
            }
            (Some(word), _) if word.starts_with("STREAMING-") => Err(unsigned(
                "a body whose chunks are signed one by one cannot be signed anew; send it with `x-amz-content-sha256: UNSIGNED-PAYLOAD`, or its whole hash",
            )),
            (_, Payload::Held(body)) => Ok(SignableBody::Bytes(body)),
            (Some(hash), Payload::Streamed)
                if hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) =>
            {
                Ok(SignableBody::Precomputed(hash.to_owned()))
            }
            (_, Payload::Streamed) if self.is_s3() => Ok(SignableBody::UnsignedPayload),
            (_, Payload::Streamed) => Err(unsigned(
                "the body is too long to be hashed before it is sent (limits.hold_bytes); send its hash as `x-amz-content-sha256`",
            )),
        }
    }
}

const BAD_TARGET: &str = "the request target has characters that cannot be signed; percent-encode them, as UTF-8 in the query";

/// Where the request goes. What the query holds is decoded for signing, so it has to be text.
fn url(head: &Head<'_>) -> Result<String, Refusal> {
    let query = head.target.split_once('?').map_or("", |(_, query)| query);
    let is_text = percent_decode_str(query).decode_utf8().is_ok();
    if is_text && head.target.starts_with('/') {
        Ok(format!("https://{}{}", head.host, head.target))
    } else {
        Err(unsigned(BAD_TARGET))
    }
}

/// The fields to sign: what a server must not read otherwise. The rest, such as `User-Agent`,
/// may change on the way.
fn signed_fields<'h>(head: &'h Head<'_>) -> Result<Vec<(&'h str, &'h str)>, Refusal> {
    let signed = |name: &str| {
        name.starts_with("x-amz-") || matches!(name, "content-type" | "content-md5" | "range")
    };
    let mut fields = vec![("host", head.host)];
    for (name, value) in &*head.headers {
        let name = name.as_str();
        if signed(name) {
            let text = std::str::from_utf8(value.as_bytes()).map_err(|_| {
                unsigned(&format!(
                    "the field `{name}` is no text, and cannot be signed"
                ))
            })?;
            fields.push((name, text));
        }
    }
    Ok(fields)
}

/// Puts the fields of the signature into the head, none of them for an index of HPACK.
fn set(headers: &mut HeaderMap, made: SigningInstructions) -> Result<(), Refusal> {
    for field in made.into_parts().0 {
        let mut value = HeaderValue::from_str(field.value())
            .map_err(|_| unsigned("the signature is no value of a field"))?;
        let name = HeaderName::from_static(field.name());
        value.set_sensitive(field.sensitive() || name == header::AUTHORIZATION);
        headers.insert(name, value);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Arc<Secret> {
        Arc::new(Secret::new(text.as_bytes().to_vec()))
    }

    #[test]
    fn i5_debug_shows_neither_key_nor_token() {
        let process = secret(
            r#"{"AccessKeyId":"ASIA","SecretAccessKey":"canary-key","SessionToken":"canary-token"}"#,
        );
        let signer = Signer::new(&process, None, None, None).unwrap();
        assert_eq!(signer.secrets().count(), 2);
        let shown = format!("{signer:?} {signer:#?}");
        assert!(!shown.contains("canary"), "{shown}");
    }

    #[test]
    fn a_key_says_when_it_ends() {
        let at = |end: &str| {
            secret(&format!(
                r#"{{"SecretAccessKey":"k","Expiration":"{end}"}}"#
            ))
        };
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_577_836_800);
        let left = lifetime(&at("2020-01-01T02:00:30+02:00"), now);
        assert_eq!(left.unwrap(), Some(Duration::from_secs(30)));
        for end in ["2020-01-01T00:00:00Z", "2019-12-31T23:59:59Z"] {
            let told = lifetime(&at(end), now).unwrap_err();
            assert!(matches!(told, Cause::OutOfTime { .. }), "{end}");
        }
        assert!(matches!(lifetime(&at("soon"), now), Err(Cause::NoAwsKey)));
        for none in ["wJalrXUtnFEMI", r#"{"SecretAccessKey":"k"}"#] {
            assert_eq!(lifetime(&secret(none), now).unwrap(), None);
        }
    }
}
