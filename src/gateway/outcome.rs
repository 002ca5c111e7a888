//! Step 12, record: one object knows how a request ended, and writes the record and the
//! metrics from that, exactly once, also when the task is cancelled or panics.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use http::{Method, Response, StatusCode, Version};
use parking_lot::Mutex;
use uuid::Uuid;

use super::connection::Connection;
use super::drain::Drain;
use super::{Active, Gateway};
use crate::audit::{self, Kind, Record, Slot};
use crate::error::{Reason, Refusal, Verdict};
use crate::http::body::{Body, Stalling};
use crate::http::passing::{Passed, Passing, TrailerNames};
use crate::http::raw::{Protocol, RawHead};
use crate::http::redact::{Echo, Redacting};
use crate::http::responder::{Responder, SendFailure};
use crate::http::scan::Found;
use crate::http::upstream::Arrived;
use crate::http::websocket::Tally;
use crate::metrics::{Counted, Direction, Lookup, Metrics};
use crate::name::{AgentName, ClientAddr, CredentialName, Host, Origin, RuleName};
use crate::net::limits::{LimitReached, Share};
use crate::policy::Request;
use crate::policy::{Allowed, Denied};

/// How long an exchange runs before its first interim record, and between two of them.
pub const INTERIM: Duration = Duration::from_secs(60);

/// How the answer went out.
pub type Sent = Result<(), SendFailure>;

/// A body on its way to the agent.
pub type Watched = Passing<Stalling<Body>>;

/// What becomes of one request. Dropped unfinished, it records that the agent went away,
/// or, while unwinding, that the gateway failed.
pub struct Outcome<'a> {
    gateway: &'a Gateway,
    agent: AgentName,
    id: Uuid,
    started: Instant,
    sent: Arc<Passed>,
    received: Arc<Passed>,
    echo: Echo,
    drain: &'a Drain,
    /// In place of `echo`, once a newer credential is attached than there was at first.
    newer_echo: OnceLock<Echo>,
    /// Whether compressed responses are handed on decoded.
    recodes: AtomicBool,
    /// Why responses to the agent cannot be looked at.
    blind: Option<Refusal>,
    found: Arc<Found>,
    state: Mutex<State>,
}

struct State {
    slot: Option<Slot>,
    running: Option<Share>,
    held: Option<Share>,
    record: Record,
    rule: Option<RuleName>,
    websocket: Option<Messages>,
    done: bool,
}

/// What passes over a WebSocket: to the server, to the agent.
struct Messages {
    tallies: [Arc<Tally>; 2],
    #[allow(dead_code, reason = "held for its Drop")]
    open: Counted,
}

impl<'a> Outcome<'a> {
    /// The outcome of a request, whose head could be read or not.
    pub fn begin(connection: &'a Connection, active: &Active, raw: Option<&RawHead>) -> Self {
        let agent = active.policy.agent(connection.client.0.ip()).clone();
        connection.has_served.store(true, Relaxed);
        let (needles, blind) = match active.echoes.of(&agent) {
            Ok(needles) => (needles, None),
            Err(refusal) => (None, Some(refusal)),
        };
        let time = SystemTime::now();
        let id = audit::id_at(time);
        Self {
            gateway: &connection.gateway,
            agent: agent.clone(),
            id,
            started: Instant::now(),
            sent: Arc::default(),
            received: Arc::default(),
            echo: Echo::new(
                needles,
                connection.gateway.settings.decoded_bytes,
                connection.gateway.metrics.clone(),
            ),
            drain: &connection.drain,
            newer_echo: OnceLock::new(),
            recodes: AtomicBool::new(false),
            blind,
            found: Arc::default(),
            state: Mutex::new(State {
                slot: None,
                running: None,
                held: None,
                // Where it stays: it is large.
                record: Record {
                    time: Some(time),
                    id: Some(id),
                    kind: Kind::Request,
                    agent: Some(agent),
                    generation: Some(active.policy.generation()),
                    client: Some(connection.client),
                    origin: Some(connection.origin),
                    tls_version: connection.tls_version,
                    server_name: connection.settled.name.clone(),
                    scheme: Some(connection.settled.scheme.as_str()),
                    version: raw.map(|raw| version(raw.protocol)),
                    method: raw.map(|raw| raw.method.clone()),
                    // Overwritten with the canonical path; until then what was asked, as asked.
                    path: raw
                        .map(|raw| raw.target.split('?').next().unwrap_or_default().to_owned()),
                    ..Record::default()
                },
                rule: None,
                websocket: None,
                done: false,
            }),
        }
    }

