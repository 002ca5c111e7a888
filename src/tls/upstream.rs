//! The client side, toward servers: every certificate is verified for the name of the request,
//! and there is no setting that turns this off.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest;
use rustls::client::{Resumption, VerifierBuilderError, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, DnsName, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore};
use rustls_native_certs::CertificateResult;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::TlsError;
use super::agent::{H2, HTTP_1_1};
use super::proof::{self, Pin, Proof};
use super::verdict;
use super::verifier::Verifier;
use crate::error::{Reason, Refusal};
use crate::name::Host;

/// Servers whose sessions are remembered by default. rustls' own default remembers 32.
pub const SESSIONS: usize = 1024;
/// rustls divides the number of sessions by this to get a number of servers.
const TICKETS_PER_SERVER: usize = 8;
/// Where the CAs of all rules are named.
const KEY: &str = "upstream.trust";
/// Servers of a rule with a trust of its own whose sessions are remembered.
const SESSIONS_OF_RULE: usize = 64;
/// Several times the size of the whole Mozilla list.
const TRUST_FILE_MAX: u64 = 4 * 1024 * 1024;

/// Whose servers are believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// The CAs of this system, or those in `SSL_CERT_FILE` and `SSL_CERT_DIR` where set.
    #[default]
    System,
    /// The CAs in these PEM files, and no others.
    Pem(Vec<PathBuf>),
}

/// CAs that are believed, as they were read.
#[derive(Clone)]
pub struct Roots {
    store: Arc<RootCertStore>,
    profile: u64,
}

impl Roots {
    /// Reads what `trust` names; `key` is where it is written, for errors.
    ///
    /// # Errors
    /// [`TlsError`] when there is no CA, or a file that cannot be read or parsed.
    pub fn load(trust: &Trust, key: &'static str) -> Result<Self, TlsError> {
        let (store, profile) = match trust {
            Trust::System => system_roots(rustls_native_certs::load_native_certs())?,
            Trust::Pem(paths) => file_roots(paths, key)?,
        };
        Ok(Self {
            store: Arc::new(store),
            profile,
        })
    }
}

impl std::fmt::Debug for Roots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Roots({:016x})", self.profile)
    }
}

/// The versions of HTTP that a server is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versions {
    /// HTTP/2 and HTTP/1.1.
    All,
    /// HTTP/1.1 alone, for what HTTP/2 has another way for.
    Http1,
}

/// TLS toward servers under one set of trusted CAs. Cloning is cheap and shares the session
/// store, which no other instance ever shares: a session resumed under other CAs would skip
/// the verification by those.
#[derive(Clone)]
pub struct UpstreamTls {
    connector: TlsConnector,
    h1: TlsConnector,
    roots: Roots,
    crls: Arc<[CertificateRevocationListDer<'static>]>,
    pins: Arc<[Pin]>,
    profile: u64,
}

impl UpstreamTls {
    /// Loads the trusted CAs; remembers sessions of [`SESSIONS`] servers.
    ///
    /// # Errors
    /// [`TlsError`] when there is no CA, or a file that cannot be read or parsed.
    pub fn new(trust: &Trust) -> Result<Self, TlsError> {
        Self::with_sessions(trust, &[], SESSIONS)
    }

    /// As [`Self::new`], with files of revocation lists and the most servers whose sessions
    /// are remembered. What a list revokes is refused, and so is what was signed by an issuer
    /// whose list has expired; issuers without a list are not affected.
    ///
    /// # Errors
    /// As there.
    pub fn with_sessions(
        trust: &Trust,
        crls: &[PathBuf],
        servers: usize,
    ) -> Result<Self, TlsError> {
        let roots = Roots::load(trust, KEY)?;
        Self::build(roots, lists(crls)?.into(), Arc::new([]), servers)
    }

    /// As this one, revocation lists among it, but that other CAs are believed, and one of
    /// `pins`, if there are any, must be the server's or that of a CA on the way to it.
    ///
    /// # Errors
    /// [`TlsError`]: the library refuses its settings; none is known.
    pub fn with(&self, roots: Option<Roots>, pins: &[Pin]) -> Result<Self, TlsError> {
        let roots = roots.unwrap_or_else(|| self.roots.clone());
        Self::build(roots, self.crls.clone(), pins.into(), SESSIONS_OF_RULE)
    }

