//! Every kind of mistake, and what the operator reads about it, kept as snapshots.

use crate::Folder;

const RULE: &str = "[[rule]]\nname = \"a\"\nhosts = [\"a.test\"]\n";

const CREDENTIAL: &str = r#"
[[credential]]
name = "key"
secret = { env = "KEY" }
hosts = ["a.test", "b.test"]
attach = { bearer = true }
"#;

/// What is found in a box file and one rules file.
fn findings(portreeve: &str, rules: &str) -> String {
    folder_findings(&[("portreeve.toml", portreeve), ("rules/a.toml", rules)])
}

fn folder_findings(files: &[(&str, &str)]) -> String {
    let folder = Folder::new(files);
    let text = match folder.load() {
        Ok(loaded) => loaded.warnings.to_string(),
        Err(findings) => {
            assert!(findings.has_errors());
            findings.to_string()
        }
    };
    folder.neutral(&text)
}

/// One test and one snapshot for each mistake.
macro_rules! bad {
    ($($name:ident: $findings:expr;)*) => {
        $(#[test]
        fn $name() {
            let findings: String = $findings;
            assert!(findings.contains("error: ") || findings.contains("warning: "), "nothing found");
            insta::with_settings!({ snapshot_path => "../snapshots", omit_expression => true }, {
                insta::assert_snapshot!(stringify!($name), findings);
            });
        })*
    };
}

fn a_box(text: &str) -> String {
    findings(text, RULE)
}

fn rules(text: &str) -> String {
    findings("", text)
}

/// A rule with these lines more.
fn rule(lines: &str) -> String {
    rules(&format!("{RULE}{lines}\n"))
}

/// A rule with these hosts.
fn hosts(hosts: &str) -> String {
    rules(&format!("[[rule]]\nname = \"a\"\nhosts = {hosts}\n"))
}

/// A credential and a rule with these lines.
fn credentialed(lines: &str) -> String {
    rules(&format!(
        "{CREDENTIAL}\n[[rule]]\nname = \"a\"\ncredential = \"key\"\n{lines}\n"
    ))
}

/// A used credential with one line replaced.
fn credential(key: &str, value: &str) -> String {
    let kept = CREDENTIAL.lines().filter(|line| !line.starts_with(key));
    let lines = kept.collect::<Vec<_>>().join("\n");
    rules(&format!("{lines}\n{value}\n{RULE}credential = \"key\"\n"))
}

/// A file of detectors beside a rule.
fn detectors(text: &str) -> String {
    folder_findings(&[
        ("portreeve.toml", "dlp = \"detectors\"\n"),
        ("rules/a.toml", RULE),
        ("detectors/a.toml", text),
    ])
}

/// A detector with these lines more, and with these shapes.
fn detector(lines: &str, shapes: &str) -> String {
    detectors(&format!(
        "[[detector]]\nname = \"a\"\ntitle = \"A\"\n{lines}\nshapes = {shapes}\n"
    ))
}

fn agents(agents: &str, rule_agents: &str) -> String {
    findings(agents, &format!("{RULE}{rule_agents}\n"))
}

const TWO_AGENTS: &str = r#"
[[agent]]
name = "builder"
sources = ["10.0.1.0/24"]
[[agent]]
name = "reviewer"
sources = ["10.0.2.0/24"]
"#;

// Detectors.
bad! {
    detectors_folder_missing: a_box("dlp = \"nowhere\"\n");
    detector_empty: detectors("[[detector]]\n");
    detector_unknown_key: detector("shape = \"x\"", "['acme_[a-z]{9}']");
    detector_words: detector(
        "check = \"crc\"\nboundary = \"word\"\ndefault = \"deny\"\nentropy = 9.5",
        "['acme_[a-z]{9}']",
    );
    detector_allow_to: detector("allow_to = [\"https://a.test\"]", "['acme_[a-z]{9}']");
    detector_shapes: detector(
        "",
        "['acme_[a-z', 'acme.x', 'acme_[a-z]{9,3}', '[a-z]{40}', 'acme_[a-z]{2,9}[a-c]{2}', 'acme_[a-z]{4000}[0-9]{4000}', 'acmé_x']",
    );
    detector_endless_without_boundary: detector("boundary = \"none\"", "['acme_[a-z]{9,}']");
    detector_adjusted: detectors(
        "[[adjust]]\ndetector = \"aws-acess-key-id\"\ndefault = \"block\"\n[[adjust]]\ndetector = \"nothing-like-it\"\nstrict = \"of\"\n[[adjust]]\ndetector = \"jwt\"\n[[adjust]]\ndetector = \"jwt\"\nstrict = \"block\"\n[[adjust]]\ndefault = \"off\"\nallow = []\n",
    );
    detector_twice: detectors(
        "[[detector]]\nname = \"a\"\ntitle = \"A\"\nshapes = ['acme_x']\n[[detector]]\nname = \"a\"\ntitle = \"A\"\nshapes = ['acme_y']\n",
    );
}

