//! The way of a connection and of a request.