    /// From whom the request is.
    pub fn agent(&self) -> &AgentName {
        &self.agent
    }

    /// The id that the agent reads in refusals and the operator finds in the log.
    pub fn record_id(&self) -> Uuid {
        self.id
    }

    /// Bytes on their way to the server.
    pub fn sent(&self) -> &Arc<Passed> {
        &self.sent
    }

    /// Bytes on their way to the agent.
    pub fn received(&self) -> &Arc<Passed> {
        &self.received
    }

    /// Keeps credentials from the agent.
    pub fn echo(&self) -> &Echo {
        self.newer_echo.get().unwrap_or(&self.echo)
    }

    /// From now on also keeps from the agent what was not there when the request began.
    ///
    /// # Errors
    /// That cannot be looked for.
    pub fn look_for(&self, active: Option<&Active>) -> Result<(), Refusal> {
        if let Some(active) = active {
            let needles = active.echoes.of(&self.agent)?;
            let newer = self.echo.looking_for(needles);
            // Values are renewed once for a request, all together.
            debug_assert!(self.newer_echo.get().is_none());
            let _ = self.newer_echo.set(newer);
        }
        Ok(())
    }

    /// Whether the server's response could be looked at.
    ///
    /// # Errors
    /// It could not: the request is refused.
    pub fn can_redact(&self) -> Result<(), Refusal> {
        self.blind.clone().map_or(Ok(()), Err)
    }

    /// The response as the agent may see it.
    pub fn redact<B>(&self, response: Response<B>) -> Response<Redacting<B>> {
        self.echo().response(response, self.recodes.load(Relaxed))
    }

    /// What detectors find in the request.
    pub fn found(&self) -> &Arc<Found> {
        &self.found
    }

    /// Takes the request's share of what its agent may run at a time, for which it waits a
    /// moment, and its place in the audit log; both are kept to the end.
    ///
    /// # Errors
    /// One of them is not to be had: the request is refused.
    pub async fn reserve(&self) -> Result<(), Refusal> {
        // While it waits it holds no place in the log: those are everybody's.
        let patience = self.gateway.settings.timeouts.request_share;
        let wait = || self.gateway.metrics.requests.wait();
        let running = self
            .gateway
            .requests
            .take_within(&self.agent, patience, wait);
        let running = running.await;
        // A request beyond the limit has its record, too.
        let slot = self.gateway.audit.reserve()?;
        let mut state = self.state.lock();
        state.slot = Some(slot);
        let running = running.map_err(|_| {
            self.limit(
                "limits.requests_per_agent",
                Reason::RequestLimit,
                "as many requests of this agent run as may; wait for one to end",
            )
        })?;
        state.running = Some(running);
        Ok(())
    }

    /// Takes the agent's share of memory for a body of `length` bytes, kept to the end.
    ///
    /// # Errors
    /// [`Reason::HoldLimit`]
    pub fn hold(&self, length: u64) -> Result<(), Refusal> {
        let kib = u32::try_from(length.div_ceil(1024)).unwrap_or(u32::MAX);
        let held = self
            .gateway
            .held
            .take_many(&self.agent, kib)
            .map_err(|reached| {
                self.limit(
                    match reached {
                        LimitReached::All => "limits.held_bytes",
                        LimitReached::Agent => "limits.held_bytes_per_agent",
                    },
                    Reason::HoldLimit,
                    "too many request bodies of this agent are being read; try again shortly",
                )
            })?;
        self.state.lock().held = Some(held);
        Ok(())
    }

    fn limit(&self, key: &'static str, reason: Reason, sentence: &str) -> Refusal {
        self.gateway.metrics.state.limit_reached(key);
        Refusal::new(reason, sentence)
    }

