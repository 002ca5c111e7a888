//! The tables as seeds.

// `tests/common` as a whole needs namespaces; of it, the tables alone are used here.
mod wire {
    /// Where `needle` first stands in `bytes`.
    pub fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
        bytes
            .windows(needle.len())
            .position(|window| window == needle)
    }
}

#[path = "../common/table.rs"]
mod table;

/// The bytes of every row, with a word filled in.
pub fn seeds(text: &'static str, word: &str, with: &[u8]) -> Vec<Vec<u8>> {
    let rows = table::rows(text).into_iter();
    rows.map(|row| table::filled(&row.bytes, word, with))
        .collect()
}
