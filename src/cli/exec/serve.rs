//! The gateway's own process: outside of all namespaces, with listeners from within.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use uuid::Uuid;

use super::summary::{self, Options};
use crate::ca::CertificateAuthority;
use crate::cli::{EXIT_FAILED, complain, harden, run as serving};
use crate::config::{Config, Loaded};
use crate::credential::{Source, Spec};
use crate::gateway::assemble::{self, Sockets, StartError};
use crate::gateway::{DrainSignal, Gateway};
use crate::jail::{self, Greeting, link::Link};
use crate::metrics::Metrics;

/// Records of so many runs are kept.
const RUNS_KEPT: usize = 50;

/// Every run keeps its records in a file of its own: runs go on side by side, and a log has
/// one writer.
pub(super) fn keep_records_apart(config: &mut Config) {
    let name = format!("{}.jsonl", Uuid::now_v7());
    config.audit.file = config.state_dir.join("exec").join(name);
}

/// Serves until the link ends, then says what was done; the exit code.
pub(super) fn run(link: &Link, loaded: Loaded, report: &Options) -> u8 {
    harden::process();
    let file = loaded.config.audit.file.clone();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|why| StartError::new("cannot start the runtime", &why));
    match runtime.and_then(|runtime| runtime.block_on(serve(link, loaded))) {
        Ok(Some(metrics)) => summary::tell(&file, &metrics, report),
        // The jail could not be made, and its side says why.
        Ok(None) => {
            let _ = fs::remove_file(&file);
            0
        }
        Err(error) => {
            complain(&error);
            EXIT_FAILED
        }
    }
}

/// The metrics at the end; `None` where there was no command to serve.
async fn serve(link: &Link, loaded: Loaded) -> Result<Option<String>, StartError> {
    // The first random number of a process takes the TLS library tens of milliseconds.
    let making = tokio::task::spawn_blocking(CertificateAuthority::in_memory);
    let config = loaded.config.clone();
    let named = secret_variables(&loaded);
    assemble::make_state_dir(&config.state_dir)?;
    if let Some(folder) = config.audit.file.parent() {
        assemble::make_state_dir(folder)?;
        forget_old_runs(folder);
    }
    let mut certificate = String::new();
    let ca = async {
        let made = making.await.map_err(no_ca)?.map_err(no_ca)?;
        certificate = made.root_pem();
        Ok(made)
    };
    let metrics = Arc::new(Metrics::new());
    let gateway = assemble::assemble_with_ca(loaded, ca, metrics.clone()).await?;
    let Some(sockets) = sockets(link)? else {
        return Ok(None);
    };
    let (drain_signal, drain) = DrainSignal::new();
    serving::start(&gateway, sockets, &config, drain);
    let greeting = Greeting {
        ca: certificate,
        unset: named.into_iter().chain(with_secrets(&gateway)).collect(),
    };
    let greeting = serde_json::to_vec(&greeting).map_err(failed)?;
    let served = match link.send(&greeting, &[]) {
        Ok(()) => {
            // Nothing more is said; its end is what is waited for.
            tokio::task::block_in_place(|| while let Ok(Some(_)) = link.receive() {});
            true
        }
        Err(_) => false,
    };
    serving::drained(&gateway, &drain_signal, config.timeouts.drain).await;
    let closing = gateway.audit.clone();
    let closed = tokio::task::block_in_place(|| closing.close(serving::AUDIT_CLOSE));
    closed.map_err(|why| StartError::new("cannot write the last records", &why))?;
    Ok(served.then(|| metrics.encode()))
}

fn no_ca(why: impl std::error::Error) -> StartError {
    StartError::new("cannot make a CA", &why)
}

fn failed(why: impl std::error::Error) -> StartError {
    StartError::new("cannot talk to the jail", &why)
}

fn sockets(link: &Link) -> Result<Option<Sockets>, StartError> {
    let received = tokio::task::block_in_place(|| jail::receive(link)).map_err(failed)?;
    let Some((transparent, udp, tcp)) = received else {
        return Ok(None);
    };
    let sockets = || -> io::Result<Sockets> {
        Ok(Sockets {
            transparent: tokio::net::TcpListener::from_std(transparent)?,
            dns: Some((
                tokio::net::UdpSocket::from_std(udp)?,
                tokio::net::TcpListener::from_std(tcp)?,
            )),
        })
    };
    sockets().map(Some).map_err(failed)
}

/// The variables that secrets are read from.
fn secret_variables(loaded: &Loaded) -> Vec<String> {
    let name = |source: &Source| match source {
        Source::Env(name) => Some(name.clone()),
        Source::File(_) | Source::Systemd(_) | Source::Command { .. } | Source::Vault(_) => None,
    };
    let sources = loaded.credentials.iter().flat_map(Spec::local_sources);
    let listed = loaded.secrets.iter().map(|listed| &listed.source);
    sources.chain(listed).filter_map(name).collect()
}

/// The variables that hold a secret, wherever the gateway has it from.
fn with_secrets(gateway: &Gateway) -> Vec<String> {
    let active = gateway.active();
    let holds = |value: &OsStr| active.credentials.is_within(value.as_encoded_bytes());
    std::env::vars_os()
        .filter(|(_, value)| holds(value))
        .filter_map(|(name, _)| name.into_string().ok())
        .collect()
}

/// Removes the records of the oldest runs; their names sort by time. What cannot be removed
/// stays.
fn forget_old_runs(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    let is_record = |path: &PathBuf| path.extension().is_some_and(|name| name == "jsonl");
    let paths = entries.filter_map(Result::ok).map(|entry| entry.path());
    let mut runs: Vec<PathBuf> = paths.filter(is_record).collect();
    runs.sort_unstable();
    let surplus = runs.len().saturating_sub(RUNS_KEPT);
    for path in runs.into_iter().take(surplus) {
        let _ = fs::remove_file(path);
    }
}
