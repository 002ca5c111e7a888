//! Whether the live table is still the applied one, and that one the configured one.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::SystemTime;

use serde_json::Value;

use super::snapshot::{Snapshot, normalise};
use super::{Counter, Error, Rendered, Status, TABLE, command};

/// The remedy of every difference.
const APPLY: &str = "run `portreeve nft apply`";

/// What a verification found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// One sentence each; empty where everything is as it should be.
    pub differences: Vec<String>,
    /// The live table's named counters.
    pub counters: BTreeMap<String, Counter>,
}

impl Verdict {
    /// Whether the table is as it should be.
    #[must_use]
    pub fn is_correct(&self) -> bool {
        self.differences.is_empty()
    }

    /// Leaves the verdict for the gateway ([`super::read_status`]).
    ///
    /// # Errors
    /// [`Error::Status`].
    pub fn write(&self, path: &Path, now: SystemTime) -> Result<(), Error> {
        Status::new(now, self.differences.clone(), self.counters.clone()).write(path)
    }
}

/// Compares the live table with the snapshot of the last apply, and its text with today's.
/// Nothing is changed.
///
/// # Errors
/// [`Error`] where `nft` cannot run or may not list.
pub fn verify(rendered: &Rendered, snapshot: &Path) -> Result<Verdict, Error> {
    let live = command::list_table()?;
    Ok(judge(rendered, Snapshot::read(snapshot), live, snapshot))
}

fn judge(
    rendered: &Rendered,
    snapshot: io::Result<Snapshot>,
    live: Option<Vec<Value>>,
    path: &Path,
) -> Verdict {
    let Some(live) = live else {
        let missing = format!("there is no table inet {TABLE}: {APPLY}");
        return Verdict {
            differences: vec![missing],
            counters: BTreeMap::new(),
        };
    };
    let counters = live.iter().filter_map(counter).collect();
    let differences = match snapshot {
        Err(error) => {
            let path = path.display();
            vec![format!(
                "no snapshot of the last apply to compare with ({path}: {error}): {APPLY}"
            )]
        }
        Ok(snapshot) => {
            let stale = snapshot.text != rendered.text();
            let stale =
                stale.then(|| format!("the configuration changed since the last apply: {APPLY}"));
            stale
                .into_iter()
                .chain(compare(&snapshot.objects, &normalise(live)))
                .collect()
        }
    };
    Verdict {
        differences,
        counters,
    }
}

fn counter(object: &Value) -> Option<(String, Counter)> {
    let counter = object.get("counter")?;
    let number = |key| counter.get(key).and_then(Value::as_u64);
    let value = Counter {
        packets: number("packets")?,
        bytes: number("bytes")?,
    };
    Some((counter.get("name")?.as_str()?.to_owned(), value))
}

fn compare(applied: &[Value], live: &[Value]) -> Vec<String> {
    if applied == live {
        return Vec::new();
    }
    let gone: Vec<&Value> = applied
        .iter()
        .filter(|object| !live.contains(object))
        .collect();
    let new: Vec<&Value> = live
        .iter()
        .filter(|object| !applied.contains(object))
        .collect();
    let same = |one: &Value, other: &Value| name(one) == name(other);
    let mut differences = Vec::new();
    for &object in &gone {
        let changed = new.iter().find(|other| same(other, object));
        differences.push(match changed {
            Some(now) => format!("changed: {}, now {now}", name(object)),
            None => format!("missing: {}", name(object)),
        });
    }
    let unknown = new
        .iter()
        .filter(|object| !gone.iter().any(|other| same(other, object)));
    differences.extend(unknown.map(|object| format!("unknown: {}: {object}", name(object))));
    if differences.is_empty() {
        differences.push("the order of the rules is another, or some are there twice".to_owned());
    }
    differences
}

