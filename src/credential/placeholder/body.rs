//! Swapping stand-ins in bodies and messages while they stream.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};

use super::form::Form;
use super::json::Json;
use super::text::Message;
use super::{Placeholder, Spot};
use crate::secret::Secret;

/// What a body consists of.
#[derive(Debug)]
pub enum Piece {
    /// The agent's own bytes.
    Plain(Bytes),
    /// A secret in place of a stand-in.
    Secret(Bytes),
}

/// A member or key, the stand-in that it may hold, and the secret.
#[derive(Clone, Debug)]
pub(super) struct Slot<P> {
    pub(super) place: P,
    pub(super) value: String,
    pub(super) secret: Arc<Secret>,
}

/// Swaps the stand-ins in one body, or in one message.
#[derive(Clone, Debug)]
pub enum Rewriter {
    /// `application/json` and `…+json`.
    Json(Box<Json>),
    /// `application/x-www-form-urlencoded`.
    Form(Box<Form>),
    /// A text message of a WebSocket.
    Message(Box<Message>),
}

impl Rewriter {
    /// For a body with these header fields; `None` where no credential names a place in such
    /// a body. A compressed body is none of them.
    pub(in crate::credential) fn new(
        placeholders: &[Arc<Placeholder>],
        headers: &HeaderMap,
    ) -> Option<Self> {
        let mut types = headers.get_all(CONTENT_TYPE).iter();
        let (first, second) = (types.next()?, types.next());
        if second.is_some() || headers.contains_key(CONTENT_ENCODING) {
            return None;
        }
        let kind = first.as_bytes().split(|&byte| byte == b';').next()?;
        let kind = kind.trim_ascii().to_ascii_lowercase();
        let slots = || placeholders.iter().flat_map(|it| it.slots());
        if kind == b"application/json" || kind.ends_with(b"+json") {
            let slots = slots().filter_map(|(spot, value, secret)| match spot {
                Spot::Json(path) => Some(slot(path.clone(), value, secret)),
                _ => None,
            });
            let slots: Vec<_> = slots.collect();
            return (!slots.is_empty()).then(|| Self::Json(Box::new(Json::new(slots))));
        }
        if kind == b"application/x-www-form-urlencoded" {
            let slots = slots().filter_map(|(spot, value, secret)| match spot {
                Spot::Form(key) => Some(slot(key.clone(), value, secret)),
                _ => None,
            });
            let slots: Vec<_> = slots.collect();
            return (!slots.is_empty()).then(|| Self::Form(Box::new(Form::new(slots))));
        }
        None
    }

    /// For text messages of a WebSocket, each of which takes one of its own; `None` where no
    /// credential names a place in them.
    pub(in crate::credential) fn of_messages(placeholders: &[Arc<Placeholder>]) -> Option<Self> {
        let (mut json, mut text) = (Vec::new(), Vec::new());
        for (spot, value, secret) in placeholders.iter().flat_map(|it| it.slots()) {
            match spot {
                Spot::MessageText => text.push(slot((), value, secret)),
                Spot::MessageJson(path) => json.push(slot(path.clone(), value, secret)),
                Spot::Header(_)
                | Spot::BasicUser
                | Spot::BasicPassword
                | Spot::Query(_)
                | Spot::Json(_)
                | Spot::Form(_) => {}
            }
        }
        Message::new(json, text).map(|message| Self::Message(Box::new(message)))
    }

    /// Takes what came next; gives what may go on. `last`: nothing comes after.
    pub fn push(&mut self, data: &Bytes, last: bool, out: &mut Vec<Piece>) {
        match self {
            Self::Json(json) => json.push(data, last, out),
            Self::Form(form) => form.push(data, last, out),
            Self::Message(message) => message.push(data, last, out),
        }
    }
}

fn slot<P>(place: P, value: &str, secret: &Arc<Secret>) -> Slot<P> {
    Slot {
        place,
        value: value.to_owned(),
        secret: Arc::clone(secret),
    }
}
