//! The operator's own CA: what is accepted, and the words for everything else.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyPair, KeyUsagePurpose, NameConstraints,
    SignatureAlgorithm,
};
use time::{Duration, OffsetDateTime};

use super::*;
use crate::ca::leaves::{LeafSettings, Leaves};
use crate::name::Host;

type Issuer = CertifiedIssuer<'static, KeyPair>;

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::OrganizationName, "Example");
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn root(change: impl FnOnce(&mut CertificateParams)) -> Issuer {
    rooted(&rcgen::PKCS_ECDSA_P256_SHA256, change)
}

fn rooted(
    algorithm: &'static SignatureAlgorithm,
    change: impl FnOnce(&mut CertificateParams),
) -> Issuer {
    let mut params = params("Root");
    change(&mut params);
    CertifiedIssuer::self_signed(params, KeyPair::generate_for(algorithm).unwrap()).unwrap()
}

fn below(issuer: &Issuer, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Issuer {
    let mut params = params(name);
    change(&mut params);
    CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), issuer).unwrap()
}

/// Writes the three files and loads them.
fn load(cert: &str, chain: Option<&str>, key: &str) -> Result<CertificateAuthority, CaError> {
    let home = tempfile::tempdir().unwrap();
    let cert = write(home.path(), "own.pem", 0o644, cert);
    let chain = chain.map(|chain| write(home.path(), "chain.pem", 0o644, chain));
    let key = write(home.path(), "own.key", 0o600, key);
    CertificateAuthority::load(&cert, chain.as_deref(), &key)
}

fn load_issuer(issuer: &Issuer, chain: Option<&str>) -> Result<CertificateAuthority, CaError> {
    load(&issuer.pem(), chain, &issuer.key().serialize_pem())
}

fn refused(issuer: &Issuer, chain: Option<&str>) -> String {
    told(&load_issuer(issuer, chain).unwrap_err())
}

#[test]
fn every_supported_key_is_accepted() {
    for algorithm in [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ED25519,
        &rcgen::PKCS_RSA_SHA256,
    ] {
        let root = rooted(algorithm, |_| {});
        let ca = load_issuer(&root, None).unwrap();
        assert_eq!(
            ca.root_pem().replace('\r', ""),
            root.pem().replace('\r', "")
        );
        assert_eq!(ca.subject(), "O=Example, CN=Root");
    }
}

#[tokio::test]
async fn an_intermediate_is_sent_and_its_root_is_exported() {
    let root = root(|_| {});
    let upper = below(&root, "Upper", |_| {});
    let lower = below(&upper, "Lower", |_| {});
    let chain = format!("{}{}", upper.pem(), root.pem());
    let ca = load_issuer(&lower, Some(&chain)).unwrap();
    assert_eq!(ca.chain(), [lower.der().clone(), upper.der().clone()]);
    assert_eq!(ca.root().der(), root.der());
    let leaves = Leaves::new(ca.into(), LeafSettings::default()).unwrap();
    let leaf = leaves
        .leaf(&Host::from_config("good.test").unwrap())
        .await
        .unwrap();
    assert_eq!(leaf.cert.len(), 3);
    // Without a chain file the intermediate is sent, and is what agents must trust.
    let alone = load_issuer(&lower, None).unwrap();
    assert_eq!(
        (alone.chain(), alone.root().der()),
        (&[lower.der().clone()][..], lower.der())
    );
}

#[test]
fn a_name_constrained_intermediate_is_proved_with_a_name_it_permits() {
    let root = root(|_| {});
    for suffix in ["corp.example", ".corp.example"] {
        let constrained = below(&root, "Constrained", |middle| {
            middle.name_constraints = Some(NameConstraints {
                permitted_subtrees: vec![GeneralSubtree::DnsName(suffix.to_owned())],
                excluded_subtrees: Vec::new(),
            });
        });
        load_issuer(&constrained, Some(&root.pem())).unwrap();
    }
}

