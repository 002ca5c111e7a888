//! The CA that signs leaves: made on first start, or brought by the operator.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::{digest, pkcs8};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyUsagePurpose,
    PublicKeyData, SerialNumber,
};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, RootCertStore};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::certificate::{self, CaCertificate, wrong, x509};
use super::error::{CaError, CertificateProblem, KeyProblem, MintFault};
use super::files::{self, KeyGuard, Pair};
use super::key::CaKey;
use super::mint::{self, LeafKey};
use super::pem;

/// How long the gateway's own CA is valid: long enough that nobody meets it unprepared
/// (its expiry is a metric), short enough that a lost key does not matter for ever.
const OWN_VALIDITY: Duration = Duration::from_secs(5 * 366 * 24 * 3600);
/// How far back its validity begins, for agents whose clocks are late.
const OWN_BACKDATE: Duration = Duration::from_secs(24 * 3600);

/// A CA certificate with its key and what is sent along with leaves.
///
/// The key signs leaves and is never used for a handshake (I13).
pub struct CertificateAuthority {
    certificate: CaCertificate,
    root: CaCertificate,
    sent: Vec<CertificateDer<'static>>,
    issuer: Issuer<'static, CaKey>,
}

impl std::fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CertificateAuthority")
            .field("subject", &self.certificate.subject())
            .field("fingerprint", &self.certificate.fingerprint())
            .finish_non_exhaustive()
    }
}

impl CertificateAuthority {
    /// The gateway's own CA in the state folder `state`, made there if it is missing.
    ///
    /// # Errors
    /// [`CaError`]: folder or key open to others or not ours, half a pair, a damaged or
    /// expired certificate, a key of another pair.
    pub fn load_or_create(state: &Path) -> Result<Self, CaError> {
        Self::init(state).map(|(ca, _)| ca)
    }

    /// As [`Self::load_or_create`], and whether it was made just now.
    ///
    /// # Errors
    /// As there.
    pub fn init(state: &Path) -> Result<(Self, bool), CaError> {
        Self::init_as(state, rustix::process::geteuid().as_raw())
    }

    /// The same with the uid that must own everything.
    pub(super) fn init_as(state: &Path, user: u32) -> Result<(Self, bool), CaError> {
        files::prepare_state(state, user)?;
        let pair = Pair::of(state);
        let created = !pair.exists(user)? && create(&pair)?;
        // Whoever made it: what is used is what lies there, checked like any other.
        if !pair.exists(user)? {
            let folder = pair.folder;
            return Err(CaError::Absent { folder });
        }
        let key = read_key(&pair.key, KeyGuard::Own, user)?;
        let certificate = CaCertificate::read(&pair.certificate)?;
        let ca = Self::assemble(certificate, &pair.certificate, Vec::new(), &key, &pair.key)?;
        Ok((ca, created))
    }

    /// A CA that lives only in this process: nothing of it is ever written anywhere.
    ///
    /// # Errors
    /// [`CaError`] when the crypto library fails.
    pub fn in_memory() -> Result<Self, CaError> {
        let (certificate, document) = generate()?;
        let nowhere = Path::new("(in memory)");
        let key = PrivateKeyDer::Pkcs8(document.as_ref().into());
        let own = CaCertificate::parse(certificate).map_err(|problem| wrong(nowhere, problem))?;
        Self::assemble(own, nowhere, Vec::new(), &key, nowhere)
    }

    /// The operator's own CA: a root, or better an intermediate under an offline root.
    /// `chain` holds the issuers of `certificate`, upwards; a root at its end is exported
    /// for agents to trust but not sent to them.
    ///
    /// # Errors
    /// [`CaError`] naming the file, what is wrong with it, and what to do.
    pub fn load(certificate: &Path, chain: Option<&Path>, key: &Path) -> Result<Self, CaError> {
        let user = rustix::process::geteuid().as_raw();
        let secret = read_key(key, KeyGuard::Operator, user)?;
        let own = CaCertificate::read(certificate)?;
        let issuers = match chain {
            Some(path) => read_chain(path, &own)?,
            None => Vec::new(),
        };
        Self::assemble(own, certificate, issuers, &secret, key)
    }

