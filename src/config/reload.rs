//! Loading again while the gateway runs.

use std::path::Path;

use super::finding::{Finding, Findings, Severity};
use super::load::{Loaded, load};
use super::locate::Env;
use super::settings::Config;

/// Loads everything again. Rules, agents, credentials and `mode` of the answer may be put into
/// effect at once; of the box's settings nothing is, and a warning names each section that
/// differs from what is `running`.
///
/// # Errors
/// As [`load`]: then what is running stays.
pub fn reload(file: Option<&Path>, env: &Env, running: &Config) -> Result<Loaded, Findings> {
    let mut loaded = load(file, env)?;
    for setting in changed(running, &loaded.config) {
        let mut finding = Finding::new(
            Severity::Warning,
            format!("{setting} changed, which takes effect at the next start"),
        );
        finding.help(
            "restart the gateway; rules, agents, credentials and `mode` are in effect already",
        );
        loaded.warnings.push(finding);
    }
    Ok(loaded)
}

/// The settings that differ. Destructured, so that a new section cannot be forgotten here.
fn changed(old: &Config, new: &Config) -> Vec<&'static str> {
    let Config {
        rules: _,
        state_dir,
        listen,
        redirect,
        upstream,
        dns,
        limits,
        timeouts,
        audit,
        ca,
    } = new;
    [
        ("`state_dir`", old.state_dir != *state_dir),
        ("[listen]", old.listen != *listen),
        ("[redirect]", old.redirect != *redirect),
        ("[upstream]", old.upstream != *upstream),
        ("[dns]", old.dns != *dns),
        ("[limits]", old.limits != *limits),
        ("[timeouts]", old.timeouts != *timeouts),
        // Where these two are follows from `state_dir`, which is told already.
        (
            "[audit]",
            old.audit != *audit && old.state_dir == *state_dir,
        ),
        ("[ca]", old.ca != *ca && old.state_dir == *state_dir),
    ]
    .into_iter()
    .filter_map(|(name, changed)| changed.then_some(name))
    .collect()
}
