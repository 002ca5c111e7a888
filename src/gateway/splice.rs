//! Splice: TLS that a rule passes undecrypted, to the name in its ClientHello as the gateway
//! itself resolves it (I3), never to where the agent was going.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep_until;

use super::connection::{Arrival, refuse_hello};
use super::outcome::INTERIM;
use super::{Active, Gateway};
use crate::audit::{self, Kind, Record, Slot};
use crate::dlp::Profile;
use crate::error::{Reason, Refusal, Verdict};
use crate::http::io::{LastSeen, WriteDeadline};
use crate::http::passing::Passed;
use crate::http::scan::Scanner;
use crate::metrics::Direction;
use crate::name::Host;
use crate::net::sniff::Hello;
use crate::policy::Spliced;
use crate::policy::rule::OnLimit;

/// Bytes of one direction that are under way.
const BUFFER: usize = 16 * 1024;

/// Passes a connection through to its end; its record is written here.
pub async fn run(
    arrival: Arrival,
    spliced: Spliced,
    hello: &Hello,
    bytes: Bytes,
    agent: TcpStream,
) {
    let mut outcome = Outcome::begin(&arrival, &spliced);
    let result = match open(&arrival, &spliced, hello, &mut outcome).await {
        Ok(server) => relay(&arrival, &mut outcome, bytes, agent, server).await,
        // Nothing was answered yet: the alert says no.
        Err(refusal) => Err(refuse_hello(agent, refusal).await),
    };
    outcome.end(result.err());
}

/// A connection to the server, with its place in the log and among the limits.
async fn open(
    arrival: &Arrival,
    spliced: &Spliced,
    hello: &Hello,
    outcome: &mut Outcome,
) -> Result<Server, Refusal> {
    outcome.slot = Some(arrival.gateway.audit.reserve()?);
    if hello.has_ech {
        return Err(Refusal::new(
            Reason::EncryptedHello,
            "a ClientHello with `encrypted_client_hello` may be for another name than it shows, so it is not spliced",
        ));
    }
    let gateway = &arrival.gateway;
    let authority = spliced.authority();
    let active = gateway.active();
    let asker = active.asker(&arrival.agent, &authority.host);
    if !asker.is_written {
        scan(gateway, &active, &authority.host, outcome)?;
    }
    let started = Instant::now();
    let (stream, peer, hold) = gateway.upstreams.splice(asker, authority).await?;
    outcome.record.peer = Some(peer);
    outcome.record.connect_duration = Some(started.elapsed());
    Ok(Server {
        stream,
        _hold: hold,
    })
}

/// Looks at a name that no rule writes out; all there is to look at here.
fn scan(
    gateway: &Gateway,
    active: &Active,
    host: &Host,
    outcome: &mut Outcome,
) -> Result<(), Refusal> {
    let scanner = Scanner {
        detectors: active.detectors.clone(),
        profile: Profile::Default,
        on_limit: OnLimit::Deny,
        decoded_bytes: 0,
        host: host.clone(),
        key: gateway.fingerprints.clone(),
        found: Arc::default(),
        metrics: gateway.metrics.clone(),
        stand_ins: active.credentials.guard().cloned(),
    };
    let scanned = scanner.host(host);
    let record = &mut outcome.record;
    let found = scanner.found.findings();
    record.detections = found.detections;
    if found.in_host {
        (record.server, record.server_name) = (None, None);
    }
    scanned
}

struct Server {
    stream: WriteDeadline<TcpStream>,
    _hold: crate::http::upstream::Hold,
}

/// Copies both ways until both sides have ended, or nothing comes, or too much.
async fn relay(
    arrival: &Arrival,
    outcome: &mut Outcome,
    hello: Bytes,
    agent: TcpStream,
    mut server: Server,
) -> Result<(), Refusal> {
    let settings = &arrival.gateway.settings;
    let agent = WriteDeadline::new(agent, settings.timeouts.write);
    let written = server.stream.write_all(&hello).await;
    written.map_err(|_| closed(Reason::UpstreamClosed, "server"))?;
    let passed = outcome.passed.clone();
    passed.up.add(hello.len() as u64);
    let seen = LastSeen::new();
    let (agent_read, agent_write) = tokio::io::split(agent);
    let (server_read, server_write) = tokio::io::split(server.stream);
    let limit = settings.splice_bytes;
    let counted = |bytes: &Passed, count: u64| {
        bytes.add(count);
        seen.now();
        limit.is_none_or(|limit| passed.total() <= limit)
    };
    let up = copy(agent_read, server_write, |count| counted(&passed.up, count));
    let down = copy(server_read, agent_write, |count| {
        counted(&passed.down, count)
    });
    let (mut up, mut down) = (std::pin::pin!(up), std::pin::pin!(down));
    let (mut up_ended, mut down_ended) = (false, false);
    let begun = tokio::time::Instant::now();
    let over = begun + settings.timeouts.tunnel_life;
    let mut interim = begun + INTERIM;
    while !(up_ended && down_ended) {
        tokio::select! {
            end = &mut up, if !up_ended => match end {
                End::Eof => up_ended = true,
                End::Limit => return Err(too_much(arrival)),
                End::Source => return Err(closed(Reason::AgentClosed, "agent")),
                End::Sink => return Err(closed(Reason::UpstreamClosed, "server")),
            },
            end = &mut down, if !down_ended => match end {
                End::Eof => down_ended = true,
                End::Limit => return Err(too_much(arrival)),
                End::Source => return Err(closed(Reason::UpstreamClosed, "server")),
                End::Sink => return Err(closed(Reason::AgentClosed, "agent")),
            },
            () = sleep_until(seen.last() + settings.timeouts.tunnel) => {
                if seen.last() + settings.timeouts.tunnel <= tokio::time::Instant::now() {
                    return Err(Refusal::new(Reason::IdleTimeout, "nothing came for too long"));
                }
            }
            () = sleep_until(over) => return Err(too_long(arrival)),
            () = sleep_until(interim) => {
                interim += INTERIM;
                outcome.interim();
            }
        }
    }
    Ok(())
}

