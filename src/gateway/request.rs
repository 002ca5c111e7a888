//! The way of a request, steps 5 to 12; the order in this file is the order on the wire.

use std::pin::{Pin, pin};
use std::sync::Arc;

use http::{HeaderName, Response};
use http_body::Body as _;
use tokio::time::timeout;

use super::Active;
use super::connection::Connection;
use super::onward::Onward;
use super::outcome::{self, INTERIM, Outcome};
use super::serve::{LINGER_BYTES, LINGER_TIME};
use super::websocket::{self, Opened, Outward};
use crate::credential::Attachment;
use crate::dlp::Profile;
use crate::error::{Reason, Refusal};
use crate::http::body::Body;
use crate::http::canonical::canonical;
use crate::http::raw::RawHead;
use crate::http::refusal::{self, Dialect};
use crate::http::responder::Responder;
use crate::http::scan::Scanner;
use crate::http::strip::{self, Sets};
use crate::http::swap;
use crate::http::timer::Timer;
use crate::http::upstream::{Extras, Key, Outgoing, Parts, Switched};
use crate::http::websocket::Offer;
use crate::name::CredentialName;
use crate::policy::rule::{Cookies, Dlp, OnLimit};
use crate::policy::{Allowed, Decision};
use crate::policy::{Request, Scheme};

/// What a request led to.
enum Answer {
    Response(Response<Body>),
    WebSocket(Box<Opened>),
}

impl Answer {
    fn new(
        mut response: Response<Body>,
        switched: Option<Switched>,
        outward: Option<Box<Outward>>,
    ) -> Self {
        let Some(server) = switched else {
            return Self::Response(response);
        };
        Self::WebSocket(Box::new(Opened {
            headers: std::mem::take(response.headers_mut()),
            server,
            outward: outward.unwrap_or_default(),
        }))
    }
}

/// Serves one request. Whatever happens, the agent gets one answer and the log one record.
pub async fn serve(
    connection: &Connection,
    raw: Box<RawHead>,
    body: Body,
    responder: &Responder<'_>,
    timer: &mut Timer,
) {
    let active = connection.gateway.active();
    let outcome = Outcome::begin(connection, &active, Some(&raw));
    if connection.gateway.refusals.check(outcome.agent()).is_err() {
        return outcome.not_answered(responder);
    }
    let dialect = Dialect::of(&raw.headers);
    // What nobody read of the body; reading on keeps an answer from being lost to a reset.
    let mut unread = Some(body);
    let sent = {
        // Pinned here, as what is passed to an async function is in its future twice.
        let served = pin!(async {
            let answered = tokio::select! {
                biased;
                answered = answer(connection, &active, raw, &mut unread, responder, &outcome) => answered,
                () = responder.agent_gone() => return None,
            };
            Some(match answered {
                Ok(Answer::Response(response)) => {
                    send(connection, response, responder, &outcome).await
                }
                Ok(Answer::WebSocket(opened)) => {
                    Box::pin(websocket::serve(connection, *opened, responder, &outcome)).await
                }
                Err(refusal) => {
                    let sent = refuse(connection, &refusal, dialect, responder, &outcome).await;
                    if let Some(Body::H2(body)) = unread.take() {
                        let _ = timeout(LINGER_TIME, body.discard(LINGER_BYTES)).await;
                    }
                    sent
                }
            })
        });
        with_interim_records(served, &outcome, timer).await
    };
    if let Some(sent) = sent {
        outcome.finish(&sent);
    }
}

/// Answers a head that could not be read.
pub async fn refuse_head(connection: &Connection, refusal: &Refusal, responder: &Responder<'_>) {
    let active = connection.gateway.active();
    let outcome = Outcome::begin(connection, &active, None);
    if connection.gateway.refusals.check(outcome.agent()).is_err() {
        return outcome.not_answered(responder);
    }
    let reserved = outcome.reserve().await;
    let refusal = reserved.err().unwrap_or_else(|| refusal.clone());
    let sent = refuse(connection, &refusal, Dialect::Problem, responder, &outcome).await;
    outcome.finish(&sent);
}

