//! Hostile bytes by the table: a line of bytes, an expectation, and what the server received.
//!
//! The tables stand beside this file as text; they also seed `tests/fuzz.rs`.

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

#[path = "hostile/addresses.rs"]
mod addresses;
#[path = "hostile/dns.rs"]
mod dns;
#[allow(dead_code, reason = "also used by others")]
#[path = "holding/frames.rs"]
mod frames;
#[path = "hostile/http1.rs"]
mod http1;
#[path = "hostile/http2.rs"]
mod http2;
#[allow(dead_code, unused_imports, reason = "also used by others")]
#[path = "holding/lab.rs"]
mod lab;
#[allow(dead_code, reason = "also used by others")]
#[path = "destination/name_server.rs"]
mod name_server;
#[path = "hostile/requests.rs"]
mod requests;
#[allow(dead_code, reason = "also used by others")]
#[path = "holding/seen.rs"]
mod seen;

/// Every table, by its name.
const TABLES: [(&str, &str); 9] = [
    ("addresses", include_str!("hostile/addresses.txt")),
    ("dns", include_str!("hostile/dns.txt")),
    ("headers", include_str!("hostile/headers.txt")),
    ("http1_chunks", include_str!("hostile/http1_chunks.txt")),
    ("http1_requests", include_str!("hostile/http1_requests.txt")),
    (
        "http1_responses",
        include_str!("hostile/http1_responses.txt"),
    ),
    ("http2_heads", include_str!("hostile/http2_heads.txt")),
    // Judged in tests/destination/name_forms.rs.
    ("names", include_str!("hostile/names.txt")),
    ("paths", include_str!("hostile/paths.txt")),
];

/// The rows of the table with this name.
fn table(name: &str) -> Vec<common::table::Row> {
    let found = TABLES.iter().find(|(table, _)| *table == name);
    common::table::rows(found.unwrap().1)
}

#[test]
fn there_are_as_many_cases_as_we_say() {
    let mut all = 0;
    for (name, _) in TABLES {
        let rows = table(name);
        println!("{name}: {} cases", rows.len());
        let mut lines: Vec<_> = rows.iter().map(|row| row.line).collect();
        lines.sort_unstable();
        lines.dedup();
        assert_eq!(lines.len(), rows.len(), "{name} has a case twice");
        all += rows.len();
    }
    println!("{all} cases in all");
    assert!(all >= 700, "{all} cases");
}