/// How one direction ended.
enum End {
    Eof,
    Source,
    Sink,
    Limit,
}

/// Copies to the end, and passes the end on. `count` says whether more may follow.
async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    count: impl Fn(u64) -> bool,
) -> End {
    let mut buffer = vec![0; BUFFER];
    loop {
        let Ok(read) = from.read(&mut buffer).await else {
            return End::Source;
        };
        if read == 0 {
            return match to.shutdown().await {
                Ok(()) => End::Eof,
                Err(_) => End::Sink,
            };
        }
        let data = buffer.get(..read).unwrap_or_default();
        if to.write_all(data).await.is_err() {
            return End::Sink;
        }
        if !count(read as u64) {
            return End::Limit;
        }
    }
}

fn closed(reason: Reason, side: &str) -> Refusal {
    Refusal::new(reason, format!("the {side} broke a spliced connection off"))
}

fn too_much(arrival: &Arrival) -> Refusal {
    let state = &arrival.gateway.metrics.state;
    state.limit_reached("limits.splice_bytes");
    Refusal::new(
        Reason::SpliceTooLarge,
        "a spliced connection has carried as many bytes as one may",
    )
}

fn too_long(arrival: &Arrival) -> Refusal {
    let state = &arrival.gateway.metrics.state;
    state.limit_reached("timeouts.tunnel_life");
    Refusal::new(
        Reason::TunnelExpired,
        "a spliced connection has lived as long as one may",
    )
}

/// Bytes both ways.
#[derive(Debug, Default)]
struct BothWays {
    up: Passed,
    down: Passed,
}

impl BothWays {
    fn total(&self) -> u64 {
        self.up.bytes().saturating_add(self.down.bytes())
    }
}

/// What becomes of one spliced connection: one record, also where its task is dropped.
struct Outcome {
    gateway: Arc<Gateway>,
    started: Instant,
    passed: Arc<BothWays>,
    slot: Option<Slot>,
    record: Record,
    done: bool,
}

impl Outcome {
    fn begin(arrival: &Arrival, spliced: &Spliced) -> Self {
        let rule = spliced.rule();
        let time = SystemTime::now();
        Self {
            started: Instant::now(),
            passed: Arc::default(),
            slot: None,
            record: Record {
                time: Some(time),
                id: Some(audit::id_at(time)),
                kind: Kind::Connection,
                agent: Some(arrival.agent.clone()),
                verdict: Some(Verdict::Splice),
                rule: Some(rule.name.clone()),
                rule_place: Some((rule.place.file.clone(), rule.place.line)),
                generation: Some(spliced.generation()),
                client: Some(arrival.client),
                origin: Some(arrival.origin),
                server: Some(spliced.authority().clone()),
                server_name: Some(spliced.authority().host.clone()),
                ..Record::default()
            },
            gateway: arrival.gateway.clone(),
            done: false,
        }
    }

    fn fill(&self, record: &mut Record) {
        record.duration = Some(self.started.elapsed());
        record.request_bytes = Some(self.passed.up.bytes());
        record.response_bytes = Some(self.passed.down.bytes());
    }

    fn interim(&self) {
        if let Ok(slot) = self.gateway.audit.reserve() {
            let mut record = self.record.clone();
            record.kind = Kind::Interim;
            self.fill(&mut record);
            slot.write(&mut record);
        }
    }

    fn end(mut self, refusal: Option<Refusal>) {
        self.finish(refusal);
    }

    fn finish(&mut self, refusal: Option<Refusal>) {
        self.done = true;
        let mut record = std::mem::take(&mut self.record);
        self.fill(&mut record);
        let metrics = &self.gateway.metrics;
        if let Some(refusal) = refusal {
            if record.peer.is_none() {
                record.verdict = Some(Verdict::Deny);
                metrics.connections.refuse(refusal.reason);
            }
            record.reason = Some(refusal.reason);
            record.sentence = Some(refusal.sentence);
        }
        let rule = metrics.rule(record.rule.as_ref());
        rule.request(record.verdict.unwrap_or(Verdict::Deny));
        let bytes = &metrics.connections;
        bytes.spliced(Direction::Request, self.passed.up.bytes());
        bytes.spliced(Direction::Response, self.passed.down.bytes());
        // Without a slot the log has counted that it refused one.
        if let Some(slot) = self.slot.take() {
            slot.write(&mut record);
        }
    }
}

impl Drop for Outcome {
    fn drop(&mut self) {
        if !self.done {
            let (reason, sentence) = if std::thread::panicking() {
                (Reason::Internal, "the gateway failed on this connection")
            } else {
                (Reason::Draining, "the gateway went away")
            };
            self.finish(Some(Refusal::new(reason, sentence)));
        }
    }
}
