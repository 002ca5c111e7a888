//! curl over HTTP/1.1, HTTP/2 and HTTP/1.0.

use std::process::Command;

use serde_json::Value;

use crate::common::world::{ATTACKER, THIRD};
use crate::common::{Answer, TestCa, Upstream};
use crate::{DOWNLOAD_BYTES, SECRET, Site, UPLOAD_BYTES, inside, noise, sha256, with_site};

const DOWNLOAD: &str = "https://api.good.test/download";

fn curl(site: &Site<'_>, arguments: &[&str]) -> Command {
    let mut command = site.command("curl");
    command
        .args(["-sS", "--cacert"])
        .arg(&site.ca)
        .args(arguments);
    command
}

/// Status and version as curl saw them, after `arguments`.
fn seen(site: &Site<'_>, arguments: &[&str]) -> String {
    let mut command = curl(
        site,
        &["-o", "/dev/null", "-w", "%{http_code} %{http_version}"],
    );
    command.args(arguments);
    String::from_utf8(site.stdout(command)).unwrap()
}

fn downloads_and_uploads(site: &Site<'_>, version: &str) {
    for family in ["-4", "-6"] {
        let body = site.stdout(curl(site, &[version, family, DOWNLOAD]));
        assert_eq!(sha256(&body), sha256(&noise(DOWNLOAD_BYTES, 3)), "{family}");
        let upload = format!("@{}", site.upload.display());
        let sends = [version, family, "--data-binary", &upload];
        let mut command = curl(site, &sends);
        command.arg("https://api.good.test/upload");
        let digest = String::from_utf8(site.stdout(command)).unwrap();
        assert_eq!(digest, sha256(&noise(UPLOAD_BYTES, 7)), "{family}");
    }
    assert_eq!(site.received("/download").len(), 2);
    assert_eq!(site.received("/upload").len(), 2);
}

#[test]
fn curl_over_http_1_1() {
    inside(|| {
        with_site(&["curl"], |site| {
            downloads_and_uploads(site, "--http1.1");
            assert_eq!(seen(site, &["--http1.1", DOWNLOAD]), "200 1.1");
        });
    });
}

#[test]
fn curl_over_http_2() {
    inside(|| {
        with_site(&["curl"], |site| {
            downloads_and_uploads(site, "--http2");
            assert_eq!(seen(site, &["--http2", DOWNLOAD]), "200 2");
        });
    });
}

#[test]
fn curl_over_http_1_0() {
    inside(|| {
        with_site(&["curl"], |site| {
            downloads_and_uploads(site, "--http1.0");
            // The gateway answers in its own version (RFC 9110 section 2.5).
            assert_eq!(seen(site, &["--http1.0", DOWNLOAD]), "200 1.1");
        });
    });
}

/// An upload of unknown length, and one that waits for the word to go on.
#[test]
fn curl_sends_in_chunks_and_expects_100() {
    inside(|| {
        with_site(&["curl"], |site| {
            for version in ["--http2", "--http1.1"] {
                for expect in ["Expect:", "Expect: 100-continue"] {
                    let mut command = curl(site, &[version, "-T", "-", "-X", "POST", "-H", expect]);
                    command.arg("https://api.good.test/upload");
                    command.stdin(std::fs::File::open(&site.upload).unwrap());
                    // `Ns::output` would take its input away.
                    command.stdout(std::process::Stdio::piped());
                    let child = site.world.agent.spawn(command);
                    let output = child.wait_with_output().unwrap();
                    assert!(output.status.success(), "{version} {expect}");
                    let digest = String::from_utf8(output.stdout).unwrap();
                    assert_eq!(
                        digest,
                        sha256(&noise(UPLOAD_BYTES, 7)),
                        "{version} {expect}"
                    );
                }
            }
            assert_eq!(site.received("/upload").len(), 4);
        });
    });
}

