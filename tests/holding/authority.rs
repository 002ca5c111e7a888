//! I13: the leaf key is never the CA key, a leaf is for one name, and nobody else can read
//! the CA key.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::common::client::Tls;
use crate::common::world::SERVER;
use crate::common::{GatewayProcess, World, inside};
use crate::lab::{Agents, good, start};

fn parsed(der: &CertificateDer<'static>) -> X509Certificate<'static> {
    let bytes: &'static [u8] = der.to_vec().leak();
    X509Certificate::from_der(bytes).unwrap().1
}

/// The certificates that the gateway shows for a name, over IPv4 or IPv6.
fn served(agents: &Agents<'_>, address: usize, name: &'static str) -> Vec<CertificateDer<'static>> {
    let tls = Tls::new(&agents.ca, &["http/1.1"]);
    agents.ns.block_on(async move {
        let stream = tls.connect((SERVER[address], 443), name).await.unwrap();
        let chain = stream.get_ref().1.peer_certificates().unwrap();
        chain.iter().map(|der| der.clone().into_owned()).collect()
    })
}

#[test]
fn i13_a_leaf_has_a_key_of_its_own_and_exactly_one_name() {
    inside(|| {
        let world = World::new();
        good(&world);
        let gateway = start(&world, "");
        let agents = Agents::new(&world, &gateway);
        let authority = CertificateDer::from_pem_slice(agents.ca.as_bytes()).unwrap();
        let authority = parsed(&authority);
        let mut names = Vec::new();
        // An allowed name and a refused one.
        for (address, name) in [(0, "good.test"), (1, "h1.test"), (0, "evil.test")] {
            let chain = served(&agents, address, name);
            for certificate in chain.iter().map(parsed) {
                assert_ne!(certificate.public_key(), authority.public_key(), "{name}");
            }
            let leaf = parsed(&chain[0]);
            assert_eq!(leaf.issuer(), authority.subject());
            assert!(!leaf.is_ca());
            let names_of_leaf = leaf.subject_alternative_name().unwrap().unwrap();
            assert_eq!(
                names_of_leaf.value.general_names,
                [GeneralName::DNSName(name)]
            );
            names.push(leaf.raw_serial_as_string());
        }
        names.dedup();
        assert_eq!(names.len(), 3);
    });
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// The state folder, the CA's and its key, with the modes they must have.
fn guarded(gateway: &GatewayProcess<'_>) -> [(PathBuf, u32); 3] {
    let folder = gateway.state().join("ca");
    let key = folder.join("ca.key");
    [
        (gateway.state().to_owned(), 0o700),
        (folder, 0o700),
        (key, 0o600),
    ]
}

#[test]
fn i13_the_ca_key_is_for_the_gateway_alone() {
    inside(|| {
        let world = World::new();
        let gateway = start(&world, "");
        for (path, wanted) in guarded(&gateway) {
            assert_eq!(mode(&path), wanted, "{}", path.display());
        }
        let key = fs::read_to_string(gateway.state().join("ca/ca.key")).unwrap();
        let line = key.lines().nth(1).unwrap();
        assert!(!gateway.log().contains(line));
        assert!(!gateway.ca_pem().contains("PRIVATE"));
    });
}

#[test]
fn i13_looser_modes_are_refused_with_the_remedy() {
    inside(|| {
        let world = World::new();
        let mut gateway = start(&world, "");
        gateway.kill();
        for (path, right) in guarded(&gateway) {
            for loose in [right | 0o040, right | 0o004, right | 0o020, right | 0o077] {
                fs::set_permissions(&path, fs::Permissions::from_mode(loose)).unwrap();
                let output = gateway.command(&["run"]);
                let text = String::from_utf8_lossy(&output.stderr).into_owned();
                assert!(!output.status.success(), "{loose:o} {}", path.display());
                assert!(text.contains(&format!("has mode {loose:04o}")), "{text}");
                assert!(text.contains(&format!("`chmod {right:04o}` it")), "{text}");
                assert!(text.contains(path.to_str().unwrap()), "{text}");
            }
            fs::set_permissions(&path, fs::Permissions::from_mode(right)).unwrap();
        }
        gateway.start();
    });
}

/// The keys in memory stay there: no core of the gateway is ever written.
#[test]
fn i5_the_gateway_leaves_no_core() {
    inside(|| {
        let world = World::new();
        let gateway = start(&world, "");
        let limits = fs::read_to_string(format!("/proc/{}/limits", gateway.pid())).unwrap();
        let line = limits
            .lines()
            .find(|line| line.starts_with("Max core file"));
        let words: Vec<_> = line.unwrap().split_whitespace().collect();
        assert_eq!(words[4..6], ["0", "0"], "{line:?}");
    });
}
