//! A git server: `git http-backend` behind the credential.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::SECRET;
use crate::common::{Answer, Request};

/// What must arrive.
pub fn credential() -> String {
    format!(
        "Basic {}",
        BASE64_STANDARD.encode(format!("x-access-token:{SECRET}"))
    )
}

/// Runs `git http-backend` for a request (RFC 3875), if it has the credential.
pub fn answer(request: &Request, repositories: &Path) -> Answer {
    if request.header("authorization") != Some(&credential()) {
        let answer = Answer::ok("no credential").status(401);
        return answer.header("www-authenticate", "Basic realm=\"git\"");
    }
    if let Some(path) = request.target.strip_prefix("/repo.git/info/lfs/") {
        return lfs(request, path, &repositories.join("lfs"));
    }
    let (path, query) = request
        .target
        .split_once('?')
        .unwrap_or((&request.target, ""));
    let header = |name: &str| request.header(name).unwrap_or_default().to_owned();
    let mut backend = Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", repositories)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_PROTOCOL", header("git-protocol"))
        .env("REQUEST_METHOD", &request.method)
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("CONTENT_TYPE", header("content-type"))
        .env("CONTENT_LENGTH", request.body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        .env("REMOTE_USER", "x-access-token")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut input, body) = (backend.stdin.take().unwrap(), request.body.clone());
    // Beside reading its output: neither pipe holds everything.
    let writer = thread::spawn(move || drop(input.write_all(&body)));
    let output = backend.wait_with_output().unwrap();
    writer.join().unwrap();
    cgi(&output.stdout)
}

/// Large files: the batch API of Git LFS, and the objects themselves in `store`.
fn lfs(request: &Request, path: &str, store: &Path) -> Answer {
    let object = |oid: &str| store.join(oid);
    match (request.method.as_str(), path.split_once('/')) {
        ("POST", Some(("objects", "batch"))) => {
            let asked: Value = serde_json::from_slice(&request.body).unwrap();
            let operation = asked["operation"].as_str().unwrap();
            let objects = asked["objects"].as_array().unwrap().iter();
            let objects = objects.map(|asked| {
                let oid = asked["oid"].as_str().unwrap();
                let href = format!("https://git.good.test/repo.git/info/lfs/objects/{oid}");
                json!({
                    "oid": oid,
                    "size": asked["size"],
                    "actions": { operation: { "href": href } },
                })
            });
            let answer = json!({ "transfer": "basic", "objects": objects.collect::<Vec<_>>() });
            Answer::ok(answer.to_string()).header("content-type", "application/vnd.git-lfs+json")
        }
        ("PUT", Some(("objects", oid))) => {
            fs::create_dir_all(store).unwrap();
            fs::write(object(oid), &request.body).unwrap();
            Answer::ok("")
        }
        ("GET", Some(("objects", oid))) => Answer::ok(fs::read(object(oid)).unwrap()),
        // It has no locks.
        _ => Answer::ok("{\"message\": \"not here\"}").status(404),
    }
}

/// A CGI response.
fn cgi(output: &[u8]) -> Answer {
    let end = output.windows(4).position(|window| window == b"\r\n\r\n");
    let end = end.expect("a CGI head");
    let head = String::from_utf8_lossy(&output[..end]).into_owned();
    let mut answer = Answer::ok(&output[end + 4..]);
    for (name, value) in head.lines().filter_map(|line| line.split_once(": ")) {
        if name == "Status" {
            answer = answer.status(value.split(' ').next().unwrap().parse().unwrap());
        } else {
            answer = answer.header(name, value);
        }
    }
    answer
}
