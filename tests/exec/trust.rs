//! Where systems keep the roots that their clients trust.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::inside;
use crate::jail::{Jail, shown};

/// Fedora, twice; Alpine; SUSE; Arch. Debian's is on the machine, or not.
const BUNDLES: [&str; 5] = [
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ca-certificates/extracted/tls-ca-bundle.pem",
];
/// Debian, Fedora, Arch.
const JAVA_STORES: [&str; 3] = [
    "/etc/ssl/certs/java/cacerts",
    "/etc/pki/ca-trust/extracted/java/cacerts",
    "/etc/ca-certificates/extracted/java-cacerts.jks",
];

/// A writable copy of `/etc`, for this mount namespace only, with these files.
fn other_system(jail: &Jail) {
    let copy = jail.path("etc");
    // An ordinary user may not read all of it.
    let copied = Command::new("cp").arg("-a").arg("/etc").arg(&copy).output();
    copied.unwrap();
    for path in BUNDLES.iter().chain(&JAVA_STORES) {
        let path = copy.join(Path::new(path).strip_prefix("/etc").unwrap());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "its own\n").unwrap();
    }
    let mounted = Command::new("mount")
        .arg("--bind")
        .args([copy.as_path(), Path::new("/etc")])
        .status()
        .unwrap();
    assert!(mounted.success());
}

#[test]
fn every_systems_stores_have_the_ca() {
    inside(|| {
        let jail = Jail::nested();
        other_system(&jail);
        let bundles = BUNDLES.join(" ");
        let stores = JAVA_STORES.join(" ");
        let script = format!(
            "line=$(sed -n 2p /run/portreeve/ca.pem); \
             for file in {bundles}; do grep -qF \"$line\" $file || echo $file; done; \
             for file in {stores}; do cmp $file /run/portreeve/cacerts || echo $file; done"
        );
        let output = jail.sh(&script);
        assert!(output.status.success(), "{}", shown(&output));
        assert_eq!(String::from_utf8_lossy(&output.stdout), "");
        // Only in the jail.
        for path in BUNDLES.iter().chain(&JAVA_STORES).map(PathBuf::from) {
            assert_eq!(fs::read_to_string(path).unwrap(), "its own\n");
        }
    });
}
