//! The configuration as written: what serde reads, with the place of every value.
//!
//! Nothing here is visible outside `config`, and nothing here is checked but keys and types.
//! Every key is optional, so that absence can be told with the table's place.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::SeqAccessDeserializer;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use toml::Spanned;

/// A string somewhere.
pub(super) type Text = Spanned<String>;
/// A list of strings.
pub(super) type Texts = Spanned<Vec<Text>>;
/// A table of strings.
pub(super) type Pairs = Spanned<BTreeMap<Text, Text>>;
/// A whole number.
pub(super) type Number = Spanned<i64>;

macro_rules! table {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Default, Deserialize)]
        #[serde(deny_unknown_fields, default, expecting = "a table")]
        pub(super) struct $name {
            $(pub(super) $field: $type,)*
        }
    };
}

table! {
    /// `portreeve.toml`.
    Box {
        rules: Option<Text>,
        dlp: Option<Text>,
        mode: Option<Text>,
        state_dir: Option<Text>,
        listen: Listen,
        redirect: Redirect,
        upstream: Upstream,
        dns: Dns,
        limits: Limits,
        timeouts: Timeouts,
        audit: Audit,
        ca: Ca,
        agent: Vec<Spanned<Agent>>,
    }
}

table! {
    /// `[listen]`
    Listen { transparent: Option<Text>, dns: Option<Text>, admin: Option<Text> }
}

table! {
    /// `[redirect]`
    Redirect {
        interfaces: Option<Texts>,
        ports: Option<Spanned<Vec<Number>>>,
        users: Option<Texts>,
        local_ports: Option<Spanned<Vec<Number>>>,
    }
}

table! {
    /// `[upstream]`
    Upstream {
        trust: Option<Spanned<Trust>>,
        crl: Option<Texts>,
        allow_networks: Option<Texts>,
        resolve: BTreeMap<Text, Texts>,
        nameservers: Option<Texts>,
        own_addresses: Option<Texts>,
    }
}

table! {
    /// `[dns]`
    Dns { placeholder: Option<Texts>, denied: Option<Text> }
}

table! {
    /// `[limits]`
    Limits {
        connections: Option<Number>,
        connections_per_agent: Option<Number>,
        requests_per_agent: Option<Number>,
        hold_bytes: Option<Text>,
        held_bytes: Option<Text>,
        held_bytes_per_agent: Option<Text>,
        hello_bytes: Option<Text>,
        head_bytes: Option<Text>,
        head_fields: Option<Number>,
        uri_bytes: Option<Text>,
        body_bytes: Option<Text>,
        message_bytes: Option<Text>,
        splice_bytes: Option<Text>,
        decoded_bytes: Option<Text>,
        decoded_request_bytes: Option<Text>,
        streams: Option<Number>,
        control_frames: Option<Number>,
        upstream_connections: Option<Number>,
        upstream_connections_per_agent: Option<Number>,
        upstream_idle: Option<Number>,
        upstream_idle_per_key: Option<Number>,
        leaves: Option<Number>,
        refused_leaves: Option<Number>,
        refused_leaves_per_second: Option<Number>,
        refusals_per_second: Option<Number>,
        interim_responses: Option<Number>,
        resolved_names: Option<Number>,
        lookups_per_second: Option<Number>,
        lookup_name_bits: Option<Number>,
        refused_connection_records_per_second: Option<Number>,
    }
}

table! {
    /// `[timeouts]`
    Timeouts {
        hello: Option<Text>,
        handshake: Option<Text>,
        head: Option<Text>,
        request_share: Option<Text>,
        body: Option<Text>,
        hold: Option<Text>,
        idle: Option<Text>,
        resolve: Option<Text>,
        connect: Option<Text>,
        first_byte: Option<Text>,
        response: Option<Text>,
        write: Option<Text>,
        expect: Option<Text>,
        tunnel: Option<Text>,
        tunnel_life: Option<Text>,
        close: Option<Text>,
        upstream_idle: Option<Text>,
        upstream_age: Option<Text>,
        drain: Option<Text>,
    }
}

