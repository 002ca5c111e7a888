//! Numbers of payment cards (ISO/IEC 7812).

/// Numbers that payment services publish for tests: they pay nothing.
const TESTS: [&[u8]; 24] = [
    b"4111111111111111",
    b"4242424242424242",
    b"4012888888881881",
    b"4000056655665556",
    b"4222222222222220",
    b"4005519200000004",
    b"4009348888881881",
    b"4012000033330026",
    b"4012000077777777",
    b"4217651111111119",
    b"4500600000000061",
    b"5555555555554444",
    b"5105105105105100",
    b"5200828282828210",
    b"5424000000000015",
    b"5454545454545454",
    b"2223003122003222",
    b"2223000048400011",
    b"378282246310005",
    b"371449635398431",
    b"6011111111111117",
    b"3530111333300000",
    b"30569309025904",
    b"38520000023237",
];

/// Before a number, what says that it is one of a card.
const WORDS: [&[u8]; 15] = [
    b"card",
    b"cards",
    b"cardnumber",
    b"cardno",
    b"cardnum",
    b"creditcard",
    b"debitcard",
    b"paymentcard",
    b"credit",
    b"visa",
    b"mastercard",
    b"amex",
    b"cc",
    b"ccnum",
    b"pan",
];

/// Whether these digits are the number of a card.
pub(super) fn is_card(digits: &[u8]) -> bool {
    issued(digits) && luhn(digits) && !is_test(digits)
}

/// Whether an issuer has numbers that begin so and are so long.
fn issued(digits: &[u8]) -> bool {
    let first = digits.iter().take(4).fold(0_u32, |number, digit| {
        number * 10 + u32::from(digit.wrapping_sub(b'0'))
    });
    match digits.len() {
        // Diners Club; American Express.
        14 => matches!(first, 3000..=3059 | 3600..=3699 | 3800..=3999),
        15 => matches!(first, 3400..=3499 | 3700..=3799),
        // Visa; Mastercard; Discover; JCB; UnionPay.
        16 => matches!(
            first,
            4000..=4999 | 5100..=5599 | 2221..=2720 | 6011 | 6440..=6599 | 3528..=3589 | 6200..=6299
        ),
        17..=19 => matches!(first, 6200..=6299),
        _ => false,
    }
}

/// The check digit (ISO/IEC 7812-1, annex B).
pub(in super::super) fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .zip(0..)
        .map(|(digit, place): (&u8, u32)| {
            let digit = u32::from(digit.wrapping_sub(b'0'));
            match (place % 2, digit * 2) {
                (0, _) => digit,
                (_, twice) if twice > 9 => twice - 9,
                (_, twice) => twice,
            }
        })
        .sum();
    sum.is_multiple_of(10)
}

/// Published for tests, or with hardly more than zeros.
fn is_test(digits: &[u8]) -> bool {
    let mut seen = [false; 10];
    for digit in digits {
        if let Some(seen) = seen.get_mut(usize::from(digit.wrapping_sub(b'0'))) {
            *seen = true;
        }
    }
    let different = seen.iter().filter(|seen| **seen).count();
    let same = |window: &[u8]| window.iter().all(|digit| Some(digit) == window.first());
    different <= 4 || digits.windows(6).any(same) || TESTS.contains(&digits)
}

/// Whether what stands before a number says that it is one of a card.
pub(super) fn is_named(before: &[u8]) -> bool {
    super::names(before, &WORDS)
}