    fn build(
        roots: Roots,
        crls: Arc<[CertificateRevocationListDer<'static>]>,
        pins: Arc<[Pin]>,
        servers: usize,
    ) -> Result<Self, TlsError> {
        let provider = Arc::new(provider());
        let config = config(roots.store.clone(), crls.to_vec(), servers, provider)?;
        let mut h1 = config.clone();
        h1.alpn_protocols = vec![HTTP_1_1.to_vec()];
        Ok(Self {
            connector: TlsConnector::from(Arc::new(config)),
            h1: TlsConnector::from(Arc::new(h1)),
            profile: pinned_profile(roots.profile, &pins),
            roots,
            crls,
            pins,
        })
    }

    /// Shakes hands over `io` and verifies that the server is `host`; the result says by ALPN
    /// whether it speaks HTTP/2, where `versions` has that. There is no time limit here: the
    /// caller has one for dialling.
    ///
    /// # Errors
    /// [`Reason::UpstreamCertificate`] with the cause in plain words, or
    /// [`Reason::UpstreamTls`] for any other failure. The sentence names the host and no
    /// address.
    pub async fn connect<IO>(
        &self,
        host: &Host,
        io: IO,
        versions: Versions,
    ) -> Result<TlsStream<IO>, Refusal>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        self.handshake(self.connector(versions), host, io).await
    }

    /// As [`Self::connect`], with a certificate for servers that ask who is there. Nothing is
    /// resumed: a session would stand for the certificate it began with.
    ///
    /// # Errors
    /// As there.
    pub async fn connect_as<IO>(
        &self,
        certified: &Arc<CertifiedKey>,
        host: &Host,
        io: IO,
        versions: Versions,
    ) -> Result<TlsStream<IO>, Refusal>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let mut config = ClientConfig::clone(self.connector(versions).config());
        config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(Arc::clone(certified)));
        config.resumption = Resumption::disabled();
        let connector = TlsConnector::from(Arc::new(config));
        self.handshake(&connector, host, io).await
    }

    async fn handshake<IO>(
        &self,
        connector: &TlsConnector,
        host: &Host,
        io: IO,
    ) -> Result<TlsStream<IO>, Refusal>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let name = server_name(host)?;
        let stream = connector.connect(name, io).await;
        let stream = stream.map_err(|error| verdict::refusal(host, &error))?;
        if !self.pins.is_empty() {
            let proof = self.proof(&stream);
            let keys = proof.iter().flat_map(Proof::all);
            if !keys.into_iter().any(|key| self.pins.contains(key)) {
                return Err(not_pinned(host));
            }
        }
        Ok(stream)
    }

    fn connector(&self, versions: Versions) -> &TlsConnector {
        match versions {
            Versions::All => &self.connector,
            Versions::Http1 => &self.h1,
        }
    }

    /// The keys that prove the server of a connection; `None` for one that is not proved.
    #[must_use]
    pub fn proof<IO>(&self, stream: &TlsStream<IO>) -> Option<Proof> {
        proof::proof(stream.get_ref().1.peer_certificates()?, &self.roots.store)
    }

    /// A number that is the same for the same trusted CAs and pins, and else differs:
    /// connections of one profile may serve requests of that profile only (I6).
    #[must_use]
    pub fn profile(&self) -> u64 {
        self.profile
    }
}

impl std::fmt::Debug for UpstreamTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "UpstreamTls({:016x})", self.profile)
    }
}

/// The name to send and to verify: as DNS name, or as address by its IP SAN (RFC 9110 §4.3.4).
///
/// # Errors
/// [`Reason::UpstreamTls`] for a host that no certificate could name; none is known.
pub fn server_name(host: &Host) -> Result<ServerName<'static>, Refusal> {
    match (host.ip(), host.name()) {
        (Some(ip), _) => Ok(ServerName::IpAddress(ip.into())),
        (None, Some(name)) => DnsName::try_from(name.to_owned())
            .map(ServerName::DnsName)
            .map_err(|_| unnameable(host)),
        (None, None) => Err(unnameable(host)),
    }
}

fn unnameable(host: &Host) -> Refusal {
    Refusal::new(
        Reason::UpstreamTls,
        format!("{host} is a name that no certificate can prove"),
    )
}

fn not_pinned(host: &Host) -> Refusal {
    Refusal::new(
        Reason::UpstreamIdentity,
        format!(
            "the server that answers for {host} has a valid certificate, but none of the keys that prove it is among the `pins` of the rule; ask the operator of the gateway"
        ),
    )
}

/// AES-128-GCM before AES-256-GCM, as browsers offer them: its hash costs half in a handshake,
/// and its cipher less in bulk. All else as the library has it, the post-quantum exchange too.
fn provider() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: vec![
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
            cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
            cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
            cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
            cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        ],
        ..default_provider()
    }
}