#[test]
fn certificates_that_cannot_sign_leaves_are_refused() {
    let now = OffsetDateTime::now_utc();
    for (words, bad) in [
        ("is not a CA certificate", root(|ca| ca.is_ca = IsCa::NoCa)),
        (
            "is not a CA certificate",
            root(|ca| ca.is_ca = IsCa::ExplicitNoCa),
        ),
        (
            "keyUsage without keyCertSign",
            root(|ca| ca.key_usages = vec![KeyUsagePurpose::DigitalSignature]),
        ),
        (
            "extendedKeyUsage without serverAuth",
            root(|ca| ca.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]),
        ),
        (
            "expired on 20",
            root(|ca| ca.not_after = now - Duration::DAY),
        ),
        (
            "is not valid before 20",
            root(|ca| ca.not_before = now + Duration::DAY),
        ),
        (
            "has a subject that leaves cannot carry",
            root(|ca| ca.distinguished_name = DistinguishedName::new()),
        ),
    ] {
        let said = refused(&bad, None);
        assert!(
            said.contains("the certificate in ") && said.contains("own.pem"),
            "{said}"
        );
        assert!(said.contains(words), "{words}: {said}");
    }
    load_issuer(&root(|ca| ca.key_usages.clear()), None).unwrap();
    let any = root(|ca| ca.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any]);
    load_issuer(&any, None).unwrap();
}

#[test]
fn chains_that_do_not_lead_up_are_refused() {
    let top = root(|_| {});
    let upper = below(&top, "Upper", |_| {});
    let lower = below(&upper, "Lower", |_| {});
    let short = root(|ca| ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
    let too_deep = below(&short, "Deep", |_| {});
    let old = root(|ca| ca.not_after = OffsetDateTime::now_utc() - Duration::DAY);
    // The same name and another key: only the signature tells.
    let impostor = root(|_| {});
    for (own, chain, words) in [
        (
            &lower,
            top.pem(),
            "is number 1 there and did not issue the one before it",
        ),
        (
            &lower,
            format!("{}{}", top.pem(), upper.pem()),
            "is number 1 there",
        ),
        (
            &lower,
            format!("{}{}{}", upper.pem(), top.pem(), top.pem()),
            "is number 3 there",
        ),
        (&top, top.pem(), "is number 1 there"),
        (
            &too_deep,
            short.pem(),
            "its pathlen allows only 0 CAs below it",
        ),
        (
            &below(&old, "Under", |_| {}),
            old.pem(),
            "chain.pem expired on 20",
        ),
        (
            &upper,
            impostor.pem(),
            "a signature in its chain does not verify",
        ),
        (&upper, String::new(), "chain.pem holds no certificate"),
    ] {
        let said = refused(own, Some(&chain));
        assert!(said.contains(words), "{words}: {said}");
    }
}

#[test]
fn keys_that_cannot_sign_are_refused() {
    let root = root(|_| {});
    let stranger = KeyPair::generate().unwrap().serialize_pem();
    let good = root.key().serialize_pem();
    let p521 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512)
        .unwrap()
        .serialize_pem();
    for (key, words) in [
        (stranger, "own.key does not belong to the certificate"),
        (
            p521,
            "own.key is of an unsupported kind; supported are ECDSA P-256",
        ),
        (String::new(), "own.key holds no private key"),
        (root.pem(), "own.key holds no private key"),
        (format!("{good}{good}"), "own.key holds 2 private keys"),
        (
            good.replace("PRIVATE", "ENCRYPTED PRIVATE"),
            "own.key holds an encrypted private key",
        ),
        (
            good.replace("-----END", "----END"),
            "own.key holds a damaged PEM block",
        ),
    ] {
        let said = told(&load(&root.pem(), None, &key).unwrap_err());
        assert!(said.contains(words), "{words}: {said}");
        assert!(
            !said.contains(good.lines().nth(1).unwrap()),
            "no error shows the key"
        );
    }
    for (cert, words) in [
        (
            format!("{0}{0}", root.pem()),
            "own.pem holds 2 certificates",
        ),
        (good.clone(), "own.pem holds no certificate"),
        (
            root.pem().replace("MII", "AII"),
            "own.pem is not a valid X.509 certificate",
        ),
        (
            root.pem().replace("CERTIFICATE", "TRUSTED CERTIFICATE"),
            "own.pem holds no certificate",
        ),
    ] {
        let said = told(&load(&cert, None, &good).unwrap_err());
        assert!(said.contains(words), "{words}: {said}");
    }
}

