//! OpenBao's own server as the vault.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::common::world::THIRD;
use crate::common::{Answer, GatewayProcess, Upstream, World, inside};
use crate::{CONFIG, api, get, get_until, rules, sentence, swap_secret, until};

const ROOT: &str = "root-token-canary";

/// The server's program, where it is installed.
fn program() -> Option<PathBuf> {
    let named = std::env::var_os("PORTREEVE_TEST_BAO").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = std::env::split_paths(&path);
    let in_path = || folders.find_map(|folder| Some(folder.join("bao")).filter(|it| it.is_file()));
    let found = named.or_else(in_path);
    if found.is_none() {
        println!("skipped: `bao` (OpenBao) is not installed");
        assert!(std::env::var_os("CI").is_none(), "CI installs OpenBao");
    }
    found
}

/// A server for development in the gateway's namespace: it forgets everything when it ends.
struct Bao<'w> {
    world: &'w World,
    program: PathBuf,
    process: Option<Child>,
}

impl<'w> Bao<'w> {
    fn start(world: &'w World, program: PathBuf) -> Self {
        let mut bao = Self {
            world,
            program,
            process: None,
        };
        bao.restart();
        bao
    }

    fn restart(&mut self) {
        let mut command = Command::new(&self.program);
        command
            .args(["server", "-dev", "-dev-no-store-token"])
            .arg(format!("-dev-root-token-id={ROOT}"))
            .arg("-dev-listen-address=127.0.0.1:8200")
            .env("HOME", self.world.folder())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.process = Some(self.world.gateway.spawn(command));
        until("the vault", || self.try_ask("GET", "sys/health", None)).expect("the vault starts");
    }

    fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    fn ask(&self, method: &str, path: &str, body: Value) -> Value {
        let answer = self.try_ask(method, path, Some(body));
        answer.unwrap_or_else(|| panic!("{method} {path}"))
    }

    /// The answer of a success; null where it has no body.
    fn try_ask(&self, method: &str, path: &str, body: Option<Value>) -> Option<Value> {
        use std::io::{Read, Write};
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let request = format!(
            "{method} /v1/{path} HTTP/1.1\r\nhost: bao\r\nconnection: close\r\n\
             x-vault-token: {ROOT}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let text = self.world.gateway.run(move || {
            let mut stream = std::net::TcpStream::connect("127.0.0.1:8200").ok()?;
            stream.write_all(request.as_bytes()).ok()?;
            let mut text = Vec::new();
            stream.read_to_end(&mut text).ok()?;
            String::from_utf8(text).ok()
        })?;
        let success = text.starts_with("HTTP/1.1 2");
        let (_, body) = text.split_once("\r\n\r\n")?;
        success.then(|| serde_json::from_str(body).unwrap_or(Value::Null))
    }

    fn write_key(&self, value: &str) {
        self.ask(
            "POST",
            "secret/data/app",
            json!({ "data": { "key": value } }),
        );
    }

    /// An `AppRole` with fixed ids that may read the secret.
    fn make_role(&self) {
        let policy = "path \"secret/data/app\" { capabilities = [\"read\"] }";
        self.ask("PUT", "sys/policies/acl/app", json!({ "policy": policy }));
        self.ask("POST", "sys/auth/approle", json!({ "type": "approle" }));
        let role = json!({ "token_policies": "app", "token_ttl": "20m" });
        self.ask("POST", "auth/approle/role/gateway", role);
        let path = "auth/approle/role/gateway/role-id";
        self.ask("POST", path, json!({ "role_id": "the-role" }));
        let path = "auth/approle/role/gateway/custom-secret-id";
        self.ask("POST", path, json!({ "secret_id": "canary-secret-id" }));
    }
}

impl Drop for Bao<'_> {
    fn drop(&mut self) {
        self.kill();
    }
}

fn vault(path: &str, field: &str, auth: &str) -> String {
    format!(
        "secret = {{ vault = {{ address = \"http://127.0.0.1:8200\", path = \"{path}\", field = \"{field}\", {auth} }} }}\n\
         refresh = \"200ms\"\nstale_for = \"1s\"\nattach = {{ header = \"x-api-key\" }}\n"
    )
}

