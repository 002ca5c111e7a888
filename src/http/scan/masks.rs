//! Masking what was found, byte by byte, so that nothing changes its length.

use std::ops::Range;

use http::{HeaderMap, header};

use crate::dlp::engine::TELLING;
use crate::dlp::{Coding, Finding};

/// Stands in the place of each byte.
pub const MASK: u8 = b'*';

/// So many bytes behind what was masked are looked at again: parts of known secrets are no
/// shorter than half of it.
const BEHIND: u64 = 24;

/// What is to be masked, in bytes from the beginning.
#[derive(Debug, Default)]
pub struct Masks(Vec<Range<u64>>);

impl Masks {
    /// Whether it is known exactly which bytes hold what was found, which is `data` once
    /// decoded: what stands beside an escape is found in a way that knows it only about.
    pub(super) fn is_exact(finding: &Finding, data: &[u8]) -> bool {
        let length = usize::try_from(finding.length).unwrap_or(usize::MAX);
        match finding.coding {
            Coding::Plain => length == data.len(),
            Coding::Base64(_) | Coding::Hex | Coding::Utf16Le | Coding::Utf16Be => {
                length <= finding.coding.encoded_len(data.len())
            }
            Coding::Escaped => false,
        }
    }

    /// Whether a finding can be masked in a stream of which all before `from` is gone. Of a
    /// beginning too short to tell anything, some may be.
    pub(super) fn can_take(finding: &Finding, data: &[u8], from: u64) -> bool {
        let told = finding.start.saturating_add(TELLING as u64);
        told > from && Self::is_exact(finding, data)
    }

    pub(super) fn push(&mut self, finding: &Finding) {
        let end = finding.start.saturating_add(u64::from(finding.length));
        self.0.push(finding.start..end);
    }

    /// Whether there is nothing to mask.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether some of so many bytes from `base` on are to be masked.
    pub(super) fn touch(&self, base: u64, length: usize) -> bool {
        let end = base.saturating_add(length as u64);
        self.0
            .iter()
            .any(|range| range.start < end && base < range.end)
    }

    /// What of `bytes` may still hold some of what was masked. What follows is looked at when
    /// it goes on.
    pub(super) fn around<'a>(&self, bytes: &'a [u8], base: u64) -> &'a [u8] {
        let end = self.0.iter().map(|range| range.end).max();
        let end = end.unwrap_or(base).saturating_add(BEHIND);
        bytes.get(..place(end, base)).unwrap_or(bytes)
    }

    /// Masks in `bytes`, the first of which stands at `base`.
    pub(super) fn apply(&self, bytes: &mut [u8], base: u64) {
        for range in &self.0 {
            let end = place(range.end, base).min(bytes.len());
            if let Some(masked) = bytes.get_mut(place(range.start, base).min(end)..end) {
                masked.fill(MASK);
            }
        }
    }
}

/// Where in bytes from `base` on the byte at `at` stands.
fn place(at: u64, base: u64) -> usize {
    usize::try_from(at.saturating_sub(base)).unwrap_or(usize::MAX)
}

/// Whether something in the request vouches for its bytes, so that masking some would break
/// it: a digest or signature, or a coding of the body.
pub(super) fn is_sealed(headers: &HeaderMap) -> bool {
    const VOUCHES: [&str; 8] = [
        "digest",
        "checksum",
        "signature",
        "sha256",
        "md5",
        "crc",
        "hmac",
        "goog-hash",
    ];
    const SIGNED: [&[u8]; 6] = [b"aws", b"goog", b"signature", b"sharedkey", b"hawk", b"mac"];
    let plain = |value: &[u8]| value.trim_ascii().eq_ignore_ascii_case(b"identity");
    headers.iter().any(|(name, value)| {
        let value = value.as_bytes();
        if *name == header::CONTENT_ENCODING {
            return !plain(value);
        }
        if *name == header::AUTHORIZATION {
            return SIGNED.iter().any(|scheme| {
                let start = value.get(..scheme.len());
                start.is_some_and(|start| start.eq_ignore_ascii_case(scheme))
            });
        }
        let name = name.as_str();
        // As x-amz-content-sha256 says where it vouches for nothing.
        let unsigned = value == b"UNSIGNED-PAYLOAD";
        VOUCHES.iter().any(|word| name.contains(word)) && !unsigned
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_found_is_masked_however_it_is_cut() {
        let finding = |start, length, coding| Finding {
            start,
            length,
            detector: 0,
            coding,
        };
        let mut masks = Masks::default();
        masks.push(&finding(3, 4, Coding::Plain));
        masks.push(&finding(9, 2, Coding::Hex));
        let text = b"0123456789abc";
        for cut in 0..=text.len() {
            let mut text = *text;
            let (one, other) = text.split_at_mut(cut);
            masks.apply(one, 0);
            masks.apply(other, cut as u64);
            assert_eq!(&text, b"012****78**bc", "{cut}");
            assert_eq!(masks.touch(0, cut), cut > 3, "{cut}");
            assert_eq!(masks.touch(cut as u64, 13), cut < 11, "{cut}");
        }
        assert!(Masks::is_exact(&finding(3, 4, Coding::Plain), b"four"));
        assert!(Masks::is_exact(&finding(3, 8, Coding::Hex), b"four"));
        assert!(!Masks::is_exact(&finding(3, 9, Coding::Hex), b"four"));
        assert!(!Masks::is_exact(&finding(3, 4, Coding::Escaped), b"four"));
        assert!(Masks::can_take(&finding(3, 4, Coding::Plain), b"four", 6));
        assert!(!Masks::can_take(&finding(3, 4, Coding::Plain), b"four", 7));
    }

    #[test]
    fn digests_and_signatures_are_not_broken() {
        for (name, value, sealed) in [
            ("content-digest", "sha-256=:x:", true),
            ("content-md5", "x", true),
            ("x-amz-content-sha256", "0a", true),
            ("x-amz-content-sha256", "UNSIGNED-PAYLOAD", false),
            ("x-amz-checksum-crc32c", "x", true),
            ("signature-input", "x", true),
            ("x-hub-signature-256", "sha256=0", true),
            ("authorization", "AWS4-HMAC-SHA256 Credential=x", true),
            ("authorization", "Bearer awsome", false),
            ("content-encoding", "aws-chunked", true),
            ("content-encoding", "Identity", false),
            ("content-type", "text/plain", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            assert_eq!(is_sealed(&headers), sealed, "{name}: {value}");
        }
    }
}