/// From a head as it was read to the head of the server's response.
async fn answer(
    connection: &Connection,
    active: &Active,
    raw: Box<RawHead>,
    body: &mut Option<Body>,
    responder: &Responder<'_>,
    outcome: &Outcome<'_>,
) -> Result<Answer, Refusal> {
    outcome.reserve().await?;
    outcome.can_redact()?;
    let has_body = body.as_ref().is_some_and(|body| !body.is_end_stream());
    let mut extras = extras(connection, &raw, has_body, outcome);
    let offer = Offer::of(&raw, has_body)?;
    let bounds = connection.gateway.settings.head_bounds();
    let request = canonical(*raw, &connection.settled, bounds)?; // 5
    outcome.read(&request);
    let allowed = decide(active, request, outcome)?; // 6
    let fetched = connection.gateway.fetched(active, allowed.rule()).await;
    let active = fetched.as_deref().unwrap_or(active);
    outcome.look_for(fetched.as_deref())?;
    let Attached { attachment, names } = attachment(active, &allowed)?;
    let mut allowed = strip(allowed, attachment.as_ref(), outcome)?; // 7
    websocket::check(offer.as_ref(), &mut allowed)?;
    let scanner = scanner(connection, active, &allowed, outcome);
    if let Some(scanner) = &scanner {
        scan_head(scanner, active, &mut allowed, outcome)?; // 8
    }
    let body = body.take().unwrap_or_else(Body::empty);
    let mut body = hold(connection, body, &mut extras, responder, outcome).await?;
    let outward = outward(
        active,
        offer.as_ref(),
        scanner.as_ref(),
        attachment.as_ref(),
    );
    if let Some(scanner) = scanner {
        body = scanner.body(&allowed.request().headers, body)?;
    }
    body = swap(active, &allowed, attachment.as_ref(), body)?;
    let tls = active.believed.by(allowed.rule().map(Arc::as_ref));
    let key = key(tls.profile(), &allowed, names, outcome);
    let cookies = allowed.rule().map_or(Cookies::Pass, |rule| rule.cookies);
    let renewable = attachment.as_ref().is_some_and(Attachment::is_renewable) && fetched.is_none();
    let mut outgoing = Outgoing::new(allowed, attachment, extras); // 9
    outgoing.sign(&body)?;
    outcome.attached(&key.credentials);
    let onward = Onward {
        connection,
        active,
        tls,
        responder,
        outcome,
    };
    let (arrived, switched) = match &offer {
        None => (
            onward.send(key, &mut outgoing, body, renewable).await?,
            None,
        ), // 10
        Some(offer) => onward.upgrade(key, &outgoing, offer).await?,
    };
    outcome.arrived(&arrived);
    let mut response = arrived.response;
    outcome.echo().check(&response, &outgoing.method)?; // 11
    strip::response(response.headers_mut(), cookies);
    Ok(Answer::new(response, switched, outward))
}

/// What the request says beyond what is decided on.
fn extras(connection: &Connection, raw: &RawHead, has_body: bool, outcome: &Outcome<'_>) -> Extras {
    Extras {
        te_trailers: raw.te_trailers,
        trailers: raw.trailers.clone(),
        passed: outcome.sent().clone(),
        body_limit: connection.gateway.settings.body_bytes,
        expects_continue: has_body && raw.expects_continue == Ok(true),
    }
}

/// Step 9, in bodies: stand-ins become secrets, and are refused anywhere else.
fn swap(
    active: &Active,
    allowed: &Allowed,
    attachment: Option<&Attachment>,
    body: Body,
) -> Result<Body, Refusal> {
    let Some(guard) = active.credentials.guard() else {
        return Ok(body);
    };
    let rewriter = attachment.and_then(|it| it.rewriter(allowed.request()));
    swap::body(body, rewriter, guard)
}