// What is no TOML, and what is TOML but not ours.
bad! {
    syntax: a_box("[listen\ndns = \"off\"\n");
    syntax_unquoted_value: a_box("mode = observe\n");
    duplicate_key: a_box("mode = \"enforce\"\nmode = \"observe\"\n");
    unknown_key: a_box("[limits]\nconections = 5\n");
    unknown_key_far_from_any: a_box("[dns]\ncolour = \"blue\"\n");
    unknown_section: a_box("[limit]\nconnections = 5\n");
    unknown_section_of_rules: rules("[[rules]]\nname = \"a\"\n");
    unknown_keys_are_all_told: findings(
        "mod = \"enforce\"\n[limits]\nconections = 5\nstream = 5\n[[agent]]\nnam = \"a\"\n",
        "[[rule]]\nnmae = \"a\"\nhosts = [\"a.test\"]\nattach = { beerer = true }\n",
    );
    wrong_type: a_box("[limits]\nconnections = \"many\"\nhold_bytes = 5\n[redirect]\nports = 80\n");
    wrong_type_in_a_list: rules("[[rule]]\nname = \"a\"\nhosts = [\"a.test\", 5]\n");
    wrong_type_table_for_list: a_box("[agent]\nname = \"a\"\n");
    wrong_type_float_and_date: a_box("[limits]\nconnections = 1.5\nstreams = 2026-01-01\n");
    wrong_type_flag: rule("encoded_slash = \"yes\"");
    number_out_of_range: a_box("[limits]\nconnections = 0\nstreams = -1\nleaves = 99999999999999999999\n");
    not_utf8: {
        let folder = Folder::new(&[("portreeve.toml", "")]);
        folder.write("rules/a.toml", b"# fine\n# \xff\n");
        folder.neutral(&folder.load().unwrap_err().to_string())
    };
}

// The box.
bad! {
    duration: a_box("[timeouts]\nhello = \"10\"\nhead = \"soon\"\nidle = \"0s\"\ndrain = \"90d\"\n");
    size: a_box("[limits]\nhold_bytes = \"256kb\"\nhead_bytes = \"1B\"\nbody_bytes = \"10\"\n");
    limit_over_its_whole: a_box("[limits]\nconnections = 10\nconnections_per_agent = 20\nhead_bytes = \"1KiB\"\nuri_bytes = \"2KiB\"\n");
    mode: a_box("mode = \"enforced\"\n");
    when_unwritable: a_box("[audit]\nwhen_unwritable = \"ignore\"\n");
    listen_address: a_box("[listen]\ntransparent = \"off\"\ndns = \"8053\"\nadmin = \"localhost:9464\"\n");
    listen_twice: a_box("[listen]\nadmin = \"127.0.0.1:8443\"\n");
    redirect: a_box("[redirect]\ninterfaces = [\"lan 0\"]\nports = [0, 53, 443, 70000]\n");
    redirect_no_ports: a_box("[redirect]\nports = []\n");
    trust_word: a_box("[upstream]\ntrust = \"sytem\"\n");
    trust_nothing: a_box("[upstream]\ntrust = []\n");
    trust_type: a_box("[upstream]\ntrust = true\n");
    allow_networks: a_box("[upstream]\nallow_networks = [\"10.0.0.5/24\", \"10.0.0\", \"::ffff:10.0.0.5\", \"127.0.0.0/8\"]\n");
    allow_networks_all: a_box("[upstream]\nallow_networks = [\"0.0.0.0/0\"]\n");
    resolve: a_box("[upstream]\nresolve = { \"a.test\" = [], \"b.test\" = [\"c.test\"], \"10.0.0.1\" = [\"10.0.0.2\"] }\n");
    nameservers: a_box("[upstream]\nnameservers = [\"dns.test\", \"9.9.9.9:0\"]\n");
    placeholder: a_box("[dns]\nplaceholder = [\"127.0.0.1\", \"198.18.0.1\", \"198.18.0.2\"]\n");
    denied: a_box("[dns]\ndenied = \"placeholders\"\n");
    ca_half: a_box("[ca]\ncertificate = \"ca.pem\"\n");
    rules_folder_missing: folder_findings(&[("portreeve.toml", "rules = \"rulez\"\n")]);
    rules_folder_default_missing: folder_findings(&[("portreeve.toml", "")]);
    no_rules: findings("", "");
    config_missing: {
        let folder = Folder::new(&[]);
        folder.neutral(&folder.load().unwrap_err().to_string())
    };
    no_config: {
        let folder = Folder::new(&[]);
        let loaded = portreeve::config::load(None, &folder.env()).unwrap();
        loaded.warnings.to_string()
    };
    no_place_for_state: {
        let folder = Folder::new(&[("portreeve.toml", ""), ("rules/a.toml", RULE)]);
        let env = portreeve::config::Env::fixed(&folder.path("."), []);
        let file = folder.path("portreeve.toml");
        portreeve::config::load(Some(&file), &env).unwrap_err().to_string()
    };
}

