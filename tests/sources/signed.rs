//! Tokens that are got for a token signed with a private key: GitHub Apps, service accounts.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::common::{Answer, World, inside};
use crate::{CONFIG, api, authorizations, get, get_until, login, rules, sentence, swap_secret};

const APP: &str = "secret = { file = \"../key\" }\nrefresh = \"100ms\"\n\
    attach = { basic = \"x-access-token\", github_app = { app_id = \"12345\", installation_id = 678, api = \"https://login.good.test/api/v3\", repositories = [\"one\"], permissions = { contents = \"read\" } } }\n";
const ACCOUNT: &str = "secret = { file = \"../key\" }\n\
    attach = { gcp_service_account = { scopes = [\"https://www.googleapis.com/auth/cloud-platform\"] } }\n";

pub fn key() -> (KeyPair, String) {
    let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let der = key.as_der().unwrap();
    let text = STANDARD.encode(der.as_ref());
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n");
    (key, pem)
}

/// Header and claims of a token, once its signature was verified.
fn verified(key: &KeyPair, token: &str) -> (Value, Value) {
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public_key().as_ref())
        .verify(signed.as_bytes(), &signature)
        .unwrap();
    let (header, claims) = signed.split_once('.').unwrap();
    let read = |part| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
    (read(header), read(claims))
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

#[test]
fn a_github_app_gets_an_installation_token_of_the_wanted_scope() {
    inside(|| {
        let world = World::new();
        let (key, pem) = key();
        let login = login(&world, |_| {
            let end = OffsetDateTime::now_utc() + Duration::from_secs(3600);
            let end = end.format(&Rfc3339).unwrap();
            let body = json!({ "token": "ghs_canary", "expires_at": end });
            Answer::ok(body.to_string()).status(201)
        });
        let server = api(&world, |_| Answer::ok("ghs_canary"));
        let gateway = world
            .gateway_builder(CONFIG)
            .rule("rules.toml", &rules(APP))
            .secret("key", &pem)
            .start();
        assert!(!get(&world, &gateway).text().contains("ghs_canary"));
        let pair = STANDARD.encode("x-access-token:ghs_canary");
        assert_eq!(authorizations(&server), [format!("Basic {pair}")]);
        let asked = &login.requests()[0];
        assert_eq!(asked.target, "/api/v3/app/installations/678/access_tokens");
        let wanted: Value = serde_json::from_slice(&asked.body).unwrap();
        let expected = json!({ "repositories": ["one"], "permissions": { "contents": "read" } });
        assert_eq!(wanted, expected);
        let token = asked
            .header("authorization")
            .unwrap()
            .strip_prefix("Bearer ")
            .unwrap();
        let (_, claims) = verified(&key, token);
        assert_eq!(claims["iss"], "12345");
        let (from, to) = (
            claims["iat"].as_u64().unwrap(),
            claims["exp"].as_u64().unwrap(),
        );
        assert!(from <= now() && to > from && to - from <= 600, "{claims}");
        assert!(asked.header("user-agent").is_some());
    });
}

#[test]
fn a_service_account_gets_an_access_token() {
    inside(|| {
        let world = World::new();
        let (key, pem) = key();
        let file = json!({
            "type": "service_account",
            "client_email": "robot@project.example",
            "private_key": pem,
            "private_key_id": "k1",
            "token_uri": "https://login.good.test/token",
        });
        let login = login(&world, |_| {
            Answer::ok("{\"access_token\":\"ya29.canary\",\"expires_in\":3599}")
        });
        let server = api(&world, |_| Answer::ok("ya29.canary"));
        let gateway = world
            .gateway_builder(CONFIG)
            .rule("rules.toml", &rules(ACCOUNT))
            .secret("key", &file.to_string())
            .start();
        assert!(!get(&world, &gateway).text().contains("canary"));
        assert_eq!(authorizations(&server), ["Bearer ya29.canary"]);
        let body = String::from_utf8(login.requests()[0].body.clone()).unwrap();
        let grant = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=";
        let (header, claims) = verified(&key, body.strip_prefix(grant).unwrap());
        assert_eq!(header["kid"], "k1");
        assert_eq!(claims["iss"], "robot@project.example");
        assert_eq!(claims["aud"], "https://login.good.test/token");
        assert_eq!(
            claims["scope"],
            "https://www.googleapis.com/auth/cloud-platform"
        );
    });
}

#[test]
fn a_key_of_the_wrong_kind_is_told_and_the_right_one_taken() {
    inside(|| {
        let world = World::new();
        let (_, pem) = key();
        let _login = login(&world, |_| {
            Answer::ok("{\"token\":\"ghs_canary\"}").status(201)
        });
        let _server = api(&world, |_| Answer::ok("fine"));
        let ec = rcgen::KeyPair::generate().unwrap().serialize_pem();
        let gateway = world
            .gateway_builder(CONFIG)
            .rule("rules.toml", &rules(APP))
            .secret("key", &ec)
            .start();
        let line = gateway.wait_log("credential `api`: the secret is no RSA key");
        assert!(
            line.contains("generate a private key in the app's settings"),
            "{line}"
        );
        let refused = get_until(&world, &gateway, "503", |response| response.status == 503);
        assert_eq!(
            sentence(&refused),
            "the credential `api` is not available: its key is of the wrong kind; \
             ask the operator of the gateway"
        );
        swap_secret(&gateway, "key", &pem, 0o600);
        get_until(&world, &gateway, "200", |response| response.status == 200);
    });
}
