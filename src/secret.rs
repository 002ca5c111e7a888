//! A value that never prints and is wiped when dropped.

use std::fmt;

use zeroize::Zeroizing;

/// Secret bytes. `Debug` shows nothing of them, not even their number; dropping wipes them.
///
/// There is no `Display`, `Clone`, `PartialEq` or `Serialize`: whoever needs the bytes says
/// [`Secret::expose`], and a search for that word finds every place.
pub struct Secret(Zeroizing<Box<[u8]>>);

impl Secret {
    /// Takes the bytes; the vector's own allocation is the one that is kept, so no
    /// unwiped copy stays behind unless it has to shrink.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        let bytes = Zeroizing::new(bytes);
        Self(Zeroizing::new(bytes.as_slice().into()))
    }

    /// The bytes, for the one place that puts them on the wire.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing() {
        let secret = Secret::new(b"hunter2".to_vec());
        assert_eq!(format!("{secret:?}"), "Secret(..)");
        assert_eq!(secret.expose(), b"hunter2");
    }
}