table! {
    /// `[audit]`
    Audit { file: Option<Text>, queue: Option<Number>, when_unwritable: Option<Text> }
}

table! {
    /// `[ca]`
    Ca { certificate: Option<Text>, key: Option<Text>, chain: Option<Text> }
}

table! {
    /// `[[agent]]`
    Agent { name: Option<Text>, sources: Option<Texts>, interface: Option<Text> }
}

table! {
    /// A file of the rules folder.
    Rules { credential: Vec<Spanned<Credential>>, rule: Vec<Spanned<Rule>> }
}

table! {
    /// `[[credential]]`
    Credential {
        name: Option<Text>,
        secret: Option<Spanned<Secret>>,
        hosts: Option<Texts>,
        attach: Option<Spanned<Attach>>,
        methods: Option<Texts>,
        paths: Option<Texts>,
        upstream_identity: Option<Spanned<WordOrList>>,
        refresh: Option<Text>,
        stale_for: Option<Text>,
    }
}

table! {
    /// `secret`: exactly one of them; `timeout` goes with `command`.
    Secret {
        file: Option<Text>,
        env: Option<Text>,
        systemd: Option<Text>,
        command: Option<Texts>,
        timeout: Option<Text>,
        vault: Option<Spanned<Vault>>,
    }
}

table! {
    /// A secret that is read on this machine: exactly one of them.
    LocalSecret { file: Option<Text>, env: Option<Text>, systemd: Option<Text> }
}

table! {
    /// `vault`
    Vault {
        address: Option<Text>,
        ca: Option<Text>,
        namespace: Option<Text>,
        path: Option<Text>,
        field: Option<Text>,
        token: Option<Spanned<LocalSecret>>,
        approle: Option<Spanned<AppRole>>,
    }
}

table! {
    /// `approle`
    AppRole {
        mount: Option<Text>,
        role_id: Option<Text>,
        secret_id: Option<Spanned<LocalSecret>>,
    }
}

table! {
    /// `oauth2`
    OAuth2 {
        token_url: Option<Text>,
        grant: Option<Text>,
        client_id: Option<Text>,
        client_secret: Option<Spanned<LocalSecret>>,
        client_auth: Option<Text>,
        scopes: Option<Texts>,
        audience: Option<Text>,
    }
}

table! {
    /// `github_app`
    GithubApp {
        app_id: Option<Text>,
        installation_id: Option<Number>,
        api: Option<Text>,
        repositories: Option<Texts>,
        permissions: Option<Pairs>,
    }
}

table! {
    /// `gcp_service_account`
    GcpServiceAccount { scopes: Option<Texts> }
}

table! {
    /// `attach`: exactly one method; `format` goes with `header`, `like` with `placeholder`,
    /// the three after `sigv4` with that. The last three make a token of the secret, which is
    /// attached as `bearer` where nothing else is written.
    Attach {
        header: Option<Text>,
        format: Option<Text>,
        bearer: Option<Spanned<bool>>,
        basic: Option<Text>,
        query: Option<Text>,
        cookie: Option<Text>,
        placeholder: Option<Texts>,
        like: Option<Text>,
        client_certificate: Option<Text>,
        sigv4: Option<Spanned<bool>>,
        key_id: Option<Text>,
        region: Option<Text>,
        service: Option<Text>,
        oauth2: Option<Spanned<OAuth2>>,
        github_app: Option<Spanned<GithubApp>>,
        gcp_service_account: Option<Spanned<GcpServiceAccount>>,
    }
}

