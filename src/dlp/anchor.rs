//! Where in a shape to search: four neighbouring bytes that are nearly fixed and rare.

use super::class::Class;
use super::prefilter::GRAM;

/// Bytes of an anchor: two overlapping grams.
pub const ANCHOR: usize = GRAM + 1;
/// Most grams that one half of an anchor may stand for.
const GRAMS_MAX: usize = 1024;
/// An anchor with this share of common text or less is rare.
const RARE: f32 = 1e-4;

/// The best place of an anchor: where the fewest bytes of common text will hit.
#[must_use]
pub fn best_place(fixed: &[Class], prefix_len: usize) -> Option<usize> {
    let cost = |window: &[Class]| -> Option<f32> {
        let size = |classes: &[Class]| classes.iter().map(Class::len).product::<usize>();
        let (first, second) = (window.get(..GRAM)?, window.get(1..)?);
        if size(first) > GRAMS_MAX || size(second) > GRAMS_MAX {
            return None;
        }
        let common = |classes: &[Class]| classes.iter().map(commonness).product::<f32>();
        Some(common(first) + common(second))
    };
    let best = |fixed: &[Class]| {
        let places = fixed.windows(ANCHOR).enumerate();
        let costs = places.filter_map(|(place, window)| Some((place, cost(window)?)));
        costs.min_by(|(_, one), (_, other)| one.total_cmp(other))
    };
    // A rare beginning is better than something rarer later: a token that begins with its
    // anchor is held back from its first byte on.
    let beginning = best(fixed.get(..prefix_len.min(fixed.len())).unwrap_or_default());
    let beginning = beginning.filter(|(_, cost)| *cost < RARE);
    beginning.or_else(|| best(fixed)).map(|(place, _)| place)
}

/// How often a byte of the class stands in JSON and source code, very roughly.
fn commonness(class: &Class) -> f32 {
    let one = |byte: u8| match byte {
        b' ' | b'e' | b't' | b'a' | b'o' | b'i' | b'n' | b's' | b'r' => 0.06,
        b'a'..=b'z' | b'"' | b'0' | b'1' | b'_' | b'.' | b',' | b'/' | b'-' | b'\n' => 0.02,
        b'0'..=b'9' | b'A'..=b'Z' | b'(' | b')' | b':' | b'=' => 0.008,
        _ => 0.004,
    };
    class.bytes().map(one).sum::<f32>().min(1.0)
}

/// All grams that three classes stand for.
#[must_use]
pub fn spell(classes: &[Class]) -> Vec<[u8; GRAM]> {
    let [a, b, c] = classes else {
        return Vec::new();
    };
    let mut grams = Vec::new();
    for a in a.bytes() {
        for b in b.bytes() {
            grams.extend(c.bytes().map(|c| [a, b, c]));
        }
    }
    grams
}