/// Steps 8 and 9 of what a WebSocket says.
fn outward(
    active: &Active,
    offer: Option<&Offer>,
    scanner: Option<&Scanner>,
    attachment: Option<&Attachment>,
) -> Option<Box<Outward>> {
    let guard = active.credentials.guard();
    let rewriter = attachment.and_then(Attachment::message_rewriter);
    let outward = |_: &Offer| {
        Box::new(Outward {
            scanner: scanner.cloned(),
            swap: guard.map(|guard| swap::Messages::new(rewriter, guard)),
        })
    };
    offer.map(outward)
}

/// Step 6. The only way to an [`Allowed`] is the policy.
fn decide(active: &Active, request: Request, outcome: &Outcome<'_>) -> Result<Allowed, Refusal> {
    match active.policy.decide(outcome.agent(), request) {
        Decision::Allow(allowed) => {
            outcome.allowed(&allowed);
            Ok(allowed)
        }
        Decision::Deny(denied) => {
            outcome.denied(&denied);
            Err(denied.refusal)
        }
    }
}

/// What is attached to a request.
struct Attached {
    attachment: Option<Attachment>,
    /// The credentials and their generations.
    names: Vec<(CredentialName, u64)>,
}

/// The secrets of the rule's credentials, for exactly this authority and only over TLS (I4).
/// What depends on the request as the agent sent it is settled here, before it is stripped.
fn attachment(active: &Active, allowed: &Allowed) -> Result<Attached, Refusal> {
    let (request, store) = (allowed.request(), &active.credentials);
    let tls = request.scheme == Scheme::Https;
    let configured = allowed.rule().map_or(&[][..], |rule| &rule.credentials);
    let mut attached = Attached {
        attachment: None,
        names: Vec::new(),
    };
    for name in configured.iter().filter(|name| store.admits(name, request)) {
        let attachment = store.attachment(name, &request.authority, tls)?;
        attached.names.push((name.clone(), attachment.generation));
        match &mut attached.attachment {
            Some(others) => others.join(attachment),
            first @ None => *first = Some(attachment),
        }
    }
    if let (true, [first, ..]) = (attached.names.is_empty(), configured) {
        return Err(Refusal::new(
            Reason::DeniedByRule,
            format!(
                "the credential `{first}` is not for {} on this path; ask the operator of the gateway",
                request.method
            ),
        ));
    }
    match &mut attached.attachment {
        Some(attachment) => attachment.settle(request, store.guard())?,
        None => Attachment::default().settle(request, store.guard())?,
    }
    Ok(attached)
}

/// Step 7.
fn strip(
    mut allowed: Allowed,
    attachment: Option<&Attachment>,
    outcome: &Outcome<'_>,
) -> Result<Allowed, Refusal> {
    let fields: Vec<&HeaderName> = attachment.iter().flat_map(|it| it.sets()).collect();
    let keys: Vec<&str> = attachment.iter().flat_map(|it| it.keys()).collect();
    let sets = Sets {
        fields: &fields,
        keys: &keys,
    };
    strip::request(&mut allowed, outcome.agent(), sets)?;
    outcome.echo().narrow(allowed.headers_mut());
    Ok(allowed)
}

/// Step 8: what this request is scanned by; where its rule says `dlp = "off"`, by honeytokens
/// alone, and by nothing where there are none. Before the credential is attached, so that only
/// what the agent itself brings is found.
fn scanner(
    connection: &Connection,
    active: &Active,
    allowed: &Allowed,
    outcome: &Outcome<'_>,
) -> Option<Scanner> {
    let detectors = &active.detectors;
    let on_limit = allowed.rule().map_or(OnLimit::Deny, |rule| rule.on_limit);
    let (detectors, profile, on_limit) = match allowed.rule().map_or(Dlp::Default, |rule| rule.dlp)
    {
        Dlp::Default => (detectors, Profile::Default, on_limit),
        Dlp::Strict => (detectors, Profile::Strict, on_limit),
        Dlp::Off => (detectors.honeytokens()?, Profile::Strict, OnLimit::Allow),
    };
    Some(Scanner {
        detectors: detectors.clone(),
        profile,
        on_limit,
        decoded_bytes: connection.gateway.settings.decoded_request_bytes,
        host: allowed.request().authority.host.clone(),
        key: connection.gateway.fingerprints.clone(),
        found: outcome.found().clone(),
        metrics: connection.gateway.metrics.clone(),
        stand_ins: active.credentials.guard().cloned(),
    })
}

