//! What a command reaches: allowed hosts through the full gateway, by clients that nobody
//! configured, and nothing else.

use std::fs;
use std::process::Output;

use crate::common::world::{ATTACKER, SERVER};
use crate::common::{Answer, Upstream, World, inside};
use crate::jail::{Jail, installed, shown};

const RULES: &str = r#"
[[credential]]
name = "token"
secret = { env = "TEST_TOKEN" }
hosts = ["good.test"]
attach = { header = "x-api-key" }
[[rule]]
name = "good"
hosts = ["good.test"]
credential = "token"
"#;

/// A jail in the world's gateway, whose rules allow `good.test`.
fn jail(world: &World) -> Jail {
    let jail = Jail::new().expect("namespaces within namespaces");
    let [v4, v6] = SERVER;
    let config = format!(
        "[upstream]\ntrust = [\"upstream-ca.pem\"]\n\
         allow_networks = [\"{v4}/32\", \"{v6}/128\"]\n\
         resolve = {{ \"good.test\" = [\"{v4}\", \"{v6}\"] }}\n"
    );
    fs::write(jail.path("config/upstream-ca.pem"), world.ca.pem()).unwrap();
    jail.config(&config, RULES)
}

fn run(world: &World, jail: &Jail, command: &[&str]) -> Output {
    let mut command = jail.command(command);
    command.env("TEST_TOKEN", "t0p-s3cret");
    world.gateway.output(command)
}

fn server(world: &World) -> Upstream {
    Upstream::start(&world.internet, &world.ca, &["good.test"], |request| {
        Answer::ok(format!("served {}", request.target))
    })
}

#[test]
fn an_allowed_host_is_reached_with_its_credential_and_no_other_host() {
    inside(|| {
        let world = World::new();
        let server = server(&world);
        let jail = jail(&world);
        let script = "curl -sS https://good.test/a; echo; curl -sS4 https://good.test/b; echo; \
            curl -sS6 https://good.test/c; echo; curl -sS https://evil.test/d; env";
        let output = run(&world, &jail, &["sh", "-c", script]);
        let said = shown(&output);
        for path in ["/a", "/b", "/c"] {
            assert!(said.contains(&format!("served {path}")), "{said}");
        }
        assert!(
            said.contains("no rule allows agent default to reach evil.test"),
            "{said}"
        );
        assert!(!said.contains("t0p-s3cret"), "{said}");
        let requests = server.wait_requests(3);
        assert_eq!(requests.len(), 3);
        for request in requests {
            assert_eq!(request.header("x-api-key"), Some("t0p-s3cret"));
        }
        // The summary, with the rule that was missing.
        assert!(said.contains("4 requests, 1 denied"), "{said}");
        assert!(said.contains("token (3)"), "{said}");
        assert!(said.contains(r#"hosts = ["evil.test"]"#), "{said}");
    });
}

#[test]
fn i3_a_wrong_address_leads_to_the_right_server() {
    inside(|| {
        let world = World::new();
        let server = server(&world);
        let attacker = Upstream::recorder(&world.internet, ATTACKER, 443);
        let [v4, v6] = ATTACKER;
        let jail = jail(&world);
        for address in [v4.to_string(), format!("[{v6}]")] {
            let resolve = format!("good.test:443:{address}");
            let url = "https://good.test/x";
            let output = run(&world, &jail, &["curl", "-sS", "--resolve", &resolve, url]);
            assert!(shown(&output).contains("served /x"), "{}", shown(&output));
        }
        assert_eq!(server.wait_requests(2).len(), 2);
        assert_eq!(attacker.connections().len(), 0);
    });
}

#[test]
fn clients_trust_without_configuration() {
    inside(|| {
        let world = World::new();
        let server = server(&world);
        let jail = jail(&world);
        let python =
            "import urllib.request as u; print(u.urlopen('https://good.test/python').read())";
        let node = "fetch('https://good.test/node').then(r => r.text()).then(console.log)";
        let java = "var c = java.net.http.HttpClient.newHttpClient();
            var r = java.net.http.HttpRequest.newBuilder(java.net.URI.create(\"https://good.test/java\")).build();
            System.out.println(c.send(r, java.net.http.HttpResponse.BodyHandlers.ofString()).body());";
        let java = format!(
            "public class Get {{ public static void main(String[] a) throws Exception {{ {java} }} }}"
        );
        fs::write(jail.path("work/Get.java"), java).unwrap();
        // Each with the variables, and without any, by the system's own stores.
        let clients: [(&str, &str, &[&str]); 6] = [
            ("curl", "/curl", &["curl", "-sS", "https://good.test/curl"]),
            ("python3", "/python", &["python3", "-c", python]),
            ("node", "/node", &["node", "-e", node]),
            ("java", "/java", &["java", "Get.java"]),
            (
                "env",
                "/curl",
                &["env", "-i", "curl", "-sS", "https://good.test/curl"],
            ),
            (
                "openssl",
                "Verify return code: 0",
                &[
                    "env",
                    "-i",
                    "openssl",
                    "s_client",
                    "-verify_return_error",
                    "-connect",
                    "good.test:443",
                ],
            ),
        ];
        for (program, expected, command) in clients {
            if installed(program) {
                let output = run(&world, &jail, command);
                assert!(
                    shown(&output).contains(expected),
                    "{program}: {}",
                    shown(&output)
                );
            }
        }
        let git = ["git", "ls-remote", "https://good.test/repo.git"];
        let output = run(&world, &jail, &git);
        let asked = |path: &str| server.requests().iter().any(|r| r.target.starts_with(path));
        assert!(asked("/repo.git/info/refs"), "{}", shown(&output));
    });
}

#[test]
fn learned_rules_allow_just_what_was_asked_for() {
    inside(|| {
        let world = World::new();
        let server = server(&world);
        let jail = jail(&world);
        let learned = jail.path("learned.toml");
        let jail = jail.option("--learn", &learned);
        let script = "curl -sS https://good.test/a; curl -sS -X POST -d x https://other.test/b/c";
        let output = run(&world, &jail, &["sh", "-c", script]);
        let rules = fs::read_to_string(&learned).unwrap_or_else(|_| panic!("{}", shown(&output)));
        assert_eq!(
            rules,
            r#"# What one run of a command asked for, by `portreeve exec --learn`.

[[rule]]
name = "good-test"
hosts = ["good.test"]
methods = ["GET"]
paths = ["/a"]
credential = "token"

[[rule]]
name = "other-test"
hosts = ["other.test"]
methods = ["POST"]
paths = ["/b/c"]
"#
        );
        assert_eq!(server.requests().len(), 1);
        // A file that is there is nobody's to overwrite.
        let output = run(&world, &jail, &["true"]);
        assert_eq!(output.status.code(), Some(2), "{}", shown(&output));
    });
}