// Agents.
bad! {
    agent_incomplete: agents("[[agent]]\n", "");
    agent_name: agents("[[agent]]\nname = \"a b\"\nsources = [\"10.0.0.0/8\"]\n", "");
    agent_reserved: agents("[[agent]]\nname = \"unknown\"\nsources = [\"10.0.0.0/8\"]\n", "");
    agent_twice: agents(
        "[[agent]]\nname = \"a\"\nsources = [\"10.0.1.0/24\"]\n[[agent]]\nname = \"a\"\nsources = [\"10.0.2.0/24\"]\n",
        "agents = [\"a\"]",
    );
    agent_same_source: agents(
        "[[agent]]\nname = \"a\"\nsources = [\"10.0.1.0/24\"]\n[[agent]]\nname = \"b\"\nsources = [\"10.0.0.0/8\", \"10.0.1.0/24\"]\n",
        "agents = [\"a\"]",
    );
    agent_bad_source: agents("[[agent]]\nname = \"a\"\nsources = [\"10.0.1.7/24\", \"lan\"]\n", "agents = [\"a\"]");
    agent_no_source: agents("[[agent]]\nname = \"a\"\nsources = []\n", "agents = [\"a\"]");
    agent_interface: agents(
        "[redirect]\ninterfaces = [\"lan0\"]\n[[agent]]\nname = \"a\"\nsources = [\"10.0.0.0/8\"]\ninterface = \"lan1\"\n",
        "agents = [\"a\"]",
    );
    rule_agents_missing: agents(TWO_AGENTS, "");
    rule_agents_unknown: agents(TWO_AGENTS, "agents = [\"bilder\", \"painter\"]");
    rule_agents_none_configured: rule("agents = [\"builder\"]");
    rule_agents_reserved: agents(TWO_AGENTS, "agents = [\"unknown\"]");
    rule_agents_any_and_more: agents(TWO_AGENTS, "agents = [\"builder\", \"any\"]");
    rule_agents_empty: agents(TWO_AGENTS, "agents = []");
    rule_agents_twice: agents(TWO_AGENTS, "agents = [\"builder\", \"builder\"]");
}

