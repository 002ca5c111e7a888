//! Requests: by agent and by rule, refusals, durations, bytes.
//!
//! An agent's or a rule's handle is found by its name; counting a request with it is a few
//! atomic operations. A series exists from its first use on, so that a family holds what
//! happened and not every combination that could.

use std::array;
use std::hash::Hash;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::{Method, StatusCode};
use parking_lot::RwLock;
use prometheus::{Histogram, IntCounter, IntGauge};

use super::family::{Builder, ByLabel, Family, Label, OTHER, SERIES, label_values};
use super::table;
use crate::error::{Reason, Verdict};
use crate::name::{AgentName, ByName, RuleName};

label_values! {
    /// Which way a body goes.
    Direction {
        /// From the agent to the server.
        Request = "request",
        /// From the server to the agent.
        Response = "response",
    }
}

label_values! {
    /// By what an agent says that it does not accept a leaf (RFC 8446 §6.2).
    TrustSign {
        /// It does not know the CA.
        UnknownCa = "unknown_ca",
        /// Something is wrong with it; also what pinning clients send.
        BadCertificate = "bad_certificate",
        /// It is of a type that the client cannot use.
        UnsupportedCertificate = "unsupported_certificate",
        /// It is not valid now.
        CertificateExpired = "certificate_expired",
        /// Anything else; what Go and Java send.
        CertificateUnknown = "certificate_unknown",
        /// What OpenSSL and rustls send when they hold another CA of the same name.
        DecryptError = "decrypt_error",
        /// No alert: the connection was closed after the certificate.
        SilentClose = "silent_close",
    }
}

label_values! {
    /// The methods of RFC 9110 §9.3 and RFC 5789; an agent can write any other word.
    KnownMethod {
        /// GET.
        Get = "GET",
        /// HEAD.
        Head = "HEAD",
        /// POST.
        Post = "POST",
        /// PUT.
        Put = "PUT",
        /// PATCH.
        Patch = "PATCH",
        /// DELETE.
        Delete = "DELETE",
        /// OPTIONS.
        Options = "OPTIONS",
        /// CONNECT.
        Connect = "CONNECT",
        /// TRACE.
        Trace = "TRACE",
        /// Any other word.
        Other = "other",
    }
}

impl From<&Method> for KnownMethod {
    fn from(method: &Method) -> Self {
        let known = Self::ALL
            .iter()
            .find(|known| known.label() == method.as_str());
        known.copied().unwrap_or(Self::Other)
    }
}

label_values! {
    /// The class of the status that the agent got (RFC 9110 §15).
    StatusClass {
        /// No response at all.
        None = "none",
        /// Ended with an informational response (101).
        Informational = "1xx",
        /// 2xx.
        Success = "2xx",
        /// 3xx.
        Redirect = "3xx",
        /// 4xx.
        ClientError = "4xx",
        /// 5xx, and numbers outside all classes.
        ServerError = "5xx",
    }
}

impl From<Option<StatusCode>> for StatusClass {
    fn from(status: Option<StatusCode>) -> Self {
        let Some(status) = status else {
            return Self::None;
        };
        match status.as_u16() / 100 {
            1 => Self::Informational,
            2 => Self::Success,
            3 => Self::Redirect,
            4 => Self::ClientError,
            _ => Self::ServerError,
        }
    }
}

const METHODS: usize = KnownMethod::ALL.len();
const CLASSES: usize = StatusClass::ALL.len();
const VERDICTS: usize = Verdict::ALL.len();
const AGENT_CELLS: usize = METHODS * CLASSES * VERDICTS;

/// The series of one agent.
pub struct AgentMetrics {
    name: Box<str>,
    requests: Family<IntCounter>,
    cells: Box<[OnceLock<IntCounter>; AGENT_CELLS]>,
    trust_failures: Family<IntCounter>,
}

impl AgentMetrics {
    /// Counts a request with the status that the agent got, if it got one.
    pub fn request(&self, method: &Method, status: Option<StatusCode>, verdict: Verdict) {
        let method = KnownMethod::from(method);
        let class = StatusClass::from(status);
        let cell = (method.index() * CLASSES + class.index()) * VERDICTS + verdict.index();
        if let Some(cell) = self.cells.get(cell) {
            let labels = [&*self.name, method.label(), class.label(), verdict.label()];
            cell.get_or_init(|| self.requests.child(&labels)).inc();
        }
    }

    /// Counts a handshake that the agent broke off because it does not trust our CA.
    pub fn trust_failure(&self, sign: TrustSign) {
        // A look-up is little beside the handshake.
        self.trust_failures
            .child(&[&*self.name, sign.label()])
            .inc();
    }
}

/// The series of one rule.
pub struct RuleMetrics {
    name: Box<str>,
    requests: Family<IntCounter>,
    cells: [OnceLock<IntCounter>; VERDICTS],
}

impl RuleMetrics {
    /// Counts a request that this rule decided.
    pub fn request(&self, verdict: Verdict) {
        if let Some(cell) = self.cells.get(verdict.index()) {
            cell.get_or_init(|| self.requests.child(&[&*self.name, verdict.label()]))
                .inc();
        }
    }
}

/// Handles by name, at most [`SERIES`]; later names share one.
pub(super) struct Handles<K, H> {
    known: RwLock<ByName<K, Arc<H>>>,
    other: Arc<H>,
}

