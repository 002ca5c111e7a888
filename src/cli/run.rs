//! `portreeve run`: load, make, bind, serve, drain.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{CONFIG_HELP, EXIT_FAILED, EXIT_USAGE, complain, complain_of};
use crate::admin::{self, Admin};
use crate::audit;
use crate::ca;
use crate::config::{self, Env, Loaded};
use crate::dns;
use crate::error::Reason;
use crate::gateway::assemble::{self, SWEEP, Sockets, StartError};
use crate::gateway::{DnsAnswers, Drain, DrainSignal, Gateway, serve};
use crate::metrics::{AuditNumbers, LeafNumbers, Metrics, Protocol};
use crate::net::listen::cannot_listen;
use crate::nft;

/// Time for the last records to reach the disk.
pub(super) const AUDIT_CLOSE: Duration = Duration::from_secs(10);

/// Runs the gateway until a signal ends it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration.
    #[arg(long, value_name = "FILE", help = CONFIG_HELP)]
    config: Option<PathBuf>,
}

/// Runs to the end; the exit code says whether it was in order.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    super::log::init();
    super::harden::process();
    let env = Env::system();
    let loaded = match config::load(args.config.as_deref(), &env) {
        Ok(loaded) => loaded,
        Err(findings) => {
            complain_of(&findings);
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&StartError::new("cannot start the runtime", &error));
            return ExitCode::from(EXIT_FAILED);
        }
    };
    match runtime.block_on(gateway(args, &env, loaded)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::from(EXIT_FAILED)
        }
    }
}

async fn gateway(args: &Args, env: &Env, loaded: Loaded) -> Result<(), StartError> {
    for warning in &loaded.warnings {
        tracing::warn!("{}", warning.to_string().trim_end());
    }
    // Before anything is served: until it is caught, a signal ends the process, and with it
    // the records of what was answered already.
    let signals = Signals::catch()?;
    let config = loaded.config.clone();
    let metrics = Arc::new(Metrics::new());
    let sockets = assemble::bind(&config)?;
    let bound = Bound::of(&sockets);
    let gateway = assemble::assemble(loaded, metrics.clone()).await?;
    let (drain_signal, drain) = DrainSignal::new();
    let admin = config
        .listen
        .admin
        .map(|address| admin(address, &gateway, drain.clone()))
        .transpose()?;
    start(&gateway, sockets, &config, drain.clone());
    tell_ready(&bound, admin.as_ref(), &config);
    attend(signals, args, env, &config, &gateway).await;
    drained(&gateway, &drain_signal, config.timeouts.drain).await;
    drop(admin);
    let closed = tokio::task::block_in_place(|| gateway.audit.clone().close(AUDIT_CLOSE));
    closed.map_err(|why| StartError::new("cannot write the last records", &why))
}

/// Spawns everything that serves.
pub(super) fn start(
    gateway: &Arc<Gateway>,
    sockets: Sockets,
    config: &config::Config,
    drain: Drain,
) {
    tokio::spawn(serve(gateway.clone(), sockets.transparent, drain));
    if let Some((udp, tcp)) = sockets.dns {
        let answers = Arc::new(DnsAnswers::new(gateway.clone(), config.dns.denied));
        let settings = dns_settings(&config.dns);
        let over_tcp = dns::serve_tcp(tcp, answers.clone(), settings.clone());
        tokio::spawn(over_tcp);
        tokio::spawn(async move {
            // It ends only if the socket cannot be prepared; then TCP still answers.
            let Err(error) = dns::serve_udp(udp, answers, settings).await;
            tracing::error!(%error, "the DNS responder over UDP ended");
        });
    }
    let swept = gateway.clone();
    tokio::spawn(async move {
        let mut tick = tokio::time::interval(SWEEP);
        loop {
            tick.tick().await;
            swept.upstreams.sweep();
        }
    });
}

fn dns_settings(dns: &config::Dns) -> dns::Settings {
    dns::Settings {
        placeholder_v4: dns.placeholder_v4,
        placeholder_v6: dns.placeholder_v6,
        ..dns::Settings::default()
    }
}

fn admin(address: SocketAddr, gateway: &Arc<Gateway>, drain: Drain) -> Result<Admin, StartError> {
    let (ready, agents, numbers) = (gateway.clone(), gateway.clone(), gateway.clone());
    let settings = admin::Settings {
        ready: Box::new(move || not_ready(&ready, &drain)),
        is_agent: Box::new(move |ip| {
            let active = agents.active();
            active.policy.is_agent_source(ip)
        }),
        refresh: Box::new(move || refresh(&numbers)),
        ..admin::Settings::default()
    };
    std::net::TcpListener::bind(address)
        .map_err(|error| cannot_listen(address, "TCP", &error))
        .and_then(|listener| admin::spawn(listener, settings, gateway.metrics.clone()))
        .map_err(|why| StartError::new("`[listen] admin`", &why))
}

/// Why the gateway should get no new agents now.
fn not_ready(gateway: &Gateway, drain: &Drain) -> Vec<String> {
    let mut reasons = Vec::new();
    if drain.has_begun() {
        reasons.push(Reason::Draining.title().to_owned());
    }
    if gateway.audit.state().unwritable_since.is_some() {
        reasons.push(Reason::AuditUnwritable.title().to_owned());
    }
    reasons
}