// Rules.
bad! {
    rule_empty: rules("[[rule]]\n");
    rule_name: rules("[[rule]]\nname = \"a\\nb\"\nhosts = [\"a.test\"]\n");
    rule_twice_across_files: folder_findings(&[
        ("portreeve.toml", ""),
        ("rules/10-first.toml", RULE),
        ("rules/20-second.toml", RULE),
    ]);
    hosts_empty: hosts("[]");
    hosts_bad: hosts("[\"\", \"a..test\", \"a test\", \"127.1\", \"-a.test\", \"xn--a.test\"]");
    hosts_url: hosts("[\"https://a.test\", \"a.test:8443\", \"a.test/v1\", \"https://a.test:8443/v1\"]");
    hosts_wildcards: hosts("[\"*\", \"a*.test.example\", \"**.test.example\", \"a.*.example\", \"*.10.0.0.1\"]");
    hosts_shared_suffix: hosts("[\"*.workers.dev\", \"*.co.uk\", \"*.com\", \"*.internal\"]");
    hosts_twice: hosts("[\"a.test\", \"A.test.\"]");
    hosts_and_any: rule("any_host = true");
    shared_suffix_unneeded: rule("shared_suffix = true");
    schemes: rule("schemes = [\"htps\"]");
    ports: rule("ports = [0, 65536, -1]");
    port_not_redirected: rule("ports = [443, 8443]");
    port_of_scheme_not_redirected: findings("[redirect]\nports = [80]\n", RULE);
    methods_lower_case: rule("methods = [\"get\", \"Post\"]");
    methods_bad: rule("methods = [\"GET POST\", \"*\", \"CONNECT\", \"TRACE\"]");
    methods_strange: rule("methods = [\"PSOT\", \"FROBNICATE\"]");
    methods_empty: rule("methods = []");
    paths: rule("paths = [\"v1/messages\", \"https://a.test/v1\", \"/search?q=a\"]");
    paths_empty: rule("paths = []");
    action: rule("action = \"dney\"");
    deny_without_reason: rule("action = \"deny\"");
    reason_without_deny: rule("reason = \"not today\"");
    reason_empty: rule("action = \"deny\"\nreason = \" \"");
    deny_with_what_changes_requests: rule("action = \"deny\"\nreason = \"no\"\nset_headers = { a = \"b\" }\ncookies = \"drop\"");
    cookies: rule("cookies = \"keep\"");
    dlp: rule("dlp = \"strikt\"");
    tls: rule("tls = \"splise\"");
    splice_with_what_is_encrypted: rule(
        "tls = \"splice\"\nmethods = [\"GET\"]\npaths = [\"/**\"]\ndlp = \"strict\""
    );
    on_limit: rule("dlp = \"off\"\non_limit = \"alow\"");
    headers: rule("headers = { \"a b\" = \"c\", \"x-team\" = \" a\", \"X-Team\" = \"b\", \"x-team2\" = 5 }");
    set_headers: rule("set_headers = { Host = \"b.test\", Authorization = \"Bearer sk-live-123\", te = \"trailers\", x-http-method-override = \"PUT\" }");
    set_headers_placeholder: rule("set_headers = { x-agent = \"{agnet}\", x-brace = \"{\", x-line = \"a\\nb\" }");
    remove_headers: rule("remove_headers = [\"host\", \"content-length\", \"a:\"]");
    unreachable: rules("[[rule]]\nname = \"wide\"\nhosts = [\"a.test\"]\n[[rule]]\nname = \"narrow\"\nhosts = [\"a.test\"]\npaths = [\"/a\"]\n");
}

