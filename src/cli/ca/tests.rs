//! The commands, as typed.

use clap::Parser as _;

use super::*;

#[derive(clap::Parser)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

struct Ran {
    code: u8,
    out: Vec<u8>,
    err: String,
}

fn ran(location: &Location, line: &[&str]) -> Ran {
    let line = Line::try_parse_from(std::iter::once(&"ca").chain(line)).unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = run(&line.command, location, &mut out, &mut err);
    let err = String::from_utf8(err).unwrap();
    Ran { code, out, err }
}

fn text(ran: &Ran) -> &str {
    std::str::from_utf8(&ran.out).unwrap()
}

fn own() -> (tempfile::TempDir, Location) {
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join("state");
    (home, Location::Own { state })
}

#[test]
fn before_and_after_init() {
    let (_home, location) = own();
    for line in [&["show"][..], &["export"]] {
        let none = ran(&location, line);
        assert_eq!(none.code, FINDING);
        assert!(
            none.err.contains("`portreeve ca init` makes one"),
            "{}",
            none.err
        );
    }
    let made = ran(&location, &["init"]);
    assert_eq!(made.code, FINE);
    assert!(text(&made).starts_with("made a new CA: CN=Portreeve CA "));
    let again = ran(&location, &["init"]);
    assert!(again.code == FINE && text(&again).starts_with("the CA is already there: "));
    let shown = ran(&location, &["show"]);
    let fingerprint = text(&made).lines().last().unwrap().to_owned();
    assert!(shown.code == FINE && text(&shown).contains(&fingerprint));
}

#[test]
fn json_has_stable_keys() {
    let (_home, location) = own();
    ran(&location, &["init"]);
    let shown = ran(&location, &["show", "--json"]);
    let facts: serde_json::Value = serde_json::from_slice(&shown.out).unwrap();
    let keys: Vec<_> = facts
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let mut expected = [
        "subject",
        "fingerprint_sha256",
        "not_before",
        "not_after",
        "valid",
        "certificate",
        "key",
        "operator",
    ];
    expected.sort_unstable();
    assert_eq!(keys, expected);
    assert_eq!(
        (&facts["valid"], &facts["operator"]),
        (&true.into(), &false.into())
    );
}

#[test]
fn i13_export_gives_the_certificate_and_never_the_key() {
    let (home, location) = own();
    ran(&location, &["init"]);
    let pem = ran(&location, &["export"]);
    assert!(text(&pem).starts_with("-----BEGIN CERTIFICATE-----\n"));
    assert!(!text(&pem).contains("KEY"));
    let file = home.path().join("out.der");
    let line = ["export", "--format", "der", "--out", file.to_str().unwrap()];
    let der = ran(&location, &line);
    assert!(der.code == FINE && der.out.is_empty());
    let der = std::fs::read(file).unwrap();
    let Location::Own { state } = &location else {
        panic!()
    };
    let ca = CertificateAuthority::load_or_create(state).unwrap();
    assert_eq!(
        (der.as_slice(), text(&pem)),
        (ca.root().der().as_ref(), &*ca.root_pem())
    );
    let failed = ran(&location, &["export", "--out", "/nowhere/at/all"]);
    assert_eq!(failed.code, FAILED);
    assert!(
        failed
            .err
            .starts_with("error: cannot write /nowhere/at/all: "),
        "{}",
        failed.err
    );
}

#[test]
fn an_unsafe_state_folder_is_an_error() {
    use std::os::unix::fs::PermissionsExt as _;
    let (_home, location) = own();
    ran(&location, &["init"]);
    let Location::Own { state } = &location else {
        panic!()
    };
    std::fs::set_permissions(state, std::fs::Permissions::from_mode(0o755)).unwrap();
    let said = ran(&location, &["init"]);
    assert!(
        said.code == FAILED && said.err.contains("`chmod 0700` it"),
        "{}",
        said.err
    );
}

