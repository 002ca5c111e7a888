//! Python: urllib and http.client, requests, httpx and aiohttp.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::{SECRET, Site, expected, inside, with_site};

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

/// A script in the folder of the test.
pub fn file(site: &Site<'_>, name: &str, text: &str) -> PathBuf {
    let path = site.world.path(name);
    fs::write(&path, text).unwrap();
    path
}

/// A server in Python, among those of the internet.
pub struct Server(Child);

impl Server {
    /// Starts a script with its address, the files of certificate and key for `name`, and the
    /// `Authorization` field it is to demand; returns once it says `ready`.
    pub fn start(site: &Site<'_>, text: &str, name: &str, address: &str) -> Self {
        let (certificate, key) = site.world.ca.pem_pair(&[name]);
        let mut command = python();
        command
            .arg("-I")
            .arg(file(site, "server.py", text))
            .arg(address)
            .arg(file(site, "server.pem", &certificate))
            .arg(file(site, "server.key", &key))
            .arg(format!("Bearer {SECRET}"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut server = Self(site.world.internet.spawn(command));
        let mut line = String::new();
        let mut output = BufReader::new(server.0.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
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

const REQUESTS: &str = r#"
import hashlib, sys, requests
with requests.Session() as session:
    answer = session.get("https://api.good.test/download", timeout=60)
    print(answer.status_code, hashlib.sha256(answer.content).hexdigest())
    with open(sys.argv[1], "rb") as upload:
        answer = session.post("https://api.good.test/upload", data=upload, timeout=60)
    print(answer.status_code, answer.text)
    answer = session.get("https://elsewhere.test/", timeout=60)
    print(answer.status_code, answer.headers["content-type"])
"#;

const HTTPX: &str = r#"
import hashlib, httpx, ssl, sys
VERSION = sys.argv[2]
client = httpx.Client(http1=VERSION == "HTTP/1.1", http2=VERSION == "HTTP/2",
                      verify=ssl.create_default_context(), timeout=60)
answer = client.get("https://api.good.test/download")
assert answer.http_version == VERSION, answer.http_version
print(answer.status_code, hashlib.sha256(answer.content).hexdigest())
def pieces():
    with open(sys.argv[1], "rb") as upload:
        while piece := upload.read(50_000):
            yield piece
answer = client.post("https://api.good.test/upload", content=pieces())
print(answer.status_code, answer.text)
answer = client.get("https://elsewhere.test/")
print(answer.status_code, answer.headers["content-type"])
"#;

const AIOHTTP: &str = r#"
import aiohttp, asyncio, hashlib, sys
async def main():
    limit = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(timeout=limit) as session:
        async with session.get("https://api.good.test/download") as answer:
            print(answer.status, hashlib.sha256(await answer.read()).hexdigest())
        # Waits for 100.
        with open(sys.argv[1], "rb") as upload:
            async with session.post("https://api.good.test/upload", data=upload,
                                    expect100=True) as answer:
                print(answer.status, await answer.text())
        async with session.get("https://elsewhere.test/") as answer:
            print(answer.status, answer.headers["content-type"])
asyncio.run(main())
"#;

fn script(site: &Site<'_>, script: &str, argument: &str) {
    let before = site.received("/upload").len();
    let mut command = site.command(python().get_program());
    command
        .env("SSL_CERT_FILE", &site.ca)
        .env("REQUESTS_CA_BUNDLE", &site.ca)
        .args(["-I", "-c", script])
        .arg(&site.upload)
        .arg(argument);
    let output = String::from_utf8(site.stdout(command)).unwrap();
    assert_eq!(output, expected());
    assert_eq!(site.received("/download").len(), before + 1);
    assert_eq!(site.received("/upload").len(), before + 1);
}

#[test]
fn python_urllib() {
    inside(|| with_site(&["python3"], |site| script(site, URLLIB, "")));
}

#[test]
fn python_http_client() {
    inside(|| with_site(&["python3"], |site| script(site, HTTP_CLIENT, "")));
}

#[test]
fn python_requests_httpx_and_aiohttp() {
    let modules = ["python: requests", "python: httpx", "python: aiohttp"];
    inside(|| {
        with_site(&[&["python3"], &modules[..]].concat(), |site| {
            script(site, REQUESTS, "");
            script(site, HTTPX, "HTTP/2");
            script(site, HTTPX, "HTTP/1.1");
            script(site, AIOHTTP, "");
        });
    });
}
