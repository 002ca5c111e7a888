//! What is compressed and says so by its first bytes alone, as files do.

/// Bytes that tell.
pub const MAGIC: usize = 4;

/// The coding of what begins like this: gzip (RFC 1952 §2.3.1; old ones begin with `1f 9e`), a frame
/// of zstd (RFC 8878 §3.1.1), or one that its readers skip (§3.1.2). What no decoder here takes is
/// named, too: it cannot be judged.
#[must_use]
pub fn sniff(beginning: &[u8]) -> Option<&'static str> {
    match beginning {
        [0x1f, 0x8b | 0x9e, 8, ..] => Some("gzip"),
        [0x22..=0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some("zstd"),
        _ => None,
    }
}