#[test]
fn files_that_are_missing_or_open_to_others_are_refused() {
    let root = root(|_| {});
    let home = tempfile::tempdir().unwrap();
    let cert = write(home.path(), "own.pem", 0o644, &root.pem());
    let key = write(home.path(), "own.key", 0o600, &root.key().serialize_pem());
    let try_load = || CertificateAuthority::load(&cert, None, &key);
    for (mode, accepted) in [
        (0o400, true),
        (0o600, true),
        // systemd hands a credential to the service's user by ACL, which shows like this.
        (0o440, true),
        (0o640, true),
        (0o660, false),
        (0o644, false),
        (0o604, false),
        (0o700, false),
    ] {
        chmod(&key, mode);
        match try_load() {
            Ok(_) => assert!(accepted, "{mode:o}"),
            Err(error) => {
                let said = told(&error);
                assert!(
                    !accepted && said.contains("`chmod 0640` it"),
                    "{mode:o}: {said}"
                );
            }
        }
    }
    std::fs::remove_file(&key).unwrap();
    let said = told(&try_load().unwrap_err());
    assert!(
        said.starts_with("cannot open ") && said.contains("own.key: No such file"),
        "{said}"
    );
    let der = write(home.path(), "own.der", 0o600, "");
    std::fs::write(&der, root.der()).unwrap();
    let said = told(&CertificateAuthority::load(&der, None, &der).unwrap_err());
    assert!(said.contains("own.der is DER, not PEM"), "{said}");
}

/// The commands of the how-to, word for word but for the passphrase.
fn how_to() -> String {
    let text = include_str!("../../../ca/README.md");
    let blocks = text
        .split("```sh\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next());
    blocks
        .collect::<String>()
        .replace("-aes-256-cbc", "-aes-256-cbc -pass pass:test")
        .replace("-key root.key", "-key root.key -passin pass:test")
        .replace("-CAkey root.key", "-CAkey root.key -passin pass:test")
}

#[test]
fn an_intermediate_made_as_the_how_to_says_is_accepted() {
    let settings = include_str!("../../../ca/intermediate.cnf");
    let uncommented = |text: &str, line: &str| text.replace(&format!("#{line}"), line);
    let constrained = [
        "nameConstraints",
        "[permitted]",
        "permitted;DNS.0",
        "permitted;DNS.1",
    ]
    .iter()
    .fold(settings.to_owned(), |text, line| uncommented(&text, line));
    assert_ne!(constrained, settings);
    for settings in [settings, &constrained] {
        let home = tempfile::tempdir().unwrap();
        write(home.path(), "intermediate.cnf", 0o644, settings);
        let ran = std::process::Command::new("sh")
            .args([
                "-e",
                "-c",
                &format!("command -v openssl || exit 77\n{}", how_to()),
            ])
            .current_dir(home.path())
            .output()
            .unwrap();
        if ran.status.code() == Some(77) {
            println!("skipped: openssl is not installed");
            return;
        }
        assert!(
            ran.status.success(),
            "{}",
            String::from_utf8_lossy(&ran.stderr)
        );
        let file = |name: &str| home.path().join(name);
        let chain = file("root.pem");
        let load =
            |key: &str| CertificateAuthority::load(&file("gateway.pem"), Some(&chain), &file(key));
        let ca = load("gateway.key").unwrap();
        assert_eq!(
            ca.subject(),
            "O=Example Corp, CN=Example Corp Agents, gateway-1"
        );
        assert_eq!(
            ca.root().subject(),
            "O=Example Corp, CN=Example Corp Agents Root"
        );
        assert_eq!(ca.chain().len(), 1);
        let said = told(&load("root.key").unwrap_err());
        assert!(
            said.contains("root.key holds an encrypted private key"),
            "{said}"
        );
    }
}
