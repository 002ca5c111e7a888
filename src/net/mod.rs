//! Listeners, origin, sniffing, resolving, dialling.
