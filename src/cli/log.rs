//! The operational log, on standard error; the audit log is another matter.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Logs at `info`, or as `PORTREEVE_LOG` says (`debug`, `portreeve::net=trace` …). Under
/// systemd the journal adds the time.
pub fn init() {
    init_at("info");
}

/// As [`init`], but at another level where nothing is said.
pub fn init_at(level: &str) {
    let filter = EnvFilter::try_from_env("PORTREEVE_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let terminal = std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(terminal)
        .with_target(false);
    // What AWS signatures are made over is traced by the crate that makes them, with the session
    // token in it: no level shows that.
    let shown = filter_fn(|said| !said.target().starts_with("aws_"));
    // A second logger in the same process is a test's; the first stays.
    let _ = if std::env::var_os("JOURNAL_STREAM").is_some() {
        log.without_time().finish().with(shown).try_init()
    } else {
        log.finish().with(shown).try_init()
    };
}