/// Brings the numbers that others keep into the metrics.
fn refresh(gateway: &Gateway) {
    let metrics = &gateway.metrics;
    gateway.show_credentials();
    let (idle, shared) = gateway.upstreams.counts();
    metrics.upstream.refresh_idle(Protocol::Http1, idle);
    metrics.upstream.refresh_idle(Protocol::Http2, shared);
    metrics
        .leaves
        .refresh(&leaf_numbers(gateway.leaves.stats()));
    metrics.names.remembered(gateway.upstreams.names());
    metrics.audit.refresh(audit_numbers(gateway.audit.state()));
    let status = nft::read_status(Path::new(nft::STATUS_FILE));
    let checked = status.as_ref().map_or(0, |status| status.checked_at);
    let correct = status
        .as_ref()
        .is_some_and(|status| status.holds(SystemTime::now(), nft::VERIFY_PERIOD));
    metrics.state.nft(
        correct,
        SystemTime::UNIX_EPOCH + Duration::from_secs(checked),
    );
    for (name, counter) in status.iter().flat_map(|status| &status.counters) {
        metrics.state.nft_packets(name, counter.packets);
    }
}

fn leaf_numbers(stats: ca::LeafStats) -> LeafNumbers {
    LeafNumbers {
        minted: stats.minted,
        hits: stats.hits,
        misses: stats.misses,
        allowed: stats.entries,
        refused: stats.refused_entries,
    }
}

fn audit_numbers(state: audit::State) -> AuditNumbers {
    let number = |count: usize| count.try_into().unwrap_or(u64::MAX);
    AuditNumbers {
        written: state.written,
        queued: number(state.queued),
        reserved: number(state.reserved),
        capacity: number(state.capacity),
        refused: state.refused,
        lost: state.lost,
        abandoned: state.abandoned,
        unwritable: state.unwritable_since.is_some(),
    }
}

/// Where the gateway listens: with port 0 only the sockets know.
struct Bound {
    transparent: Option<SocketAddr>,
    dns: Option<SocketAddr>,
}

impl Bound {
    fn of(sockets: &Sockets) -> Self {
        let dns = sockets.dns.as_ref();
        Self {
            transparent: sockets.transparent.local_addr().ok(),
            dns: dns.and_then(|(udp, _)| udp.local_addr().ok()),
        }
    }
}

fn tell_ready(bound: &Bound, admin: Option<&Admin>, config: &config::Config) {
    let transparent = bound.transparent.map(tracing::field::display);
    let dns = bound.dns.map(tracing::field::display);
    let admin = admin.map(|admin| tracing::field::display(admin.local_addr()));
    let audit = tracing::field::display(config.audit.file.display());
    tracing::info!(transparent, dns, admin, audit, "ready");
    tell(&[sd_notify::NotifyState::Ready]);
}

/// The signals that mean something.
struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn catch() -> Result<Self, StartError> {
        let catch =
            |kind| signal(kind).map_err(|why| StartError::new("cannot listen for signals", &why));
        Ok(Self {
            hangup: catch(SignalKind::hangup())?,
            terminate: catch(SignalKind::terminate())?,
            interrupt: catch(SignalKind::interrupt())?,
        })
    }
}

/// Answers signals: SIGHUP loads rules again and reopens the log, SIGTERM and SIGINT end it.
async fn attend(
    mut signals: Signals,
    args: &Args,
    env: &Env,
    config: &config::Config,
    gateway: &Arc<Gateway>,
) {
    loop {
        tokio::select! {
            _ = signals.hangup.recv() => reload(args, env, config, gateway),
            _ = signals.terminate.recv() => return tracing::info!("SIGTERM: draining"),
            _ = signals.interrupt.recv() => return tracing::info!("SIGINT: draining"),
        }
    }
}

/// Reads files, which takes a moment: only this task waits.
fn reload(args: &Args, env: &Env, config: &config::Config, gateway: &Arc<Gateway>) {
    let now = sd_notify::NotifyState::monotonic_usec_now();
    tell(&[
        sd_notify::NotifyState::Reloading,
        now.unwrap_or(sd_notify::NotifyState::MonotonicUsec(0)),
    ]);
    let reopened = tokio::task::block_in_place(|| gateway.audit.reopen());
    if let Err(error) = reopened {
        tracing::error!(%error, "cannot reopen the audit log; the old file stays in use");
    }
    let loaded =
        tokio::task::block_in_place(|| config::reload(args.config.as_deref(), env, config));
    match loaded {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                tracing::warn!("{}", warning.to_string().trim_end());
            }
            gateway.apply(&loaded);
        }
        Err(findings) => gateway.reject(&findings.to_string()),
    }
    tell(&[sd_notify::NotifyState::Ready]);
}

/// Tells systemd, where there is one; elsewhere there is nobody to tell, which is fine.
fn tell(state: &[sd_notify::NotifyState]) {
    let _ = sd_notify::notify(state);
}

/// Lets running requests end, for `limit` at most; what runs then is cut off, and its records
/// are written.
pub(super) async fn drained(gateway: &Gateway, signal: &DrainSignal, limit: Duration) {
    signal.begin();
    tell(&[sd_notify::NotifyState::Stopping]);
    gateway.upstreams.close_idle();
    gateway.tasks.close();
    if tokio::time::timeout(limit, gateway.tasks.wait())
        .await
        .is_err()
    {
        tracing::warn!(
            running = gateway.tasks.len(),
            "the drain time is over; what still runs is cut off"
        );
        signal.end();
        let _ = tokio::time::timeout(AUDIT_CLOSE, gateway.tasks.wait()).await;
    }
}
