//! From a key to a connection: looked up, connected, its certificate verified, and held
//! against what the credentials ask of the server.

use std::time::Instant;

use bytes::Bytes;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use super::connection::Facts;
use super::{Exchange, Key, Upstreams};
use crate::credential::{Identity, Pinned};
use crate::error::{Reason, Refusal};
use crate::http::io::{BoxStream, WriteDeadline};
use crate::http::socket::Socket;
use crate::metrics::{Handshake, Side};
use crate::net::dial::Dialled;
use crate::net::lookups::Asker;
use crate::policy::Scheme;
use crate::tls::{UpstreamTls, Versions};

/// For whom a connection is made, and as whom.
#[derive(Clone, Copy)]
pub(super) struct Whom<'a> {
    pub(super) asker: Asker<'a>,
    pub(super) tls: &'a UpstreamTls,
    pub(super) key: &'a Key,
    pub(super) identity: Option<&'a Identity>,
    pub(super) pinned: &'a [Pinned],
}

impl<'a> Whom<'a> {
    pub(super) fn of(exchange: Exchange<'a, '_>) -> Self {
        Self {
            asker: exchange.asker,
            tls: exchange.tls,
            key: exchange.key,
            identity: exchange.outgoing.identity.as_ref(),
            pinned: &exchange.outgoing.pinned,
        }
    }
}

/// A connection to a server, verified, and whether it speaks HTTP/2.
pub(super) struct Reached {
    pub(super) io: BoxStream,
    pub(super) h2: bool,
}

/// A connection in clear, with its write deadline.
type Raw = WriteDeadline<Socket>;

impl Upstreams {
    /// Looks the key's name up, connects and, but for clear HTTP, verifies the certificate
    /// and that the credentials may go there.
    pub(super) async fn reach(
        &self,
        whom: Whom<'_>,
        versions: Versions,
    ) -> Result<(Reached, Facts), Refusal> {
        let key = whom.key;
        let Dialled { stream, peer } = self.dialler.dial(whom.asker, &key.authority).await?;
        let facts = Facts {
            peer,
            born: Instant::now(),
        };
        let socket = Socket::new(Bytes::new(), stream);
        let stream = WriteDeadline::new(socket, self.settings.write);
        if key.scheme == Scheme::Http {
            let io = Box::new(stream);
            return Ok((Reached { io, h2: false }, facts));
        }
        let stream = self.secure(whom, stream, versions).await?;
        self.prove(whom, &stream)?;
        let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let io = Box::new(stream);
        Ok((Reached { io, h2 }, facts))
    }

    /// Whether the server is one that the credentials may go to: before any byte of the
    /// request is sent. A pooled connection was made for the same credentials.
    fn prove(&self, whom: Whom<'_>, stream: &TlsStream<Raw>) -> Result<(), Refusal> {
        if whom.pinned.is_empty() {
            return Ok(());
        }
        let host = &whom.key.authority.host;
        let Some(proof) = whom.tls.proof(stream) else {
            return Err(Refusal::new(
                Reason::UpstreamIdentity,
                format!("the credential was withheld: nothing proves the server for {host}"),
            ));
        };
        let mut pinned = whom.pinned.iter();
        pinned.try_for_each(|pinned| self.remembered.check(pinned, host, &proof))
    }

    async fn secure(
        &self,
        whom: Whom<'_>,
        stream: Raw,
        versions: Versions,
    ) -> Result<TlsStream<Raw>, Refusal> {
        let started = Instant::now();
        let (key, limit) = (whom.key, self.settings.handshake);
        let host = &key.authority.host;
        let connect = async {
            match whom.identity {
                Some(identity) => {
                    whom.tls
                        .connect_as(identity.certified(), host, stream, versions)
                        .await
                }
                None => whom.tls.connect(host, stream, versions).await,
            }
        };
        let secured = timeout(limit, connect).await.unwrap_or_else(|_| {
            Err(Refusal::new(
                Reason::ConnectTimeout,
                format!(
                    "the TLS handshake with {} took longer than {} s",
                    key.authority.host,
                    limit.as_secs_f32()
                ),
            ))
        });
        let result = match &secured {
            Ok(_) => Handshake::Complete,
            Err(_) => Handshake::Failed,
        };
        self.metrics
            .tls
            .handshake(Side::Upstream, result, started.elapsed());
        secured
    }
}
