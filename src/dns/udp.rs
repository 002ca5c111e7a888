//! Queries over UDP.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;

use super::datagrams::Datagrams;
use super::reply::{Transport, reply};
use super::shares::Shares;
use super::{Answers, QUERY_MAX, Settings, Verdict};

/// After the socket failed; a lasting failure must not make a busy loop.
const PAUSE: Duration = Duration::from_millis(100);

/// Answers queries for ever, or until dropped. Queries over the limits are dropped: the
/// client asks again.
///
/// # Errors
/// Only at the start, when the socket cannot report where datagrams were sent to.
pub async fn serve_udp<A: Answers>(
    socket: UdpSocket,
    answers: Arc<A>,
    settings: Settings,
) -> io::Result<Infallible> {
    let datagrams = Arc::new(Datagrams::new(socket)?);
    let shares = Shares::new(settings.queries, settings.queries_per_client);
    let settings = Arc::new(settings);
    // One more than a query may have: a longer one is seen to be, and refused.
    let mut buffer = [0; QUERY_MAX + 1];
    loop {
        let (length, sender) = match datagrams.receive(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                tracing::warn!(%error, "cannot receive DNS queries; will retry");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let client = sender.peer.ip().to_canonical();
        let Some(share) = shares.take(client) else {
            answers.count(Verdict::Dropped);
            continue;
        };
        let query = buffer.get(..length).unwrap_or_default().to_vec();
        let (answers, settings) = (Arc::clone(&answers), Arc::clone(&settings));
        let datagrams = Arc::clone(&datagrams);
        tokio::spawn(async move {
            let _share = share;
            let reply = reply(&*answers, &settings, client, Transport::Udp, &query).await;
            if let Some(reply) = reply
                && let Err(error) = datagrams.send(&reply, &sender).await
            {
                tracing::debug!(%client, %error, "cannot send a DNS reply");
            }
        });
    }
}
