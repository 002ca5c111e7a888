//! What a command keeps: who it is, where it is, its streams, signals and exit code.

use std::process::Command;

use crate::jail::{Jail, shown};

#[test]
fn user_folder_and_exit_code_stay() {
    let Some(jail) = Jail::new() else { return };
    let id = Command::new("id").arg("-u").output().unwrap();
    let id = String::from_utf8(id.stdout).unwrap();
    assert_eq!(jail.says("id -u"), id.trim());
    assert_eq!(jail.says("pwd"), jail.path("work").to_str().unwrap());
    assert_eq!(jail.sh("exit 7").status.code(), Some(7));
    assert_eq!(jail.sh("kill -TERM $$").status.code(), Some(128 + 15));
    let missing = jail.command(&["/no/such/program"]).output().unwrap();
    assert_eq!(missing.status.code(), Some(127), "{}", shown(&missing));
}
