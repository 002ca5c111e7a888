//! Small JSON files that are always whole: written beside their place, then renamed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Far above any listing of the table; a larger file is none of ours.
const LIMIT: u64 = 1 << 20;

/// Replaces `path`, readable by everyone; its folder is made if it is missing.
pub(super) fn write<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
    fs::create_dir_all(folder)?;
    let mut temporary = folder.join(name).into_os_string();
    temporary.push(format!(".{}.new", std::process::id()));
    let result =
        write_new(Path::new(&temporary), value).and_then(|()| fs::rename(&temporary, path));
    if result.is_err() {
        // What failed is reported; a leftover that cannot be removed either adds nothing.
        let _ = fs::remove_file(&temporary);
    }
    result
}

fn write_new<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    // Left by a process of this number that was killed in between.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(path)?;
    let mut json = serde_json::to_vec_pretty(value)?;
    json.push(b'\n');
    file.write_all(&json)
}

/// Reads what [`write`] wrote.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> io::Result<T> {
    let mut json = Vec::new();
    File::open(path)?.take(LIMIT).read_to_end(&mut json)?;
    Ok(serde_json::from_slice(&json)?)
}