#[test]
fn curl_reads_why_it_is_refused() {
    inside(|| {
        with_site(&["curl"], |site| {
            let output = site.run(curl(site, &["-f", "https://elsewhere.test/"]));
            assert_eq!(output.status.code(), Some(22), "an HTTP error");
            let page = site.stdout(curl(site, &["https://elsewhere.test/secret-path"]));
            let page: serde_json::Value = serde_json::from_slice(&page).unwrap();
            assert_eq!(page["status"], 403);
            assert!(page["detail"].as_str().unwrap().contains("elsewhere.test"));
            assert!(site.server.connections().is_empty());
        });
    });
}

/// A refusal was followed by a reset where nobody had read the body, and curl dropped it.
#[test]
fn i12_curl_reads_why_its_upload_is_refused() {
    inside(|| {
        with_site(&["curl"], |site| {
            for version in ["--http1.1", "--http2"] {
                for _ in 0..10 {
                    let sends = [version, "-d", "some data"];
                    let mut command = curl(site, &sends);
                    command.arg("https://denied.test/upload");
                    let page = String::from_utf8(site.stdout(command)).unwrap();
                    assert!(page.contains("urn:portreeve:no_rule"), "{version}: {page}");
                }
            }
        });
    });
}

/// What curl is not told to trust, it does not.
#[test]
fn curl_without_the_ca_gives_up() {
    inside(|| {
        with_site(&["curl"], |site| {
            let mut command = site.command("curl");
            command.args(["-sS", "-H", "x-secret: of the agent", DOWNLOAD]);
            assert_eq!(site.run(command).status.code(), Some(60));
            assert!(site.server.connections().is_empty());
        });
    });
}

/// The agent's own idea of a credential is replaced, and what it gets to read has none.
#[test]
fn i5_curl_verbose_shows_no_credential() {
    inside(|| {
        with_site(&["curl"], |site| {
            let mut command = curl(site, &["-v", "-H", "Authorization: Bearer mine"]);
            command.arg("https://api.good.test/hello");
            let output = site.run(command);
            let all = [output.stdout, output.stderr].concat();
            let all = String::from_utf8_lossy(&all);
            assert!(all.contains("hello"), "{all}");
            assert!(!all.contains(SECRET), "{all}");
            assert_eq!(site.received("/hello").len(), 1);
        });
    });
}

/// A client that trusts its server's own CA alone gets the server's own certificate, wherever
/// it believes the server to be.
#[test]
fn curl_that_pins_is_spliced() {
    inside(|| {
        with_site(&["curl"], |site| {
            let ca = TestCa::new();
            let tls = ca.server(&["pinned.good.test"]);
            let internet = &site.world.internet;
            let server = Upstream::https(internet, THIRD, 443, tls, |_| Answer::ok("pinned"));
            let attacker = Upstream::recorder(internet, ATTACKER, 443);
            let own = site.world.path("pinned-ca.pem");
            std::fs::write(&own, ca.pem()).unwrap();
            let aimed = format!("pinned.good.test:443:{}", ATTACKER[0]);
            for options in [&[][..], &["--resolve", &aimed]] {
                let mut command = site.command("curl");
                command
                    .args(["-sS", "-w", "\n%{certs}", "--cacert"])
                    .arg(&own);
                command.args(options).arg("https://pinned.good.test/");
                let output = String::from_utf8(site.stdout(command)).unwrap();
                let (body, certificates) = output.split_once('\n').unwrap();
                assert_eq!(body, "pinned");
                assert!(certificates.contains("The test's own CA"), "{certificates}");
                assert!(!certificates.contains("Portreeve"), "{certificates}");
            }
            assert_eq!(server.requests().len(), 2);
            assert!(attacker.connections().is_empty());
            let spliced = |record: &Value| record["portreeve.verdict"] == "splice";
            for record in site.gateway.wait_records(2, spliced) {
                assert_eq!(record["network.peer.address"], THIRD[0].to_string());
            }
        });
    });
}
