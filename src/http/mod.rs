//! HTTP on both legs.
//!
//! Heads come in through one strict parser per version ([`h1`], the `h2` crate), become one
//! canonical request ([`mod@canonical`]), are stripped ([`strip`]) and go out over a pooled,
//! verified connection ([`upstream`]). The answer goes back through a [`responder`].
//! Bodies stream frame by frame ([`body`]) and are never collected without a limit.

pub mod body;
pub mod canonical;
pub mod decode;
pub mod h1;
pub mod h2;
pub mod incoming;
pub mod io;
pub mod passing;
pub mod raw;
pub mod redact;
pub mod refusal;
pub mod responder;
pub mod scan;
pub mod socket;
pub mod strip;
pub mod swap;
pub mod timer;
pub mod upstream;
pub mod websocket;
