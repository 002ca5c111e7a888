//! What Prometheus would see.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, UNIX_EPOCH};

use http::{Method, StatusCode};

use super::*;
use crate::error::{Reason, Verdict};
use crate::name::CredentialName;

/// Metrics of which every family has at least one series.
fn used() -> Metrics {
    let metrics = Metrics::new();
    let agent = metrics.agent(&AgentName::new("builder"));
    agent.request(&Method::GET, Some(StatusCode::OK), Verdict::Allow);
    agent.trust_failure(TrustSign::UnknownCa);
    metrics
        .rule(Some(&RuleName::new("anthropic")))
        .request(Verdict::Allow);
    metrics.credentials.attach(&CredentialName::new("key"));
    metrics
        .credentials
        .refresh([credential(&CredentialName::new("key"), true)]);
    metrics
        .credentials
        .fetched(&CredentialName::new("key"), Refresh::Failed);
    metrics.state.nft_packets("quic_rejected", 3);
    metrics.state.limits(&["connections"]);
    metrics
        .tls
        .handshake(Side::Agent, Handshake::Complete, Duration::from_millis(2));
    metrics.requests.finished(Duration::from_millis(20));
    metrics.dlp.found("github-token", "block");
    metrics.dlp.honeytoken("honeytoken:trap");
    metrics
}

fn credential(name: &CredentialName, unavailable: bool) -> CredentialState<'_> {
    CredentialState {
        name,
        unavailable,
        stale: !unavailable,
        obtained: Some(UNIX_EPOCH),
    }
}

/// How many series each family has: samples, those of a histogram folded into one.
fn series(text: &str) -> BTreeMap<String, usize> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let sample = line.rsplit_once(' ').unwrap().0;
        let (name, labels) = sample.split_once('{').unwrap_or((sample, "}"));
        found
            .entry(name.to_owned())
            .or_default()
            .insert(labels.to_owned());
    }
    found
        .into_iter()
        .map(|(name, labels)| (name, labels.len()))
        .collect()
}

fn has(metrics: &Metrics, line: &str) {
    let text = metrics.encode();
    assert!(
        text.lines().any(|have| have == line),
        "no {line:?} in\n{text}"
    );
}

#[test]
fn the_table_and_the_registry_agree() {
    let text = used().encode();
    let exported: BTreeSet<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .map(str::to_owned)
        .collect();
    let documented: BTreeSet<_> = FAMILIES
        .iter()
        .map(|doc| format!("{} {}", doc.name, format!("{:?}", doc.kind).to_lowercase()))
        .collect();
    assert_eq!(exported, documented);
    assert_eq!(documented.len(), FAMILIES.len());
    for doc in FAMILIES {
        assert!(
            text.contains(&format!("# HELP {} {}\n", doc.name, doc.help)),
            "{}",
            doc.name
        );
        assert_eq!(
            doc.name.ends_with("_total"),
            doc.kind == Kind::Counter,
            "{}",
            doc.name
        );
    }
}

#[test]
fn promtool_finds_nothing() {
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut promtool = match promtool {
        Ok(child) => child,
        Err(error) => {
            println!("skipped: promtool cannot be started ({error})");
            return;
        }
    };
    promtool
        .stdin
        .take()
        .unwrap()
        .write_all(used().encode().as_bytes())
        .unwrap();
    let output = promtool.wait_with_output().unwrap();
    let findings = String::from_utf8_lossy(&output.stderr).into_owned()
        + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && findings.is_empty(), "{findings}");
}

#[test]
fn i9_no_family_grows_over_its_cap() {
    let metrics = Metrics::new();
    for number in 0..10_000_u64 {
        let agent = metrics.agent(&AgentName::new(&format!("agent-{number}")));
        agent.request(&Method::GET, Some(StatusCode::OK), Verdict::Allow);
        agent.request(&Method::POST, None, Verdict::Deny);
        agent.trust_failure(TrustSign::SilentClose);
        metrics
            .rule(Some(&RuleName::new(&format!("rule-{number}"))))
            .request(Verdict::Observe);
        let credential = CredentialName::new(&format!("credential-{number}"));
        metrics.credentials.attach(&credential);
        metrics
            .state
            .nft_packets(&format!("counter-{number}"), number);
    }
    let late = |name| metrics.agent(&AgentName::new(name));
    assert!(
        Arc::ptr_eq(&late("agent-9998"), &late("agent-9999")),
        "handles grow without end"
    );
    assert!(!Arc::ptr_eq(&late("agent-0"), &late("agent-1")));
    let names: Vec<_> = (0..10_000)
        .map(|number| CredentialName::new(&format!("key-{number}")))
        .collect();
    metrics
        .credentials
        .refresh(names.iter().map(|name| credential(name, false)));

    let series = series(&metrics.encode());
    for (name, count) in &series {
        assert!(
            *count <= SERIES || name.ends_with("_bucket"),
            "{name} has {count} series"
        );
    }
    // Nothing is lost: what has no series of its own is counted under `other`.
    let total: u64 = metrics
        .encode()
        .lines()
        .filter(|line| line.starts_with("portreeve_agent_requests_total{"))
        .map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap())
        .sum();
    assert_eq!(total, 20_000);
    assert!(
        metrics
            .encode()
            .contains("portreeve_client_trust_failures_total{agent=\"other\",sign=")
    );
}

