//! Java's `HttpClient`, over both versions.

use std::fs;

use crate::{Site, expected, inside, with_site};

const MAIN: &str = include_str!("java/Main.java");

fn run(site: &Site<'_>, version: &str) {
    let source = site.world.path("Main.java");
    fs::write(&source, MAIN).unwrap();
    let mut command = site.command("java");
    command
        .args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx128m"])
        .arg(source)
        .args([&site.upload, &site.ca])
        .arg(version);
    let output = String::from_utf8(site.stdout(command)).unwrap();
    assert_eq!(output, format!("{}{version}\n", expected()));
}

#[test]
fn java_http_client() {
    inside(|| {
        with_site(&["maybe: javac"], |site| {
            run(site, "HTTP_2");
            run(site, "HTTP_1_1");
            assert_eq!(site.received("/download").len(), 2);
            assert_eq!(site.received("/upload").len(), 2);
        });
    });
}