// Credentials.
bad! {
    credential_empty: rules("[[credential]]\n");
    credential_twice: rules(&format!("{CREDENTIAL}{CREDENTIAL}{RULE}credential = \"key\"\n"));
    credential_unused: rules(&format!("{CREDENTIAL}{RULE}"));
    credential_unknown: rules(&format!("{CREDENTIAL}{RULE}credential = \"kye\"\n"));
    credential_none: rule("credential = \"key\"");
    secret_two_sources: credential("secret", "secret = { env = \"KEY\", file = \"/run/key\" }");
    secret_no_source: credential("secret", "secret = {}");
    secret_written_inline: credential("secret", "secret = \"sk-live-123\"");
    secret_unknown_source: credential("secret", "secret = { valeu = \"sk-live-123\" }");
    secret_bad_names: {
        let env = credential("secret", "secret = { env = \"$KEY\" }");
        let systemd = credential("secret", "secret = { systemd = \"../key\" }");
        format!("{env}\n{systemd}")
    };
    credential_hosts: credential("hosts", "hosts = [\"*.a.test\", \"a.test:443\"]");
    attach_two: credential("attach", "attach = { bearer = true, basic = \"u\" }");
    attach_query: credential("attach", "attach = { query = \"key=sk-live-123\" }");
    attach_cookie: credential("attach", "attach = { cookie = \"sid=sk-live-123\" }");
    attach_none: credential("attach", "attach = {}");
    attach_false: credential("attach", "attach = { bearer = false }");
    attach_header: credential("attach", "attach = { header = \"Host\" }");
    attach_format: credential("attach", "attach = { header = \"x-api-key\", format = \"Bearer sk-live-123\" }");
    attach_format_alone: credential("attach", "attach = { bearer = true, format = \"{secret}\" }");
    attach_placeholder: credential("attach", "attach = { placeholder = [\"body\", \"json:a..b\"], like = \"short\" }");
    attach_like_alone: credential("attach", "attach = { bearer = true, like = \"[a-z]{20}\" }");
    attach_sigv4: credential("attach", "attach = { sigv4 = true, key_id = \"sk-live-123\", region = \"EU\" }");
    credential_identity: credential("attach", "attach = { bearer = true }\nupstream_identity = \"forget\"");
    rule_credentials_conflict: rules(&format!(
        "{}{}[[rule]]\nname = \"a\"\nhosts = [\"a.test\"]\ncredential = [\"key\", \"two\", \"key\"]\n",
        CREDENTIAL,
        CREDENTIAL.replace("\"key\"", "\"two\"").replace("{ bearer = true }", "{ basic = \"u\" }"),
    ));
    attach_basic: credential("attach", "attach = { basic = \"user:sk-live-123\" }");
    rule_trust: rules(
        "[[rule]]\nname = \"a\"\nhosts = [\"a.test\"]\ntrust = \"sytem\"\npins = [\"sha256/AAAA\"]\n\
         [[rule]]\nname = \"b\"\nhosts = [\"b.test\"]\nschemes = [\"http\"]\ntrust = \"system\"\npins = []\n\
         [[rule]]\nname = \"c\"\nhosts = [\"c.test\"]\ntls = \"splice\"\ntrust = \"system\"\n",
    );
    rule_credential_other_host: credentialed("hosts = [\"a.test\", \"c.test\"]");
    rule_credential_wildcard: credentialed("hosts = [\"*.a.test\"]");
    rule_credential_any_host: credentialed("any_host = true");
    rule_credential_http: credentialed("hosts = [\"a.test\"]\nschemes = [\"http\", \"https\"]");
    rule_credential_shared: credentialed("hosts = [\"a.test\"]\nshare_upstream = true");
    rule_credential_denied: credentialed("hosts = [\"a.test\"]\naction = \"deny\"\nreason = \"no\"");
    rule_credential_own_header: rules(&format!(
        "{}[[rule]]\nname = \"a\"\nhosts = [\"a.test\"]\ncredential = \"key\"\nset_headers = {{ x-token = \"a\" }}\n",
        CREDENTIAL.replace("{ bearer = true }", "{ header = \"x-token\" }"),
    ));
    foreign_credentials_alone: rule("foreign_credentials = \"refuse\"");
    a_broken_file_does_not_make_names_dangle: folder_findings(&[
        ("portreeve.toml", ""),
        ("rules/a.toml", "[[credential]\n"),
        ("rules/b.toml", &format!("{RULE}credential = \"key\"\npaths = [\"a\"]\n")),
    ]);
}

#[test]
fn a_bad_path_pattern_is_told_with_its_text() {
    let text = rule("paths = [\"/**/a\"]");
    assert!(
        text.starts_with("rules/a.toml:4:10: error: the path `/**/a` "),
        "{text}"
    );
}

#[test]
fn i5_no_finding_shows_a_secret_written_by_mistake() {
    for text in [
        credential("secret", "secret = \"sk-live-123\""),
        credential("secret", "secret = sk-live-123"),
        credential("secret", "secret = { value = \"sk-live-123\" }"),
        credential("secret", "secret = { env = \"sk-live-123\" }"),
        credential("secret", "secret = {\n value = \"sk-live-123\"\n}"),
        credential("secret", "[credential.secret]\nvalue = \"sk-live-123\""),
        credential(
            "attach",
            "attach = { header = \"x-api-key\", format = \"sk-live-123\" }",
        ),
        credential("attach", "attach = { basic = \"u:sk-live-123\" }"),
        credential(
            "attach",
            "attach = { sigv4 = true, key_id = \"sk-live-123\" }",
        ),
        credential(
            "attach",
            "[credential.attach]\nheader = \"a\"\nformat = \"sk-live-123\"",
        ),
        rule("set_headers = { authorization = \"sk-live-123\" }"),
        rule("[rule.set_headers]\nauthorization = \"sk-live-123\""),
        rule("[rule.set_headers]\nauthorization = sk-live-123"),
    ] {
        assert!(text.contains("error: "));
        assert!(!text.contains("sk-live"), "{text}");
    }
}