#[test]
fn every_reason_is_there_from_the_start() {
    let metrics = Metrics::new();
    for reason in Reason::ALL {
        has(
            &metrics,
            &format!(
                "portreeve_refusals_total{{reason=\"{}\"}} 0",
                reason.label()
            ),
        );
    }
}

#[test]
fn methods_that_an_agent_makes_up_are_one_series() {
    let metrics = Metrics::new();
    let agent = metrics.agent(&AgentName::new("builder"));
    for method in ["BREW", "get", "X-1"] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        agent.request(&method, Some(StatusCode::FORBIDDEN), Verdict::Deny);
    }
    has(
        &metrics,
        "portreeve_agent_requests_total{agent=\"builder\",code=\"4xx\",method=\"other\",verdict=\"deny\"} 3",
    );
}

#[test]
fn requests_land_in_their_own_series() {
    let metrics = Metrics::new();
    let agent = metrics.agent(&AgentName::new("a"));
    for (number, method) in [Method::GET, Method::TRACE, Method::PATCH]
        .iter()
        .enumerate()
    {
        for _ in 0..=number {
            agent.request(
                method,
                Some(StatusCode::from_u16(599).unwrap()),
                Verdict::Observe,
            );
            agent.request(method, None, Verdict::Allow);
        }
    }
    let line = |code: &str, method: &str, verdict: &str, count: u32| {
        format!(
            "portreeve_agent_requests_total{{agent=\"a\",code=\"{code}\",method=\"{method}\",verdict=\"{verdict}\"}} {count}"
        )
    };
    for (method, count) in [("GET", 1), ("TRACE", 2), ("PATCH", 3)] {
        has(&metrics, &line("5xx", method, "observe", count));
        has(&metrics, &line("none", method, "allow", count));
    }
    metrics.rule(None).request(Verdict::Deny);
    has(
        &metrics,
        "portreeve_rule_requests_total{rule=\"none\",verdict=\"deny\"} 1",
    );
}

#[test]
fn guards_count_down_when_dropped() {
    let metrics = Metrics::new();
    let connection = metrics.connections.accept(IpFamily::V6);
    let upstream = metrics.upstream.create(Protocol::Http2);
    has(&metrics, "portreeve_connections_active 1");
    has(
        &metrics,
        "portreeve_upstream_connections_open{protocol=\"2\"} 1",
    );
    drop((connection, upstream));
    has(&metrics, "portreeve_connections_active 0");
    has(
        &metrics,
        "portreeve_connections_accepted_total{family=\"ipv6\"} 1",
    );
    has(
        &metrics,
        "portreeve_upstream_connections_open{protocol=\"2\"} 0",
    );
}

#[test]
fn failed_handshakes_have_no_duration() {
    let metrics = Metrics::new();
    metrics
        .tls
        .handshake(Side::Upstream, Handshake::Failed, Duration::from_secs(1));
    has(
        &metrics,
        "portreeve_tls_handshakes_total{result=\"failed\",side=\"upstream\"} 1",
    );
    has(
        &metrics,
        "portreeve_tls_handshake_duration_seconds_count{side=\"upstream\"} 0",
    );
}

#[test]
fn a_rejected_reload_shows_and_keeps_the_generation() {
    let metrics = Metrics::new();
    metrics
        .state
        .policy(7, true, UNIX_EPOCH + Duration::from_secs(1_000));
    metrics.state.reload(Reload::Rejected);
    has(&metrics, "portreeve_policy_generation 7");
    has(&metrics, "portreeve_enforcing 1");
    has(&metrics, "portreeve_last_reload_successful 0");
    has(
        &metrics,
        "portreeve_last_reload_success_timestamp_seconds 1000",
    );
}

#[test]
fn credentials_that_are_gone_disappear() {
    let metrics = Metrics::new();
    let (old, new) = (CredentialName::new("old"), CredentialName::new("new"));
    metrics.credentials.refresh([credential(&old, true)]);
    has(
        &metrics,
        "portreeve_credential_unavailable{credential=\"old\"} 1",
    );
    metrics.credentials.refresh([credential(&new, false)]);
    has(
        &metrics,
        "portreeve_credential_unavailable{credential=\"new\"} 0",
    );
    assert!(
        !metrics
            .encode()
            .contains("portreeve_credential_unavailable{credential=\"old\"}")
    );
}

#[test]
fn i9_both_leaf_caches_show_their_size_and_their_use() {
    let metrics = Metrics::new();
    metrics.leaves.refresh(&LeafNumbers {
        minted: 5,
        hits: 4,
        misses: 3,
        allowed: 2,
        refused: 1,
    });
    for line in [
        "portreeve_leaf_mints_total 5",
        "portreeve_leaf_cache_requests_total{result=\"hit\"} 4",
        "portreeve_leaf_cache_requests_total{result=\"miss\"} 3",
        "portreeve_leaf_cache_entries{names=\"allowed\"} 2",
        "portreeve_leaf_cache_entries{names=\"refused\"} 1",
    ] {
        has(&metrics, line);
    }
}
