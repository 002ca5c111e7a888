//! Go's `net/http`, over both versions.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{Site, expected, inside, with_site};

const MAIN: &str = include_str!("go/main.go");

fn build(site: &Site<'_>) -> PathBuf {
    let source = site.world.path("main.go");
    fs::write(&source, MAIN).unwrap();
    let binary = site.world.path("client");
    let mut build = site.command("go");
    build
        .env("CGO_ENABLED", "0")
        .env("GO111MODULE", "off")
        .args(["build", "-o"])
        .args([&binary, &source]);
    site.stdout(build);
    binary
}

fn run(site: &Site<'_>, binary: &Path, version: &str) {
    let mut command = site.command(binary);
    command
        .env("SSL_CERT_FILE", &site.ca)
        .args([&site.upload])
        .arg(version);
    let output = String::from_utf8(site.stdout(command)).unwrap();
    // It prints the major version only.
    assert!(version.starts_with(output.lines().last().unwrap()));
    assert!(output.starts_with(&expected()), "{output}");
}

#[test]
fn go_net_http() {
    inside(|| {
        with_site(&["maybe: go"], |site| {
            let binary = build(site);
            run(site, &binary, "HTTP_2");
            run(site, &binary, "HTTP_1_1");
            assert_eq!(site.received("/download").len(), 2);
            assert_eq!(site.received("/upload").len(), 2);
        });
    });
}
