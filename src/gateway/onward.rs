//! Step 10: the way of one request to its server; once more where a token was not taken.

use http::StatusCode;

use super::Active;
use super::connection::Connection;
use super::outcome::Outcome;
use crate::error::Refusal;
use crate::http::body::Body;
use crate::http::redact::Agentward;
use crate::http::responder::Responder;
use crate::http::upstream::{Arrived, Exchange, Key, Outgoing, Parts, Switched};
use crate::http::websocket::Offer;
use crate::policy::Scheme;
use crate::tls::UpstreamTls;

/// All that a request needs on its way beside itself.
pub(super) struct Onward<'a, 'r> {
    pub(super) connection: &'a Connection,
    pub(super) active: &'a Active,
    pub(super) tls: &'a UpstreamTls,
    pub(super) responder: &'a Responder<'r>,
    pub(super) outcome: &'a Outcome<'a>,
}

impl<'r> Onward<'_, 'r> {
    /// Sends the request. A server that does not take a token gets it once more with another
    /// one, where `renewable` says so and the body is at hand.
    pub(super) async fn send(
        &self,
        key: Key,
        outgoing: &mut Outgoing,
        body: Body,
        renewable: bool,
    ) -> Result<Arrived, Refusal> {
        let upstreams = &self.connection.gateway.upstreams;
        let again = if renewable { body.replay() } else { None };
        let exchange = self.exchange(&key, outgoing);
        let arrived = upstreams.send(exchange, body).await?;
        let (StatusCode::UNAUTHORIZED, Some(body)) = (arrived.response.status(), again) else {
            return Ok(arrived);
        };
        let Some(key) = Box::pin(self.renewed(key, outgoing)).await? else {
            return Ok(arrived);
        };
        Box::pin(upstreams.send(self.exchange(&key, outgoing), body)).await
    }

    /// Asks for a WebSocket.
    pub(super) async fn upgrade(
        &self,
        key: Key,
        outgoing: &Outgoing,
        offer: &Offer,
    ) -> Result<(Arrived, Option<Switched>), Refusal> {
        let upstreams = &self.connection.gateway.upstreams;
        Box::pin(upstreams.upgrade(self.exchange(&key, outgoing), offer)).await
    }

    fn exchange<'a>(&'a self, key: &'a Key, outgoing: &'a Outgoing) -> Exchange<'a, 'r> {
        Exchange {
            asker: self.active.asker(self.outcome.agent(), &key.authority.host),
            tls: self.tls,
            key,
            outgoing,
            agentward: Agentward {
                responder: self.responder,
                echo: self.outcome.echo(),
            },
        }
    }

    /// Attaches newer tokens. The new key, or `None` where there are none.
    async fn renewed(&self, key: Key, outgoing: &mut Outgoing) -> Result<Option<Key>, Refusal> {
        let gateway = &self.connection.gateway;
        let mut is_newer = false;
        for (name, generation) in &key.credentials {
            if gateway.active().credentials.is_minted(name) {
                is_newer |= gateway.renewed(name, *generation).await.is_some();
            }
        }
        if !is_newer {
            return Ok(None);
        }
        // Before any is attached, and for all of them at once.
        let active = gateway.active();
        self.outcome.look_for(Some(&active))?;
        let (store, tls) = (&active.credentials, outgoing.scheme == Scheme::Https);
        let mut credentials = key.credentials.clone();
        for (name, generation) in &mut credentials {
            if store.is_minted(name)
                && let Ok(attachment) = store.attachment(name, &outgoing.authority, tls)
            {
                *generation = attachment.generation;
                outgoing.renew(attachment);
            }
        }
        outgoing.passed.reset();
        let parts = Parts {
            credentials,
            ..Parts::clone(&key)
        };
        Ok(Some(parts.into()))
    }
}
