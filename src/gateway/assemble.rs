//! From checked settings to a gateway: everything is made and bound here, before anything
//! is served, so that a start either works or says what does not.

use std::fs::DirBuilder;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::net::{TcpListener, UdpSocket};
use tokio_util::task::TaskTracker;

use super::{
    Active, Believed, Echoes, Gateway, Origin, RecordLimit, RefusalLimit, Settings, Timeouts,
    TrustLog,
};
use crate::audit::{self, Log};
use crate::ca::{CertificateAuthority, LeafSettings, Leaves};
use crate::config::{self, Config, ListedSecret, Loaded};
use crate::credential::placeholder::StandIns;
use crate::credential::{Remembered, Store};
use crate::dlp::{Detector, Detectors};
use crate::http::h1::HeadLimits;
use crate::http::scan::FingerprintKey;
use crate::http::upstream::pool::PoolSettings;
use crate::http::upstream::{self, Upstreams};
use crate::metrics::Metrics;
use crate::name::AgentName;
use crate::net::dial::{DialSettings, Dialler};
use crate::net::forbidden::Networks;
use crate::net::limits::Shares;
use crate::net::listen::{bind_tcp, bind_udp};
use crate::net::lookups::LookupLimits;
use crate::net::own::OwnAddresses;
use crate::net::resolve::{Resolver, ResolverSettings};
use crate::policy::agents::DEFAULT;
use crate::policy::{Mode, Policy};
use crate::secret::Secret;
use crate::sources::{FetchSettings, Fetcher, Keeper, Report};
use crate::tls::{AgentTls, UpstreamTls};

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 4096;
/// Seconds of `refused_leaves_per_second` that may come at once: a page load asks for many names.
const BURST: NonZeroU32 = NonZeroU32::MIN.saturating_add(9);
/// Sessions with servers that are remembered for resumption.
const UPSTREAM_SESSIONS: usize = 4096;

/// A start that failed: what was being done, and why it did not work.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {why}")]
pub struct StartError {
    what: String,
    why: String,
}

