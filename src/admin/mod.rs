//! Metrics and health server.
