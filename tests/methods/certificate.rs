//! Client certificates: shown by the rule that names them, on connections of their own.

use std::process::Command;

use crate::common::world::{SERVER, tool};
use crate::common::{Answer, GatewayProcess, TestCa, Upstream, World, inside};
use crate::{CONFIG, NAMES, send};

const RULES: &str = r#"
[[credential]]
name = "client"
secret = { file = "../client.key" }
hosts = ["api.good.test"]
attach = { client_certificate = "../client.pem" }
[[credential]]
name = "token"
secret = { file = "../token" }
hosts = ["api.good.test"]
attach = { bearer = true }
[[rule]]
name = "with"
agents = ["builder"]
hosts = ["api.good.test"]
paths = ["/with/**"]
credential = ["client", "token"]
[[rule]]
name = "without"
agents = ["builder"]
hosts = ["api.good.test"]
"#;

fn gateway<'w>(world: &'w World, certificate: &str, key: &str) -> GatewayProcess<'w> {
    world
        .gateway_builder(CONFIG)
        .rule("rules.toml", RULES)
        .secret("client.pem", certificate)
        .secret("client.key", key)
        .secret("token", "canary-token")
        .start()
}

#[test]
fn i6_nobody_rides_on_a_connection_with_a_certificate() {
    for alpn in ["h2", "http/1.1"] {
        inside(move || {
            let world = World::new();
            let clients = TestCa::new();
            let mut tls = world.ca.server_for_clients(&NAMES, &clients);
            tls.alpn_protocols = vec![alpn.as_bytes().to_vec()];
            let server = Upstream::https(&world.internet, SERVER, 443, tls, |_| Answer::ok("."));
            let (certificate, key) = clients.client("builder");
            let gateway = gateway(&world, &certificate, &key);
            let host = "api.good.test";
            for path in ["/with/a", "/", "/with/b", "/b"] {
                let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n");
                assert_eq!(send(&world, &gateway, host, request).status, 200, "{path}");
            }
            let (seen, connections) = (server.requests(), server.connections());
            let expected = pem_body(&certificate);
            for request in &seen {
                let shown = connections[request.connection].client_certificate.clone();
                let with = request.target.starts_with("/with");
                assert_eq!(shown.is_some(), with, "{alpn} {}", request.target);
                if let Some(shown) = shown {
                    assert_eq!(shown, expected);
                    assert_eq!(request.header("authorization"), Some("Bearer canary-token"));
                }
            }
            assert_eq!(connections.len(), 2, "one for each");
        });
    }
}

#[test]
fn a_new_certificate_of_the_same_key_is_shown_from_then_on() {
    inside(|| {
        let world = World::new();
        let clients = TestCa::new();
        let tls = world.ca.server_for_clients(&NAMES, &clients);
        let server = Upstream::https(&world.internet, SERVER, 443, tls, |_| Answer::ok("."));
        let (old, key) = clients.client("builder");
        let new = clients.client_of("builder", &key);
        let gateway = gateway(&world, &old, &key);
        let host = "api.good.test";
        let request = format!("GET /with/a HTTP/1.1\r\nhost: {host}\r\n\r\n");
        let shown = || {
            assert_eq!(send(&world, &gateway, host, request.clone()).status, 200);
            let last = server.requests().last().unwrap().connection;
            server.connections()[last].client_certificate.clone()
        };
        assert_eq!(shown(), Some(pem_body(&old)));
        gateway.write_secret("client.pem", &new);
        gateway.reload();
        assert_eq!(shown(), Some(pem_body(&new)));
    });
}

fn pem_body(pem: &str) -> Vec<u8> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;
    CertificateDer::from_pem_slice(pem.as_bytes())
        .unwrap()
        .to_vec()
}

#[test]
fn a_key_and_a_certificate_that_do_not_go_together_are_said_so() {
    inside(|| {
        let world = World::new();
        let clients = TestCa::new();
        let (certificate, _) = clients.client("builder");
        let (_, other) = clients.client("other");
        let gateway = gateway(&world, &certificate, &other);
        let host = "api.good.test";
        let request = format!("GET /with/a HTTP/1.1\r\nhost: {host}\r\n\r\n");
        assert_eq!(send(&world, &gateway, host, request).status, 503);
        assert!(
            gateway.log().contains("is for another key"),
            "{}",
            gateway.log()
        );
        assert!(!gateway.log().contains("PRIVATE KEY"));
    });
}

#[test]
fn nginx_takes_the_certificate() {
    inside(|| {
        let nginx = tool("nginx");
        if Command::new(&nginx).arg("-v").output().is_err() {
            eprintln!("skipped: nginx is not installed");
            return;
        }
        let world = World::new();
        let clients = TestCa::new();
        let folder = world.folder().join("nginx");
        std::fs::create_dir_all(&folder).unwrap();
        let (certificate, key) = world.ca.pem_pair(&NAMES);
        for (name, text) in [
            ("server.pem", certificate.as_str()),
            ("server.key", &key),
            ("clients.pem", clients.pem()),
            ("nginx.conf", &nginx_config(&folder.display().to_string())),
        ] {
            std::fs::write(folder.join(name), text).unwrap();
        }
        let mut command = Command::new(nginx);
        command.arg("-p").arg(&folder).arg("-e").arg("stderr");
        command.arg("-c").arg(folder.join("nginx.conf"));
        let mut nginx = world.internet.spawn(command);
        let address = (SERVER[0], 443);
        world.internet.block_on(async move {
            // Until it listens; the guard is the test's own.
            crate::common::within("nginx listens", async {
                while tokio::net::TcpStream::connect(address).await.is_err() {
                    tokio::task::yield_now().await;
                }
            })
            .await;
        });
        let (certificate, key) = clients.client("builder");
        let gateway = gateway(&world, &certificate, &key);
        let host = "api.good.test";
        let ask = |path: &str| {
            let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n");
            send(&world, &gateway, host, request)
        };
        let (with, without) = (ask("/with/a"), ask("/a"));
        let _ = nginx.kill();
        let _ = nginx.wait();
        assert_eq!(with.status, 200, "{}", with.text());
        assert_eq!(with.text(), "SUCCESS CN=builder");
        // nginx answers 400 to whoever shows none.
        assert_eq!(without.status, 400, "{}", without.text());
    });
}

fn nginx_config(folder: &str) -> String {
    format!(
        "daemon off; master_process off; user root root; pid {folder}/pid; error_log stderr;\n\
         events {{}}\n\
         http {{\n\
         access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;\n\
         fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n\
         server {{\n\
         listen {}:443 ssl; server_name api.good.test;\n\
         ssl_certificate {folder}/server.pem; ssl_certificate_key {folder}/server.key;\n\
         ssl_client_certificate {folder}/clients.pem; ssl_verify_client on;\n\
         location / {{ default_type text/plain; return 200 \"$ssl_client_verify $ssl_client_s_dn\"; }}\n\
         }} }}\n",
        SERVER[0]
    )
}