impl StartError {
    /// A start that failed while doing `what`, with the whole chain of causes.
    pub fn new(what: &str, why: &dyn std::error::Error) -> Self {
        Self {
            what: what.to_owned(),
            why: with_causes(why),
        }
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let causes: Vec<String> = causes.map(ToString::to_string).collect();
    causes.join(": ")
}

/// Names the step in which a start failed.
trait During<T> {
    fn during(self, what: &str) -> Result<T, StartError>;
}

impl<T, E: std::error::Error> During<T> for Result<T, E> {
    fn during(self, what: &str) -> Result<T, StartError> {
        self.map_err(|why| StartError::new(what, &why))
    }
}

/// The sockets of a gateway.
pub struct Sockets {
    /// Redirected connections.
    pub transparent: TcpListener,
    /// Redirected DNS.
    pub dns: Option<(UdpSocket, TcpListener)>,
}

/// Binds what the config names.
///
/// # Errors
/// An address that cannot be bound.
pub fn bind(config: &Config) -> Result<Sockets, StartError> {
    let transparent = config.listen.transparent;
    let tcp = |address: SocketAddr, key: &str| bind_tcp(address, BACKLOG).during(key);
    let dns = |address: SocketAddr| {
        let key = "`[listen] dns`";
        Ok((bind_udp(address).during(key)?, tcp(address, key)?))
    };
    Ok(Sockets {
        transparent: tcp(transparent, "`[listen] transparent`")?,
        dns: config.listen.dns.map(dns).transpose()?,
    })
}

/// Makes the gateway of `loaded`.
///
/// # Errors
/// The first part that cannot be made, with its remedy where there is one.
pub async fn assemble(loaded: Loaded, metrics: Arc<Metrics>) -> Result<Arc<Gateway>, StartError> {
    make_state_dir(&loaded.config.state_dir)?;
    let ca = configured_ca(&loaded.config);
    assemble_with_ca(loaded, std::future::ready(ca), metrics).await
}

/// As [`assemble`], with this CA whatever is configured. It is waited for last, so that it may
/// be made while the rest is.
///
/// # Errors
/// As [`assemble`].
pub async fn assemble_with_ca(
    loaded: Loaded,
    ca: impl Future<Output = Result<CertificateAuthority, StartError>>,
    metrics: Arc<Metrics>,
) -> Result<Arc<Gateway>, StartError> {
    let config = &loaded.config;
    let audit = Log::open(audit::Settings {
        path: config.audit.file.clone(),
        queue: config.audit.queue,
        when_unwritable: when_unwritable(config.audit.when_unwritable),
    })
    .during("`[audit] file`")?;
    let own_addresses = OwnAddresses::watch(config.upstream.own_addresses.iter().copied())
        .await
        .during("cannot read this machine's addresses")?;
    let dialler = Arc::new(dialler(config, own_addresses.clone())?);
    let upstreams = upstreams(config, dialler.clone(), metrics.clone())?;
    let trust = &config.upstream.trust;
    let tls = UpstreamTls::with_sessions(trust, &config.upstream.crl, UPSTREAM_SESSIONS)
        .during("cannot set up the trust in servers")?;
    let active = active(&loaded, 1, &Believed::new(tls), None)?;
    let leaves = leaves(config, ca.await?, &metrics)?;
    let (settings, limits) = (settings(config), &config.limits);
    let fetcher = Fetcher::new(fetching(config, dialler.clone())?);
    let gateway = Arc::new(Gateway {
        connections: Shares::new(limits.connections, limits.connections_per_agent),
        requests: Shares::new(usize::MAX, limits.requests_per_agent),
        held: Shares::new(limits.held_bytes / 1024, limits.held_bytes_per_agent / 1024),
        trust: TrustLog::default(),
        refusals: RefusalLimit::new(limits.refusals_per_second),
        refused_records: RecordLimit::new(limits.refused_connection_records_per_second),
        active: ArcSwap::from_pointee(active),
        replacing: Mutex::default(),
        keeper: Keeper::new(fetcher),
        report: Report::new(&config.state_dir),
        fingerprints: Arc::new(FingerprintKey::random().during("cannot make a key")?),
        agent_tls: AgentTls::new().during("cannot set up TLS for agents")?,
        leaves,
        upstreams,
        dialler,
        audit,
        metrics,
        own_addresses,
        settings,
        tasks: TaskTracker::new(),
    });
    gateway.show_policy(SystemTime::now());
    gateway.keep_credentials();
    Ok(gateway)
}

/// Fetches secrets as a gateway of this configuration does.
///
/// # Errors
/// There is nobody to trust, or this machine's addresses cannot be read.
pub async fn fetcher(config: &Config) -> Result<Fetcher, StartError> {
    let own = OwnAddresses::watch(config.upstream.own_addresses.iter().copied())
        .await
        .during("cannot read this machine's addresses")?;
    let dialler = Arc::new(dialler(config, own)?);
    Ok(Fetcher::new(fetching(config, dialler)?))
}

/// How secrets and tokens are fetched: tokens as servers are dialled for agents.
///
/// # Errors
/// There is nobody to trust.
pub fn fetching(config: &Config, dialler: Arc<Dialler>) -> Result<FetchSettings, StartError> {
    let tls = UpstreamTls::with_sessions(&config.upstream.trust, &config.upstream.crl, 1)
        .during("cannot set up the trust in servers")?;
    Ok(FetchSettings {
        dialler,
        tls,
        state_dir: config.state_dir.clone(),
    })
}

/// The rules and secrets of `loaded`, as one value. Secrets that cannot be had are said in
/// the log; their rules answer 503 until they are found.
///
/// # Errors
/// The TLS library refuses the CAs or pins of a rule, or none is known; a listed secret cannot
/// be had, so that it would leave unseen.
pub(super) fn active(
    loaded: &Loaded,
    generation: u64,
    believed: &Believed,
    previous: Option<&Active>,
) -> Result<Active, StartError> {
    let mut specs = loaded.credentials.clone();
    if let Err(error) = StandIns::fill(&loaded.config.state_dir, &mut specs) {
        tracing::error!("the key for stand-ins cannot be had: {error}");
    }
    let secrets = previous.map(|active| &active.credentials);
    let (credentials, problems) = Store::load(specs, secrets);
    for problem in problems {
        let instead = if credentials.available(&problem.name) {
            "its last value is used on for now"
        } else {
            "rules that attach it answer 503 until it is found"
        };
        tracing::error!("{problem}; {instead}");
    }
    let policy = loaded.policy(generation);
    if policy.mode() == Mode::Observe {
        tracing::warn!("mode is \"observe\": what no rule allows is recorded and let through");
    }
    let configured = loaded.agents.iter().map(|agent| agent.name.clone());
    let believed = believed
        .of_rules(&loaded.believed)
        .during("cannot set up the trust of a rule in servers")?;
    let origin = Origin {
        detectors: loaded.detectors.clone(),
        listed: listed(&loaded.secrets)?,
        agents: configured.chain([AgentName::new(DEFAULT)]).collect(),
    };
    Ok(Active::new(
        policy.into(),
        credentials,
        believed,
        origin.into(),
        previous.map(|active| &*active.echoes),
    ))
}

impl Active {
    /// With what is made of the secrets.
    pub(super) fn new(
        policy: Arc<Policy>,
        credentials: Store,
        believed: Believed,
        origin: Arc<Origin>,
        before: Option<&Echoes>,
    ) -> Self {
        let agents = origin.agents.iter().cloned();
        let echoes = Echoes::new(&policy, agents, &credentials, before);
        Self {
            policy,
            echoes: echoes.into(),
            detectors: detectors(&origin, &credentials).into(),
            believed,
            credentials,
            origin,
        }
    }
}

/// The operator's secrets, each with what detects it.
fn listed(secrets: &[ListedSecret]) -> Result<Vec<Detector>, StartError> {
    let mut all = Vec::new();
    for ListedSecret {
        name,
        place,
        source,
    } in secrets
    {
        let secret = source
            .read_now()
            .during(&format!("{place}: secret `{name}`"))?;
        let what = format!("secret `{name}` of the operator's list");
        all.extend(known(&format!("secret:{name}"), &what, &secret));
    }
    Ok(all)
}

/// The detectors of the configuration, and those of each secret that the gateway holds.
fn detectors(origin: &Origin, credentials: &Store) -> Detectors {
    let mut all = origin.detectors.clone();
    for (name, secret) in credentials.secrets() {
        let what = format!("secret of the gateway's credential `{name}`");
        all.extend(known(&format!("credential:{name}"), &what, secret));
    }
    all.extend(origin.listed.iter().cloned());
    Detectors::new(all)
}

fn known(name: &str, what: &str, secret: &Secret) -> Vec<Detector> {
    let known = Detector::of_secret(name, what, secret);
    if known.is_empty() {
        tracing::warn!("the {what} is too short to be looked for in what leaves");
    }
    known
}

/// The state folder belongs to the gateway alone; the CA refuses one that is open to others.
///
/// # Errors
/// It cannot be made.
pub fn make_state_dir(path: &Path) -> Result<(), StartError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .during(&format!("cannot make the state folder {}", path.display()))
}

