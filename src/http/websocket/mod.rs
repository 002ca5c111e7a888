//! WebSocket (RFC 6455) over HTTP/1.1: the handshake judged on both sides, then frames passed
//! on one by one, with their messages looked at.
//!
//! Nothing is tunnelled: every frame is parsed strictly and written anew, without extensions,
//! so that what an inspector sees is what arrives. UTF-8 is for the endpoints to judge; it
//! passes unchanged, valid or not.

mod direction;
mod frame;
mod handshake;
mod relay;

pub use direction::{Direction, Inspector, Tally, Violation};
pub use frame::Side;
pub use handshake::{Offer, UPGRADE, is_websocket};
pub use relay::{AgentLeg, Ended, ServerLeg, Times, relay};
