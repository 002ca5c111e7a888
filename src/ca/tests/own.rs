//! The gateway's own CA: made whole, kept private, used again.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::{Arc, Barrier};

use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::*;
use crate::ca::authority::now;

#[test]
fn it_is_made_once_and_then_used_again() {
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join("not").join("yet").join("there");
    let (first, created) = CertificateAuthority::init(&state).unwrap();
    assert!(created);
    let (second, created) = CertificateAuthority::init(&state).unwrap();
    assert!(!created);
    assert_eq!(first.fingerprint(), second.fingerprint());
    assert_eq!(mode(&state), 0o700);
    assert_eq!(mode(&state.join("ca")), 0o700);
    assert_eq!(mode(&CertificateAuthority::key_path(&state)), 0o600);
    // Nothing else is left behind.
    assert_eq!(fs::read_dir(&state).unwrap().count(), 1);
    assert_eq!(fs::read_dir(state.join("ca")).unwrap().count(), 2);
}

#[test]
fn its_certificate_is_a_root_for_leaves_only() {
    let home = tempfile::tempdir().unwrap();
    let ca = CertificateAuthority::load_or_create(&home.path().join("state")).unwrap();
    let (_, parsed) = X509Certificate::from_der(ca.certificate().der()).unwrap();
    assert_eq!(parsed.subject().to_string(), ca.subject());
    let short = ca.subject().strip_prefix("CN=Portreeve CA ").unwrap();
    assert!(short.len() == 8 && short.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let constraints = parsed.basic_constraints().unwrap().unwrap();
    assert!(constraints.critical && constraints.value.ca);
    assert_eq!(constraints.value.path_len_constraint, Some(0));
    // keyCertSign and cRLSign and nothing else (RFC 5280 §4.2.1.3: bits 5 and 6).
    assert_eq!(parsed.key_usage().unwrap().unwrap().value.flags, 0b110_0000);
    assert!(
        parsed.extensions_map().unwrap().len() == 3,
        "only those two and the SKI"
    );
    let days = (ca.not_after() - now()) / 86_400;
    assert!((1825..1835).contains(&days), "{days}");
    assert!(ca.certificate().not_before() <= now() - 86_000);
    assert!(parsed.verify_signature(None).is_ok());
    assert_eq!(ca.fingerprint().len(), 32 * 3 - 1);
    assert!(ca.chain().is_empty(), "agents hold the root");
    assert_eq!(ca.root_pem(), ca.certificate().pem());
    assert!(!format!("{ca:?}").contains("key"));
}

#[test]
fn processes_that_start_together_agree() {
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join("state");
    let barrier = Arc::new(Barrier::new(8));
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let (state, barrier) = (state.clone(), barrier.clone());
            std::thread::spawn(move || {
                barrier.wait();
                let (ca, created) = CertificateAuthority::init(&state).unwrap();
                (ca.fingerprint().to_owned(), created)
            })
        })
        .collect();
    let seen: Vec<_> = threads
        .into_iter()
        .map(|thread| thread.join().unwrap())
        .collect();
    assert!(
        seen.iter()
            .all(|(fingerprint, _)| *fingerprint == seen[0].0),
        "{seen:?}"
    );
    assert_eq!(seen.iter().filter(|(_, created)| *created).count(), 1);
    assert_eq!(fs::read_dir(&state).unwrap().count(), 1, "losers clean up");
}

/// Spoils a good state folder with `spoil` and gives what `load_or_create` says to it.
fn spoiled(spoil: impl FnOnce(&Path)) -> String {
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join("state");
    CertificateAuthority::load_or_create(&state).unwrap();
    spoil(&state);
    let certificate = || fs::read(CertificateAuthority::certificate_path(&state)).ok();
    let before = certificate();
    let error = CertificateAuthority::load_or_create(&state).unwrap_err();
    assert_eq!(
        certificate(),
        before,
        "no refusal is followed by a CA that no agent trusts"
    );
    told(&error)
}

