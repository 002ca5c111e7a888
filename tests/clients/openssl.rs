//! `openssl s_client` over TLS 1.2 and 1.3: what the handshake looks like from outside.

use std::io::Write;
use std::process::Stdio;

use crate::{Site, inside, with_site};

const REQUEST: &[u8] = b"GET /hello HTTP/1.1\r\nHost: api.good.test\r\nConnection: close\r\n\r\n";

/// What it prints, with `arguments`, for one request.
fn s_client(site: &Site<'_>, arguments: &[&str]) -> String {
    let mut command = site.command("openssl");
    command
        .args(["s_client", "-connect", "api.good.test:443"])
        .args(["-servername", "api.good.test"])
        .args(["-verify_return_error", "-verify_hostname", "api.good.test"])
        .args(["-ign_eof", "-CAfile"])
        .arg(&site.ca)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = site.world.agent.spawn(command);
    // It may have given up by now; what it prints tells.
    let _ = child.stdin.take().unwrap().write_all(REQUEST);
    let output = child.wait_with_output().unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

fn greets(version: &str, protocol: &str) {
    with_site(&["openssl"], |site| {
        let printed = s_client(site, &[version]);
        for part in [
            "Verify return code: 0 (ok)",
            protocol,
            "HTTP/1.1 200",
            "hello",
        ] {
            assert!(printed.contains(part), "no {part:?} in {printed}");
        }
        assert_eq!(site.received("/hello").len(), 1);
        let printed = s_client(site, &[version, "-alpn", "h2,http/1.1"]);
        assert!(printed.contains("ALPN protocol: h2"), "{printed}");
    });
}

#[test]
fn openssl_over_tls_1_2() {
    inside(|| greets("-tls1_2", "TLSv1.2"));
}

#[test]
fn openssl_over_tls_1_3() {
    inside(|| greets("-tls1_3", "TLSv1.3"));
}

/// TLS 1.1 and older are no more (RFC 8996).
#[test]
fn openssl_over_tls_1_1_is_refused() {
    inside(|| {
        with_site(&["openssl"], |site| {
            let printed = s_client(site, &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]);
            assert!(!printed.contains("HTTP/1.1"), "{printed}");
            assert!(site.server.connections().is_empty());
        });
    });
}
