//! Servers whose certificates do not prove their name.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, GeneralSubtree,
    IsCa, KeyPair, NameConstraints,
};
use rustls::pki_types::UnixTime;
use time::{Date, Month, OffsetDateTime, Time};

use super::*;
use crate::tls::test_pki::{ca_params, certified};

fn at(year: i32, month: Month, day: u8) -> OffsetDateTime {
    Date::from_calendar_date(year, month, day)
        .unwrap()
        .with_time(Time::MIDNIGHT)
        .assume_utc()
}

/// A leaf for good.test below an intermediate that `change` spoils.
fn through(pki: &Pki, change: impl FnOnce(&mut CertificateParams)) -> Arc<CertifiedKey> {
    let mut params = ca_params("Intermediate");
    change(&mut params);
    let middle =
        CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &pki.root).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = leaf_params("good.test").signed_by(&key, &middle).unwrap();
    certified(vec![leaf, middle.as_ref().clone()], key)
}

fn self_signed(params: &CertificateParams) -> Arc<CertifiedKey> {
    let key = KeyPair::generate().unwrap();
    certified(vec![params.self_signed(&key).unwrap()], key)
}

type Bad = (&'static str, Arc<CertifiedKey>, &'static str);

const ISSUER: &str = "is signed by an issuer that the gateway does not trust";

/// Every way in which a server's own certificate can fail, and the words for it.
fn bad_leaves(pki: &Pki) -> Vec<Bad> {
    let signed = |change: &dyn Fn(&mut CertificateParams)| {
        let mut params = leaf_params("good.test");
        change(&mut params);
        pki.signed(&params)
    };
    let expired = signed(&|leaf| leaf.not_after = at(2020, Month::May, 17));
    let early = signed(&|leaf| leaf.not_before = at(4000, Month::May, 17));
    let nameless = signed(&|leaf| {
        leaf.subject_alt_names.clear();
        let common_name = rcgen::DnType::CommonName;
        leaf.distinguished_name.push(common_name, "good.test");
    });
    let client = signed(&|leaf| {
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    let ca = signed(&|leaf| leaf.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    let critical = signed(&|leaf| {
        let mut unknown = rcgen::CustomExtension::from_oid_content(&[1, 2, 3], vec![5, 0]);
        unknown.set_criticality(true);
        leaf.custom_extensions.push(unknown);
    });
    vec![
        ("expired", expired, "expired on 2020-05-17"),
        ("early", early, "is not valid before 4000-05-17"),
        ("wrong name", pki.leaf("other.test"), "is for another name"),
        ("parent name", pki.leaf("test"), "is for another name"),
        ("common name only", nameless, "is for another name"),
        ("clientAuth", client, "is not for servers"),
        ("CA as leaf", ca, "is a CA certificate"),
        ("critical extension", critical, "has a critical extension"),
    ]
}

/// Every way in which what is above it can fail.
fn bad_issuers(pki: &Pki) -> Vec<Bad> {
    let mut ca = leaf_params("good.test");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let no_ca = through(pki, |middle| middle.is_ca = IsCa::NoCa);
    let expired = through(pki, |middle| middle.not_after = at(2020, Month::May, 17));
    let constrained = through(pki, |middle| {
        middle.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DnsName("other.test".to_owned())],
            excluded_subtrees: Vec::new(),
        });
    });
    let twin = Pki::new().leaf("good.test");
    vec![
        (
            "self-signed",
            self_signed(&leaf_params("good.test")),
            ISSUER,
        ),
        ("self-signed CA", self_signed(&ca), "is a CA certificate"),
        (
            "unknown CA",
            Pki::named("Other CA").leaf("good.test"),
            ISSUER,
        ),
        (
            "CA of the same name",
            twin,
            "has a signature that does not verify",
        ),
        ("issuer no CA", no_ca, "is not signed by a CA"),
        ("expired issuer", expired, "expired on 2020-05-17"),
        (
            "constrained",
            constrained,
            "is for a name that its CA may not certify",
        ),
    ]
}

#[tokio::test]
async fn i2_bad_certificates_are_refused_with_the_cause() {
    let Trusting { pki, tls } = Trusting::new();
    for (case, leaf, words) in bad_leaves(&pki).into_iter().chain(bad_issuers(&pki)) {
        let refusal = connect(&tls, "good.test", serving(&leaf, &[b"h2"]))
            .await
            .unwrap_err();
        let sentence = &refusal.sentence;
        assert_eq!(
            refusal.reason,
            Reason::UpstreamCertificate,
            "{case}: {sentence}"
        );
        let expected = format!("the certificate of good.test {words}");
        assert!(sentence.starts_with(&expected), "{case}: {sentence}");
        assert!(!sentence.contains("other.test"), "{case}: {sentence}");
    }
}

#[tokio::test]
async fn an_address_is_not_proved_by_a_dns_name() {
    let Trusting { pki, tls } = Trusting::new();
    let mut text = leaf_params("good.test");
    text.subject_alt_names = vec![rcgen::SanType::DnsName("192.0.2.7".try_into().unwrap())];
    for leaf in [
        pki.signed(&text),
        pki.leaf("192.0.2.8"),
        pki.leaf("good.test"),
    ] {
        let refusal = connect(&tls, "192.0.2.7", serving(&leaf, &[]))
            .await
            .unwrap_err();
        assert_eq!(refusal.reason, Reason::UpstreamCertificate);
        assert!(!refusal.sentence.contains("192.0.2.8"), "{refusal}");
    }
}

/// Revocation lists are not configured today; the words are there for when they are.
#[test]
fn every_other_cause_has_words() {
    use rustls::CertificateError as C;
    let time = UnixTime::now();
    for (problem, words) in [
        (C::Revoked, "has been revoked"),
        (C::Expired, "has expired"),
        (C::NotValidYet, "is not valid yet"),
        (C::BadEncoding, "is damaged"),
        (C::BadSignature, "has a signature that does not verify"),
        (C::NotValidForName, "is for another name"),
        (C::InvalidPurpose, "is not for servers"),
        (C::ApplicationVerificationFailure, "is not acceptable"),
        (
            C::ExpiredRevocationListContext {
                time,
                next_update: time,
            },
            "has an unknown revocation",
        ),
    ] {
        let error = io::Error::other(rustls::Error::InvalidCertificate(problem));
        let refusal = verdict::refusal(&host("good.test"), &error);
        assert_eq!(refusal.reason, Reason::UpstreamCertificate);
        assert!(refusal.sentence.contains(words), "{refusal}");
    }
    let none = io::Error::other(rustls::Error::NoCertificatesPresented);
    let refusal = verdict::refusal(&host("good.test"), &none);
    assert_eq!(refusal.reason, Reason::UpstreamCertificate);
}
