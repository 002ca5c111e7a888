//! HTTP on both legs.