#[test]
fn i13_looser_modes_are_refused_with_the_remedy() {
    for loose in [0o640, 0o604, 0o660, 0o644, 0o700] {
        let said = spoiled(|state| chmod(&state.join("ca/ca.key"), loose));
        assert!(
            said.contains(&format!("ca/ca.key has mode {loose:04o}")),
            "{said}"
        );
        assert!(said.contains("`chmod 0600` it"), "{said}");
    }
    for loose in [0o750, 0o701, 0o707, 0o755] {
        for folder in ["", "ca"] {
            let said = spoiled(|state| chmod(&state.join(folder), loose));
            assert!(said.contains(&format!("has mode {loose:04o}")), "{said}");
            assert!(said.contains("`chmod 0700` it"), "{said}");
        }
    }
}

#[test]
fn i13_links_and_strange_files_are_refused() {
    let moved = |state: &Path, name: &str| {
        fs::rename(state.join(name), state.join("moved")).unwrap();
        symlink(state.join("moved"), state.join(name)).unwrap();
    };
    let said = spoiled(|state| moved(state, "ca/ca.key"));
    assert!(said.contains("ca/ca.key is a symbolic link"), "{said}");
    let said = spoiled(|state| moved(state, "ca"));
    assert!(said.contains("ca is a symbolic link"), "{said}");
    let said = spoiled(|state| {
        fs::remove_file(state.join("ca/ca.key")).unwrap();
        fs::create_dir(state.join("ca/ca.key")).unwrap();
    });
    assert!(said.contains("ca.key is not a plain file"), "{said}");
    let said = spoiled(|state| {
        fs::remove_dir_all(state.join("ca")).unwrap();
        fs::write(state.join("ca"), "").unwrap();
    });
    assert!(said.contains("ca is not a folder"), "{said}");
    let said = spoiled(|state| {
        fs::write(state.join("ca/ca.key"), vec![b'x'; 300_000]).unwrap();
    });
    assert!(said.contains("is larger than"), "{said}");
}

#[test]
fn i13_what_belongs_to_somebody_else_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join("state");
    CertificateAuthority::load_or_create(&state).unwrap();
    let me = rustix::process::geteuid().as_raw();
    let error = CertificateAuthority::init_as(&state, me + 1).unwrap_err();
    let said = told(&error);
    assert!(said.contains(&format!(
        "belongs to uid {me}, but this process is uid {}",
        me + 1
    )));
    // Of the key by itself, which only root can give away.
    if me != 0 {
        println!("skipped: giving a key away needs root");
        return;
    }
    let said = spoiled(|state| {
        std::os::unix::fs::chown(state.join("ca/ca.key"), Some(4242), None).unwrap();
    });
    assert!(said.contains("ca.key belongs to uid 4242"), "{said}");
}

#[test]
fn half_a_pair_is_never_completed() {
    for (half, other) in [("ca.key", "ca.pem"), ("ca.pem", "ca.key")] {
        let said = spoiled(|state| fs::remove_file(state.join("ca").join(half)).unwrap());
        assert!(
            said.contains(&format!("{half} is missing while its other half")),
            "{said}"
        );
        assert!(!said.contains(other), "{said}");
    }
}

#[test]
fn mixed_and_damaged_pairs_are_refused() {
    let stranger = tempfile::tempdir().unwrap();
    let other = stranger.path().join("state");
    CertificateAuthority::load_or_create(&other).unwrap();
    let said = spoiled(|state| {
        fs::copy(other.join("ca/ca.pem"), state.join("ca/ca.pem")).unwrap();
    });
    assert!(
        said.contains("ca.key does not belong to the certificate"),
        "{said}"
    );
    let said = spoiled(|state| fs::write(state.join("ca/ca.pem"), "").unwrap());
    assert!(said.contains("ca.pem holds no certificate"), "{said}");
    let said = spoiled(|state| fs::write(state.join("ca/ca.key"), "").unwrap());
    assert!(said.contains("ca.key holds no private key"), "{said}");
}

#[test]
fn an_empty_folder_made_beforehand_is_filled() {
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join("state");
    fs::create_dir_all(state.join("ca")).unwrap();
    chmod(&state, 0o700);
    chmod(&state.join("ca"), 0o700);
    assert!(CertificateAuthority::init(&state).unwrap().1);
}
