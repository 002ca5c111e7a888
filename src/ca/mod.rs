//! The local CA: minting and caching leaves.
