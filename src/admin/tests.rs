//! The server over real sockets.

use std::io::{Read as _, Write as _};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use super::*;

const LONG: Duration = Duration::from_secs(20);

struct Running {
    admin: Admin,
    metrics: Arc<Metrics>,
}

fn start(settings: Settings) -> Running {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let metrics = Arc::new(Metrics::new());
    let admin = spawn(listener, settings, Arc::clone(&metrics)).unwrap();
    Running { admin, metrics }
}

impl Running {
    fn connect(&self) -> std::net::TcpStream {
        let stream = std::net::TcpStream::connect(self.admin.local_addr()).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream
    }

    /// Everything that comes back until the server closes.
    fn exchange(&self, request: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        rest(&mut stream)
    }

    fn call(&self, method: &str, path: &str) -> String {
        self.exchange(&format!(
            "{method} {path} HTTP/1.1\r\nHost: whatever\r\n\r\n"
        ))
    }

    fn refused(&self, reason: &str) -> bool {
        let line = format!("portreeve_admin_refused_total{{reason=\"{reason}\"}} 1\n");
        self.metrics.encode().contains(&line)
    }
}

/// A close with unread data is a reset; both are an end.
fn rest(stream: &mut std::net::TcpStream) -> String {
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer) {
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
    String::from_utf8(answer).unwrap()
}

#[test]
fn metrics_are_refreshed_before_each_scrape() {
    let scrapes = AtomicU64::new(0);
    let refreshed = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&refreshed);
    let running = start(Settings {
        refresh: Box::new(move || {
            flag.store(true, Ordering::SeqCst);
            scrapes.fetch_add(1, Ordering::SeqCst);
        }),
        ..Settings::default()
    });
    let answer = running.call("GET", "/healthz");
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nok\n"),
        "{answer}"
    );
    assert!(!refreshed.load(Ordering::SeqCst));
    let answer = running.call("GET", "/metrics");
    assert!(refreshed.load(Ordering::SeqCst));
    assert!(
        answer.contains("content-type: text/plain; version=0.0.4"),
        "{answer}"
    );
    assert!(
        answer.contains("\nportreeve_build_info{version="),
        "{answer}"
    );
}

#[test]
fn readiness_says_what_is_missing() {
    let ready = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&ready);
    let running = start(Settings {
        ready: Box::new(move || {
            if asked.load(Ordering::SeqCst) {
                return Vec::new();
            }
            vec![
                "the audit log cannot be written".to_owned(),
                "draining".to_owned(),
            ]
        }),
        ..Settings::default()
    });
    let answer = running.call("GET", "/readyz");
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(
        answer.ends_with("\r\n\r\nthe audit log cannot be written\ndraining\n"),
        "{answer}"
    );
    ready.store(true, Ordering::SeqCst);
    assert!(running.call("GET", "/readyz").starts_with("HTTP/1.1 200 "));
}

#[test]
fn nothing_else_is_served() {
    let running = start(Settings::default());
    for (method, path, status) in [
        ("GET", "/", "404"),
        ("GET", "/metrics/", "404"),
        ("GET", "//metrics", "404"),
        ("GET", "/debug/pprof", "404"),
        ("POST", "/metrics", "405"),
        ("OPTIONS", "*", "405"),
        ("CONNECT", "127.0.0.1:22", "405"),
    ] {
        let answer = running.call(method, path);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{method} {path}: {answer}"
        );
    }
    let answer = running.call("HEAD", "/metrics");
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n"),
        "{answer}"
    );
    assert!(
        running
            .call("GET", "/healthz?x=y")
            .starts_with("HTTP/1.1 200 ")
    );
}

#[test]
fn i8_an_agent_gets_no_byte() {
    let running = start(Settings {
        is_agent: Box::new(|address| address == IpAddr::V4(Ipv4Addr::LOCALHOST)),
        ..Settings::default()
    });
    assert_eq!(running.call("GET", "/metrics"), "");
    assert!(running.refused("agent"));
}

#[test]
fn i8_an_agent_over_a_mapped_address_gets_no_byte() {
    let Ok(listener) = std::net::TcpListener::bind("[::]:0") else {
        println!("skipped: no IPv6 on this machine");
        return;
    };
    let settings = Settings {
        is_agent: Box::new(|address| address == IpAddr::V4(Ipv4Addr::LOCALHOST)),
        ..Settings::default()
    };
    let metrics = Arc::new(Metrics::new());
    let admin = spawn(listener, settings, Arc::clone(&metrics)).unwrap();
    let port = admin.local_addr().port();
    let mut stream = std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    assert_eq!(rest(&mut stream), "");
    assert!(Running { admin, metrics }.refused("agent"));
}

#[test]
fn i9_heads_are_bounded_in_time_and_size() {
    let running = start(Settings {
        header_timeout: Duration::from_millis(50),
        ..Settings::default()
    });
    // Half a head: closed without an answer once the time is over.
    let answer = running.exchange("GET /metrics HTTP/1.1\r\nHost: a\r\n");
    assert!(!answer.contains("200"), "{answer}");
    let running = start(Settings::default());
    let long = format!(
        "GET /metrics HTTP/1.1\r\nX: {}\r\n\r\n",
        "x".repeat(2 * HEAD_BYTES)
    );
    let answer = running.exchange(&long);
    assert!(!answer.contains("HTTP/1.1 200"), "{answer}");
}

#[test]
fn i9_connections_are_bounded() {
    let running = start(Settings::default());
    let idle: Vec<_> = (0..CONNECTIONS).map(|_| running.connect()).collect();
    // Accepted in order, so all places are taken when this one comes.
    assert_eq!(rest(&mut running.connect()), "");
    assert!(running.refused("limit"));
    drop(idle);
    let deadline = Instant::now() + LONG;
    while !running.call("GET", "/healthz").starts_with("HTTP/1.1 200 ") {
        assert!(Instant::now() < deadline, "places never became free");
    }
}

#[test]
fn a_panic_in_a_closure_costs_one_answer_only() {
    let broken = AtomicBool::new(true);
    let running = start(Settings {
        ready: Box::new(move || {
            assert!(!broken.swap(false, Ordering::SeqCst), "a defect");
            Vec::new()
        }),
        ..Settings::default()
    });
    assert_eq!(running.call("GET", "/readyz"), "");
    assert!(running.call("GET", "/readyz").starts_with("HTTP/1.1 200 "));
}

#[test]
fn shutdown_frees_the_port() {
    let running = start(Settings::default());
    let address = running.admin.local_addr();
    let mut idle = running.connect();
    running.admin.shutdown();
    assert_eq!(rest(&mut idle), "");
    assert!(std::net::TcpStream::connect(address).is_err());
}