    /// The last check that all parts fit: a leaf is minted and verified as a client would.
    fn assemble(
        own: CaCertificate,
        own_path: &Path,
        issuers: Vec<CaCertificate>,
        key: &PrivateKeyDer<'_>,
        key_path: &Path,
    ) -> Result<Self, CaError> {
        own.check_time(now())
            .map_err(|problem| wrong(own_path, problem))?;
        let key = CaKey::from_der(key).map_err(|problem| wrong_key(key_path, problem))?;
        let issuer = issuer(&own, key).map_err(|fault| wrong_issuer(fault, own_path, key_path))?;
        let sent = std::iter::once(&own)
            .chain(&issuers)
            .filter(|certificate| !certificate.is_root())
            .map(|certificate| shared(certificate.der()))
            .collect();
        let ca = Self {
            root: issuers
                .into_iter()
                .next_back()
                .unwrap_or_else(|| own.clone()),
            certificate: own,
            sent,
            issuer,
        };
        ca.prove().map_err(|problem| wrong(own_path, problem))?;
        Ok(ca)
    }

    fn prove(&self) -> Result<(), CertificateProblem> {
        let unusable = |cause: String| CertificateProblem::Unusable { cause };
        let own = x509(self.certificate.der())?;
        let name = certificate::permitted_name(&own);
        let host = crate::name::Host::from_config(&name)
            .map_err(|error| unusable(format!("its name constraint for {name} {error}")))?;
        let leaf = LeafKey::generate()
            .and_then(|key| mint::mint(self, &key, &host, now()))
            .map_err(|fault| unusable(fault.to_string()))?;
        let [leaf, intermediates @ ..] = leaf.cert.as_slice() else {
            return Err(CertificateProblem::Malformed);
        };
        if x509(leaf)?.issuer().as_raw() != own.subject().as_raw() {
            return Err(CertificateProblem::Subject);
        }
        let mut roots = RootCertStore::empty();
        roots
            .add(self.root.der().clone())
            .map_err(|error| unusable(error.to_string()))?;
        let name = ServerName::try_from(name).map_err(|error| unusable(error.to_string()))?;
        WebPkiServerVerifier::builder_with_provider(roots.into(), Arc::new(default_provider()))
            .build()
            .map_err(|error| unusable(error.to_string()))?
            .verify_server_cert(leaf, intermediates, &name, &[], UnixTime::now())
            .map_err(|error| match error {
                rustls::Error::InvalidCertificate(CertificateError::BadSignature) => {
                    unusable("a signature in its chain does not verify".to_owned())
                }
                other => unusable(other.to_string()),
            })?;
        Ok(())
    }

    /// The certificate that agents must trust, as one PEM block: the CA itself, or the top
    /// of the operator's chain.
    #[must_use]
    pub fn root_pem(&self) -> String {
        self.root.pem()
    }

    /// The certificate that agents must trust.
    #[must_use]
    pub fn root(&self) -> &CaCertificate {
        &self.root
    }

    /// The certificate that signs leaves.
    #[must_use]
    pub fn certificate(&self) -> &CaCertificate {
        &self.certificate
    }

    /// The DER certificates sent after each leaf: the CA itself unless it is a root, then
    /// its issuers up to the root, without it (RFC 8446 §4.4.2).
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.sent
    }

    /// Last second at which the CA is valid, in Unix time.
    #[must_use]
    pub fn not_after(&self) -> i64 {
        self.certificate.not_after()
    }

    /// SHA-256 of the CA certificate, as upper-case hex with colons.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        self.certificate.fingerprint()
    }

    /// Subject of the CA certificate, for people.
    #[must_use]
    pub fn subject(&self) -> &str {
        self.certificate.subject()
    }

    /// Where the gateway's own CA certificate lies in a state folder.
    #[must_use]
    pub fn certificate_path(state: &Path) -> PathBuf {
        Pair::of(state).certificate
    }

    /// Where the gateway's own CA key lies in a state folder.
    #[must_use]
    pub fn key_path(state: &Path) -> PathBuf {
        Pair::of(state).key
    }

    pub(super) fn issuer(&self) -> &Issuer<'static, CaKey> {
        &self.issuer
    }
}

pub(super) enum IssuerProblem {
    Certificate(CertificateProblem),
    Key(KeyProblem),
}

/// Binds key and certificate. rcgen would panic on an empty RDN and take any key.
pub(super) fn issuer(
    own: &CaCertificate,
    key: CaKey,
) -> Result<Issuer<'static, CaKey>, IssuerProblem> {
    let parsed = x509(own.der()).map_err(IssuerProblem::Certificate)?;
    if parsed.public_key().subject_public_key.data.as_ref() != key.der_bytes() {
        return Err(IssuerProblem::Key(KeyProblem::Mismatch));
    }
    let subject = parsed.subject();
    let single = subject.iter_rdn().all(|rdn| rdn.iter().count() == 1);
    if !single || subject.iter_rdn().next().is_none() {
        return Err(IssuerProblem::Certificate(CertificateProblem::Subject));
    }
    Issuer::from_ca_cert_der(own.der(), key)
        .map_err(|_| IssuerProblem::Certificate(CertificateProblem::Subject))
}