/// With this secret in the place of `../token`.
fn start<'w>(world: &'w World, secret: &str, token: &str) -> GatewayProcess<'w> {
    world
        .gateway_builder(CONFIG)
        .rule("rules.toml", &rules(secret))
        .secret("token", &format!("{token}\n"))
        .secret("secret-id", "canary-secret-id\n")
        .start()
}

const TOKEN: &str = "token = { file = \"../token\" }";

/// What was attached to the last request.
fn key(server: &Upstream) -> Option<String> {
    let requests = server.requests();
    let key = requests.last()?.header("x-api-key")?;
    Some(key.to_owned())
}

#[test]
fn kv_2_by_approle_survives_the_vaults_death_and_return() {
    inside(|| {
        let Some(program) = program() else { return };
        let world = World::new();
        let mut bao = Bao::start(&world, program);
        bao.make_role();
        bao.write_key("canary-one");
        let server = api(&world, |_| Answer::ok("canary-one canary-two"));
        let auth = "approle = { role_id = \"the-role\", secret_id = { file = \"../secret-id\" } }";
        let gateway = start(&world, &vault("secret/data/app", "key", auth), ROOT);
        let key = || key(&server);
        let response = get(&world, &gateway);
        assert_eq!(response.status, 200, "{}", gateway.log());
        assert!(
            !response.text().contains("canary-one"),
            "{}",
            response.text()
        );
        assert_eq!(key().as_deref(), Some("canary-one"));
        bao.write_key("canary-two");
        get_until(&world, &gateway, "the new key", |response| {
            // Nobody can look for what has not been fetched yet.
            let fetched = key().as_deref() == Some("canary-two");
            let secret = if fetched { "canary-" } else { "canary-one" };
            assert!(!response.text().contains(secret));
            fetched
        });
        bao.kill();
        let line = gateway.wait_log("its last value is used on for now");
        assert!(
            line.contains("credential `api`: the vault at 127.0.0.1:8200 does not answer"),
            "{line}"
        );
        let refused = get_until(&world, &gateway, "503", |response| {
            assert!(response.status == 200 || response.status == 503);
            response.status == 503
        });
        assert_eq!(
            sentence(&refused),
            "the credential `api` is not available: the vault cannot be reached; \
             ask the operator of the gateway"
        );
        // It comes back without a memory of the login.
        bao.restart();
        bao.make_role();
        bao.write_key("canary-three");
        get_until(&world, &gateway, "200", |response| response.status == 200);
        assert_eq!(key().as_deref(), Some("canary-three"));
        assert!(!gateway.log().contains("canary"), "{}", gateway.log());
    });
}

#[test]
fn what_the_vault_denies_or_does_not_have_is_told() {
    inside(|| {
        let Some(program) = program() else { return };
        let world = World::new();
        let bao = Bao::start(&world, program);
        let server = api(&world, |_| Answer::ok("fine"));
        let policy = |rights: &str| {
            let policy = format!("path \"secret/data/app\" {{ capabilities = [\"{rights}\"] }}");
            let path = "sys/policies/acl/app";
            bao.ask("PUT", path, json!({ "policy": policy }));
        };
        policy("read");
        let token = || {
            let made = bao.ask("POST", "auth/token/create", json!({ "policies": ["app"] }));
            made["auth"]["client_token"].as_str().unwrap().to_owned()
        };
        let first = token();
        let gateway = start(&world, &vault("secret/data/app", "key", TOKEN), &first);
        gateway.wait_log("has nothing at `secret/data/app`: for KV version 2 the path has `data/`");
        bao.ask(
            "POST",
            "secret/data/app",
            json!({ "data": { "other": "x" } }),
        );
        gateway.wait_log("has no field `key`");
        bao.write_key("canary-one");
        get_until(&world, &gateway, "200", |response| response.status == 200);
        assert_eq!(key(&server).as_deref(), Some("canary-one"));
        let denied = || {
            let refused = get_until(&world, &gateway, "503", |response| response.status == 503);
            assert_eq!(
                sentence(&refused),
                "the credential `api` is not available: the vault denies access to it; \
                 ask the operator of the gateway"
            );
        };
        // The policy changes, and changes back.
        policy("deny");
        denied();
        gateway.wait_log("denies reading `secret/data/app`: give its token a policy with `read`");
        policy("read");
        get_until(&world, &gateway, "200", |response| response.status == 200);
        // A token that is revoked: another is taken from its file.
        bao.ask("POST", "auth/token/revoke", json!({ "token": first }));
        denied();
        swap_secret(&gateway, "token", &token(), 0o600);
        get_until(&world, &gateway, "200", |response| response.status == 200);
        assert!(!gateway.log().contains("canary"), "{}", gateway.log());
    });
}

