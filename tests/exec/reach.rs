//! What a command reaches: allowed hosts through the full gateway, by clients that nobody
//! configured, and nothing else.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use crate::common::world::{ATTACKER, SERVER};
use crate::common::{Answer, Upstream, World, inside, inside_with_users};
use crate::jail::{Jail, installed, shown, wrapped};

pub const CREDENTIAL: &str = r#"
[[credential]]
name = "token"
secret = { env = "TEST_TOKEN" }
hosts = ["good.test"]
attach = { header = "x-api-key" }
"#;
const RULE: &str = r#"
[[rule]]
name = "good"
hosts = ["good.test"]
credential = "token"
"#;

/// A jail in the world's gateway, whose rules allow `good.test`.
pub fn jail(world: &World) -> Jail {
    let jail = Jail::nested();
    let [v4, v6] = SERVER;
    let config = format!(
        "[upstream]\ntrust = [\"upstream-ca.pem\"]\n\
         allow_networks = [\"{v4}/32\", \"{v6}/128\"]\n\
         resolve = {{ \"good.test\" = [\"{v4}\", \"{v6}\"] }}\n"
    );
    fs::write(jail.path("config/upstream-ca.pem"), world.ca.pem()).unwrap();
    jail.config(&config, &format!("{CREDENTIAL}{RULE}"))
}

pub fn run(world: &World, jail: &Jail, command: &[&str]) -> Output {
    let mut command = jail.command(command);
    command.env("TEST_TOKEN", "t0p-s3cret");
    world.gateway.output(command)
}

pub fn server(world: &World) -> Upstream {
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

/// `--allow` is about a host: methods, paths and queries of any kind, scoped packages too.
#[test]
fn an_option_allows_a_host_whole() {
    inside(|| {
        let world = World::new();
        let server = server(&world);
        let jail = jail(&world);
        fs::remove_file(jail.path("config/rules/test.toml")).unwrap();
        let jail = jail.option("--allow", "good.test");
        let script = "curl -sS https://good.test/@scope%2fname; \
            curl -sS -X DELETE https://good.test/b?c=%2f";
        let output = run(&world, &jail, &["sh", "-c", script]);
        let said = shown(&output);
        assert!(said.contains("2 requests, 0 denied"), "{said}");
        let requests = server.wait_requests(2);
        let targets: Vec<_> = requests.iter().map(|request| &request.target).collect();
        assert_eq!(targets, ["/@scope%2fname", "/b?c=%2f"]);
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

/// Each with the variables, or, after `env -i`, without any, by the system's own stores. The
/// program, what must be said, the command.
const CLIENTS: [(&str, &str, &str); 10] = [
    ("curl", "served /curl", "curl -sS https://good.test/curl"),
    (
        "curl",
        "served /bare-curl",
        "env -i curl -sS https://good.test/bare-curl",
    ),
    (
        "openssl",
        "Verify return code: 0",
        "env -i openssl s_client -verify_return_error -connect good.test:443",
    ),
    ("python3", "served /python", "python3 get.py /python"),
    (
        "python3",
        "served /bare-python",
        "env -i PATH=$PATH python3 get.py /bare-python",
    ),
    (
        "node",
        "served /node",
        "node -e 'fetch(\"https://good.test/node\").then(r => r.text()).then(console.log)'",
    ),
    ("java", "served /java", "java Get.java /java /old-java"),
    ("java", "served /old-java", "true"),
    (
        "java",
        "served /bare-java",
        "env -i PATH=$PATH java Get.java /bare-java /bare-old-java",
    ),
    ("java", "served /bare-old-java", "true"),
];
const PYTHON: &str = "import sys, urllib.request as u\n\
    print(u.urlopen('https://good.test' + sys.argv[1]).read())\n";
const JAVA: &str = r#"
import java.net.URI;
import java.net.URL;
import java.net.http.*;

public class Get {
    public static void main(String[] arguments) throws Exception {
        var host = "https://good.test";
        var request = HttpRequest.newBuilder(URI.create(host + arguments[0])).build();
        var answer = HttpResponse.BodyHandlers.ofString();
        System.out.println(HttpClient.newHttpClient().send(request, answer).body());
        var old = new URL(host + arguments[1]).openConnection();
        System.out.println(new String(old.getInputStream().readAllBytes()));
    }
}
"#;

fn all_clients_reach(world: &World, jail: &Jail, exec: impl Fn(&Command) -> Command) {
    let server = server(world);
    fs::write(jail.path("work/get.py"), PYTHON).unwrap();
    fs::write(jail.path("work/Get.java"), JAVA).unwrap();
    let clients = CLIENTS.iter().filter(|(program, ..)| installed(program));
    let clients: Vec<_> = clients.collect();
    let commands = clients.iter().map(|(.., command)| *command);
    let git =
        "git ls-remote https://good.test/repo.git; env -i git ls-remote https://good.test/bare.git";
    let script: Vec<_> = commands.chain([git]).collect();
    let mut command = exec(&jail.command(&["sh", "-c", &script.join("\n")]));
    command.env("TEST_TOKEN", "t0p-s3cret");
    let said = shown(&world.gateway.output(command));
    for (_, expected, command) in clients {
        assert!(said.contains(expected), "{command}: {said}");
    }
    for path in ["/repo.git/info/refs", "/bare.git/info/refs"] {
        let asked = server.requests().iter().any(|r| r.target.starts_with(path));
        assert!(asked, "{path}: {said}");
    }
}

#[test]
fn clients_of_root_trust_without_configuration() {
    inside(|| {
        let world = World::new();
        let jail = jail(&world);
        all_clients_reach(&world, &jail, |command| wrapped(&["env"], command));
    });
}

#[test]
fn clients_of_an_ordinary_user_trust_without_configuration() {
    inside(|| {
        let world = World::new();
        let jail = jail(&world);
        let ordinary = ["unshare", "--user", "--map-user=1000", "--map-group=1000"];
        all_clients_reach(&world, &jail, |command| wrapped(&ordinary, command));
    });
}

#[test]
fn root_runs_a_command_as_another_user() {
    inside_with_users(|| {
        let world = World::new();
        let server = server(&world);
        // The user has no way to the test's own folder.
        let folder = tempfile::tempdir_in("/var/tmp").unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let jail = jail(&world);
        let other = |jail: &Jail, script: &str| {
            let mut command = jail.command(&["sh", "-c", script]);
            command
                .current_dir(folder.path())
                .env("TEST_TOKEN", "t0p-s3cret");
            shown(&world.gateway.output(command))
        };
        let warning = "as root this is a network jail only";
        let said = other(&jail, "id -u");
        assert!(said.contains(warning), "{said}");
        let jail = jail.option("--user", "nobody");
        let script = "id; pwd; echo $HOME; curl -sS https://good.test/a; touch /etc/x; env; \
            cat /proc/1/environ";
        let said = other(&jail, script);
        let pwd = folder.path().display().to_string();
        for expected in ["uid=65534(nobody)", &pwd, "nonexistent", "served /a"] {
            assert!(said.contains(expected), "{expected}: {said}");
        }
        for unexpected in [warning, "t0p-s3cret", "uid=0", "(root)"] {
            assert!(!said.contains(unexpected), "{unexpected}: {said}");
        }
        assert!(!Path::new("/etc/x").exists());
        assert_eq!(server.wait_requests(1).len(), 1);
    });
}