/// Names the file at fault.
pub(super) fn wrong_issuer(fault: IssuerProblem, certificate: &Path, key: &Path) -> CaError {
    match fault {
        IssuerProblem::Certificate(problem) => wrong(certificate, problem),
        IssuerProblem::Key(problem) => wrong_key(key, problem),
    }
}

/// Reads the issuers of `own`, from its own upwards.
fn read_chain(path: &Path, own: &CaCertificate) -> Result<Vec<CaCertificate>, CaError> {
    let mut chain: Vec<CaCertificate> = Vec::new();
    for (below, der) in certificate::read_all(path)?.into_iter().enumerate() {
        let number = below + 1;
        let next = CaCertificate::parse(der)
            .and_then(|next| {
                next.check_time(now())?;
                check_issued(&next, chain.last().unwrap_or(own), number)?;
                Ok(next)
            })
            .map_err(|problem| wrong(path, problem))?;
        chain.push(next);
    }
    Ok(chain)
}

/// `issuer` names itself as the issuer of `subject` and allows `number` CAs below it.
fn check_issued(
    issuer: &CaCertificate,
    subject: &CaCertificate,
    number: usize,
) -> Result<(), CertificateProblem> {
    let (above, below) = (x509(issuer.der())?, x509(subject.der())?);
    if above.subject().as_raw() != below.issuer().as_raw() || subject.is_root() {
        return Err(CertificateProblem::ChainOrder { number });
    }
    let constraints = above.basic_constraints().ok().flatten();
    match constraints.and_then(|found| found.value.path_len_constraint) {
        Some(allowed) if usize::try_from(allowed).is_ok_and(|allowed| allowed < number) => {
            Err(CertificateProblem::PathLength { number, allowed })
        }
        Some(_) | None => Ok(()),
    }
}

pub(super) fn read_key(
    path: &Path,
    guard: KeyGuard,
    user: u32,
) -> Result<Zeroizing<PrivateKeyDer<'static>>, CaError> {
    let bytes = files::read_key(path, guard, user)?;
    pem::private_key(&bytes).map_err(|problem| CaError::Pem {
        path: path.to_owned(),
        problem,
    })
}

/// Makes the gateway's own CA; `false` when another process put one there meanwhile.
fn create(pair: &Pair) -> Result<bool, CaError> {
    let (certificate, document) = generate()?;
    let certificate = pem::encode("CERTIFICATE", &certificate);
    pair.create(&certificate, &pem::encode("PRIVATE KEY", document.as_ref()))
}

/// A new certificate that signs itself, and its key.
fn generate() -> Result<(CertificateDer<'static>, pkcs8::Document), CaError> {
    let (key, document) = CaKey::generate()?;
    let identifier = digest::digest(&digest::SHA256, key.der_bytes());
    let short = identifier
        .as_ref()
        .first_chunk()
        .copied()
        .map_or(0, u32::from_be_bytes);
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, format!("Portreeve CA {short:08x}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.serial_number = Some(serial()?);
    let now = OffsetDateTime::now_utc();
    params.not_before = now - OWN_BACKDATE;
    params.not_after = now + OWN_VALIDITY;
    let certificate = params
        .self_signed(&key)
        .map_err(|_| MintFault::Crypto("sign the CA certificate"))?;
    Ok((certificate.der().clone(), document))
}

/// 128 random bits, positive (RFC 5280 §4.1.2.2).
pub(super) fn serial() -> Result<SerialNumber, MintFault> {
    let mut bytes = [0_u8; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| MintFault::Crypto("give random bytes"))?;
    Ok(SerialNumber::from_slice(&bytes))
}

/// A certificate that every leaf refers to instead of owning a copy: a public kilobyte that
/// stays for the life of the process, as the CA does.
fn shared(der: &CertificateDer<'_>) -> CertificateDer<'static> {
    CertificateDer::from_slice(Box::leak(der.to_vec().into_boxed_slice()))
}

/// Unix time; a clock before 1970 reads as 1970, where no certificate is valid.
pub(super) fn now() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn wrong_key(path: &Path, problem: KeyProblem) -> CaError {
    CaError::Key {
        path: path.to_owned(),
        problem,
    }
}
