//! Fuzz targets on stable Rust: the hostile tables and a few good inputs as corpus, replayed
//! and then mutated from a seed for some seconds a target.
//!
//! `PORTREEVE_FUZZ_SECONDS` is the time of each target (2 when absent, so that all take 20 s
//! together) and `PORTREEVE_FUZZ_SEED` another seed. A failing input is printed escaped; it
//! then belongs into `tests/hostile` or `Target::seeds`.

// A test may give up.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::string_slice,
    clippy::unwrap_used
)]

#[path = "fuzz/mutate.rs"]
mod mutate;
#[allow(dead_code, reason = "one module of several")]
#[path = "fuzz/rows.rs"]
mod rows;
#[path = "fuzz/targets.rs"]
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use mutate::Mutator;

/// One input after the other, until the time is over.
fn run(name: &str, seeds: &[Vec<u8>], words: &[&str], target: impl Fn(&[u8])) {
    let number = |name: &str, absent| {
        std::env::var(name).map_or(absent, |text| text.parse().expect("a number"))
    };
    let seconds = number("PORTREEVE_FUZZ_SECONDS", 2);
    let seed = number("PORTREEVE_FUZZ_SEED", 1);
    let judge = |input: &[u8]| {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(input))) {
            println!("{name}, seed {seed}, input: \"{}\"", input.escape_ascii());
            std::panic::resume_unwind(panic);
        }
    };
    assert!(!seeds.is_empty());
    for input in seeds {
        judge(input);
    }
    let mut mutator = Mutator::new(seed, seeds, words);
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut count = 0_u64;
    while Instant::now() < end {
        // The clock is dearer than an input.
        for _ in 0..16 {
            judge(&mutator.next());
            count += 1;
        }
    }
    println!(
        "{name}: {} seeds, {count} mutations in {seconds} s",
        seeds.len()
    );
}
