//! TLS settings of both legs.
