//! Listeners, origin, sniffing, resolving, dialling.
//!
//! On the agent's side: [`listen`] accepts, [`origin`] tells where a connection was going,
//! [`sniff`] tells what it speaks. On the server's side: [`resolve`] looks the name up
//! (within [`lookups`]),
//! [`forbidden`] judges every address (with [`own`] for the gateway's), [`dial`] connects.

pub mod dial;
pub mod forbidden;
pub mod limits;
pub mod listen;
pub mod lookups;
pub mod origin;
pub mod own;
pub mod resolve;
pub mod sniff;