#[test]
fn the_operators_ca_is_shown_and_its_root_exported() {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
    let home = tempfile::tempdir().unwrap();
    let params = |name: &str, change: &dyn Fn(&mut CertificateParams)| {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        change(&mut params);
        params
    };
    let key = KeyPair::generate().unwrap();
    let root = CertifiedIssuer::self_signed(params("Root", &|_| {}), key).unwrap();
    let past = OffsetDateTime::now_utc() - time::Duration::DAY;
    let old = params("Site", &|params| params.not_after = past);
    let site = old.signed_by(&KeyPair::generate().unwrap(), &root).unwrap();
    let file = |name: &str, text: String| {
        let path = home.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let (certificate, chain) = (file("site.pem", site.pem()), file("root.pem", root.pem()));
    let key = home.path().join("site.key");
    let with = |chain| Location::Operator {
        certificate: certificate.clone(),
        chain,
        key: key.clone(),
    };
    let shown = ran(&with(None), &["show"]);
    assert_eq!(shown.code, FINDING);
    assert!(text(&shown).contains("CN=Site") && text(&shown).contains(" (expired)"));
    let exported = ran(&with(Some(chain)), &["export", "--format", "der"]);
    assert_eq!(
        (exported.out.as_slice(), exported.err.as_str()),
        (root.der().as_ref(), "")
    );
    let alone = ran(&with(None), &["export", "--format", "der"]);
    assert_eq!(alone.out.as_slice(), site.der().as_ref());
    assert!(
        alone.err.contains("CN=Site is an intermediate"),
        "{}",
        alone.err
    );
}

/// The chain that a gateway would serve, held against the root by a verifier of its own.
#[test]
fn an_intermediate_is_issued_under_a_root_and_no_further() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    let path = |name: &str| at(name).to_str().unwrap().to_owned();
    write_root(
        &at("root.pem"),
        &at("root.key"),
        rcgen::BasicConstraints::Unconstrained,
    );
    let issue = |root: &str, out: &str| issue(home.path(), root, out);
    let issued = issue("root", "node");
    assert_eq!(issued.code, FINE, "{}", issued.err);
    let node = |name: &str| at("node").join(name);
    let mode =
        std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(node("gateway.key")).unwrap());
    assert_eq!(mode & 0o777, 0o600);
    let ca = CertificateAuthority::load(
        &node("gateway.pem"),
        Some(&node("root.pem")),
        &node("gateway.key"),
    )
    .unwrap();
    // Sent with each leaf: the intermediate, and not the root.
    assert_eq!(ca.chain().len(), 1);
    assert_eq!(ca.subject(), "CN=Gateway 1");
    assert_eq!(ca.root().subject(), "CN=Root");

    let openssl = |args: &[&str]| std::process::Command::new("openssl").args(args).output();
    let (root, gateway) = (path("root.pem"), node("gateway.pem"));
    let gateway = gateway.to_str().unwrap();
    match openssl(&["verify", "-x509_strict", "-CAfile", &root, gateway]) {
        Ok(verified) => assert!(verified.status.success(), "{verified:?}"),
        Err(error) => println!("skipped: openssl: {error}"),
    }
    if let Ok(shown) = openssl(&["x509", "-in", gateway, "-noout", "-text"]) {
        let text = String::from_utf8_lossy(&shown.stdout).into_owned();
        assert!(text.contains("CA:TRUE, pathlen:0"), "{text}");
    }
}

#[test]
fn an_intermediate_needs_a_root_and_room() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    write_root(
        &at("root.pem"),
        &at("root.key"),
        rcgen::BasicConstraints::Unconstrained,
    );
    let issue = |root: &str, out: &str| issue(home.path(), root, out);
    assert_eq!(issue("root", "node").code, FINE);
    // Nothing is overwritten, and what it signs signs nothing.
    let again = issue("root", "node");
    assert_eq!(again.code, FAILED);
    assert!(again.err.contains("gateway.key"), "{}", again.err);
    let below = issue("node/gateway", "below");
    assert_eq!(below.code, FAILED);
    assert!(below.err.contains("is no root"), "{}", below.err);
    write_root(
        &at("short.pem"),
        &at("short.key"),
        rcgen::BasicConstraints::Constrained(0),
    );
    let short = issue("short", "other");
    assert!(short.err.contains("allows no CA below it"), "{}", short.err);
    assert!(!at("other").exists());
}

/// Issues an intermediate under `root`.pem and `root`.key into `out`, all in `home`.
fn issue(home: &Path, root: &str, out: &str) -> Ran {
    let (_home, location) = own();
    let path = |name: String| home.join(name).to_str().unwrap().to_owned();
    let (certificate, key) = (path(format!("{root}.pem")), path(format!("{root}.key")));
    let line = [
        "issue-intermediate",
        "--root",
        &certificate,
        "--root-key",
        &key,
        "--name",
        "Gateway 1",
        "--out",
        &path(out.to_owned()),
    ];
    ran(&location, &line)
}

fn write_root(certificate: &Path, key: &Path, constraints: rcgen::BasicConstraints) {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "Root");
    params.is_ca = rcgen::IsCa::Ca(constraints);
    params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    let pair = rcgen::KeyPair::generate().unwrap();
    let root = params.self_signed(&pair).unwrap();
    std::fs::write(certificate, root.pem()).unwrap();
    let mut options = std::fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(key)
        .unwrap();
    file.write_all(pair.serialize_pem().as_bytes()).unwrap();
}
