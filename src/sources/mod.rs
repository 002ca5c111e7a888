//! Keeps the values of credentials at hand: files that change, programs, vaults, and tokens
//! that are minted. Each credential has one task, so nothing is fetched twice at once, and
//! requests only ever read what a task has published.

mod client;
mod command;
mod fetch;
mod file;
mod jwt;
mod keeper;
mod report;
mod tokens;
mod vault;

pub use self::fetch::{FetchSettings, Fetcher, Memory, Tried};
pub use self::keeper::{Attempt, FETCH_TIME, Keeper, Publish};
pub use self::report::{Report, Reported};
