//! What the README says is so: its commands do what it says, its TOML loads, and its tables
//! agree with the code.
//!
//! A line `<!-- test: NAME -->` before a fence names that block for a test.

// A test may give up.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::string_slice,
    clippy::unwrap_used
)]

mod common;

#[path = "readme/commands.rs"]
mod commands;
#[path = "readme/tables.rs"]
mod tables;
#[path = "readme/toml.rs"]
mod toml;

const README: &str = include_str!("../README.md");

/// A fenced block.
struct Block {
    /// The name that its marker gives it.
    name: Option<&'static str>,
    /// What stands behind the fence's backticks.
    language: &'static str,
    text: String,
}

fn blocks() -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let (mut name, mut open) = (None, false);
    for line in README.lines() {
        let fence = line.strip_prefix("```");
        match (open, fence) {
            (false, Some(language)) => {
                let text = String::new();
                let name = std::mem::take(&mut name);
                blocks.push(Block {
                    name,
                    language,
                    text,
                });
                open = true;
            }
            (true, Some(_)) => open = false,
            (true, None) => {
                let text = &mut blocks.last_mut().unwrap().text;
                text.push_str(line);
                text.push('\n');
            }
            (false, None) => {
                let marker = line.strip_prefix("<!-- test: ");
                name = marker
                    .map(|marker| marker.strip_suffix(" -->").unwrap())
                    .or(name);
            }
        }
    }
    assert!(!open, "every fence is closed");
    blocks
}

/// The block with this name.
fn block(name: &str) -> String {
    let mut named = blocks()
        .into_iter()
        .filter(|block| block.name == Some(name));
    let block = named.next().unwrap_or_else(|| panic!("no block {name}"));
    assert!(named.next().is_none(), "two blocks {name}");
    block.text
}