    /// The request was read.
    pub fn read(&self, request: &Request) {
        let record = &mut self.state.lock().record;
        record.server = Some(request.authority.clone());
        let path = request.target.path();
        if record.path.as_deref() != Some(path) {
            record.path = Some(path.to_owned());
        }
    }

    /// A rule allows it, or its denial is only observed.
    pub fn allowed(&self, allowed: &Allowed) {
        let mut state = self.state.lock();
        state.record.verdict = Some(Verdict::Allow);
        if let Some(refusal) = allowed.observed() {
            state.record.verdict = Some(Verdict::Observe);
            state.record.reason = Some(refusal.reason);
            state.record.sentence = Some(refusal.sentence.clone());
        }
        if let Some(rule) = allowed.rule() {
            self.recodes.store(rule.echo_recode, Relaxed);
            state.name_rule(rule);
            if rule.record_query {
                state.record.query = allowed.request().target.query().map(ToOwned::to_owned);
            }
        }
    }

    /// A rule or the lack of one denies it.
    pub fn denied(&self, denied: &Denied) {
        if let Some(rule) = &denied.rule {
            self.state.lock().name_rule(rule);
        }
    }

    /// Credentials are attached to what is about to be sent; with their generations.
    pub fn attached(&self, credentials: &[(CredentialName, u64)]) {
        let record = &mut self.state.lock().record;
        for (name, _) in credentials {
            self.gateway.metrics.credentials.attach(name);
            record.credential = Some(match &record.credential {
                Some(others) => CredentialName::new(&format!("{others}, {name}")),
                None => name.clone(),
            });
        }
    }

    /// The request ends with this refusal. A request that was allowed and then failed keeps
    /// its verdict; the reason says what failed.
    pub fn refused(&self, refusal: &Refusal) {
        let mut state = self.state.lock();
        state.record.verdict.get_or_insert(Verdict::Deny);
        if state.record.verdict == Some(Verdict::Allow) && is_decision(refusal.reason) {
            state.record.verdict = Some(Verdict::Deny);
        }
        state.record.reason = Some(refusal.reason);
        state.record.sentence = Some(refusal.sentence.clone());
    }

    /// The server's response head is here.
    pub fn arrived(&self, arrived: &Arrived) {
        let record = &mut self.state.lock().record;
        record.peer = Some(arrived.peer);
        record.upstream_version = Some(version(arrived.protocol));
        record.upstream_reused = Some(arrived.reused);
        record.connect_duration = arrived.connect;
        record.first_byte_duration = Some(arrived.first_byte);
        if let Some(connect) = arrived.connect {
            self.gateway.metrics.requests.connected(connect);
            self.gateway.metrics.names.lookup(Lookup::Found);
        }
        self.gateway.metrics.requests.first_byte(arrived.first_byte);
    }

    /// The response that goes to the agent: its body is counted and may not stall.
    pub fn watch(&self, body: Body, trailers: TrailerNames) -> Watched {
        let stall = self.gateway.settings.timeouts.response;
        Passing::new(
            Stalling::new(body, stall),
            self.received.clone(),
            None,
            trailers,
        )
    }

    /// The status that the agent is about to get.
    pub fn answering(&self, status: StatusCode) {
        self.state.lock().record.status = Some(status);
    }

    /// An unknown source over its rate: the connection ends, counted and without a record,
    /// so that it can fill neither the log nor the disk.
    pub fn not_answered(self, responder: &Responder<'_>) {
        responder.hang_up();
        self.gateway.metrics.requests.refuse(Reason::RateLimited);
        self.state.lock().done = true;
    }

    /// It is a WebSocket from here on, with these messages to the server and to the agent;
    /// its beginning has a record of its own.
    pub fn opened(&self, tallies: [Arc<Tally>; 2]) {
        let open = self.gateway.metrics.requests.open_websocket();
        self.state.lock().websocket = Some(Messages { tallies, open });
        self.interim();
    }

