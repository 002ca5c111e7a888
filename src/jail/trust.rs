//! Trust without configuration: the system's stores with the gateway's CA added, for clients
//! that read one file, for those that look up hashed names in a folder, and for Java.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, digest};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Where all of it is inside the jail.
pub(super) const FOLDER: &str = "/run/portreeve";
/// The system's roots and ours.
pub(super) const BUNDLE: &str = "/run/portreeve/ca-bundle.pem";
/// Ours alone.
pub(super) const CERTIFICATE: &str = "/run/portreeve/ca.pem";
/// All roots as a Java key store.
pub(super) const JAVA_STORE: &str = "/run/portreeve/cacerts";

/// Where systems keep all roots in one file: Debian, Alpine and Arch; Fedora, twice;
/// Alpine and the BSDs; SUSE, twice; Arch.
const BUNDLES: [&str; 7] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
    "/var/lib/ca-certificates/ca-bundle.pem",
    "/etc/ca-certificates/extracted/tls-ca-bundle.pem",
];
/// The folder in which OpenSSL looks up names by their hash.
pub(super) const HASHED: &str = "/etc/ssl/certs";

const JAVA_STORES: [&str; 5] = [
    "/etc/ssl/certs/java/cacerts",
    "/etc/pki/java/cacerts",
    "/etc/pki/ca-trust/extracted/java/cacerts",
    "/etc/ca-certificates/extracted/java-cacerts.jks",
    "/var/lib/ca-certificates/java-cacerts",
];
/// The password that every Java runtime knows.
const JAVA_PASSWORD: &str = "changeit";

/// The files that become [`BUNDLE`].
pub(super) fn bundles() -> Vec<PathBuf> {
    files(BUNDLES.iter().map(PathBuf::from))
}

/// The stores of Java runtimes: the system's, and those of the runtimes that the command
/// would find.
pub(super) fn java_stores() -> Vec<PathBuf> {
    let below = |home: &Path| home.join("lib/security/cacerts");
    let home = env::var_os("JAVA_HOME").map(|home| below(Path::new(&home)));
    let path = env::var_os("PATH").unwrap_or_default();
    let binary = env::split_paths(&path).find_map(|folder| folder.join("java").canonicalize().ok());
    let found = binary
        .as_deref()
        .and_then(|java| Some(below(java.parent()?.parent()?)));
    files(
        JAVA_STORES
            .iter()
            .map(PathBuf::from)
            .chain(home)
            .chain(found),
    )
}

/// Those that exist, each once, by the name that is no link.
fn files(paths: impl Iterator<Item = PathBuf>) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = paths
        .filter_map(|path| path.canonicalize().ok())
        .filter(|path| path.is_file())
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// Writes [`BUNDLE`], [`CERTIFICATE`] and, where it is of use, [`JAVA_STORE`].
pub(super) fn write(ca: &str, java: bool) -> io::Result<()> {
    let system = bundles().first().map(fs::read_to_string).transpose()?;
    let bundle = format!("{}\n{ca}", system.unwrap_or_default());
    fs::write(CERTIFICATE, ca)?;
    if java {
        fs::write(JAVA_STORE, java_store(&bundle))?;
    }
    fs::write(BUNDLE, bundle)
}

/// The name under which OpenSSL looks for the certificate with this PEM: eight hexadecimal
/// digits. `None` for a subject of more than one common name, which ours is not.
pub(super) fn hash(ca: &str) -> Option<String> {
    let der = CertificateDer::from_pem_slice(ca.as_bytes()).ok()?;
    let (_, certificate) = X509Certificate::from_der(&der).ok()?;
    let name = certificate
        .subject()
        .iter_common_name()
        .next()?
        .as_str()
        .ok()?;
    // X509_NAME_canon: lower case, single spaces, UTF8String, without the outer header.
    let words: Vec<&str> = name.split_whitespace().collect();
    let text = tagged(0x0c, words.join(" ").to_ascii_lowercase().as_bytes())?;
    let common_name = [&[0x06, 0x03, 0x55, 0x04, 0x03], text.as_slice()].concat();
    let canonical = tagged(0x31, &tagged(0x30, &common_name)?)?;
    let digest = digest(&SHA1_FOR_LEGACY_USE_ONLY, &canonical);
    let first = digest.as_ref().first_chunk().copied()?;
    Some(format!("{:08x}", u32::from_le_bytes(first)))
}

/// DER of at most 127 bytes.
fn tagged(tag: u8, content: &[u8]) -> Option<Vec<u8>> {
    let length = u8::try_from(content.len())
        .ok()
        .filter(|length| *length < 0x80)?;
    Some([&[tag, length], content].concat())
}

/// A key store in the form that every Java runtime reads (JKS): no secret, so its digest
/// with the well-known password is a checksum.
fn java_store(bundle: &str) -> Vec<u8> {
    let roots = CertificateDer::pem_slice_iter(bundle.as_bytes());
    let roots: Vec<_> = roots.filter_map(Result::ok).collect();
    let length = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    let mut store = Vec::new();
    for word in [0xfeed_feed_u32, 2] {
        store.extend(word.to_be_bytes());
    }
    store.extend(length(roots.len()));
    for (number, root) in roots.iter().enumerate() {
        // A trusted certificate: alias, time of creation, type, content.
        store.extend(2_u32.to_be_bytes());
        text(&mut store, &format!("root-{number}"));
        store.extend(0_u64.to_be_bytes());
        text(&mut store, "X.509");
        store.extend(length(root.len()));
        store.extend_from_slice(root);
    }
    let mut checksum = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    for unit in JAVA_PASSWORD.encode_utf16() {
        checksum.update(&unit.to_be_bytes());
    }
    checksum.update(b"Mighty Aphrodite");
    checksum.update(&store);
    store.extend_from_slice(checksum.finish().as_ref());
    store
}

/// Short text as `DataOutputStream.writeUTF` writes it.
fn text(store: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    store.extend(length.to_be_bytes());
    store.extend_from_slice(text.as_bytes());
}
