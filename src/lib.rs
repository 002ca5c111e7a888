//! Portreeve, the gateway between AI agents and the internet.
//!
//! The data path reads top to bottom in [`gateway`]: accept, sniff, admit, handshake, read
//! request, decide, strip, hold, attach, dial, relay, record. Everything below it is
//! mechanism and takes plain values; only [`config`] knows TOML.

pub mod admin;
pub mod audit;
pub mod ca;
pub mod cli;
pub mod config;
pub mod credential;
pub mod dlp;
pub mod dns;
pub mod error;
pub mod gateway;
pub mod http;
pub mod jail;
pub mod metrics;
pub mod name;
pub mod net;
pub mod nft;
pub mod policy;
pub mod secret;
pub mod sources;
pub mod tls;