    /// Writes what is known so far; for exchanges that last.
    pub fn interim(&self) {
        if let Ok(slot) = self.gateway.audit.reserve() {
            let state = self.state.lock();
            let mut record = state.record.clone();
            record.messages = messages(state.websocket.as_ref());
            drop(state);
            record.kind = Kind::Interim;
            self.fill_numbers(&mut record);
            slot.write(&mut record);
        }
    }

    /// The answer was sent, or could not be.
    pub fn finish(&self, sent: &Sent) {
        if let Err(failure) = sent {
            let refusal = match failure {
                SendFailure::Body(error) => error.of_response(),
                SendFailure::Agent => self.unfinished(),
            };
            let mut state = self.state.lock();
            state.record.reason = Some(refusal.reason);
            state.record.sentence = Some(refusal.sentence);
        }
        self.write();
    }

    /// Why an answer did not reach its end, where its own body did not fail.
    fn unfinished(&self) -> Refusal {
        let (reason, sentence) = if std::thread::panicking() {
            (Reason::Internal, "the gateway failed on this request")
        } else if self.drain.is_over() {
            (
                Reason::Draining,
                "the gateway went away before the answer was complete",
            )
        } else {
            (
                Reason::AgentClosed,
                "the agent went away before its answer was complete",
            )
        };
        Refusal::new(reason, sentence)
    }

    fn write(&self) {
        let state = &mut *self.state.lock();
        if std::mem::replace(&mut state.done, true) {
            return;
        }
        let record = &mut state.record;
        record.messages = messages(state.websocket.take().as_ref());
        let _shares = (state.running.take(), state.held.take());
        self.fill_numbers(record);
        self.count(record, state.rule.as_ref());
        // One that was broken off while it waited for its share has asked for no place yet.
        let refused = matches!(
            record.reason,
            Some(Reason::AuditFull | Reason::AuditUnwritable | Reason::Draining)
        );
        let late = || (!refused).then(|| self.gateway.audit.reserve().ok())?;
        match state.slot.take().or_else(late) {
            Some(slot) => slot.write(record),
            // There was no room when the request began: the log counts that it refused it.
            None => {
                tracing::debug!(record = %self.id, "a request without an audit slot was refused");
            }
        }
    }

    fn fill_numbers(&self, record: &mut Record) {
        record.duration = Some(self.started.elapsed());
        record.request_bytes = Some(self.sent.bytes());
        record.response_bytes = Some(self.received.bytes());
        self.fill_detections(record);
        let lost = self
            .sent
            .trailers_lost()
            .saturating_add(self.received.trailers_lost());
        record.trailers_lost = (lost > 0).then_some(lost);
        record.echo_redactions = Some(self.echo.count()).filter(|count| *count > 0);
    }

    /// What was found, and nothing of it: a path that holds data is not shown either.
    fn fill_detections(&self, record: &mut Record) {
        const MASKED: &str = "[masked]";
        let found = self.found.findings();
        record.detections = found.detections;
        if found.in_host {
            (record.server, record.server_name) = (None, None);
        }
        if found.in_path {
            record.path = Some(MASKED.to_owned());
        }
        if found.in_query && record.query.is_some() {
            record.query = Some(MASKED.to_owned());
        }
    }

    fn count(&self, record: &Record, rule: Option<&RuleName>) {
        let metrics = &self.gateway.metrics;
        let verdict = record.verdict.unwrap_or(Verdict::Deny);
        let method = record.method.as_ref().unwrap_or(&Method::GET);
        metrics
            .agent(&self.agent)
            .request(method, record.status, verdict);
        metrics.rule(rule).request(verdict);
        if let Some(reason) = record.reason {
            metrics.requests.refuse(reason);
            if reason == Reason::NameNotFound {
                metrics.names.lookup(Lookup::NotFound);
            } else if reason == Reason::ResolverFailed {
                metrics.names.lookup(Lookup::Failed);
            } else if reason == Reason::LookupLimit {
                metrics.state.limit_reached("limits.lookups_per_second");
            } else if reason == Reason::NameEntropy {
                metrics.state.limit_reached("limits.lookup_name_bits");
            }
        }
        metrics.dlp.scanned(self.found.scanned());
        metrics
            .requests
            .finished(record.duration.unwrap_or_default());
        metrics
            .requests
            .bytes(Direction::Request, self.sent.bytes());
        metrics
            .requests
            .bytes(Direction::Response, self.received.bytes());
        if let Some(messages) = record.messages {
            let requests = &metrics.requests;
            requests.messages(Direction::Request, messages.request);
            requests.messages(Direction::Response, messages.response);
        }
        if let Some(lost) = record.trailers_lost {
            metrics.requests.trailers_lost(lost);
        }
    }
}

