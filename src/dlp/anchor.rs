//! Where in a shape to search: four neighbouring bytes that are nearly fixed and rare.

use super::class::Class;
use super::dense;
use super::prefilter::GRAM;

/// Bytes of an anchor: two overlapping grams.
pub const ANCHOR: usize = GRAM + 1;
/// Most grams that one half of an anchor may stand for.
const GRAMS_MAX: usize = 1024;
/// What stands outside of dense runs costs a search of its own.
const SCATTERED: f32 = 1e6;
/// An anchor with this share of common text or less is rare.
const RARE: f32 = 1e-4;

/// The best place of an anchor: where the fewest bytes of common text will hit.
#[must_use]
pub fn best_place(fixed: &[Class], prefix_len: usize) -> Option<usize> {
    // Each class stands in up to four windows.
    let dense = dense::class();
    let weigh = |class: &Class| {
        let scattered = if class.is_within(&dense) {
            0.0
        } else {
            SCATTERED
        };
        (class.len(), commonness(class) + scattered)
    };
    let weights: Vec<(usize, f32)> = fixed.iter().map(weigh).collect();
    let cost = |window: &[(usize, f32)]| -> Option<f32> {
        let size = |half: &[(usize, f32)]| half.iter().map(|(size, _)| size).product::<usize>();
        let (first, second) = (window.get(..GRAM)?, window.get(1..)?);
        if size(first) > GRAMS_MAX || size(second) > GRAMS_MAX {
            return None;
        }
        let common = |half: &[(usize, f32)]| half.iter().map(|(_, weight)| weight).product::<f32>();
        Some(common(first) + common(second))
    };
    let best = |weights: &[(usize, f32)]| {
        let places = weights.windows(ANCHOR).enumerate();
        let costs = places.filter_map(|(place, window)| Some((place, cost(window)?)));
        costs.min_by(|(_, one), (_, other)| one.total_cmp(other))
    };
    // A rare beginning is better than something rarer later: a token that begins with its
    // anchor is held back from its first byte on.
    let prefix = weights.get(..prefix_len.min(weights.len()));
    let beginning = best(prefix.unwrap_or_default()).filter(|(_, cost)| *cost < RARE);
    beginning.or_else(|| best(&weights)).map(|(place, _)| place)
}

/// How often a byte of the class stands in JSON and source code, very roughly.
#[expect(clippy::cast_precision_loss, reason = "at most 256")]
fn commonness(class: &Class) -> f32 {
    const FREQUENT: Class = Class::of(b" etaoinsr");
    const USUAL: Class = Class::of(b"bcdfghjklmpquvwxyz\"01_.,/-\n");
    const SOMETIMES: Class = Class::of(b"23456789ABCDEFGHIJKLMNOPQRSTUVWXYZ():=");
    let groups = [(FREQUENT, 0.06), (USUAL, 0.02), (SOMETIMES, 0.008)];
    let (mut sum, mut rest) = (0.0, class.len());
    for (group, share) in groups {
        let shared = class.shared(&group);
        sum += shared as f32 * share;
        rest -= shared;
    }
    (sum + rest as f32 * 0.004_f32).min(1.0)
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
