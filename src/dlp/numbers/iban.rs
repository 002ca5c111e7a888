//! Numbers of bank accounts (ISO 13616, after the registry that SWIFT keeps).

/// The structure of what follows the check digits, by country: how many digits (`n`),
/// capitals (`a`) or either (`c`).
pub(in super::super) const COUNTRIES: &[(&[u8; 2], &str)] = &[
    (b"AD", "8n12c"),
    (b"AE", "19n"),
    (b"AL", "8n16c"),
    (b"AT", "16n"),
    (b"AZ", "4a20c"),
    (b"BA", "16n"),
    (b"BE", "12n"),
    (b"BG", "4a6n8c"),
    (b"BH", "4a14c"),
    (b"BR", "23n1a1c"),
    (b"BY", "4c4n16c"),
    (b"CH", "5n12c"),
    (b"CR", "18n"),
    (b"CY", "8n16c"),
    (b"CZ", "20n"),
    (b"DE", "18n"),
    (b"DK", "14n"),
    (b"DO", "4c20n"),
    (b"EE", "16n"),
    (b"EG", "25n"),
    (b"ES", "20n"),
    (b"FI", "14n"),
    (b"FO", "14n"),
    (b"FR", "10n11c2n"),
    (b"GB", "4a14n"),
    (b"GE", "2a16n"),
    (b"GI", "4a15c"),
    (b"GL", "14n"),
    (b"GR", "7n16c"),
    (b"GT", "24c"),
    (b"HR", "17n"),
    (b"HU", "24n"),
    (b"IE", "4a14n"),
    (b"IL", "19n"),
    (b"IQ", "4a15n"),
    (b"IS", "22n"),
    (b"IT", "1a10n12c"),
    (b"JO", "4a4n18c"),
    (b"KW", "4a22c"),
    (b"KZ", "3n13c"),
    (b"LB", "4n20c"),
    (b"LC", "4a24c"),
    (b"LI", "5n12c"),
    (b"LT", "16n"),
    (b"LU", "3n13c"),
    (b"LV", "4a13c"),
    (b"LY", "21n"),
    (b"MC", "10n11c2n"),
    (b"MD", "20c"),
    (b"ME", "18n"),
    (b"MK", "3n10c2n"),
    (b"MR", "23n"),
    (b"MT", "4a5n18c"),
    (b"MU", "4a19n3a"),
    (b"NL", "4a10n"),
    (b"NO", "11n"),
    (b"PK", "4a16c"),
    (b"PL", "24n"),
    (b"PS", "4a21c"),
    (b"PT", "21n"),
    (b"QA", "4a21c"),
    (b"RO", "4a16c"),
    (b"RS", "18n"),
    (b"SA", "2n18c"),
    (b"SC", "4a20n3a"),
    (b"SE", "20n"),
    (b"SI", "15n"),
    (b"SK", "20n"),
    (b"SM", "1a10n12c"),
    (b"ST", "21n"),
    (b"SV", "4a20n"),
    (b"TL", "19n"),
    (b"TN", "20n"),
    (b"TR", "6n16c"),
    (b"UA", "6n19c"),
    (b"VA", "18n"),
    (b"VG", "4a16n"),
    (b"XK", "16n"),
];

/// Numbers of which documentation is full: they are nobody's.
const EXAMPLES: [&[u8]; 12] = [
    b"GB82WEST12345698765432",
    b"GB29NWBK60161331926819",
    b"GB33BUKB20201555555555",
    b"DE89370400440532013000",
    b"DE75512108001245126199",
    b"FR1420041010050500013M02606",
    b"FR7630006000011234567890189",
    b"NL91ABNA0417164300",
    b"NL02ABNA0123456789",
    b"BE68539007547034",
    b"CH9300762011623852957",
    b"AT611904300234573201",
];

/// The runs of a structure.
pub(in super::super) fn runs(structure: &str) -> impl Iterator<Item = (usize, char)> {
    structure
        .split_inclusive(|c: char| c.is_ascii_alphabetic())
        .filter_map(|run| {
            let kind = run.chars().last()?;
            let count = run.strip_suffix(kind)?.parse().ok()?;
            Some((count, kind))
        })
}

/// The structure of a country's numbers, by their first letters.
fn structure(country: &[u8]) -> Option<&'static str> {
    let known = |(code, _): &&(&[u8; 2], &str)| country.starts_with(*code);
    COUNTRIES
        .iter()
        .find(known)
        .map(|(_, structure)| *structure)
}

/// How long the number is that begins with these four characters.
pub(super) fn length(beginning: &[u8]) -> Option<usize> {
    let (country, check) = beginning.split_at_checked(2)?;
    let digits = check.iter().take(2).all(u8::is_ascii_digit) && check.len() >= 2;
    if !digits || !country.iter().all(u8::is_ascii_uppercase) {
        return None;
    }
    let structure = structure(beginning)?;
    Some(4 + runs(structure).map(|(count, _)| count).sum::<usize>())
}

/// Whether this is the number of an account.
pub(super) fn is_iban(number: &[u8]) -> bool {
    let fits = || {
        let (mut rest, structure) = (number.get(4..)?, structure(number)?);
        for (count, kind) in runs(structure) {
            let (run, after) = rest.split_at_checked(count)?;
            let fits = match kind {
                'n' => run.iter().all(u8::is_ascii_digit),
                'a' => run.iter().all(u8::is_ascii_uppercase),
                _ => true,
            };
            rest = fits.then_some(after)?;
        }
        Some(rest.is_empty())
    };
    fits() == Some(true) && remainder(number) == Some(1) && !EXAMPLES.contains(&number)
}

/// The number modulo 97, its first four characters last and letters as two digits.
pub(in super::super) fn remainder(number: &[u8]) -> Option<u32> {
    let (first, rest) = number.split_at_checked(4)?;
    rest.iter().chain(first).try_fold(0, |sum: u32, byte| {
        let value = char::from(*byte).to_digit(36)?;
        Some((sum * if value < 10 { 10 } else { 100 } + value) % 97)
    })
}
