//! The record of a connection or request, and its writer.
