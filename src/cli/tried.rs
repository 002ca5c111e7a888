//! Having secrets as the gateway has them, for the commands that tell whether it can.

use std::future::Future;

use super::chain;
use crate::config::{Finding, Findings, Loaded, Severity};
use crate::gateway::assemble::{StartError, fetcher};

/// Runs what waits for sources and servers.
///
/// # Errors
/// There is no runtime.
pub(super) fn wait<T>(work: impl Future<Output = T>) -> Result<T, StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| StartError::new("cannot start the runtime", &error))?;
    Ok(runtime.block_on(work))
}

/// Tries every credential of the configuration, and tells those that cannot be had.
pub(super) async fn credentials(loaded: &Loaded) -> Findings {
    let mut findings = Findings::default();
    let fetcher = match fetcher(&loaded.config).await {
        Ok(fetcher) => fetcher,
        Err(error) => {
            findings.push(Finding::new(Severity::Warning, chain(&error)));
            return findings;
        }
    };
    for spec in &loaded.credentials {
        if let Err(cause) = fetcher.try_once(spec).await {
            let message = format!("credential `{}`: {}", spec.name, cause.in_full());
            let mut finding = Finding::new(Severity::Warning, message);
            finding.place = Some(spec.place.clone());
            finding.help("rules that attach it answer 503 until it can be had");
            findings.push(finding);
        }
    }
    findings
}
