//! Queries over TCP (RFC 7766): each message behind its length in two bytes.

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::reply::{Transport, reply};
use super::shares::Shares;
use super::{Answers, QUERY_MAX, Settings, Verdict};

/// After a failed accept; out of descriptors it would fail again at once.
const PAUSE: Duration = Duration::from_millis(100);

/// Answers connections for ever, or until dropped; the connections end with the future.
/// Connections over the limits are closed.
pub async fn serve_tcp<A: Answers>(
    listener: TcpListener,
    answers: Arc<A>,
    settings: Settings,
) -> Infallible {
    let shares = Shares::new(settings.connections, settings.connections_per_client);
    let settings = Arc::new(settings);
    let mut connections = tokio::task::JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept DNS connections; will retry");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let client = peer.ip().to_canonical();
        let Some(share) = shares.take(client) else {
            answers.count(Verdict::Dropped);
            continue;
        };
        let (answers, settings) = (Arc::clone(&answers), Arc::clone(&settings));
        connections.spawn(async move {
            let _share = share;
            if let Err(error) = serve(stream, client, &*answers, &settings).await {
                tracing::debug!(%client, %error, "a DNS connection ended early");
            }
        });
    }
}

/// The queries of one connection, one after the other.
async fn serve(
    mut stream: TcpStream,
    client: IpAddr,
    answers: &impl Answers,
    settings: &Settings,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    for _ in 0..settings.queries_per_connection {
        let Some(query) = timeout(settings.idle, read_query(&mut stream)).await?? else {
            return Ok(());
        };
        let reply = reply(answers, settings, client, Transport::Tcp, &query).await;
        let Some(reply) = reply else {
            return Ok(()); // no query: nothing sensible follows
        };
        let Ok(length) = u16::try_from(reply.len()) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let framed = [&length.to_be_bytes()[..], &reply].concat();
        timeout(settings.idle, stream.write_all(&framed)).await??;
    }
    Ok(())
}

/// `None` when the client has closed. What announces more than any query needs is not read:
/// it counts as an empty message, which is malformed.
async fn read_query(stream: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let length = match stream.read_u16().await {
        Ok(length) => usize::from(length),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    if length > QUERY_MAX {
        return Ok(Some(Vec::new()));
    }
    let mut query = vec![0; length];
    stream.read_exact(&mut query).await?;
    Ok(Some(query))
}
