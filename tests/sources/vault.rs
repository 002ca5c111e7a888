//! OpenBao's own server as the vault.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;

use serde_json::{Value, json};

use crate::common::{Answer, GatewayProcess, World, inside};
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

fn vault(auth: &str) -> String {
    format!(
        "secret = {{ vault = {{ address = \"http://127.0.0.1:8200\", path = \"secret/data/app\", field = \"key\", {auth} }} }}\n\
         refresh = \"200ms\"\nstale_for = \"1s\"\nattach = {{ header = \"x-api-key\" }}\n"
    )
}

fn start<'w>(world: &'w World, auth: &str) -> GatewayProcess<'w> {
    world
        .gateway_builder(CONFIG)
        .rule("rules.toml", &rules(&vault(auth)))
        .secret("token", &format!("{ROOT}\n"))
        .secret("secret-id", "canary-secret-id\n")
        .start()
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
        let gateway = start(&world, auth);
        let key = || {
            server
                .requests()
                .last()
                .unwrap()
                .header("x-api-key")
                .map(str::to_owned)
        };
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
        let _server = api(&world, |_| Answer::ok("fine"));
        let gateway = start(&world, "token = { file = \"../token\" }");
        gateway.wait_log("has nothing at `secret/data/app`: for KV version 2 the path has `data/`");
        bao.ask(
            "POST",
            "secret/data/app",
            json!({ "data": { "other": "x" } }),
        );
        gateway.wait_log("has no field `key`");
        bao.write_key("canary-one");
        get_until(&world, &gateway, "200", |response| response.status == 200);
        // A token that is revoked: the next one is taken from the file.
        let token = |policies: Value| {
            let made = bao.ask("POST", "auth/token/create", json!({ "policies": policies }));
            made["auth"]["client_token"].as_str().unwrap().to_owned()
        };
        let weak = token(json!(["default"]));
        swap_secret(&gateway, "token", &weak, 0o600);
        gateway.reload();
        drop(bao);
        thread::yield_now();
    });
}
