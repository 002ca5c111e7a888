//! I12: no record is lost silently; and I5 where it meets the log: no secret is in it.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::common::{GatewayProcess, World, inside};
use crate::lab::{
    ANYTHING, Agents, Alice, Gate, config, echo, good, h1, holding, reason, start, wait_metric,
    well_framed_targets,
};

/// Sequence numbers have no hole and no repetition.
fn assert_contiguous(records: &[Value]) {
    let number = |record: &Value| record["portreeve.record.sequence"].as_u64().unwrap();
    let numbers: Vec<u64> = records.iter().map(number).collect();
    let expected: Vec<u64> = (numbers[0]..).take(numbers.len()).collect();
    assert_eq!(numbers, expected);
}

fn kinds(gateway: &GatewayProcess<'_>) -> Vec<String> {
    let kind = |record: &Value| record["portreeve.record.kind"].as_str().unwrap().to_owned();
    gateway.audit_records().iter().map(kind).collect()
}

/// A file system of 256 KiB at `path`.
fn mount_small(path: &Path) {
    fs::create_dir_all(path).unwrap();
    let mut command = Command::new("mount");
    command.args(["-t", "tmpfs", "-o", "size=256k,mode=0700", "small"]);
    let output = command.arg(path).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Takes all that is left of a file system.
fn fill(path: &Path) {
    let mut file = fs::File::create(path).unwrap();
    for piece in [4096, 64, 1] {
        while file
            .write_all(&vec![b'x'; piece])
            .and_then(|()| file.flush())
            .is_ok()
        {}
    }
}

#[test]
fn i12_while_the_log_cannot_be_written_nothing_is_passed() {
    inside(|| {
        let world = World::new();
        let servers = [good(&world), h1(&world, echo)];
        let builder = world
            .gateway_builder(&config("", ""))
            .rule("rules.toml", ANYTHING);
        mount_small(&world.path("gateway").join("state"));
        let gateway = builder.start();
        let filler = gateway.state().join("filler");
        let agents = Agents::new(&world, &gateway);
        let (mut one, two) = (agents.h1(Alice, "h1.test"), agents.h2(Alice, "good.test"));
        fill(&filler);
        // Only a record tells that there is no room: what is left of the last page takes some.
        let unwritable = || gateway.metric("portreeve_audit_unwritable", &[]) > 0.5;
        let mut passed = 0;
        while !unwritable() {
            passed += u32::from(one.get("/passed").unwrap().status == 200);
            assert!(passed < 1000, "the log is full and nobody noticed");
        }
        let before = well_framed_targets(&servers[1]).len();
        for response in [one.get("/refused").unwrap(), two.get("/refused").unwrap()] {
            assert_eq!(response.status, 503);
            assert!(response.text().contains("urn:portreeve:audit_unwritable"));
            assert_eq!(response.header("retry-after"), Some("1"));
        }
        assert_eq!(
            agents
                .h1(Alice, "evil.test")
                .get("/refused")
                .unwrap()
                .status,
            503
        );
        assert_eq!(gateway.admin("/readyz").0, 503);
        assert_eq!(well_framed_targets(&servers[1]).len(), before);
        assert!(servers[0].requests().is_empty());
        gateway.wait_log("the audit log cannot be written");

        fs::remove_file(&filler).unwrap();
        wait_metric(&gateway, "portreeve_audit_unwritable", &[], |n| n < 0.5);
        assert_eq!(one.get("/again").unwrap().status, 200);
        assert_eq!(two.get("/again").unwrap().status, 200);
        gateway.wait_records(2, |record| record["url.path"] == "/again");
        let all = gateway.wait_records(before, |record| record["url.path"] == "/passed");
        assert_eq!(all.len(), before, "records of what passed were kept");
        assert_contiguous(&gateway.audit_records());
        assert!(gateway.metric("portreeve_audit_lost_total", &[]) < 0.5);
        assert!(gateway.metric("portreeve_audit_refused_total", &[]) >= 3.0);
    });
}

#[test]
fn i12_a_start_after_a_kill_says_that_records_may_be_missing() {
    inside(|| {
        let world = World::new();
        let gate = Gate::new();
        let server = holding(&world, &gate);
        let mut gateway = start(&world, "");
        let agents = Agents::new(&world, &gateway);
        assert_eq!(agents.h1(Alice, "h1.test").get("/one").unwrap().status, 200);
        assert_eq!(reason(&gateway, "/one"), "none");
        let mut held = agents.h1(Alice, "h1.test");
        held.send("GET /hold HTTP/1.1\r\nhost: h1.test\r\n\r\n")
            .unwrap();
        server.wait_connection("it", |c| c.bytes.windows(5).any(|part| part == b"/hold"));
        gateway.kill();
        gateway.start();
        assert_eq!(agents.h1(Alice, "h1.test").get("/two").unwrap().status, 200);
        assert_eq!(reason(&gateway, "/two"), "none");
        assert_eq!(
            kinds(&gateway),
            ["start", "request", "gap", "start", "request"]
        );
        let records = gateway.audit_records();
        assert_eq!(records[2]["portreeve.gap.cause"], "killed");
        let last = &records[1]["portreeve.record.sequence"];
        assert_eq!(records[2]["portreeve.gap.last_sequence"], *last);
        assert_contiguous(&records);
    });
}

#[test]
fn i12_an_orderly_end_leaves_no_gap() {
    inside(|| {
        let world = World::new();
        good(&world);
        let mut gateway = start(&world, "");
        let agents = Agents::new(&world, &gateway);
        assert_eq!(
            agents.h2(Alice, "good.test").get("/one").unwrap().status,
            200
        );
        assert!(gateway.terminate().success());
        gateway.start();
        assert_eq!(
            agents.h2(Alice, "good.test").get("/two").unwrap().status,
            200
        );
        assert_eq!(reason(&gateway, "/two"), "none");
        assert_eq!(
            kinds(&gateway),
            ["start", "request", "stop", "start", "request"]
        );
        assert_contiguous(&gateway.audit_records());
    });
}

/// A secret, in the forms in which it could be written somewhere.
const CANARY: &str = "canary-4f1c9be07d";
const CANARY_BASE64: &str = "dXNlcjpjYW5hcnktNGYxYzliZTA3ZA==";

const WITH_CANARY: &str = r#"
[[credential]]
name = "key"
secret = { file = "../canary" }
hosts = ["good.test"]
attach = { bearer = true }
[[credential]]
name = "login"
secret = { env = "CANARY" }
hosts = ["h1.test"]
attach = { basic = "user" }
[[rule]]
name = "key"
agents = ["alice"]
hosts = ["good.test"]
paths = ["/allowed/**"]
credential = "key"
[[rule]]
name = "login"
agents = ["alice"]
hosts = ["h1.test"]
paths = ["/allowed/**"]
credential = "login"
"#;

/// Fails where a file under `folder`, but the secret's own, holds the canary.
fn search(folder: &Path) -> usize {
    let mut searched = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            searched += search(&path);
        } else if path.is_file() && !path.ends_with("canary") {
            assert_clean(&path.display().to_string(), &fs::read(&path).unwrap());
            searched += 1;
        }
    }
    searched
}