/// Step 8, up to the body: the host's name where a rule does not write it out, the URL, the
/// header fields.
fn scan_head(
    scanner: &Scanner,
    active: &Active,
    allowed: &mut Allowed,
    outcome: &Outcome<'_>,
) -> Result<(), Refusal> {
    let request = allowed.request();
    let host = &request.authority.host;
    if !active.asker(outcome.agent(), host).is_written {
        scanner.host(host)?;
    }
    scanner.target(&request.target)?;
    scanner.headers(allowed.headers_mut())
}

/// Step 8, hold: a short body of declared length is read before anything is dialled, and so
/// an expectation of 100 is answered here, once the request is allowed. That of a body that
/// streams is the server's to answer.
async fn hold(
    connection: &Connection,
    body: Body,
    extras: &mut Extras,
    responder: &Responder<'_>,
    outcome: &Outcome<'_>,
) -> Result<Body, Refusal> {
    let settings = &connection.gateway.settings;
    body.check_length(settings.body_bytes)
        .map_err(|error| error.of_request())?;
    if let Some(length) = body.to_be_held(settings.hold_bytes) {
        outcome.hold(length)?;
        if std::mem::take(&mut extras.expects_continue) {
            responder.go_on().await;
        }
    }
    let timeouts = &settings.timeouts;
    let held = body.hold(settings.hold_bytes, timeouts.body, timeouts.hold);
    held.await.map_err(|error| error.of_request())
}

/// What a connection to the server must have been made for (I6).
fn key(
    tls_profile: u64,
    allowed: &Allowed,
    credentials: Vec<(CredentialName, u64)>,
    outcome: &Outcome<'_>,
) -> Key {
    let rule = allowed.rule();
    let shared = rule.is_some_and(|rule| rule.share_upstream && rule.credentials.is_empty());
    Key::from(Parts {
        agent: (!shared).then(|| outcome.agent().clone()),
        scheme: allowed.request().scheme,
        authority: allowed.request().authority.clone(),
        credentials,
        tls_profile,
    })
}

async fn send(
    connection: &Connection,
    response: Response<Body>,
    responder: &Responder<'_>,
    outcome: &Outcome<'_>,
) -> outcome::Sent {
    if connection.drain.has_begun() {
        responder.is_last();
    }
    let trailers = responder.trailer_names(response.headers());
    outcome.answering(response.status());
    if response.body().reads_on() {
        responder.reads_on();
    }
    let response = response.map(|body| outcome.watch(body, trailers));
    let (parts, mut body) = outcome.redact(response).into_parts();
    responder
        .respond(Response::from_parts(parts, &mut body))
        .await?;
    // The agent has its answer, and what is left of its request goes on to the server.
    let body = body.into_inner().into_inner().into_inner();
    if let Err(error) = body.uploaded().await {
        outcome.refused(&error.of_request());
    }
    Ok(())
}

async fn refuse(
    connection: &Connection,
    refusal: &Refusal,
    dialect: Dialect,
    responder: &Responder<'_>,
    outcome: &Outcome<'_>,
) -> outcome::Sent {
    outcome.refused(refusal);
    let response = refusal::response(refusal, dialect, &outcome.record_id().to_string());
    send(connection, response, responder, outcome).await
}

/// Exchanges that last write a record every minute, so that the log shows them while they run.
async fn with_interim_records<T>(
    mut serving: Pin<&mut impl Future<Output = T>>,
    outcome: &Outcome<'_>,
    timer: &mut Timer,
) -> T {
    loop {
        match timer.within(INTERIM, serving.as_mut()).await {
            Some(served) => return served,
            None => outcome.interim(),
        }
    }
}
