//! Step 11 for a request that became a WebSocket: messages pass both ways until one side, the
//! gateway or a limit ends it.

use http::{HeaderMap, StatusCode};

use super::connection::Connection;
use super::outcome::{Outcome, Sent};
use crate::error::{Reason, Refusal};
use crate::http::redact;
use crate::http::responder::Responder;
use crate::http::scan::{self, Scanner};
use crate::http::swap;
use crate::http::upstream::Switched;
use crate::http::websocket::{
    AgentLeg, Direction, Inspector, Offer, ServerLeg, Side, Times, relay,
};
use crate::policy::Allowed;

/// A WebSocket that the server has agreed to.
pub struct Opened {
    /// Of the server's 101, stripped.
    pub headers: HeaderMap,
    /// Its connection.
    pub server: Switched,
    /// What happens to messages to it.
    pub outward: Box<Outward>,
}

/// What happens to messages to a server.
#[derive(Default)]
pub struct Outward {
    /// What they are scanned by.
    pub scanner: Option<Scanner>,
    /// What swaps stand-ins in them.
    pub swap: Option<swap::Messages>,
}

/// Whether the rule lets a WebSocket through.
///
/// # Errors
/// [`Reason::UpgradeRefused`]
pub fn check(offer: Option<&Offer>, allowed: &mut Allowed) -> Result<(), Refusal> {
    if offer.is_none() {
        return Ok(());
    }
    if let Some(rule) = allowed.rule().filter(|rule| !rule.websocket) {
        let sentence = format!(
            "rule {} allows this request, but no WebSocket; its operator can say `websocket = true`",
            rule.name
        );
        return Err(Refusal::new(Reason::UpgradeRefused, sentence));
    }
    Offer::narrow(allowed.headers_mut());
    Ok(())
}

/// Tells the agent that the server agreed, then passes frames on to the end.
pub async fn serve(
    connection: &Connection,
    opened: Opened,
    responder: &Responder<'_>,
    outcome: &Outcome<'_>,
) -> Sent {
    let Opened {
        mut headers,
        mut server,
        outward,
    } = opened;
    let Outward { scanner, swap } = *outward;
    outcome.echo().headers(&mut headers);
    outcome.answering(StatusCode::SWITCHING_PROTOCOLS);
    let mut agent = responder.switch(&headers).await?;
    let settings = &connection.gateway.settings;
    let scan = scanner.map(scan::Messages::new).map(Box::new);
    let redact = redact::Messages::new(outcome.echo()).map(Box::new);
    let up = Direction::new(
        Side::Agent,
        scan.map_or(Inspector::None, Inspector::Scan),
        settings.message_bytes,
        outcome.sent().clone(),
    )
    .swapping(swap);
    let down = Direction::new(
        Side::Server,
        redact.map_or(Inspector::None, Inspector::Redact),
        settings.message_bytes,
        outcome.received().clone(),
    );
    outcome.opened([up.tally(), down.tally()]);
    let times = Times {
        idle: settings.timeouts.tunnel,
        life: settings.timeouts.tunnel_life,
        close: settings.timeouts.close,
    };
    let server_leg = ServerLeg {
        reader: &mut server.reader,
        writer: &mut server.writer,
    };
    let agent_leg = AgentLeg {
        reader: agent.reader,
        writer: &mut agent.writer,
    };
    let leave = connection.drain.begun();
    let ended = relay(agent_leg, server_leg, up, down, times, leave).await;
    drop(agent);
    let _ = tokio::time::timeout(times.close, server.writer.shutdown()).await;
    responder.ended(ended.orderly);
    if let Some(refusal) = &ended.refusal {
        let state = &connection.gateway.metrics.state;
        if refusal.reason == Reason::MessageTooLarge {
            state.limit_reached("limits.message_bytes");
        } else if refusal.reason == Reason::TunnelExpired {
            state.limit_reached("timeouts.tunnel_life");
        }
        outcome.refused(refusal);
    }
    Ok(())
}
