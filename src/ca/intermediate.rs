//! A gateway's intermediate, signed where an offline root is.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, KeyUsagePurpose,
};
use time::OffsetDateTime;

use super::authority::{CertificateAuthority, issuer, now, read_key, serial, wrong_issuer};
use super::certificate::{CaCertificate, wrong, x509};
use super::error::{CaError, CertificateProblem, KeyProblem, MintFault};
use super::files::{self, KeyGuard};
use super::key::CaKey;
use super::pem;

/// For gateways whose clocks are late.
const BACKDATE: Duration = Duration::from_secs(24 * 3600);

/// The files of an intermediate, as `[ca]` names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// The intermediate.
    pub certificate: PathBuf,
    /// Its key, mode 0600.
    pub key: PathBuf,
    /// The root, which agents trust.
    pub chain: PathBuf,
    /// Last second of validity, in Unix time: never beyond the root's.
    pub not_after: i64,
}

impl Issued {
    fn in_folder(folder: &Path) -> Self {
        Self {
            certificate: folder.join("gateway.pem"),
            key: folder.join("gateway.key"),
            chain: folder.join("root.pem"),
            not_after: 0,
        }
    }
}

/// Makes a key and an intermediate for the gateway `name`, that may sign leaves and no further
/// CA (pathlen 0), and leaves both with the root in `folder`. Nothing there is overwritten.
///
/// # Errors
/// [`CaError`]: a root that may not sign CAs, a key of another pair, a file that is there.
pub fn issue_intermediate(
    root: (&Path, &Path),
    name: &str,
    validity: Duration,
    folder: &Path,
) -> Result<Issued, CaError> {
    let (root_path, key_path) = root;
    let root = CaCertificate::read(root_path)?;
    let fit = check_root(&root);
    fit.map_err(|problem| wrong(root_path, problem))?;
    let user = rustix::process::geteuid().as_raw();
    let secret = read_key(key_path, KeyGuard::Operator, user)?;
    let key = CaKey::from_der(&secret).map_err(|problem: KeyProblem| CaError::Key {
        path: key_path.to_owned(),
        problem,
    })?;
    let signer = issuer(&root, key).map_err(|fault| wrong_issuer(fault, root_path, key_path))?;
    let (own, document) = CaKey::generate()?;
    let params = params(name, validity, &root)?;
    let certificate = params
        .signed_by(&own, &signer)
        .map_err(|_| MintFault::Crypto("sign the intermediate"))?;
    let mut issued = Issued::in_folder(folder);
    issued.not_after = params.not_after.unix_timestamp();
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| files::failed("create the folder", folder, error))?;
    let key_pem = pem::encode("PRIVATE KEY", document.as_ref());
    files::write_file(&issued.key, 0o600, key_pem.as_bytes())?;
    let certificate = pem::encode("CERTIFICATE", certificate.der());
    files::write_file(&issued.certificate, 0o644, certificate.as_bytes())?;
    files::write_file(&issued.chain, 0o644, root.pem().as_bytes())?;
    // What the gateway will check at its start is checked here, where it can still be mended.
    CertificateAuthority::load(&issued.certificate, Some(&issued.chain), &issued.key)?;
    Ok(issued)
}

/// A root, valid now, that allows a CA below it (RFC 5280 §4.2.1.9).
fn check_root(root: &CaCertificate) -> Result<(), CertificateProblem> {
    root.check_time(now())?;
    if !root.is_root() {
        return Err(CertificateProblem::NotRoot);
    }
    let parsed = x509(root.der())?;
    let constraints = parsed.basic_constraints().ok().flatten();
    match constraints.and_then(|found| found.value.path_len_constraint) {
        Some(0) => Err(CertificateProblem::NoIntermediates),
        Some(_) | None => Ok(()),
    }
}

fn params(
    name: &str,
    validity: Duration,
    root: &CaCertificate,
) -> Result<CertificateParams, CaError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    params.serial_number = Some(serial()?);
    let at = |unix| OffsetDateTime::from_unix_timestamp(unix).ok();
    let now = OffsetDateTime::now_utc();
    let first = at(root.not_before()).unwrap_or(now);
    params.not_before = (now - BACKDATE).max(first);
    let last = at(root.not_after()).unwrap_or(now);
    params.not_after = (now + validity).min(last);
    Ok(params)
}