table! {
    /// `[[rule]]`
    Rule {
        name: Option<Text>,
        agents: Option<Texts>,
        hosts: Option<Texts>,
        any_host: Option<Spanned<bool>>,
        shared_suffix: Option<Spanned<bool>>,
        schemes: Option<Texts>,
        ports: Option<Spanned<Vec<Number>>>,
        methods: Option<Texts>,
        paths: Option<Texts>,
        encoded_slash: Option<Spanned<bool>>,
        query: Option<Pairs>,
        query_only: Option<Spanned<bool>>,
        headers: Option<Pairs>,
        action: Option<Text>,
        reason: Option<Text>,
        credential: Option<Spanned<WordOrList>>,
        foreign_credentials: Option<Text>,
        set_headers: Option<Pairs>,
        remove_headers: Option<Texts>,
        cookies: Option<Text>,
        share_upstream: Option<Spanned<bool>>,
        record_query: Option<Spanned<bool>>,
        echo_recode: Option<Spanned<bool>>,
        dlp: Option<Text>,
        on_limit: Option<Text>,
        tls: Option<Text>,
        trust: Option<Spanned<Trust>>,
        pins: Option<Texts>,
        websocket: Option<Spanned<bool>>,
    }
}

table! {
    /// A file of detectors.
    DetectorFile {
        detector: Vec<Spanned<Detector>>,
        secret: Vec<Spanned<ListedSecret>>,
        honeytoken: Vec<Spanned<Honeytoken>>,
        gitleaks: Vec<Spanned<Gitleaks>>,
        adjust: Vec<Spanned<Adjust>>,
    }
}

table! {
    /// `[[adjust]]`
    Adjust {
        detector: Option<Text>,
        default: Option<Text>,
        strict: Option<Text>,
        allow_to: Option<Texts>,
    }
}

table! {
    /// `[[secret]]`
    ListedSecret { name: Option<Text>, secret: Option<Spanned<LocalSecret>> }
}

table! {
    /// `[[gitleaks]]`
    Gitleaks { file: Option<Text>, default: Option<Text>, strict: Option<Text> }
}

table! {
    /// `[[honeytoken]]`
    Honeytoken { name: Option<Text>, agent: Option<Text>, token: Option<Text> }
}

table! {
    /// `[[detector]]`
    Detector {
        name: Option<Text>,
        title: Option<Text>,
        shapes: Option<Texts>,
        kind: Option<Text>,
        check: Option<Text>,
        boundary: Option<Text>,
        entropy: Option<Spanned<f64>>,
        default: Option<Text>,
        strict: Option<Text>,
        allow_to: Option<Texts>,
        authenticates: Option<Spanned<bool>>,
        examples: Option<Texts>,
        counter_examples: Option<Texts>,
    }
}

/// `trust`: a word or a list of files.
#[derive(Debug)]
pub(super) enum Trust {
    Word(String),
    Files(Vec<Text>),
}

impl<'de> Deserialize<'de> for Trust {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WordOrFiles;

        impl<'de> Visitor<'de> for WordOrFiles {
            type Value = Trust;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"system\" or a list of PEM files")
            }

            fn visit_str<E>(self, word: &str) -> Result<Trust, E> {
                Ok(Trust::Word(word.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, files: A) -> Result<Trust, A::Error> {
                Deserialize::deserialize(SeqAccessDeserializer::new(files)).map(Trust::Files)
            }
        }

        deserializer.deserialize_any(WordOrFiles)
    }
}

/// A word or a list of words.
#[derive(Debug)]
pub(super) enum WordOrList {
    Word(String),
    List(Vec<Text>),
}

impl WordOrList {
    /// The words, each with its place; a single one has that of the value.
    pub(super) fn texts(value: &Spanned<Self>) -> Vec<Text> {
        match value.get_ref() {
            Self::Word(word) => vec![Spanned::new(value.span(), word.clone())],
            Self::List(list) => list.clone(),
        }
    }
}

impl<'de> Deserialize<'de> for WordOrList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words;

        impl<'de> Visitor<'de> for Words {
            type Value = WordOrList;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a list of strings")
            }

            fn visit_str<E>(self, word: &str) -> Result<WordOrList, E> {
                Ok(WordOrList::Word(word.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, words: A) -> Result<WordOrList, A::Error> {
                Deserialize::deserialize(SeqAccessDeserializer::new(words)).map(WordOrList::List)
            }
        }

        deserializer.deserialize_any(Words)
    }
}
