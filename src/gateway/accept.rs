//! Step 1, accept: permit, origin, agent.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};

use super::Gateway;
use super::connection::{self, Arrival};
use super::drain::Drain;
use crate::error::Reason;
use crate::metrics::IpFamily;
use crate::name::ClientAddr;
use crate::net::listen::{Backoff, accept};
use crate::net::origin;

/// Accepts redirected connections until the gateway drains.
pub async fn serve(gateway: Arc<Gateway>, listener: TcpListener, mut drain: Drain) {
    let mut backoff = Backoff::new();
    loop {
        let (stream, peer) = tokio::select! {
            () = drain.begun() => return,
            accepted = accept(&listener, &mut backoff, |error| {
                tracing::warn!(%error, "cannot accept connections; trying again after a pause");
            }) => accepted,
        };
        match arrive(&gateway, &stream, origin::client_addr(peer)) {
            Ok(arrival) => {
                let task = connection::run(arrival, stream, drain.clone());
                gateway.tasks.spawn(task);
            }
            Err(reason) => gateway.metrics.connections.refuse(reason),
        }
    }
}

/// What is known of a connection before its first byte. Whatever is missing closes it:
/// there is no fallback to another address or agent.
fn arrive(
    gateway: &Arc<Gateway>,
    stream: &TcpStream,
    client: ClientAddr,
) -> Result<Arrival, Reason> {
    let family = match client.0 {
        SocketAddr::V4(_) => IpFamily::V4,
        SocketAddr::V6(_) => IpFamily::V6,
    };
    let active = gateway.metrics.connections.accept(family);
    let origin = origin::origin(stream).ok_or(Reason::NoOrigin)?;
    if gateway.own_addresses.contains(origin.0.ip()) {
        return Err(Reason::Loop);
    }
    let agent = gateway.active().policy.agent(client.0.ip()).clone();
    gateway
        .refusals
        .check(&agent)
        .map_err(|refusal| refusal.reason)?;
    let permit = gateway
        .connections
        .take(&agent)
        .map_err(|_| Reason::ConnectionLimit)?;
    Ok(Arrival {
        gateway: gateway.clone(),
        agent,
        client,
        origin,
        permit,
        active,
    })
}
