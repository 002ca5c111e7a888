//! What the kernel listed right after a table was applied, without what changes by itself.

use std::collections::BTreeSet;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Error, Rendered, TABLE, command, file};

/// An applied table: its text as rendered, and as the kernel lists it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// What was loaded.
    pub(super) text: String,
    /// What was listed then, normalised by [`normalise`].
    pub(super) objects: Vec<Value>,
}

impl Snapshot {
    /// Lists the table that was just applied.
    ///
    /// # Errors
    /// [`Error::Interfered`] if it no longer has the rules that were loaded; listing errors.
    pub fn take(rendered: &Rendered) -> Result<Self, Error> {
        let objects = command::list_table()?
            .ok_or_else(|| Error::Interfered(format!("there is no table inet {TABLE} any more")))?;
        let listed: BTreeSet<&str> = objects.iter().filter_map(rule_name).collect();
        let loaded = rendered.rule_names();
        if let Some(name) = loaded.symmetric_difference(&listed).next() {
            return Err(Error::Interfered(format!("see rule {name:?}")));
        }
        Ok(Self {
            text: rendered.text().to_owned(),
            objects: normalise(objects),
        })
    }

    /// Writes it for later runs of `verify`.
    ///
    /// # Errors
    /// [`Error::Snapshot`].
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        file::write(path, self).map_err(|source| Error::Snapshot {
            path: path.to_owned(),
            source,
        })
    }

    /// Reads one back.
    pub(super) fn read(path: &Path) -> std::io::Result<Self> {
        file::read(path)
    }
}

/// The comment of a listed rule.
fn rule_name(object: &Value) -> Option<&str> {
    object.pointer("/rule/comment").and_then(Value::as_str)
}

/// Drops handles and counts, and puts sets, which have no order, in one. Anything else that
/// a listing may hold stays, known or not.
pub(super) fn normalise(objects: Vec<Value>) -> Vec<Value> {
    objects
        .into_iter()
        .filter(|object| object.get("metainfo").is_none())
        .map(normalised)
        .collect()
}

fn normalised(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().filter(|(key, _)| key != "handle");
            Value::Object(fields.map(|(key, value)| field(key, value)).collect())
        }
        Value::Array(items) => items.into_iter().map(normalised).collect(),
        other => other,
    }
}

fn field(key: String, value: Value) -> (String, Value) {
    let value = match (key.as_str(), normalised(value)) {
        ("counter", Value::Object(counter)) => Value::Object(without_counts(counter)),
        ("elem" | "set", Value::Array(mut elements)) => {
            elements.sort_by_key(Value::to_string);
            Value::Array(elements)
        }
        (_, value) => value,
    };
    (key, value)
}

fn without_counts(counter: Map<String, Value>) -> Map<String, Value> {
    let counts = ["packets", "bytes"];
    counter
        .into_iter()
        .filter(|(key, _)| !counts.contains(&key.as_str()))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_changes_by_itself_is_dropped() {
        let listing = |handle: u64, packets: u64, set: Value| {
            vec![
                json!({"metainfo": {"version": "1"}}),
                json!({"table": {"name": "portreeve", "handle": handle}}),
                json!({"counter": {"name": "quic_refused", "handle": handle, "packets": packets, "bytes": packets}}),
                json!({"set": {"name": "ports", "handle": handle, "elem": set}}),
                json!({"rule": {"chain": "forwards", "handle": handle, "comment": "x",
                    "expr": [{"match": {"right": {"set": set}}}, {"counter": {"packets": packets, "bytes": 0}}]}}),
            ]
        };
        let first = normalise(listing(1, 2, json!([80, 443])));
        assert_eq!(first, normalise(listing(3, 4, json!([443, 80]))));
        assert_ne!(first, normalise(listing(1, 2, json!([80]))));
        assert_eq!(first[0], json!({"table": {"name": "portreeve"}}));
        assert_eq!(first[1], json!({"counter": {"name": "quic_refused"}}));
        let mut dormant = listing(1, 2, json!([80, 443]));
        dormant[1]["table"]["flags"] = json!("dormant");
        assert_ne!(first, normalise(dormant));
    }
}