fn when_unwritable(choice: config::WhenUnwritable) -> audit::WhenUnwritable {
    match choice {
        config::WhenUnwritable::Deny => audit::WhenUnwritable::Deny,
        config::WhenUnwritable::Continue => audit::WhenUnwritable::Continue,
    }
}

fn configured_ca(config: &Config) -> Result<CertificateAuthority, StartError> {
    match &config.ca {
        config::Ca::Own {
            certificate,
            key,
            chain,
        } => CertificateAuthority::load(certificate, chain.as_deref(), key),
        config::Ca::Made { .. } => CertificateAuthority::load_or_create(&config.state_dir),
    }
    .during("cannot use the CA")
}

fn leaves(
    config: &Config,
    ca: CertificateAuthority,
    metrics: &Metrics,
) -> Result<Leaves, StartError> {
    metrics.leaves.ca_expires(ca.not_after());
    tracing::info!(
        subject = ca.subject(),
        fingerprint = ca.fingerprint(),
        "CA ready"
    );
    let per_second = NonZeroU32::new(config.limits.refused_leaves_per_second);
    let per_second = per_second.unwrap_or(NonZeroU32::MIN);
    let settings = LeafSettings {
        capacity: config.limits.leaves as u64,
        refused_capacity: config.limits.refused_leaves as u64,
        refused_per_second: per_second,
        refused_burst: per_second.saturating_mul(BURST),
        ..LeafSettings::default()
    };
    Leaves::new(Arc::new(ca), settings).during("cannot prepare leaves")
}

