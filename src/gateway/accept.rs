//! Step 1, accept: permit, origin, agent.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use tokio::net::TcpListener;

use super::connection::{self, Arrival};
use super::drain::Drain;
use super::{Gateway, outcome};
use crate::error::{Reason, Refusal};
use crate::metrics::IpFamily;
use crate::name::{AgentName, ClientAddr, Origin};
use crate::net::limits::LimitReached;
use crate::net::listen::{Backoff, accept};
use crate::net::origin;

/// Accepts redirected connections until the gateway drains.
pub async fn serve(gateway: Arc<Gateway>, listener: TcpListener, drain: Drain) {
    let mut backoff = Backoff::new();
    let mut leaving = pin!(drain.begun());
    loop {
        let (stream, peer) = tokio::select! {
            () = leaving.as_mut() => return,
            accepted = accept(&listener, &mut backoff, |error| {
                tracing::warn!(%error, "cannot accept connections; trying again after a pause");
            }) => accepted,
        };
        let client = origin::client_addr(peer);
        let agent = gateway.active().policy.agent(client.0.ip()).clone();
        let origin = origin::origin(&stream);
        match arrive(&gateway, &agent, client, origin) {
            Ok(arrival) => {
                let task = connection::run(arrival, stream, drain.clone());
                gateway.tasks.spawn(drain.run(task));
            }
            // Whoever knocks without end must not fill the log, so past a rate it is counted only.
            Err(refusal) if gateway.refused_records.check(&agent) => {
                outcome::connection_refused(&gateway, (&agent, client, origin), None, &refusal);
            }
            Err(refusal) => {
                let limit = "limits.refused_connection_records_per_second";
                gateway.metrics.state.limit_reached(limit);
                gateway.metrics.connections.refuse(refusal.reason);
            }
        }
    }
}

/// What is known of a connection before its first byte. Whatever is missing closes it:
/// there is no fallback to another address or agent.
fn arrive(
    gateway: &Arc<Gateway>,
    agent: &AgentName,
    client: ClientAddr,
    origin: Option<Origin>,
) -> Result<Arrival, Refusal> {
    let family = match client.0 {
        SocketAddr::V4(_) => IpFamily::V4,
        SocketAddr::V6(_) => IpFamily::V6,
    };
    let active = gateway.metrics.connections.accept(family);
    let origin = origin.ok_or_else(|| {
        Refusal::new(
            Reason::NoOrigin,
            "the connection was not redirected here, so nobody knows where it should go",
        )
    })?;
    if gateway.own_addresses.contains(origin.0.ip()) {
        return Err(Refusal::new(
            Reason::Loop,
            "the connection was going to the gateway itself",
        ));
    }
    gateway.refusals.check(agent)?;
    let permit = gateway.connections.take(agent).map_err(|reached| {
        let (limit, whose) = match reached {
            LimitReached::All => ("limits.connections", "the gateway has"),
            LimitReached::Agent => ("limits.connections_per_agent", "this agent has"),
        };
        gateway.metrics.state.limit_reached(limit);
        let sentence = format!("{whose} as many connections as {limit} allows");
        Refusal::new(Reason::ConnectionLimit, sentence)
    })?;
    Ok(Arrival {
        gateway: gateway.clone(),
        agent: agent.clone(),
        client,
        origin,
        permit,
        active,
    })
}
