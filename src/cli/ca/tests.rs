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
