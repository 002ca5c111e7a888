//! Durations and sizes as operators write them.

use std::time::Duration;

/// What is wrong with a value, and what would be right.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Complaint {
    pub(super) message: String,
    pub(super) help: Option<String>,
}

impl Complaint {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            help: None,
        }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// Longest first: they must be written in this order.
const TIME_UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

const SIZE_UNITS: [(&str, u64); 7] = [
    ("B", 1),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

/// Reads `10s`, `500ms`, `1h30m`: whole numbers with units, longest unit first.
pub(super) fn duration(text: &str) -> Result<Duration, Complaint> {
    let bad = || {
        Complaint::new(format!("`{text}` is no duration"))
            .help("write it like `10s`, `500ms`, `5m`, `1h30m`")
    };
    let mut rest = text;
    let mut total: u64 = 0;
    let mut units = TIME_UNITS.iter();
    while !rest.is_empty() {
        let (count, after) = leading_number(rest).ok_or_else(bad)?;
        let end = after
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let (_, factor) = units.find(|(name, _)| *name == unit).ok_or_else(bad)?;
        total = count
            .checked_mul(*factor)
            .and_then(|part| total.checked_add(part))
            .ok_or_else(bad)?;
        rest = after;
    }
    if text.is_empty() {
        return Err(bad());
    }
    Ok(Duration::from_millis(total))
}

/// Reads `64KiB`, `10MB`, `512B`: a whole number with its unit; the answer is in bytes.
pub(super) fn size(text: &str) -> Result<u64, Complaint> {
    let bad = || Complaint::new(format!("`{text}` is no size"));
    let hint = "write it like `512B`, `64KiB`, `10MB`";
    let (count, unit) = leading_number(text).ok_or_else(|| bad().help(hint))?;
    let unit = unit.strip_prefix(' ').unwrap_or(unit);
    if unit.is_empty() {
        return Err(bad().help(format!(
            "it needs a unit, such as `{count}B` or `{count}KiB`"
        )));
    }
    if let Some((_, factor)) = SIZE_UNITS.iter().find(|(name, _)| *name == unit) {
        return count.checked_mul(*factor).ok_or_else(|| bad().help(hint));
    }
    let spelled = SIZE_UNITS
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(unit));
    Err(bad().help(match spelled {
        Some((name, _)) => format!("did you mean `{count}{name}`?"),
        None => hint.to_owned(),
    }))
}

fn leading_number(text: &str) -> Option<(u64, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    digits.parse().ok().map(|number| (number, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, milliseconds) in [
            ("10s", 10_000),
            ("500ms", 500),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("1m500ms", 60_500),
            ("2d", 172_800_000),
            ("0s", 0),
        ] {
            assert_eq!(
                duration(text).unwrap(),
                Duration::from_millis(milliseconds),
                "{text}"
            );
        }
        for text in [
            "",
            "10",
            "s",
            "10 s",
            "-1s",
            "1.5s",
            "30m1h",
            "1s1s",
            "10S",
            "10sec",
            "1h ",
            "é",
            "99999999999999999999s",
            "18446744073709551615d",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0B", 0),
            ("512B", 512),
            ("64KiB", 65_536),
            ("10MB", 10_000_000),
            ("1 GiB", 1 << 30),
        ] {
            assert_eq!(size(text).unwrap(), bytes, "{text}");
        }
        for text in [
            "",
            "KiB",
            "-1B",
            "1.5MB",
            "1e3B",
            "64  KiB",
            "99999999999GiB",
            "1TB",
            "é",
        ] {
            assert!(size(text).is_err(), "{text}");
        }
        let help = |text| size(text).unwrap_err().help.unwrap();
        assert_eq!(help("64kib"), "did you mean `64KiB`?");
        assert_eq!(
            help("65536"),
            "it needs a unit, such as `65536B` or `65536KiB`"
        );
    }
}
