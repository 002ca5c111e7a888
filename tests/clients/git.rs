//! git over smart HTTP: the credential is attached, and git has none.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::{SECRET, Site, UPLOAD_BYTES, git_server, inside, noise, sha256, with_site};

const URL: &str = "https://git.good.test/repo.git";

/// git as the agent runs it: no helper, no prompt, nothing to authenticate with.
fn git(site: &Site<'_>, arguments: &[&str]) -> Command {
    let mut command = site.command("git");
    command
        .env("GIT_SSL_CAINFO", &site.ca)
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .args(["-c", "user.name=agent", "-c", "user.email=agent@good.test"])
        .args(arguments);
    command
}

/// A repository with one commit that holds a file which is no text.
fn repository(site: &Site<'_>) {
    let seed = site.world.path("seed");
    let bare = site.world.path("repositories").join("repo.git");
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    site.stdout(git(site, &["init", "-q", "-b", "main", &path(&seed)]));
    fs::write(seed.join("noise"), noise(UPLOAD_BYTES, 11)).unwrap();
    commit(site, &seed, "first");
    site.stdout(git(
        site,
        &["clone", "-q", "--bare", &path(&seed), &path(&bare)],
    ));
    site.stdout(git(
        site,
        &["-C", &path(&bare), "config", "http.receivepack", "true"],
    ));
}

fn commit(site: &Site<'_>, folder: &Path, message: &str) {
    let folder = folder.to_str().unwrap();
    site.stdout(git(site, &["-C", folder, "add", "."]));
    site.stdout(git(site, &["-C", folder, "commit", "-q", "-m", message]));
}

fn digest(path: &Path) -> String {
    sha256(&fs::read(path).unwrap())
}

/// Clones, changes and pushes in one working copy, fetches in another.
fn round_trip(site: &Site<'_>, options: &[&str]) {
    repository(site);
    let run = |arguments: &[&str]| site.stdout(git(site, &[options, arguments].concat()));
    for copy in ["first", "second"] {
        run(&["clone", "-q", URL, copy]);
        let file = site.world.path(copy).join("noise");
        assert_eq!(digest(&file), sha256(&noise(UPLOAD_BYTES, 11)), "{copy}");
    }
    let first = site.world.path("first");
    // More than http.postBuffer: git sends it in chunks.
    fs::write(first.join("more"), noise(2 * UPLOAD_BYTES, 13)).unwrap();
    commit(site, &first, "second");
    run(&["-C", "first", "push", "-q", "origin", "main"]);
    run(&["-C", "second", "pull", "-q"]);
    let pulled = site.world.path("second").join("more");
    assert_eq!(digest(&pulled), sha256(&noise(2 * UPLOAD_BYTES, 13)));
    with_credential(site);
}

/// Every request arrived with the credential at once; the agent has it nowhere.
fn with_credential(site: &Site<'_>) {
    let requests = site.server.requests();
    for service in ["git-upload-pack", "git-receive-pack"] {
        let path = format!("/repo.git/{service}");
        assert!(requests.iter().any(|request| request.target == path));
    }
    for request in requests {
        let sent = request.header_all("authorization");
        assert_eq!(sent, [git_server::credential()], "{}", request.target);
    }
    let config = fs::read_to_string(site.world.path("first").join(".git/config")).unwrap();
    assert!(!config.contains(SECRET), "{config}");
}

#[test]
fn git_over_http_2() {
    // A buffer for all of a push: some libcurl asks git for more after the end of a chunked
    // HTTP/2 upload, and git then waits forever for its own `send-pack`, on any network.
    let buffer = ["-c", "http.postBuffer=8388608"];
    inside(|| with_site(&["git"], |site| round_trip(site, &buffer)));
}

#[test]
fn git_over_http_1_1() {
    let version = ["-c", "http.version=HTTP/1.1"];
    inside(|| with_site(&["git"], |site| round_trip(site, &version)));
}

/// Files that are too large for a repository go by their digests, beside it.
#[test]
fn git_lfs() {
    inside(|| {
        with_site(&["git", "git-lfs"], |site| {
            repository(site);
            let run = |arguments: &[&str]| site.stdout(git(site, arguments));
            run(&["lfs", "install", "--skip-repo"]);
            run(&["clone", "-q", URL, "first"]);
            let large = noise(3 * UPLOAD_BYTES, 17);
            fs::write(site.world.path("first").join("large.bin"), &large).unwrap();
            run(&["-C", "first", "lfs", "track", "*.bin"]);
            commit(site, &site.world.path("first"), "large");
            run(&["-C", "first", "push", "-q", "origin", "main"]);
            run(&["clone", "-q", URL, "second"]);
            let file = site.world.path("second").join("large.bin");
            assert_eq!(digest(&file), sha256(&large));
            let object = format!("/repo.git/info/lfs/objects/{}", sha256(&large));
            let requests = site.server.requests();
            let methods = requests.iter().filter(|request| request.target == object);
            let methods: Vec<&str> = methods.map(|request| request.method.as_str()).collect();
            assert_eq!(methods, ["PUT", "GET"]);
            for request in &requests {
                let sent = request.header_all("authorization");
                assert_eq!(sent, [git_server::credential()], "{}", request.target);
            }
        });
    });
}

#[test]
fn git_says_why_it_is_refused() {
    inside(|| {
        with_site(&["git"], |site| {
            let other = "https://git.good.test/other/deep.git";
            let output = site.run(git(site, &["clone", "-q", other, "copy"]));
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(!output.status.success());
            assert!(error.contains("403"), "{error}");
            assert!(
                error.contains("no rule allows"),
                "git shows text/plain: {error}"
            );
            assert!(site.server.connections().is_empty());
        });
    });
}
