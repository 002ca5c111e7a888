//! Rules that attach a credential where tokens are made.

use crate::Folder;

/// The warnings about a rule with these lines, for a credential with these lines.
fn warnings(credential: &str, rules: &str) -> String {
    let credential = format!(
        "[[credential]]\nname = \"key\"\nsecret = {{ env = \"KEY\" }}\nattach = {{ bearer = true }}\n{credential}\n"
    );
    let rules = format!("{credential}{rules}");
    let folder = Folder::new(&[("portreeve.toml", ""), ("rules/a.toml", &rules)]);
    let loaded = folder
        .load()
        .unwrap_or_else(|findings| panic!("{findings}"));
    loaded.warnings.to_string()
}

fn rule(host: &str, lines: &str) -> String {
    let rule = format!(
        "[[rule]]\nname = \"covering\"\nhosts = [\"{host}\"]\ncredential = \"key\"\n{lines}\n"
    );
    warnings(&format!("hosts = [\"{host}\"]"), &rule)
}

#[test]
fn a_rule_that_covers_such_a_place_is_told() {
    for (host, lines, told) in [
        (
            "api.github.com",
            "",
            "POST /app/installations/*/access_tokens",
        ),
        (
            "api.github.com",
            "paths = [\"/app/**\"]",
            "installation tokens",
        ),
        (
            "api.github.com",
            "methods = [\"POST\"]\npaths = [\"/app/installations/7/access_tokens\"]",
            "installation tokens",
        ),
        (
            "api.github.com",
            "paths = [\"/repos/our/*/actions/**\"]",
            "registration tokens",
        ),
        (
            "github.com",
            "paths = [\"/*/*/*\"]",
            "/login/oauth/access_token",
        ),
        ("sts.amazonaws.com", "methods = [\"GET\"]", "AssumeRole"),
        ("sts.eu-central-1.amazonaws.com", "", "AssumeRole"),
        (
            "iamcredentials.googleapis.com",
            "paths = [\"/v1/projects/-/serviceAccounts/**\"]",
            "generateAccessToken",
        ),
        (
            "vault.example",
            "paths = [\"/v1/auth/approle/login\"]",
            "Vault or OpenBao",
        ),
        (
            "vault.example",
            "paths = [\"/v1/database/creds/reader\"]",
            "credentials of other services",
        ),
        ("sts.cn-north-1.amazonaws.com.cn", "", "AssumeRole"),
        (
            "api.ecr.eu-west-1.amazonaws.com",
            "",
            "GetAuthorizationToken",
        ),
        (
            "bitbucket.org",
            "paths = [\"/site/**\"]",
            "Bitbucket makes access tokens",
        ),
        (
            "gitlab.com",
            "paths = [\"/api/v4/personal_access_tokens/self/rotate\"]",
            "GitLab makes personal tokens",
        ),
        (
            "graph.microsoft.com",
            "paths = [\"/v1.0/applications/**\"]",
            "secrets of applications",
        ),
        (
            "npm.example",
            "paths = [\"/-/npm/v1/tokens\"]",
            "an npm registry makes access tokens",
        ),
        (
            "api.openai.com",
            "paths = [\"/v1/**\"]",
            "OpenAI makes admin keys",
        ),
    ] {
        let text = rule(host, lines);
        for part in [told, "rule `covering` attaches `key`", "a.toml:6:", "deny"] {
            assert!(text.contains(part), "{host} {lines}: {part} in {text}");
        }
        assert_eq!(text.matches("warning").count(), 1, "one for a rule: {text}");
    }
}

#[test]
fn one_that_does_not_is_not() {
    for (host, lines) in [
        ("api.github.com", "methods = [\"GET\", \"PUT\"]"),
        (
            "api.github.com",
            "paths = [\"/repos/*/*/issues\", \"/app\"]",
        ),
        ("api.github.com", "paths = [\"/app/installations/*\"]"),
        ("github.com", "paths = [\"/*/*/git-upload-pack\"]"),
        ("s3.amazonaws.com", ""),
        ("sts.amazonaws.com.example", ""),
        ("npm.example", ""),
        ("vault.example", "paths = [\"/v1/secret/data/**\"]"),
        ("api.example.com", ""),
        ("api.openai.com", "paths = [\"/v1/responses\"]"),
    ] {
        assert_eq!(rule(host, lines), "", "{host} {lines}");
    }
}

#[test]
fn a_denial_before_it_and_the_limits_of_the_credential_count() {
    let host = "hosts = [\"auth.docker.io\"]\n";
    let allow = format!("[[rule]]\nname = \"covering\"\n{host}credential = \"key\"\n");
    let deny = |lines: &str| {
        format!("[[rule]]\nname = \"deny\"\naction = \"deny\"\nreason = \"no\"\n{host}{lines}\n")
    };
    let told = |credential: &str, rules: &str| {
        let credential = format!("{host}{credential}");
        warnings(&credential, rules).contains("Docker Hub")
    };
    assert!(told("", &allow));
    for (lines, helps) in [
        ("paths = [\"/token\"]", true),
        ("paths = [\"/token\"]\nmethods = [\"GET\"]", true),
        ("paths = [\"/token\"]\nmethods = [\"POST\"]", false),
        ("paths = [\"/token\"]\nquery = { scope = \"x\" }", false),
        ("paths = [\"/tokens\"]", false),
    ] {
        let rules = format!("{}{allow}", deny(lines));
        assert_eq!(told("", &rules), !helps, "{lines}");
    }
    // One that comes later does not.
    assert!(told(
        "",
        &format!("{allow}{}", deny("paths = [\"/token\"]"))
    ));
    assert!(!told("methods = [\"POST\"]", &allow));
    assert!(!told("paths = [\"/other\"]", &allow));
    assert!(told("paths = [\"/*\"]", &allow));
}
