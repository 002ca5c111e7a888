//! Files and variables that a command must not have.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::jail::{Jail, shown};

const RULES: &str = r#"
[[credential]]
name = "from-file"
secret = { file = "../token" }
hosts = ["a.test"]
attach = { bearer = true }
[[credential]]
name = "from-env"
secret = { env = "B_TOKEN" }
hosts = ["b.test"]
attach = { bearer = true }
[[rule]]
name = "a"
hosts = ["a.test"]
credential = "from-file"
[[rule]]
name = "b"
hosts = ["b.test"]
credential = "from-env"
"#;

fn secret(jail: &Jail, name: &str, text: &str) {
    let path = jail.path(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn state_rules_and_secrets_of_the_gateway() {
    let Some(jail) = Jail::new() else { return };
    secret(&jail, "config/token", "file-s3cret");
    let jail = jail.config("", RULES);
    let run = |script: &str| {
        let mut command = jail.command(&["sh", "-c", script]);
        command
            .env("B_TOKEN", "env-s3cret")
            .env("ALSO", "x:file-s3cret")
            .env("OTHER", "stays");
        command.output().unwrap()
    };
    let script = "env; cat ../config/token; cat ../state/exec/*; cat ../config/rules/test.toml; \
        echo x >> ../config/rules/test.toml || echo refused; \
        rm ../config/rules/test.toml || echo kept; echo x > ../config/portreeve.toml || echo fixed";
    let said = shown(&run(script));
    for secret in ["file-s3cret", "env-s3cret"] {
        assert!(!said.contains(secret), "{said}");
    }
    for word in ["OTHER=stays", "refused", "kept", "fixed", "from-file"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert!(!said.contains("portreeve.record"), "{said}");
    let rules = fs::read_to_string(jail.path("config/rules/test.toml")).unwrap();
    assert_eq!(rules, RULES);
    // All of it is readable where there is no jail.
    assert!(jail.succeeds_outside("grep s3cret ../config/token && ls ../state/exec/*"));
}

#[test]
fn keys_in_the_home_folder_unless_shown() {
    let Some(jail) = Jail::new() else { return };
    let names = [
        ".ssh/id_ed25519",
        ".aws/credentials",
        ".config/gcloud/x",
        ".azure/x",
        ".docker/config.json",
        ".kube/config",
        ".netrc",
        ".git-credentials",
        ".npmrc",
        ".pypirc",
    ];
    for name in names {
        secret(&jail, &format!("home/{name}"), "k3y");
        jail.stops(&format!("grep k3y ~/{name}"));
    }
    secret(&jail, "work/.env", "k3y");
    assert!(jail.succeeds("grep k3y .env"), "not before it is named");
    let env = jail.path("work/.env");
    let ssh = jail.path("home/.ssh");
    let jail = jail.option("--hide", env).option("--show", ssh);
    jail.stops("grep k3y .env");
    assert!(jail.succeeds("grep k3y ~/.ssh/id_ed25519"));
    jail.stops("grep k3y ~/.netrc");
}

#[test]
fn what_is_in_tmp_unless_shown() {
    let Some(jail) = Jail::new() else { return };
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "text").unwrap();
    let read = format!("cat {}", file.display());
    jail.stops(&read);
    // Nothing that is written inside is there afterwards.
    assert!(jail.succeeds("echo x > /tmp/portreeve-test-leftover"));
    assert!(!jail.succeeds_outside("cat /tmp/portreeve-test-leftover"));
    let jail = jail.option("--show", folder.path());
    assert_eq!(jail.says(&read), "text");
}

#[test]
fn variables_that_lead_around_the_gateway() {
    let Some(jail) = Jail::new() else { return };
    let names = [
        "SSH_AUTH_SOCK",
        "DBUS_SESSION_BUS_ADDRESS",
        "DOCKER_HOST",
        "TMUX",
    ];
    let proxies = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "NO_PROXY"];
    let run = |jail: &Jail| {
        let mut command = jail.command(&["env"]);
        for name in names.into_iter().chain(proxies) {
            command.env(name, "http://x");
        }
        shown(&command.output().unwrap())
    };
    let said = run(&jail);
    for name in names.into_iter().chain(proxies) {
        assert!(!said.contains(&format!("\n{name}=")), "{name}: {said}");
    }
    assert!(said.contains("\nSSL_CERT_FILE=/run/portreeve/ca-bundle.pem"));
    let jail = jail.option("--keep-env", "DOCKER_HOST");
    assert!(run(&jail).contains("\nDOCKER_HOST=http://x"));
}