#[test]
fn kv_1_is_read_and_read_again() {
    inside(|| {
        let Some(program) = program() else { return };
        let world = World::new();
        let bao = Bao::start(&world, program);
        let server = api(&world, |_| Answer::ok("fine"));
        let engine = json!({ "type": "kv", "options": { "version": "1" } });
        bao.ask("POST", "sys/mounts/old", engine);
        // A lifetime in the secret is only a word on how often to look.
        let value = |key: &str| json!({ "key": key, "data": "x", "ttl": "1h" });
        bao.ask("POST", "old/app", value("canary-one"));
        let gateway = start(&world, &vault("old/app", "key", TOKEN), ROOT);
        get_until(&world, &gateway, "200", |response| response.status == 200);
        assert_eq!(key(&server).as_deref(), Some("canary-one"));
        bao.ask("POST", "old/app", value("canary-two"));
        get_until(&world, &gateway, "the new key", |_| {
            key(&server).as_deref() == Some("canary-two")
        });
    });
}

/// Of an engine that makes users in `RabbitMQ`, whose HTTP API is played here.
#[test]
fn a_lease_is_prolonged_while_that_works_and_then_replaced() {
    inside(|| {
        let Some(program) = program() else { return };
        let world = World::new();
        let bao = Bao::start(&world, program);
        let server = api(&world, |_| Answer::ok("fine"));
        let rabbit = Upstream::http(&world.internet, THIRD, 15672, |_| {
            Answer::ok("").status(204)
        });
        let [address, _] = THIRD;
        bao.ask("POST", "sys/mounts/rabbitmq", json!({ "type": "rabbitmq" }));
        let connection = json!({
            "connection_uri": format!("http://{address}:15672"),
            "username": "a", "password": "b", "verify_connection": false,
        });
        bao.ask("POST", "rabbitmq/config/connection", connection);
        let lease = json!({ "ttl": 5, "max_ttl": 15 });
        bao.ask("POST", "rabbitmq/config/lease", lease);
        let role = json!({ "vhosts": "{\"/\":{\"read\":\".*\"}}" });
        bao.ask("POST", "rabbitmq/roles/app", role);
        let secret = vault("rabbitmq/creds/app", "password", TOKEN);
        let gateway = start(&world, &secret, ROOT);
        get_until(&world, &gateway, "200", |response| response.status == 200);
        let first = key(&server).unwrap();
        let users = || {
            let requests = rabbit.requests();
            let made = requests.iter().filter(|request| {
                request.method == "PUT" && request.target.starts_with("/api/users/")
            });
            made.map(|request| String::from_utf8_lossy(&request.body).into_owned())
                .collect::<Vec<_>>()
        };
        assert!(users()[0].contains(&first), "{:?}", users());
        let listed = bao.ask("LIST", "sys/leases/lookup/rabbitmq/creds/app", Value::Null);
        let name = listed["data"]["keys"][0].as_str().unwrap();
        let id = format!("rabbitmq/creds/app/{name}");
        until("a renewal", || {
            let lease = json!({ "lease_id": id });
            let lease = bao.try_ask("PUT", "sys/leases/lookup", Some(lease))?;
            lease["data"]["last_renewal"].as_str().map(str::to_owned)
        })
        .expect("the lease is prolonged");
        assert_eq!(users().len(), 1, "and no other is taken yet");
        get(&world, &gateway);
        assert_eq!(key(&server).as_deref(), Some(&*first));
        // No renewal goes beyond the longest time.
        get_until(&world, &gateway, "the next lease", |response| {
            assert_eq!(response.status, 200, "at no moment is there none");
            key(&server).as_deref() != Some(&*first)
        });
        let second = key(&server).unwrap();
        assert!(users()[1].contains(&second), "{:?}", users());
    });
}
