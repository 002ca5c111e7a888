//! The operational log, on standard error; the audit log is another matter.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

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
    // A second logger in the same process is a test's; the first stays.
    let _ = if std::env::var_os("JOURNAL_STREAM").is_some() {
        log.without_time().try_init()
    } else {
        log.try_init()
    };
}
