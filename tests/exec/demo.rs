//! The demo is what it says.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::jail::{Jail, shown};

#[test]
fn every_step_goes_as_told() {
    if Jail::new().is_none() {
        return;
    }
    let output = Command::new(env!("CARGO_BIN_EXE_portreeve"))
        .arg("demo")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", shown(&output));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(!said.contains("NOT AS TOLD"), "{said}");
    // A call that detectors refused took no credential along.
    assert!(
        said.contains("portreeve_credentials_attached_total{credential=\"demo\"} 2\n"),
        "{said}"
    );
    assert!(
        said.contains("the server got: GET /v1/hello\n                    authorization: Bearer"),
        "{said}"
    );
}

/// With a `curl` that gets nothing, no step goes as told.
#[test]
fn a_step_that_goes_otherwise_is_told() {
    let Some(jail) = Jail::new() else { return };
    let curl = jail.path("work/curl");
    fs::write(&curl, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&curl, Permissions::from_mode(0o755)).unwrap();
    let path = std::env::var("PATH").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_portreeve"))
        .arg("demo")
        .env("PATH", format!("{}:{path}", jail.path("work").display()))
        .output()
        .unwrap();
    let said = shown(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(said.matches("NOT AS TOLD").count(), 4, "{said}");
}