impl<K: Clone + Eq + Hash, H> Handles<K, H> {
    pub(super) fn new(other: H) -> Self {
        Self {
            known: RwLock::default(),
            other: Arc::new(other),
        }
    }

    pub(super) fn find(&self, name: &K, make: impl FnOnce() -> H) -> Arc<H> {
        if let Some(handle) = self.known.read().get(name) {
            return Arc::clone(handle);
        }
        let mut known = self.known.write();
        if known.len() >= SERIES && !known.contains_key(name) {
            return Arc::clone(&self.other);
        }
        Arc::clone(
            known
                .entry(name.clone())
                .or_insert_with(|| Arc::new(make())),
        )
    }
}

/// Requests of all agents.
pub struct Requests {
    by_agent: Family<IntCounter>,
    trust_failures: Family<IntCounter>,
    agents: Handles<AgentName, AgentMetrics>,
    by_rule: Family<IntCounter>,
    rules: Handles<RuleName, RuleMetrics>,
    no_rule: Arc<RuleMetrics>,
    refusals: ByLabel<Reason>,
    duration: Histogram,
    connect: Histogram,
    first_byte: Histogram,
    bytes: ByLabel<Direction>,
    waits: IntCounter,
    waiting: IntGauge,
    websockets: IntGauge,
    messages: ByLabel<Direction>,
    trailers_lost: IntCounter,
}

/// Counts one WebSocket as open, or one request as waiting, until dropped.
pub struct Counted(IntGauge);

impl Counted {
    fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Requests {
    pub(super) fn new(builder: &Builder<'_>) -> Self {
        let by_agent = builder.named(&table::AGENT_REQUESTS, AGENT_CELLS);
        let trust_failures = builder.named(&table::TRUST_FAILURES, TrustSign::ALL.len());
        let by_rule = builder.named(&table::RULE_REQUESTS, VERDICTS);
        Self {
            agents: Handles::new(agent(OTHER, &by_agent, &trust_failures)),
            rules: Handles::new(rule(OTHER, &by_rule)),
            no_rule: Arc::new(rule("none", &by_rule)),
            by_agent,
            trust_failures,
            by_rule,
            refusals: builder.by_label(&table::REFUSALS),
            duration: builder.histogram(&table::REQUEST_SECONDS),
            connect: builder.histogram(&table::CONNECT_SECONDS),
            first_byte: builder.histogram(&table::FIRST_BYTE_SECONDS),
            bytes: builder.by_label(&table::BODY_BYTES),
            waits: builder.counter(&table::REQUEST_WAITS),
            waiting: builder.gauge(&table::REQUESTS_WAITING),
            websockets: builder.gauge(&table::WEBSOCKETS_OPEN),
            messages: builder.by_label(&table::WEBSOCKET_MESSAGES),
            trailers_lost: builder.counter(&table::TRAILERS_LOST),
        }
    }

    pub(super) fn agent(&self, name: &AgentName) -> Arc<AgentMetrics> {
        let make = || agent(name.as_str(), &self.by_agent, &self.trust_failures);
        self.agents.find(name, make)
    }

    pub(super) fn rule(&self, name: Option<&RuleName>) -> Arc<RuleMetrics> {
        name.map_or_else(
            || Arc::clone(&self.no_rule),
            |name| self.rules.find(name, || rule(name.as_str(), &self.by_rule)),
        )
    }

    /// Counts a request refused or failed.
    pub fn refuse(&self, reason: Reason) {
        self.refusals.add(reason, 1);
    }

    /// A request is over, this long after its head.
    pub fn finished(&self, took: Duration) {
        self.duration.observe(took.as_secs_f64());
    }

    /// A connection to a server was made for a request.
    pub fn connected(&self, took: Duration) {
        self.connect.observe(took.as_secs_f64());
    }

    /// The head of a response arrived, this long after the request was sent.
    pub fn first_byte(&self, took: Duration) {
        self.first_byte.observe(took.as_secs_f64());
    }

    /// Bytes of a body were passed on; may be called at the end or while it streams.
    pub fn bytes(&self, direction: Direction, count: u64) {
        self.bytes.add(direction, count);
    }

    /// A WebSocket begins; open until the guard is dropped.
    #[must_use]
    pub fn open_websocket(&self) -> Counted {
        Counted::new(&self.websockets)
    }

    /// A request waits for its agent's share of requests, until the guard is dropped.
    #[must_use]
    pub fn wait(&self) -> Counted {
        self.waits.inc();
        Counted::new(&self.waiting)
    }

    /// Whole messages of a WebSocket were passed on.
    pub fn messages(&self, direction: Direction, count: u64) {
        self.messages.add(direction, count);
    }

    /// Trailer fields could not be passed on.
    pub fn trailers_lost(&self, count: u64) {
        self.trailers_lost.inc_by(count);
    }
}

fn agent(name: &str, requests: &Family<IntCounter>, trust: &Family<IntCounter>) -> AgentMetrics {
    AgentMetrics {
        name: name.into(),
        requests: requests.clone(),
        cells: Box::new(array::from_fn(|_| OnceLock::new())),
        trust_failures: trust.clone(),
    }
}

fn rule(name: &str, requests: &Family<IntCounter>) -> RuleMetrics {
    RuleMetrics {
        name: name.into(),
        requests: requests.clone(),
        cells: array::from_fn(|_| OnceLock::new()),
    }
}