fn assert_clean(place: &str, bytes: &[u8]) {
    for secret in [CANARY, CANARY_BASE64] {
        let found = bytes
            .windows(secret.len())
            .any(|part| part == secret.as_bytes());
        assert!(!found, "{secret} stands in {place}");
    }
}

#[test]
fn i12_no_secret_is_in_log_audit_state_or_metrics() {
    inside(|| {
        let world = World::new();
        let servers = [good(&world), h1(&world, echo)];
        let builder = world
            .gateway_builder(&config("", ""))
            .rule("rules.toml", WITH_CANARY);
        let builder = builder.secret("canary", CANARY).env("CANARY", CANARY);
        // With everything that it can say.
        let mut gateway = builder.env("PORTREEVE_LOG", "trace").start();
        let agents = Agents::new(&world, &gateway);
        for name in ["good.test", "h1.test"] {
            let mut client = agents.h1(Alice, name);
            assert_eq!(client.get("/allowed/a").unwrap().status, 200);
            assert_eq!(client.get("/denied").unwrap().status, 403);
            assert_eq!(
                agents.h2(Alice, name).get("/allowed/b").unwrap().status,
                200
            );
        }
        // It was attached, in both forms.
        let bearer = format!("Bearer {CANARY}");
        let basic = format!("Basic {CANARY_BASE64}");
        for (server, value) in servers.iter().zip([bearer, basic]) {
            for request in server.requests() {
                assert_eq!(request.header("authorization"), Some(value.as_str()));
            }
        }
        gateway.write_rule("broken.toml", "[[rule]]\nname = 5\n");
        gateway.reload();
        gateway.wait_records(6, |record| record["portreeve.record.kind"] == "request");
        assert_clean("metrics", gateway.metrics().as_bytes());
        assert!(gateway.terminate().success());
        assert_clean("the log", gateway.log().as_bytes());
        assert!(gateway.log().lines().count() > 10, "a log was kept");
        assert!(search(gateway.folder()) >= 5);
    });
}
