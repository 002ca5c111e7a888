//! Python: urllib and http.client.

use std::process::{Command, Stdio};

use crate::{Site, expected, inside, with_site};

/// Names a Python with more modules than the system's: `.ci/run` makes one.
const PYTHON: &str = "PORTREEVE_TEST_PYTHON";

/// The Python that has the modules which clients need, if any has.
pub fn python() -> Command {
    Command::new(
        std::env::var_os(PYTHON)
            .filter(|path| !path.is_empty())
            .unwrap_or_else(|| "python3".into()),
    )
}

/// Whether it has this module.
pub fn has(module: &str) -> bool {
    let mut command = python();
    command
        .args(["-I", "-c", &format!("import {module}")])
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

const URLLIB: &str = r#"
import hashlib, sys, urllib.error, urllib.request
with urllib.request.urlopen("https://api.good.test/download") as answer:
    print(answer.status, hashlib.sha256(answer.read()).hexdigest())
with open(sys.argv[1], "rb") as upload:
    request = urllib.request.Request("https://api.good.test/upload", data=upload.read())
with urllib.request.urlopen(request) as answer:
    print(answer.status, answer.read().decode())
try:
    urllib.request.urlopen("https://elsewhere.test/")
except urllib.error.HTTPError as error:
    print(error.code, error.headers["content-type"])
"#;

const HTTP_CLIENT: &str = r#"
import hashlib, http.client, sys
api = http.client.HTTPSConnection("api.good.test")
api.request("GET", "/download")
answer = api.getresponse()
print(answer.status, hashlib.sha256(answer.read()).hexdigest())
def pieces():
    with open(sys.argv[1], "rb") as upload:
        while piece := upload.read(100_000):
            yield piece
# On the same connection, and in chunks.
connected = api.sock
api.request("POST", "/upload", body=pieces(), encode_chunked=True,
            headers={"Transfer-Encoding": "chunked"})
answer = api.getresponse()
print(answer.status, answer.read().decode())
assert api.sock is connected, "kept alive"
other = http.client.HTTPSConnection("elsewhere.test")
other.request("GET", "/")
answer = other.getresponse()
print(answer.status, answer.headers["content-type"])
"#;

fn script(site: &Site<'_>, script: &str) {
    let mut command = site.command("python3");
    command
        .env("SSL_CERT_FILE", &site.ca)
        .args(["-I", "-c", script])
        .arg(&site.upload);
    let output = String::from_utf8(site.stdout(command)).unwrap();
    assert_eq!(output, expected());
    assert_eq!(site.received("/download").len(), 1);
    assert_eq!(site.received("/upload").len(), 1);
}

#[test]
fn python_urllib() {
    inside(|| with_site(&["python3"], |site| script(site, URLLIB)));
}

#[test]
fn python_http_client() {
    inside(|| with_site(&["python3"], |site| script(site, HTTP_CLIENT)));
}
