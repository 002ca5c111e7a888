//! A small HTTP/1.1 client for vaults and token endpoints: one request a connection.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use zeroize::Zeroizing;

use crate::credential::{TokenUrl, Vault};
use crate::name::AgentName;
use crate::net::dial::Dialler;
use crate::net::lookups::Asker;
use crate::tls::{Trust, UpstreamTls, Versions};

/// Far above any token response.
const BODY_MAX: usize = 256 * 1024;
/// GitHub refuses requests without one.
const USER_AGENT: &str = concat!("portreeve/", env!("CARGO_PKG_VERSION"));

/// For whom names are looked up that no agent asked for.
const OWN: &str = "gateway";

/// Asks servers.
pub(super) struct Client {
    dialler: Arc<Dialler>,
    tls: UpstreamTls,
    own: AgentName,
}

/// What is asked.
pub(super) struct Ask<'a> {
    pub(super) method: Method,
    pub(super) target: String,
    /// Besides `Host`, `User-Agent` and `Accept`.
    pub(super) headers: Vec<(header::HeaderName, Zeroizing<String>)>,
    /// Content type and content.
    pub(super) body: Option<(&'a str, Zeroizing<String>)>,
}

/// What was answered.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) date: Option<SystemTime>,
    pub(super) body: Zeroizing<Vec<u8>>,
}

/// Why there is no answer, as the rest of a sentence about the server.
#[derive(Debug)]
pub(super) struct NoAnswer(pub(super) String);

impl Client {
    pub(super) fn new(dialler: Arc<Dialler>, tls: UpstreamTls) -> Self {
        Self {
            dialler,
            tls,
            own: AgentName::new(OWN),
        }
    }

    /// Asks a token endpoint, dialled and verified as servers are for agents (I4, I8).
    pub(super) async fn token(&self, url: &TokenUrl, ask: Ask<'_>) -> Result<Answer, NoAnswer> {
        let asker = Asker {
            agent: &self.own,
            is_written: true,
        };
        let dialled = self.dialler.dial(asker, &url.authority).await;
        let dialled = dialled.map_err(|refusal| NoAnswer(refusal.sentence))?;
        let (tls, host) = (&self.tls, &url.authority.host);
        let stream = tls.connect(host, dialled.stream, Versions::Http1).await;
        let stream = stream.map_err(|refusal| NoAnswer(refusal.sentence))?;
        exchange(stream, &url.authority.to_field(443), ask).await
    }

    /// Asks a vault, which is the operator's own: its address is not judged.
    pub(super) async fn vault(&self, vault: &Vault, ask: Ask<'_>) -> Result<Answer, NoAnswer> {
        let (host, port) = (&vault.host, vault.port);
        let stream = TcpStream::connect((host.text().as_ref(), port)).await;
        let stream = stream.map_err(|error| NoAnswer(format!("cannot be reached: {error}")))?;
        let field = format!("{host}:{port}");
        if !vault.tls {
            return exchange(stream, &field, ask).await;
        }
        let tls = match &vault.ca {
            Some(ca) => own_trust(ca)?,
            None => self.tls.clone(),
        };
        let stream = tls.connect(host, stream, Versions::Http1).await;
        let stream = stream.map_err(|refusal| NoAnswer(refusal.sentence))?;
        exchange(stream, &field, ask).await
    }
}

fn own_trust(ca: &Path) -> Result<UpstreamTls, NoAnswer> {
    let tls = UpstreamTls::with_sessions(&Trust::Pem(vec![ca.to_owned()]), &[], 1);
    tls.map_err(|_| {
        NoAnswer(format!(
            "cannot be verified: its `ca`, `{}`, cannot be read or holds no certificate",
            ca.display()
        ))
    })
}

async fn exchange<IO>(stream: IO, host: &str, ask: Ask<'_>) -> Result<Answer, NoAnswer>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |error: hyper::Error| NoAnswer(format!("broke off: {error}"));
    let request = request(host, ask)?;
    let connected = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut send, connection) = connected.map_err(broken)?;
    let driving = tokio::spawn(connection);
    let response = send.send_request(request).await.map_err(broken)?;
    let status = response.status();
    let date = response.headers().get(header::DATE).and_then(date);
    #[expect(clippy::disallowed_methods, reason = "it has a limit")]
    let body = Limited::new(response.into_body(), BODY_MAX).collect().await;
    driving.abort();
    let body = body.map_err(|_| NoAnswer("sent no whole answer".to_owned()))?;
    Ok(Answer {
        status,
        date,
        body: Zeroizing::new(body.to_bytes().to_vec()),
    })
}

fn request(host: &str, ask: Ask<'_>) -> Result<Request<Full<Bytes>>, NoAnswer> {
    let unfit =
        |_| NoAnswer("cannot be asked: a configured value holds what HTTP cannot carry".to_owned());
    let mut headers = HeaderMap::new();
    headers.insert(header::HOST, HeaderValue::from_str(host).map_err(unfit)?);
    headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    for (name, value) in &ask.headers {
        let mut value = HeaderValue::from_str(value).map_err(unfit)?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    let mut body = Bytes::new();
    if let Some((media_type, content)) = ask.body {
        let media_type = HeaderValue::from_str(media_type).map_err(unfit)?;
        headers.insert(header::CONTENT_TYPE, media_type);
        body = Bytes::copy_from_slice(content.as_bytes());
    }
    let target = if ask.target.is_empty() {
        "/"
    } else {
        &ask.target
    };
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = ask.method;
    *request.uri_mut() = target
        .parse()
        .map_err(|_| NoAnswer("cannot be asked: its URL is none".to_owned()))?;
    *request.headers_mut() = headers;
    Ok(request)
}

/// RFC 9110 §5.6.7, the form that is sent today.
fn date(value: &HeaderValue) -> Option<SystemTime> {
    let format = time::macros::format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    let date = time::PrimitiveDateTime::parse(value.to_str().ok()?, format).ok()?;
    Some(date.assume_utc().into())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn dates() {
        let value = HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT");
        let expected = UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(date(&value), Some(expected));
        assert_eq!(date(&HeaderValue::from_static("yesterday")), None);
    }
}