fn dialler(config: &Config, own: OwnAddresses) -> Result<Dialler, StartError> {
    let resolver = Resolver::new(ResolverSettings {
        nameservers: config.upstream.nameservers.clone(),
        fixed: config.upstream.resolve.clone().into_iter().collect(),
        timeout: config.timeouts.resolve,
        cache_entries: config.limits.resolved_names as u64,
        limits: LookupLimits::new(
            NonZeroU32::new(config.limits.lookups_per_second).unwrap_or(NonZeroU32::MIN),
            config.limits.lookup_name_bits,
        ),
        own: own.clone(),
    })
    .during("cannot set up the resolver")?;
    let networks = Networks::new(config.upstream.allow_networks.clone(), own);
    let settings = DialSettings {
        connect_timeout: config.timeouts.connect,
    };
    Ok(Dialler::new(resolver, networks, settings))
}

fn upstreams(
    config: &Config,
    dialler: Arc<Dialler>,
    metrics: Arc<Metrics>,
) -> Result<Upstreams, StartError> {
    let (limits, timeouts) = (&config.limits, &config.timeouts);
    let settings = upstream::Settings {
        pool: PoolSettings {
            keys_per_agent: limits.upstream_connections_per_agent,
            idle: limits.upstream_idle,
            idle_per_key: limits.upstream_idle_per_key,
            idle_time: timeouts.upstream_idle,
            max_age: timeouts.upstream_age,
        },
        head_limits: head_limits(config),
        interim_responses: limits.interim_responses,
        control_frames: limits.control_frames,
        handshake: timeouts.connect,
        first_byte: timeouts.first_byte,
        body: timeouts.body,
        expect: timeouts.expect,
        write: timeouts.write,
    };
    let limits = Shares::new(
        limits.upstream_connections,
        limits.upstream_connections_per_agent,
    );
    let remembered =
        Remembered::open(&config.state_dir).during("cannot read the remembered servers")?;
    Ok(Upstreams::new(
        dialler, remembered, limits, settings, metrics,
    ))
}

fn head_limits(config: &Config) -> HeadLimits {
    HeadLimits {
        bytes: config.limits.head_bytes,
        uri: config.limits.uri_bytes,
        fields: config.limits.head_fields,
    }
}

fn settings(config: &Config) -> Settings {
    let timeouts = &config.timeouts;
    Settings {
        hello_bytes: config.limits.hello_bytes,
        head_limits: head_limits(config),
        hold_bytes: config.limits.hold_bytes as u64,
        body_bytes: config.limits.body_bytes,
        decoded_bytes: config.limits.decoded_bytes as u64,
        message_bytes: config.limits.message_bytes,
        splice_bytes: config.limits.splice_bytes,
        decoded_request_bytes: config.limits.decoded_request_bytes as u64,
        streams: config.limits.streams,
        control_frames: config.limits.control_frames,
        timeouts: Timeouts {
            hello: timeouts.hello,
            handshake: timeouts.handshake,
            head: timeouts.head,
            request_share: timeouts.request_share,
            idle: timeouts.idle,
            body: timeouts.body,
            hold: timeouts.hold,
            response: timeouts.response,
            write: timeouts.write,
            tunnel: timeouts.tunnel,
            tunnel_life: timeouts.tunnel_life,
            close: timeouts.close,
        },
    }
}

/// How often pools and gauges are looked after.
pub const SWEEP: Duration = Duration::from_secs(5);