fn config(
    roots: Arc<RootCertStore>,
    crls: Vec<CertificateRevocationListDer<'static>>,
    servers: usize,
    provider: Arc<CryptoProvider>,
) -> Result<ClientConfig, TlsError> {
    let has_lists = !crls.is_empty();
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider.clone())
        .with_crls(crls)
        .allow_unknown_revocation_status()
        .enforce_revocation_expiration()
        .build()
        .map_err(|error| match error {
            VerifierBuilderError::InvalidCrl(_) => TlsError::BadList,
            _ => TlsError::NoRoots,
        })?;
    let verifier = Verifier::new(verifier, servers, has_lists);
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        // Dangerous is what others put here: this one is the library's own, with a memory.
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![H2.to_vec(), HTTP_1_1.to_vec()];
    config.resumption = Resumption::in_memory_sessions(servers.saturating_mul(TICKETS_PER_SERVER));
    config.enable_early_data = false;
    Ok(config)
}

/// Takes what the system gave. Certificates that do not parse are passed over, as every other
/// program on the system does; none at all is an error.
fn system_roots(found: CertificateResult) -> Result<(RootCertStore, u64), TlsError> {
    let mut roots = RootCertStore::empty();
    let profile = profile(&found.certs);
    let (_, ignored) = roots.add_parsable_certificates(found.certs);
    if ignored > 0 {
        tracing::warn!(ignored, "system CA certificates that do not parse");
    }
    if roots.is_empty() {
        let complaints = found.errors.iter().map(ToString::to_string).collect();
        return Err(TlsError::NoSystemRoots(complaints));
    }
    Ok((roots, profile))
}

/// Takes every certificate of the operator's files; one that does not parse is an error.
fn file_roots(paths: &[PathBuf], key: &'static str) -> Result<(RootCertStore, u64), TlsError> {
    if paths.is_empty() {
        return Err(TlsError::NoRoots);
    }
    let mut roots = RootCertStore::empty();
    let mut all = Vec::new();
    for path in paths {
        let bad = |problem| bad(key, path, problem);
        let pem = read(key, path)?;
        let before = all.len();
        for der in CertificateDer::pem_slice_iter(&pem) {
            let der = der.map_err(|_| bad("holds a damaged PEM block"))?;
            roots
                .add(der.clone())
                .map_err(|_| bad("holds a certificate that is not valid X.509"))?;
            all.push(der);
        }
        if all.len() == before {
            return Err(bad("holds no certificate (no `BEGIN CERTIFICATE` block)"));
        }
    }
    Ok((roots, profile(&all)))
}

/// Every revocation list of the operator's files; one that does not parse is an error.
fn lists(paths: &[PathBuf]) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    const KEY: &str = "upstream.crl";
    let mut all = Vec::new();
    for path in paths {
        let pem = read(KEY, path)?;
        let before = all.len();
        for der in CertificateRevocationListDer::pem_slice_iter(&pem) {
            let der = der.map_err(|_| bad(KEY, path, "holds a damaged PEM block"))?;
            if webpki::BorrowedCertRevocationList::from_der(&der).is_err() {
                return Err(bad(KEY, path, "holds a list that is not valid X.509"));
            }
            all.push(der);
        }
        if all.len() == before {
            let problem = "holds no revocation list (no `BEGIN X509 CRL` block)";
            return Err(bad(KEY, path, problem));
        }
    }
    Ok(all)
}

fn bad(key: &'static str, path: &Path, problem: &'static str) -> TlsError {
    TlsError::Pem {
        key,
        path: path.to_owned(),
        problem,
    }
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    read_bounded(path).map_err(|source| TlsError::Read {
        key,
        path: path.to_owned(),
        source,
    })
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?
        .take(TRUST_FILE_MAX + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > TRUST_FILE_MAX {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it is larger than {TRUST_FILE_MAX} bytes"),
        ));
    }
    Ok(bytes)
}

/// The first 64 bits of a SHA-256 over the set of CAs, whatever their order.
fn profile(roots: &[CertificateDer<'_>]) -> u64 {
    let mut sorted: Vec<&[u8]> = roots.iter().map(AsRef::as_ref).collect();
    sorted.sort_unstable();
    sorted.dedup();
    let mut context = digest::Context::new(&digest::SHA256);
    for der in sorted {
        context.update(&(der.len() as u64).to_be_bytes());
        context.update(der);
    }
    number(context)
}

/// That of CAs, and of pins where there are any, whatever their order.
fn pinned_profile(roots: u64, pins: &[Pin]) -> u64 {
    if pins.is_empty() {
        return roots;
    }
    let mut sorted: Vec<&[u8]> = pins.iter().map(Pin::as_bytes).collect();
    sorted.sort_unstable();
    sorted.dedup();
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&roots.to_be_bytes());
    for pin in sorted {
        context.update(pin);
    }
    number(context)
}

fn number(context: digest::Context) -> u64 {
    let digest = context.finish();
    let first = digest.as_ref().iter().take(8);
    first.fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests;
