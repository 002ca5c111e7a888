//! The name of a host that an agent chose, under a wildcard: whoever serves the domain is
//! told it, in a query and in a ClientHello.

use super::{Place, Scanner};
use crate::error::Refusal;
use crate::name::Host;

/// Labels that are put together: a name of more is data without any detector saying so, and
/// has its limit (`lookup_name_bits`).
const LABELS: usize = 32;
/// Characters of base32 that hold whole bytes.
const GROUP: usize = 8;
/// Both alphabets, in lower case as names are (RFC 4648 §6 and §7).
const ALPHABETS: [&[u8; 32]; 2] = [
    b"abcdefghijklmnopqrstuvwxyz234567",
    b"0123456789abcdefghijklmnopqrstuv",
];

impl Scanner {
    /// Scans a name as it is, its labels put together, and these as base32.
    ///
    /// # Errors
    /// [`crate::error::Reason::Detected`]
    pub fn host(&self, host: &Host) -> Result<(), Refusal> {
        let Some(name) = host.name() else {
            return Ok(());
        };
        self.bytes(name.as_bytes(), |_| Place::Host, false)?;
        let labels: Vec<&str> = name.split('.').take(LABELS).collect();
        // What is a token ends where its last label does.
        for count in 2..=labels.len() {
            let joined = labels.get(..count).unwrap_or_default().concat();
            self.bytes(joined.as_bytes(), |_| Place::Host, false)?;
        }
        let joined = labels.concat();
        for alphabet in ALPHABETS {
            for decoded in base32(joined.as_bytes(), alphabet) {
                self.bytes(&decoded, |_| Place::Host, false)?;
            }
        }
        Ok(())
    }
}

/// What `text` holds in base32, for each place at which a group may begin.
fn base32(text: &[u8], alphabet: &[u8; 32]) -> Vec<Vec<u8>> {
    let value = |byte: &u8| alphabet.iter().position(|known| known == byte);
    let decode = |text: &[u8]| {
        let (mut bits, mut held, mut bytes) = (0_usize, 0_u32, Vec::new());
        for byte in text {
            let Some(value) = value(byte) else {
                // No such character: what comes next is another text.
                (bits, held) = (0, 0);
                bytes.push(0);
                continue;
            };
            bits = (bits << 5 | value) & 0xfff;
            held += 5;
            if held >= 8 {
                held -= 8;
                bytes.extend(u8::try_from(bits >> held & 0xff));
            }
        }
        bytes
    };
    let starts = (0..GROUP).filter_map(|skip| text.get(skip..));
    starts.map(decode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base32_is_read_wherever_it_begins() {
        // "held-7Gq2zR9", by RFC 4648 §6 and §7.
        let (one, other) = ("nbswyzbng5dxcmt2ki4q", "d1imop1d6t3n2cjqa8sg");
        for (text, alphabet) in [(one, ALPHABETS[0]), (other, ALPHABETS[1])] {
            for before in ["", "a", "8a", "abcdefg"] {
                let text = format!("{before}{text}evil");
                let found = base32(text.as_bytes(), alphabet)
                    .iter()
                    .any(|bytes| bytes.windows(12).any(|part| part == b"held-7Gq2zR9"));
                assert!(found, "{text}");
            }
        }
    }
}