impl State {
    fn name_rule(&mut self, rule: &crate::policy::rule::Rule) {
        self.rule = Some(rule.name.clone());
        self.record.rule = Some(rule.name.clone());
        self.record.rule_place = Some((rule.place.file.clone(), rule.place.line));
    }
}

impl Drop for Outcome<'_> {
    fn drop(&mut self) {
        if self.state.get_mut().done {
            return;
        }
        let refusal = self.unfinished();
        let state = self.state.get_mut();
        state.record.verdict.get_or_insert(Verdict::Deny);
        state.record.reason = Some(refusal.reason);
        state.record.sentence = Some(refusal.sentence);
        self.write();
    }
}

/// What has passed over a WebSocket so far.
fn messages(websocket: Option<&Messages>) -> Option<audit::Messages> {
    let [request, response] = &websocket?.tallies;
    let closes = [&response.close, &request.close].map(|close| close.load(Relaxed));
    Some(audit::Messages {
        request: request.messages.load(Relaxed),
        response: response.messages.load(Relaxed),
        close: closes.into_iter().find(|code| *code != 0),
    })
}

/// Whether a reason is a decision about the request, rather than a failure on its way.
fn is_decision(reason: Reason) -> bool {
    if reason == Reason::UpgradeRefused {
        return true;
    }
    reason.status().is_client_error()
        && !matches!(reason, Reason::AgentClosed | Reason::RequestTimeout)
}

fn version(protocol: Protocol) -> Version {
    match protocol {
        Protocol::Http10 => Version::HTTP_10,
        Protocol::Http11 => Version::HTTP_11,
        Protocol::Http2 => Version::HTTP_2,
    }
}

/// Records a connection that ended before any request.
pub fn connection_refused(
    gateway: &Gateway,
    parties: (&AgentName, ClientAddr, Option<Origin>),
    name: Option<Host>,
    refusal: &Refusal,
) {
    let (agent, client, origin) = parties;
    gateway.metrics.connections.refuse(refusal.reason);
    let to = origin.as_ref().map(tracing::field::display);
    tracing::debug!(%agent, %client, origin = to, reason = refusal.reason.label(), "connection refused");
    // No slot: the log counts the refusal of the reservation, so the loss is not silent.
    let Ok(slot) = gateway.audit.reserve() else {
        return;
    };
    slot.write(&mut Record {
        kind: Kind::Connection,
        agent: Some(agent.clone()),
        verdict: Some(Verdict::Deny),
        reason: Some(refusal.reason),
        sentence: Some(refusal.sentence.clone()),
        generation: Some(gateway.active().policy.generation()),
        client: Some(client),
        origin,
        server_name: name,
        ..Record::default()
    });
}

/// Counts a task that unwinds; the panic itself stops at the task's edge.
pub struct CountPanic<'a>(pub &'a Metrics);

impl Drop for CountPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.state.panicked();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The connection of the task goes with it, and nothing else does.
    #[tokio::test]
    async fn a_panic_ends_its_task_and_is_counted() {
        let metrics = Arc::new(Metrics::new());
        let (agent, mut gateway) = tokio::io::duplex(64);
        let counting = metrics.clone();
        let task = tokio::spawn(async move {
            let _panics = CountPanic(&counting);
            let _connection = agent;
            assert!(counting.encode().is_empty(), "as told");
        });
        assert!(task.await.unwrap_err().is_panic());
        let read = tokio::io::AsyncReadExt::read(&mut gateway, &mut [0]).await;
        assert_eq!(read.unwrap(), 0);
        assert!(metrics.encode().contains("portreeve_panics_total 1\n"));
    }
}
