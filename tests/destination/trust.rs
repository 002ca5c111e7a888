//! I4, with what a rule says of its servers: `trust`, `pins`; and revocation lists.

use std::net::IpAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use tokio::net::TcpStream;

use crate::common::world::{OTHER, SERVER};
use crate::common::{Answer, DEADLINE, TestCa, Upstream, World, inside, pki};
use crate::town::{Agent, Config, assert_refused, get};

const TO: (IpAddr, u16) = (SERVER[0], 443);

/// A rule for one path of both servers.
fn rule(name: &str, what: &str) -> String {
    format!(
        "[[rule]]\nname = \"{name}\"\nagents = [\"builder\"]\n\
         hosts = [\"good.test\", \"plain.test\"]\npaths = [\"/{name}\"]\n{what}\n"
    )
}

/// Each rule with what it says of its servers, `other` being the pin of the CA in `own.pem`.
fn rules(leaf: &str, ca: &str, other: &str, wrong: &str) -> String {
    [
        rule("all", ""),
        rule("own", "trust = [\"../own.pem\"]"),
        rule("system", "trust = \"system\""),
        rule("leaf", &format!("pins = [{other:?}, {leaf:?}]")),
        rule("ca", &format!("pins = [{ca:?}]")),
        rule("wrong", &format!("pins = [{wrong:?}]")),
        rule(
            "both",
            &format!("trust = [\"../own.pem\"]\npins = [{other:?}]"),
        ),
    ]
    .concat()
}

#[test]
fn i4_a_rule_believes_its_own_cas_and_pins_alone() {
    inside(|| {
        let world = World::new();
        let own = TestCa::new();
        let (certificate, key) = world.ca.pem_pair(&["good.test"]);
        let tls = pki::server_of(&certificate, &key);
        let good = Upstream::https(&world.internet, SERVER, 443, tls, |_| Answer::ok("good"));
        let tls = own.server(&["plain.test"]);
        let plain = Upstream::https(&world.internet, OTHER, 443, tls, |_| Answer::ok("plain"));
        let [leaf, ca, other] = [&certificate, world.ca.pem(), own.pem()].map(pki::pin);
        let rules = |wrong: &str| rules(&leaf, &ca, &other, wrong);
        let builder = world.gateway_builder(&Config::default().to_string());
        let gateway = builder
            .secret("own.pem", own.pem())
            .rule("town.toml", &rules(&other))
            .start();
        let agent = Agent::new(&world, &gateway);
        // What each path comes to at `good.test`, then at `plain.test`; twice each, as the
        // second time there is a connection that another rule believes.
        let (stranger, unknown) = (Some("upstream_identity"), Some("upstream_certificate"));
        let cases = [
            ("/all", None, unknown),
            ("/own", unknown, None),
            ("/system", unknown, unknown),
            ("/leaf", None, unknown),
            ("/ca", None, unknown),
            ("/wrong", stranger, unknown),
            ("/both", unknown, None),
        ];
        for _ in 0..2 {
            for (path, at_good, at_plain) in cases {
                for (host, why) in [("good.test", at_good), ("plain.test", at_plain)] {
                    let response = agent.https(TO, host, get(host, path));
                    match why {
                        None => assert_eq!(response.status, 200, "{host}{path}"),
                        Some(why) => assert_refused(&response, 502, why),
                    }
                }
            }
        }
        let targets = |server: &Upstream| -> Vec<String> {
            let requests = server.requests().into_iter();
            requests.map(|request| request.target).collect()
        };
        assert_eq!(targets(&good), ["/all", "/leaf", "/ca"].repeat(2));
        assert_eq!(targets(&plain), ["/own", "/both"].repeat(2));
        // Other pins are in force with the next request, and a file that is gone changes nothing.
        gateway.write_rule("town.toml", &rules(&ca));
        gateway.reload();
        let response = agent.https(TO, "good.test", get("good.test", "/wrong"));
        assert_eq!(response.status, 200);
        gateway.write_rule("town.toml", &rules(&other).replace("own.pem", "gone.pem"));
        gateway.reload();
        let response = agent.https(TO, "good.test", get("good.test", "/wrong"));
        assert_eq!(response.status, 200);
    });
}

