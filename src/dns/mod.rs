//! The DNS responder.
