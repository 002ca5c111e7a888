//! The `nft` command: found, run, and its failures made readable.

use std::env;
use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use nftables::helper::{self, NftablesError};
use serde_json::Value;

use super::{Error, TABLE};

/// Where `nft` is when `PATH` is an ordinary user's.
const SYSTEM_FOLDERS: [&str; 3] = ["/usr/sbin", "/sbin", "/usr/local/sbin"];
/// `CAP_NET_ADMIN` in `/proc/self/status` (capabilities(7)).
const NET_ADMIN: u32 = 12;

/// Feeds `text` to `nft -f`: all of it takes effect, or nothing.
pub(super) fn load(text: &str) -> Result<(), Error> {
    let path = find()?;
    let output = run(&path, text).map_err(|source| Error::Run {
        path: path.clone(),
        source,
    })?;
    if output.status.success() {
        return Ok(());
    }
    Err(failure(
        "load the table",
        &String::from_utf8_lossy(&output.stderr),
    ))
}

/// The live table as `nft -j` lists it, one object each for the table and its sets,
/// counters, chains and rules. `None` where there is no such table.
pub(super) fn list_table() -> Result<Option<Vec<Value>>, Error> {
    let tables = list(&["list", "tables", "inet"])?;
    let ours =
        |object: &Value| object.pointer("/table/name").and_then(Value::as_str) == Some(TABLE);
    if !tables.iter().any(ours) {
        return Ok(None);
    }
    list(&["list", "table", "inet", TABLE]).map(Some)
}

fn list(arguments: &[&str]) -> Result<Vec<Value>, Error> {
    let path = find()?;
    // Not the crate's typed listing: it leaves out what it does not know, and what is left
    // out cannot be compared.
    let listing = helper::get_current_ruleset_raw(Some(&path), arguments)
        .map_err(|error| list_failure(path, error))?;
    let unknown = |detail: &dyn std::fmt::Display| Error::Listing(detail.to_string());
    let listing: Value = serde_json::from_str(&listing).map_err(|error| unknown(&error))?;
    match listing.get("nftables") {
        Some(Value::Array(objects)) => Ok(objects.clone()),
        _ => Err(unknown(&"no `nftables` array")),
    }
}

fn list_failure(path: PathBuf, error: NftablesError) -> Error {
    match error {
        NftablesError::NftExecution { inner, .. } => Error::Run {
            path,
            source: inner,
        },
        NftablesError::NftFailed { stderr, .. } => failure("list the table", &stderr),
        NftablesError::NftOutputEncoding { inner, .. } => Error::Listing(inner.to_string()),
        NftablesError::NftInvalidJson(error) => Error::Listing(error.to_string()),
    }
}

fn run(path: &Path, text: &str) -> std::io::Result<Output> {
    let mut child = Command::new(path)
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let written = child
        .stdin
        .take()
        .map(|mut stdin| stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output()?;
    // An `nft` that fails early closes its input: what it says then is worth more.
    if output.status.success() {
        written.transpose()?;
    }
    Ok(output)
}

fn find() -> Result<PathBuf, Error> {
    let path = env::var_os("PATH").unwrap_or_default();
    find_in(&path).ok_or(Error::NoCommand)
}

fn find_in(path: &OsStr) -> Option<PathBuf> {
    env::split_paths(path)
        .filter(|folder| folder.is_absolute())
        .chain(SYSTEM_FOLDERS.iter().map(PathBuf::from))
        .map(|folder| folder.join("nft"))
        .find(|file| file.is_file())
}

/// `nft` ends with 1 on every failure, so what this process may do tells the most frequent
/// one apart.
fn failure(task: &'static str, stderr: &str) -> Error {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    if has_net_admin(&status) == Some(false) {
        return Error::NotPermitted;
    }
    Error::Failed {
        task,
        message: stderr.trim().to_owned(),
    }
}

fn has_net_admin(status: &str) -> Option<bool> {
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))?;
    let effective = u64::from_str_radix(effective.trim(), 16).ok()?;
    Some(effective >> NET_ADMIN & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_read_from_the_process_status() {
        let status = |bits: &str| format!("Name:\tx\nCapPrm:\tffff\nCapEff:\t{bits}\nCapBnd:\t0\n");
        assert_eq!(has_net_admin(&status("000001ffffffffff")), Some(true));
        assert_eq!(has_net_admin(&status("0000000000001000")), Some(true));
        assert_eq!(has_net_admin(&status("0000000000000fff")), Some(false));
        assert_eq!(has_net_admin("Name:\tx\n"), None);
    }

    #[test]
    fn nft_is_found_in_the_path_and_never_in_the_current_folder() {
        let folder = tempfile::tempdir().unwrap();
        let nft = folder.path().join("nft");
        std::fs::write(&nft, "").unwrap();
        assert_eq!(find_in(folder.path().as_os_str()), Some(nft));
        assert!(find_in(OsStr::new(".:")).is_none_or(|found| found.is_absolute()));
    }
}
