//! Whatever stands in the files: findings or settings, never a panic.

use proptest::prelude::*;

use crate::{Folder, root};

fn shipped(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap()
}

fn load(portreeve: &[u8], rules: &[u8]) {
    let folder = Folder::new(&[]);
    folder.write("portreeve.toml", portreeve);
    folder.write("rules/a.toml", rules);
    match folder.load() {
        Ok(loaded) => drop(loaded.warnings.to_string()),
        Err(findings) => {
            assert!(findings.has_errors());
            assert!(!findings.to_string().is_empty());
        }
    }
}

/// Pieces that pass the first checks more often than bytes do.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "[[rule]]\n",
        "[[credential]]\n",
        "[[agent]]\n",
        "[rule.query]\n",
        "[limits]\n",
        "name",
        "hosts",
        "secret",
        "attach",
        "methods",
        "paths",
        "set_headers",
        "ports",
        " = ",
        "[",
        "]",
        "{",
        "}",
        ",",
        "\"",
        "\"\"\"",
        "'",
        "\"a.test\"",
        "\"*.é\"",
        "\"GET\"",
        "\"{secret}\"",
        "443",
        "-1",
        "1.5",
        "true",
        "\n",
        "\r\n",
        ".",
        "#",
        "é",
        "\u{0}",
        "\u{feff}",
    ]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(portreeve in prop::collection::vec(any::<u8>(), 0..200), rules in prop::collection::vec(any::<u8>(), 0..200)) {
        load(&portreeve, b"");
        load(b"", &rules);
    }

    #[test]
    fn any_pieces(portreeve in pieces(), rules in pieces()) {
        load(portreeve.as_bytes(), b"");
        load(b"", rules.as_bytes());
    }

    #[test]
    fn an_example_with_a_hole(from in 0_usize..4000, length in 0_usize..60, byte in any::<u8>()) {
        for name in ["tests/config/examples/portreeve.toml", "rules/github.toml"] {
            let mut bytes = shipped(name).into_bytes();
            let from = from % bytes.len();
            let to = (from + length).min(bytes.len());
            bytes.splice(from..to, [byte]);
            load(&bytes, b"");
            load(b"", &bytes);
        }
    }
}

#[test]
fn deep_nesting_is_an_error_like_any_other() {
    let deep = format!("a = {}", "[".repeat(100_000));
    load(deep.as_bytes(), deep.as_bytes());
    let tables = format!("a = {}", "{ a = ".repeat(100_000));
    load(tables.as_bytes(), b"");
    let dotted = format!("{}a = 1", "a.".repeat(10_000));
    load(dotted.as_bytes(), b"");
}
