//! Social security numbers of the United States, which have no check digit.

/// Numbers that were printed where everybody saw them, and one that is counted up.
const PUBLIC: [&[u8]; 5] = [
    b"078051120",
    b"219099999",
    b"457555462",
    b"123456789",
    b"123121234",
];

const WORDS: [&[u8]; 5] = [
    b"ssn",
    b"ssns",
    b"socialsecurity",
    b"socialsecuritynumber",
    b"social",
];

/// Whether the nine digits may be one: areas 000, 666 and those from 900 on, group 00 and
/// serial 0000 are not given out.
pub(super) fn is_ssn(digits: &[u8]) -> bool {
    let (Some((area, rest)), 9) = (digits.split_first_chunk::<3>(), digits.len()) else {
        return false;
    };
    let (group, serial) = rest.split_at(2);
    // Each group of one digit, as in examples.
    let same = |group: &[u8]| group.iter().all(|digit| group.first() == Some(digit));
    let example = same(area) && same(group) && same(serial);
    !matches!(area, b"000" | b"666" | [b'9', ..])
        && group != b"00"
        && serial != b"0000"
        && !example
        && !PUBLIC.contains(&digits)
}

/// Whether what stands before a number says that it is one.
pub(super) fn is_named(before: &[u8]) -> bool {
    super::names(before, &WORDS)
}
