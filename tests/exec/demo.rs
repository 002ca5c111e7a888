//! The demo is what it says.

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