/// `rule "redirects: QUIC" in chain redirects`, `set ports` and so on.
fn name(object: &Value) -> String {
    let Some((kind, body)) = object.as_object().and_then(|fields| fields.iter().next()) else {
        return "something unnamed".to_owned();
    };
    let text = |key| body.get(key).and_then(Value::as_str);
    match (text("name"), text("chain")) {
        (Some(name), _) => format!("{kind} {name}"),
        (None, Some(chain)) => {
            format!(
                "{kind} {:?} in chain {chain}",
                text("comment").unwrap_or("(without a comment)")
            )
        }
        (None, None) => kind.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::nft::{Settings, Topology, render};

    fn rendered() -> Rendered {
        let settings = Settings {
            ports: vec![443],
            proxy_port: 8443,
            dns_port: 8053,
            ..Settings::default()
        };
        render(Topology::Namespace, &settings).unwrap()
    }

    fn rule(comment: &str, verdict: &str) -> Value {
        json!({"rule": {"chain": "refusals", "comment": comment, "expr": [{verdict: null}]}})
    }

    fn objects() -> Vec<Value> {
        vec![
            json!({"table": {"name": "portreeve"}}),
            json!({"counter": {"name": "quic_refused", "packets": 3, "bytes": 99}}),
            rule("a", "drop"),
            rule("b", "drop"),
        ]
    }

    fn differences(change: impl FnOnce(&mut Vec<Value>)) -> Vec<String> {
        let snapshot = Snapshot {
            text: rendered().text().to_owned(),
            objects: normalise(objects()),
        };
        let mut live = objects();
        change(&mut live);
        judge(&rendered(), Ok(snapshot), Some(live), Path::new("snapshot")).differences
    }

    #[test]
    fn every_change_of_the_live_table_is_a_difference() {
        assert_eq!(differences(|_| ()), Vec::<String>::new());
        assert_eq!(
            differences(|live| drop(live.remove(2))),
            [r#"missing: rule "a" in chain refusals"#]
        );
        assert_eq!(
            differences(|live| live[3] = rule("b", "accept")),
            [format!(
                "changed: rule \"b\" in chain refusals, now {}",
                rule("b", "accept")
            )]
        );
        assert_eq!(
            differences(|live| live.push(rule("c", "accept"))),
            [format!(
                "unknown: rule \"c\" in chain refusals: {}",
                rule("c", "accept")
            )]
        );
        let order = ["the order of the rules is another, or some are there twice"];
        assert_eq!(differences(|live| live.swap(2, 3)), order);
        assert_eq!(differences(|live| live.push(rule("b", "drop"))), order);
    }

    #[test]
    fn counters_are_reported_and_are_no_difference() {
        let snapshot = Snapshot {
            text: rendered().text().to_owned(),
            objects: normalise(objects()),
        };
        let verdict = judge(
            &rendered(),
            Ok(snapshot),
            Some(objects()),
            Path::new("snapshot"),
        );
        assert!(verdict.is_correct());
        let counter = Counter {
            packets: 3,
            bytes: 99,
        };
        assert_eq!(
            verdict.counters,
            BTreeMap::from([("quic_refused".to_owned(), counter)])
        );
    }

    #[test]
    fn no_table_no_snapshot_and_another_configuration_are_differences() {
        let path = Path::new("snapshot");
        let gone = judge(&rendered(), Err(io::ErrorKind::NotFound.into()), None, path);
        assert!(
            gone.differences[0].contains("no table inet portreeve"),
            "{gone:?}"
        );
        let lost = judge(
            &rendered(),
            Err(io::ErrorKind::NotFound.into()),
            Some(objects()),
            path,
        );
        assert!(lost.differences[0].contains("no snapshot"), "{lost:?}");
        let snapshot = Snapshot {
            text: String::new(),
            objects: normalise(objects()),
        };
        let stale = judge(&rendered(), Ok(snapshot), Some(objects()), path);
        assert!(
            stale.differences[0].contains("configuration changed"),
            "{stale:?}"
        );
    }
}