#[test]
fn i4_a_revoked_server_gets_nothing() {
    inside(|| {
        let world = World::new();
        let ca = &world.ca;
        let numbered = |name: &str, serial: u64| {
            ca.server_with(&[name], |params| params.serial_number = Some(serial.into()))
        };
        let answer = |_: &_| Answer::ok("");
        let good = numbered("good.test", 7);
        let good = Upstream::https(&world.internet, SERVER, 443, good, answer);
        let plain = numbered("plain.test", 8);
        let plain = Upstream::https(&world.internet, OTHER, 443, plain, answer);
        let config = Config::default().to_string();
        let config = config.replace("[upstream]\n", "[upstream]\ncrl = [\"revoked.pem\"]\n");
        let rules = [
            rule("all", ""),
            // The list holds for them, too.
            rule("own", "trust = [\"../upstream-ca.pem\"]"),
        ];
        let builder = world.gateway_builder(&config);
        let gateway = builder
            .secret("revoked.pem", &ca.revoking(&[7]))
            .rule("town.toml", &rules.concat())
            .start();
        let agent = Agent::new(&world, &gateway);
        for path in ["/all", "/own"] {
            let refused = agent.https(TO, "good.test", get("good.test", path));
            assert_refused(&refused, 502, "upstream_certificate");
            let served = agent.https(TO, "plain.test", get("plain.test", path));
            assert_eq!(served.status, 200);
        }
        assert!(good.requests().is_empty());
        assert_eq!(plain.requests().len(), 2);
    });
}

/// Says so where it is missing, and fails in CI.
fn has_openssl() -> bool {
    let version = Command::new("openssl").arg("version").output();
    if let Err(error) = &version {
        assert!(std::env::var_os("CI").is_none(), "openssl: {error}");
        println!("skipped: openssl is not installed");
    }
    version.is_ok()
}

/// Runs `openssl`; it makes what no other library here would.
fn openssl(folder: &Path, line: &str) {
    let mut command = Command::new("openssl");
    let output = command.args(line.split(' ')).current_dir(folder).output();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {line}: {said}");
}

#[test]
fn i4_a_weak_signature_proves_nothing() {
    if !has_openssl() {
        return;
    }
    inside(|| {
        let world = World::new();
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
        std::fs::write(folder.join("san"), "subjectAltName = DNS:good.test\n").unwrap();
        let weak = [("rsa:1024", "sha256"), ("rsa:2048", "sha1")];
        let strong = [("rsa:2048", "sha256")];
        for (index, (key, hash)) in weak.into_iter().chain(strong).enumerate() {
            for line in [
                format!(
                    "req -x509 -newkey {key} -nodes -keyout ca.key -out ca.pem -days 9 \
                     -subj /CN=weak -addext keyUsage=keyCertSign"
                ),
                "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key \
                 -out request -subj /CN=x"
                    .to_owned(),
                format!(
                    "x509 -req -in request -CA ca.pem -CAkey ca.key -{hash} -days 9 \
                     -set_serial 1 -extfile san -out certificate"
                ),
            ] {
                openssl(folder, &line);
            }
            let number = u8::try_from(index).unwrap() + 100;
            let servers = [
                IpAddr::from([203, 0, 113, number]),
                IpAddr::from([0x2001, 0xdb8, 1, 0, 0, 0, 1, u16::from(number)]),
            ];
            let [v4, v6] = servers;
            world.internet.ip(&format!(
                "addr add {v4}/24 dev net0\naddr add {v6}/64 dev net0 nodad\n"
            ));
            let tls = pki::server_of(&read("certificate"), &read("key"));
            let server = Upstream::https(&world.internet, servers, 443, tls, |_| Answer::ok(""));
            let config = Config {
                resolve: vec![("good.test".to_owned(), servers.to_vec())],
                ..Config::default()
            };
            let builder = world.gateway_builder(&config.to_string());
            let gateway = builder
                .secret("weak.pem", &read("ca.pem"))
                .rule("town.toml", &rule("own", "trust = [\"../weak.pem\"]"))
                .start();
            let agent = Agent::new(&world, &gateway);
            let response = agent.https((servers[0], 443), "good.test", get("good.test", "/own"));
            if index < weak.len() {
                assert_refused(&response, 502, "upstream_certificate");
                assert!(server.requests().is_empty(), "{key} {hash}");
            } else {
                assert_eq!(response.status, 200, "{}", response.text());
            }
        }
    });
}

/// Ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A file server of `openssl`, which takes keys that no other server here would. It writes the
/// name of each file that it is asked for to `asked`.
fn openssl_server(world: &World, folder: &Path, address: IpAddr) -> Running {
    // Line by line, so that what it says is there before what it answers.
    let mut command = Command::new("stdbuf");
    command.current_dir(folder);
    command.args([
        "-oL",
        "openssl",
        "s_server",
        "-WWW",
        "-cert",
        "certificate",
        "-key",
        "key",
    ]);
    command.args(["-cipher", "ALL:@SECLEVEL=0"]);
    command.args(["-accept", &format!("{address}:443")]);
    let asked = std::fs::File::create(folder.join("asked")).unwrap();
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(asked);
    let running = Running(world.internet.spawn(command));
    let deadline = Instant::now() + DEADLINE;
    while world
        .internet
        .block_on(async move { TcpStream::connect((address, 443)).await.is_err() })
    {
        assert!(Instant::now() < deadline, "openssl does not listen");
    }
    running
}

/// A CA that is believed has signed it, but the server's own key is one that can be factored.
#[test]
fn i4_a_server_with_a_weak_key_gets_nothing() {
    if !has_openssl() {
        return;
    }
    inside(|| {
        let world = World::new();
        let address = SERVER[0];
        for (bits, refused) in [(1024, true), (2048, false)] {
            let folder = tempfile::tempdir().unwrap();
            let folder = folder.path();
            std::fs::write(folder.join("san"), "subjectAltName = DNS:good.test\n").unwrap();
            std::fs::write(folder.join("own"), "served").unwrap();
            for line in [
                "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 9 \
                 -subj /CN=own -addext keyUsage=keyCertSign",
                &format!("req -new -newkey rsa:{bits} -nodes -keyout key -out request -subj /CN=x"),
                "x509 -req -in request -CA ca.pem -CAkey ca.key -sha256 -days 9 -set_serial 1 \
                 -extfile san -out certificate",
            ] {
                openssl(folder, line);
            }
            let _server = openssl_server(&world, folder, address);
            let config = Config {
                resolve: vec![("good.test".to_owned(), vec![address])],
                ..Config::default()
            };
            let ca = std::fs::read_to_string(folder.join("ca.pem")).unwrap();
            let builder = world.gateway_builder(&config.to_string());
            let gateway = builder
                .secret("believed.pem", &ca)
                .rule("town.toml", &rule("own", "trust = [\"../believed.pem\"]"))
                .start();
            let agent = Agent::new(&world, &gateway);
            let response = agent.https((address, 443), "good.test", get("good.test", "/own"));
            let asked = std::fs::read_to_string(folder.join("asked")).unwrap();
            if refused {
                assert_refused(&response, 502, "upstream_certificate");
                assert!(!asked.contains("FILE:"), "{asked}");
            } else {
                assert_eq!(response.text(), "served");
                assert!(asked.contains("FILE:own"), "{asked}");
            }
        }
    });
}
