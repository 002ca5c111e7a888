//! `portreeve dlp honeytoken`: tokens that look real, as a file of detectors.

use std::io::{self, Write};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};

use super::named;
use crate::dlp::{Detector, mint};

/// What somebody who looks for secrets takes first.
const USUAL: [&str; 4] = [
    "github-token",
    "npm-token",
    "anthropic-key",
    "stripe-live-key",
];

/// Writes a file of honeytokens, one like those of each detector of `likes`.
///
/// # Errors
/// An unknown detector, one of which no token can be made, no randomness, and those of
/// writing.
pub(super) fn make(
    detectors: &[Detector],
    agent: Option<&str>,
    likes: &[String],
    out: &mut impl Write,
) -> io::Result<()> {
    let likes: Vec<&str> = match likes {
        [] => USUAL.to_vec(),
        likes => likes.iter().map(String::as_str).collect(),
    };
    let mut tokens = Vec::new();
    for like in likes {
        tokens.push((like, token(named(detectors, like)?)?));
    }
    let whose = agent.map_or_else(String::new, |agent| format!(" of agent {agent}"));
    writeln!(
        out,
        "# Honeytokens{whose}. Keep this file in the folder that `dlp` in portreeve.toml names, reload,"
    )?;
    writeln!(
        out,
        "# and put each token where only somebody who looks for secrets finds it."
    )?;
    for (like, token) in tokens {
        let name = agent.map_or_else(|| like.to_owned(), |agent| format!("{agent}-{like}"));
        writeln!(out, "\n[[honeytoken]]\nname = \"{name}\"")?;
        if let Some(agent) = agent {
            writeln!(out, "agent = \"{agent}\"")?;
        }
        writeln!(out, "token = '{token}'")?;
    }
    Ok(())
}

fn token(like: &Detector) -> io::Result<String> {
    let random = SystemRandom::new();
    let mut failed = false;
    let minted = mint::token(like, &mut |bound| {
        let mut bytes = [0; 8];
        failed |= random.fill(&mut bytes).is_err();
        // The bias of so small a bound is nothing.
        u32::try_from(u64::from_le_bytes(bytes) % u64::from(bound.max(1))).unwrap_or(0)
    });
    if failed {
        return Err(io::Error::other("there is no randomness"));
    }
    let text = minted.and_then(|token| String::from_utf8(token).ok());
    // It stands between single quotes.
    let text = text.filter(|text| !text.contains(['\'', '\n', '\r']));
    text.ok_or_else(|| {
        let name = &like.name;
        io::Error::other(format!(
            "no token like those of `{name}` can be made; try another"
        ))
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::super::{Command, run};
    use crate::config::{Env, detectors};
    use crate::dlp::{Detectors, scan};

    #[test]
    fn what_is_made_is_a_file_of_detectors_that_find_it() {
        let env = Env::fixed(Path::new("/nonexistent"), []);
        let shipped = detectors(None, &env).unwrap();
        for agent in [None, Some("builder".to_owned())] {
            let mut out = Vec::new();
            let command = Command::Honeytoken {
                agent: agent.clone(),
                likes: Vec::new(),
            };
            assert!(run(&command, shipped.clone(), &mut out).unwrap());
            let folder = tempfile::tempdir().unwrap();
            fs::create_dir(folder.path().join("detectors")).unwrap();
            fs::write(folder.path().join("detectors/honey.toml"), &out).unwrap();
            let file = folder.path().join("portreeve.toml");
            fs::write(&file, "dlp = \"detectors\"\n").unwrap();
            let all = Detectors::new(detectors(Some(&file), &env).unwrap());
            let text = String::from_utf8(out).unwrap();
            let tokens = text
                .lines()
                .filter_map(|line| line.strip_prefix("token = "));
            let tokens: Vec<&str> = tokens.map(|token| token.trim_matches('\'')).collect();
            assert_eq!(tokens.len(), 4);
            for token in tokens {
                let mut names = Vec::new();
                scan(all.engine(), token.as_bytes(), &mut |finding, _| {
                    let detector = all.of(&finding).unwrap();
                    names.push((detector.honeytoken, detector.title.clone()));
                });
                // It passes for a real one, and is told from one.
                assert!(names.iter().any(|(honeytoken, _)| !honeytoken), "{names:?}");
                let alarm = names.iter().find(|(honeytoken, _)| *honeytoken).unwrap();
                assert_eq!(alarm.1.contains("builder"), agent.is_some(), "{alarm:?}");
            }
        }
    }
}
