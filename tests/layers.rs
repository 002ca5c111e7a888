//! The architecture, held by tests: which module may import which, how long a file may get,
//! where unsafe code may be, and what must not be linked into the shipped binary.

// A test may give up.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::unwrap_used
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The modules of the crate, lowest layer first. Imports point to lower layers only.
const LAYERS: [&[&str]; 7] = [
    &["name", "secret", "error"],
    &["metrics", "audit"],
    &["ca", "policy", "dlp", "credential", "net", "dns", "tls"],
    &["http", "config", "sources"],
    &["gateway", "nft", "jail", "admin"],
    &["cli"],
    &["main"],
];

/// Imports within one layer, each with its reason.
const SIBLINGS: [(&str, &str); 2] = [
    // What to attach is part of a rule.
    ("credential", "policy"),
    // Servers are known by the keys that prove them.
    ("credential", "tls"),
];

/// The only module that may hold unsafe code, and the file with the one other use: calls of
/// what needs a feature of the processor that was just looked for.
const UNSAFE: &str = "jail";
const UNSAFE_CALL: &str = "src/dlp/planes.rs";

/// Lines of a file, tests not counted, from which on it is hard to read and impossible.
const LONG: usize = 500;
const TOO_LONG: usize = 600;

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// A source file, and what module of the crate's root it belongs to.
struct Source {
    path: PathBuf,
    /// `nft`, `render` for `src/nft/render.rs`.
    modules: Vec<String>,
    text: String,
}

impl Source {
    fn module(&self) -> &str {
        &self.modules[0]
    }

    /// The lines without comments, so that links in documentation are no imports.
    fn code(&self) -> String {
        let without_comment = |line: &str| match line.find("//") {
            // Not the slashes of a URL.
            Some(at) if !line[..at].ends_with(':') => line[..at].to_owned(),
            _ => line.to_owned(),
        };
        self.text
            .lines()
            .map(without_comment)
            .collect::<Vec<_>>()
            .join("\n")
    }

    fn lines_without_tests(&self) -> usize {
        self.text
            .lines()
            .take_while(|line| *line != "#[cfg(test)]")
            .count()
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    find_sources(&root, &mut files);
    assert!(files.len() > 10, "where are the sources?");
    let source = |path: PathBuf| {
        let inner = path.strip_prefix(&root).unwrap().with_extension("");
        let mut modules: Vec<String> = inner
            .iter()
            .map(|part| part.to_str().unwrap().to_owned())
            .collect();
        modules.pop_if(|last| last == "mod");
        Source {
            text: fs::read_to_string(&path).unwrap(),
            path,
            modules,
        }
    };
    files.into_iter().map(source).collect()
}

fn find_sources(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            find_sources(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The modules of the crate's root that `code` names: behind `crate::`, behind enough
/// `super::` from a module `depth` levels deep, and, in `main.rs`, behind `portreeve::`.
fn imports(code: &str, depth: usize) -> BTreeSet<String> {
    let up = "super::".repeat(depth);
    let mut found = BTreeSet::new();
    for prefix in ["crate::", "portreeve::", up.as_str()] {
        for (at, _) in code.match_indices(prefix) {
            let before = code[..at].chars().next_back();
            let word = |character: char| character.is_alphanumeric() || character == '_';
            if before.is_some_and(|before| word(before) || before == ':') {
                continue;
            }
            found.extend(first_words(&code[at + prefix.len()..]));
        }
    }
    found
}

/// `a` for `a::b`, and `a`, `b` for `{a::{x, y}, b}`.
fn first_words(path: &str) -> Vec<String> {
    let Some(group) = path.strip_prefix('{') else {
        let word = path
            .chars()
            .take_while(|character| character.is_alphanumeric() || *character == '_');
        return vec![word.collect()];
    };
    let mut words = vec![String::new()];
    let mut depth = 0;
    let mut in_first = true;
    for character in group.chars() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                words.push(String::new());
                in_first = true;
            }
            ':' => in_first = false,
            _ if in_first && !character.is_whitespace() => {
                words.last_mut().unwrap().push(character);
            }
            _ => {}
        }
    }
    words
}

#[test]
fn imports_are_found_in_every_form() {
    let words = |code: &str, depth| {
        imports(code, depth)
            .into_iter()
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(words("use crate::policy::rule::Rule;", 2), "policy");
    assert_eq!(
        words("use crate::{error::Reason, net::{a, b}, tls};", 1),
        "error net tls"
    );
    assert_eq!(
        words("fn f(x: &crate::name::Host) -> portreeve::tls::X {", 1),
        "name tls"
    );
    assert_eq!(words("use super::super::gateway;", 2), "gateway");
    assert_eq!(words("use super::gateway;", 2), "");
    assert_eq!(words("use super::gateway;", 1), "gateway");
    assert_eq!(words("use my_crate::policy; a::crate::b;", 1), "");
}

#[test]
fn imports_point_down_only() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| source.module() != "lib") {
        let module = source.module();
        let own =
            layer(module).unwrap_or_else(|| panic!("module {module} has no layer: see LAYERS"));
        for import in imports(&source.code(), source.modules.len()) {
            // Other words are items of the root or of a module above, not modules.
            let Some(other) = layer(&import) else {
                continue;
            };
            let allowed = other < own || import == module || SIBLINGS.contains(&(module, &import));
            if !allowed {
                wrong.push(format!(
                    "{}: {module} imports {import}",
                    source.path.display()
                ));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "imports must point down only:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn unsafe_code_is_in_one_module_and_one_call() {
    for source in sources().iter().filter(|source| source.module() != UNSAFE) {
        let code = source.code();
        let words = code.split(|character: char| !character.is_alphanumeric() && character != '_');
        let uses = words.filter(|word| *word == "unsafe").count();
        let allowed = usize::from(source.path.ends_with(UNSAFE_CALL));
        assert!(uses <= allowed, "unsafe code in {}", source.path.display());
    }
}

#[test]
fn files_can_be_read_without_scrolling_for_long() {
    for source in sources() {
        let lines = source.lines_without_tests();
        if lines > LONG {
            println!("long: {} has {lines} lines", source.path.display());
        }
        assert!(
            lines <= TOO_LONG,
            "{} has {lines} lines: split it",
            source.path.display()
        );
    }
}

/// DESIGN: one crypto provider, aws-lc-rs. Two would be two attack surfaces, and rustls would
/// pick one of them by accident.
#[test]
fn one_crypto_provider_is_linked() {
    let linked = normal_dependencies();
    assert!(linked.contains("aws-lc-rs"), "where are the dependencies?");
    for forbidden in [
        "ring",
        "openssl",
        "openssl-sys",
        "native-tls",
        "boring",
        "boring-sys",
    ] {
        assert!(
            !linked.contains(forbidden),
            "{forbidden} is in the shipped binary"
        );
    }
}

/// The names of all packages that are linked into the binary on this platform.
///
/// By `cargo tree`: `cargo metadata` resolves without regard to which features are on, and
/// names packages that are never built.
fn normal_dependencies() -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--edges=normal", "--prefix=none", "--format={p}"])
        .args(["--locked", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo tree");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo tree: {error}");
    let tree = String::from_utf8(output.stdout).unwrap();
    tree.lines()
        .filter_map(|line| line.split(' ').next())
        .map(str::to_owned)
        .collect()
}
