//! From what was asked for to the least rule that allows it.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;

/// With more paths than this a rule names none: nobody would read it.
const PATHS_MAX: usize = 20;

/// Whom requests were for.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) host: String,
    pub(super) port: u64,
    pub(super) scheme: String,
}

impl Place {
    /// `None` where the record names no host.
    pub(super) fn of(record: &Value) -> Option<Self> {
        let text = |key: &str| record.get(key).and_then(Value::as_str);
        let origin = text("portreeve.origin").and_then(|origin| origin.rsplit_once(':'));
        let origin_port = origin.and_then(|(_, port)| port.parse().ok());
        let port = record.get("server.port").and_then(Value::as_u64);
        Some(Self {
            host: text("server.address")
                .or_else(|| text("tls.client.server_name"))?
                .to_owned(),
            port: port.or(origin_port)?,
            // A connection without a request that named its host did so in TLS.
            scheme: text("url.scheme").unwrap_or("https").to_owned(),
        })
    }

    fn is_usual(&self) -> bool {
        self.port == self.usual_port()
    }

    fn usual_port(&self) -> u64 {
        if self.scheme == "http" { 80 } else { 443 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.is_empty() {
            return f.write_str("a connection that named no host");
        }
        if self.scheme == "http" {
            f.write_str("http://")?;
        }
        f.write_str(&self.host)?;
        if self.is_usual() {
            return Ok(());
        }
        write!(f, ":{}", self.port)
    }
}

/// What was asked for there.
#[derive(Debug, Default)]
pub(super) struct Asked {
    methods: BTreeSet<String>,
    paths: BTreeSet<String>,
    credentials: BTreeSet<String>,
}

impl Asked {
    pub(super) fn add(&mut self, record: &Value) {
        let text = |key: &str| record.get(key).and_then(Value::as_str).map(str::to_owned);
        self.methods.extend(text("http.request.method"));
        self.paths.extend(text("url.path"));
        let names = text("portreeve.credential").unwrap_or_default();
        let names = names.split(", ").filter(|name| !name.is_empty());
        self.credentials.extend(names.map(ToOwned::to_owned));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.methods.is_empty()
    }

    /// The rule, as TOML.
    pub(super) fn rule(&self, place: &Place) -> String {
        let quoted = |text: &str| toml::Value::from(text).to_string();
        let list = |texts: &BTreeSet<String>| {
            let texts: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
            texts.join(", ")
        };
        let mut lines = vec![
            "[[rule]]".to_owned(),
            format!("name = {}", quoted(&place.rule_name())),
            format!("hosts = [{}]", quoted(&place.host)),
        ];
        if place.scheme != "https" {
            lines.push(format!("schemes = [{}]", quoted(&place.scheme)));
        }
        if !place.is_usual() {
            lines.push(format!("ports = [{}]", place.port));
        }
        lines.push(format!("methods = [{}]", list(&self.methods)));
        if self.paths.len() <= PATHS_MAX && self.paths.iter().all(|path| is_literal(path)) {
            lines.push(format!("paths = [{}]", list(&self.paths)));
        }
        let is_slash = |path: &String| path.to_ascii_lowercase().contains("%2f");
        if self.paths.iter().any(is_slash) {
            lines.push("encoded_slash = true".to_owned());
        }
        // Two rules attached two: which is to stay, nobody can tell here.
        if let (Some(credential), 1) = (self.credentials.first(), self.credentials.len()) {
            lines.push(format!("credential = {}", quoted(credential)));
        }
        lines.join("\n") + "\n"
    }
}

impl Place {
    fn rule_name(&self) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        let host: String = self.host.chars().map(plain).collect();
        let port = (!self.is_usual()).then(|| format!("-{}", self.port));
        let scheme = (self.scheme != "https").then(|| format!("-{}", self.scheme));
        [host, port.unwrap_or_default(), scheme.unwrap_or_default()].concat()
    }
}

/// Whether a pattern of these characters means just this path; a record that was cut ends
/// with an ellipsis and is none.
fn is_literal(path: &str) -> bool {
    path.starts_with('/') && path.is_ascii() && !path.contains('*')
}
