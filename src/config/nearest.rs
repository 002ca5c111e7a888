//! The valid word that was most likely meant.

/// The candidate nearest to `word`, if one is near enough to be a slip of the finger.
pub(super) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let lower = word.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| {
            (
                strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()),
                candidate,
            )
        })
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len().min(word.len()) / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// "did you mean …", or else the words there are.
pub(super) fn suggest(word: &str, candidates: &[&str]) -> String {
    if let Some(near) = nearest(word, candidates.iter().copied()) {
        return format!("did you mean `{near}`?");
    }
    match candidates {
        [] => "nothing may stand here".to_owned(),
        [only] => format!("only `{only}` may stand here"),
        _ => {
            let words: Vec<_> = candidates.iter().map(|word| format!("`{word}`")).collect();
            format!("one of {}", words.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_finger_are_found_and_nothing_else() {
        let words = ["connections", "hold_bytes", "head_bytes", "rule"];
        for (word, meant) in [
            ("conections", Some("connections")),
            ("hold_byte", Some("hold_bytes")),
            ("Head_Bytes", Some("head_bytes")),
            ("rules", Some("rule")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, words), meant, "{word}");
        }
        assert_eq!(
            suggest("x", &["enforce", "observe"]),
            "one of `enforce`, `observe`"
        );
    }
}
