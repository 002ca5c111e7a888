//! Rules of other scanners: regular expressions, run only on what stands behind an anchor, from
//! one place, and on so many bytes at most.
//!
//! What an expression may begin with gives its anchors. Around one, a lazy automaton reads from
//! the beginning of the match on, byte by byte, until there can be none; so it is known at
//! every byte whether more are needed. Groups, entropy and allowlists are looked at once there
//! is a match.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};

use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson;
use regex_automata::util::pool::Pool;
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input, meta};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{self, Hir, HirKind, Look};

use super::anchor::{ANCHOR, best_place};
use super::check;
use super::class::Class;
use super::readers::Read;
use super::shape::LONGEST;

/// Most ways in which an expression may begin.
const WAYS_MAX: usize = 128;
/// So many bytes of each are looked at for an anchor.
const PREFIX_MAX: usize = 24;
/// Bytes around a match in which a keyword may stand, or a line end.
const AROUND: usize = 96;
/// Bytes before an anchor that may be needed.
pub(super) const BEFORE: usize = AROUND + PREFIX_MAX;
/// Memory of one expression.
const SIZE_MAX: usize = 1 << 20;
/// Memory of one automaton as it is made.
const CACHE: usize = 64 << 10;

/// What is not a finding of a rule.
#[derive(Clone, Debug, Default)]
pub struct Allow {
    /// All that is given must hold, and not any of it.
    pub all: bool,
    /// What the expressions are held against.
    pub target: Target,
    /// Expressions.
    pub regexes: Vec<String>,
    /// Words in the secret, in any case.
    pub stopwords: Vec<String>,
    /// Whether more is asked that nothing here can meet: files, commits.
    pub elsewhere: bool,
}

/// What an allowlist's expressions are held against.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Target {
    /// The secret.
    #[default]
    Secret,
    /// All that matched.
    Match,
    /// The line in which it stands.
    Line,
}

/// A rule as it is written.
#[derive(Clone, Debug, Default)]
pub struct Written {
    /// The expression.
    pub regex: String,
    /// Which of its groups is the secret; 0: the first that matched.
    pub group: usize,
    /// The entropy that the secret must exceed, in bits a byte.
    pub entropy: f32,
    /// One of them must stand near by, in any case.
    pub keywords: Vec<String>,
    /// What is no finding.
    pub allow: Vec<Allow>,
}

type NewCache = Box<dyn Fn() -> Cache + Send + Sync + UnwindSafe + RefUnwindSafe>;

/// A rule that can run.
pub struct Imported {
    written: Written,
    allow: Vec<(Allow, Vec<meta::Regex>)>,
    automaton: DFA,
    caches: Pool<Cache, NewCache>,
    groups: meta::Regex,
    anchors: Vec<([Class; ANCHOR], usize)>,
    /// Whether a word must not go on before and after it.
    ends: (bool, bool),
}

impl fmt::Debug for Imported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Imported({})", self.written.regex)
    }
}

impl Imported {
    /// Makes it ready to run.
    ///
    /// # Errors
    /// Why it cannot run in bounds.
    pub fn new(written: Written) -> Result<Self, String> {
        let (hir, ends) = bounded(&parse(&written.regex)?);
        let ways = ways(&hir)?;
        let least = hir.properties().minimum_len().unwrap_or(0);
        if least > LONGEST {
            return Err(format!("it matches nothing of less than {LONGEST} bytes"));
        }
        let nfa = thompson::Compiler::new()
            .configure(
                thompson::Config::new()
                    .utf8(false)
                    .nfa_size_limit(Some(SIZE_MAX))
                    .which_captures(thompson::WhichCaptures::None),
            )
            .build_from_hir(&hir)
            .map_err(|error| error.to_string())?;
        let automaton = DFA::builder()
            .configure(
                DFA::config()
                    .cache_capacity(CACHE)
                    .skip_cache_capacity_check(true),
            )
            .build_from_nfa(nfa)
            .map_err(|error| error.to_string())?;
        let groups = meta::Builder::new()
            .configure(meta::Config::new().utf8_empty(false))
            .build_from_hir(&hir)
            .map_err(|error| error.to_string())?;
        let mut allow = Vec::new();
        for list in &written.allow {
            let regexes: Result<Vec<_>, String> =
                list.regexes.iter().map(|text| regex(text)).collect();
            allow.push((list.clone(), regexes?));
        }
        let fresh = automaton.clone();
        let fresh: NewCache = Box::new(move || fresh.create_cache());
        Ok(Self {
            written,
            allow,
            automaton,
            caches: Pool::new(fresh),
            groups,
            anchors: anchors(&ways),
            ends,
        })
    }

    /// Its anchors, each with how many bytes it is from the beginning of a match; the nearest
    /// first.
    #[must_use]
    pub fn anchors(&self) -> &[([Class; ANCHOR], usize)] {
        &self.anchors
    }

    /// Reads from `start` on, where anchor number `nth` is.
    pub(super) fn read(&self, window: &[u8], start: usize, nth: usize, ended: bool) -> Read {
        let others = self.anchors.get(..nth).unwrap_or_default().iter();
        let is_there = |(anchor, place): &([Class; ANCHOR], usize)| {
            let there = window.get(start + place..start + place + ANCHOR);
            let mut pairs = anchor.iter().zip(there.unwrap_or_default());
            there.is_some() && pairs.all(|(class, byte)| class.contains(*byte))
        };
        if { others }.any(is_there) {
            // The other tells.
            return Read::Nothing;
        }
        let before = start.checked_sub(1).and_then(|before| window.get(before));
        if self.ends.0 && before.is_some_and(|byte| Class::WORD.contains(*byte)) {
            return Read::Nothing;
        }
        let most = window.len().min(start.saturating_add(LONGEST));
        let end = match self.run(window, start, most) {
            // What is not decided within the bound is decided there.
            Run::Open(_) if most == window.len() && !ended => {
                return Read::Open {
                    start: start.saturating_sub(AROUND),
                    hold: Some(start),
                };
            }
            Run::Ended(end) | Run::Open(end) => end,
        };
        let Some(end) = end else {
            return Read::Nothing;
        };
        match window.get(end) {
            None if self.ends.1 && !ended => Read::Open {
                start: start.saturating_sub(AROUND),
                hold: Some(start),
            },
            Some(next) if self.ends.1 && Class::WORD.contains(*next) => Read::Nothing,
            _ => self.secret(window, start, end),
        }
    }

    fn run(&self, window: &[u8], start: usize, most: usize) -> Run {
        let mut cache = self.caches.get();
        let input = Input::new(window)
            .range(start..most)
            .anchored(Anchored::Yes);
        let Ok(mut state) = self.automaton.start_state_forward(&mut cache, &input) else {
            return Run::Ended(None);
        };
        let mut end = None;
        for (at, byte) in window.iter().enumerate().take(most).skip(start) {
            match self.automaton.next_state(&mut cache, state, *byte) {
                Ok(next) => state = next,
                // The automaton grew too large.
                Err(_) => return Run::Ended(None),
            }
            if state.is_match() {
                end = Some(at);
            } else if state.is_dead() || state.is_quit() {
                return Run::Ended(end);
            }
        }
        if let Ok(last) = self.automaton.next_eoi_state(&mut cache, state)
            && last.is_match()
        {
            end = Some(most);
        }
        Run::Open(end)
    }

    /// The secret in a match, unless it is none after all.
    fn secret(&self, window: &[u8], start: usize, end: usize) -> Read {
        let input = Input::new(window).range(start..end).anchored(Anchored::Yes);
        let mut captures = self.groups.create_captures();
        self.groups.search_captures(&input, &mut captures);
        let group = |index| captures.get_group(index).filter(|span| !span.is_empty());
        let found = match self.written.group {
            0 => (1..captures.group_len()).find_map(group),
            index => group(index),
        };
        let (from, to) = found.map_or((start, end), |span| (span.start, span.end));
        let secret = window.get(from..to).unwrap_or_default();
        let random = self.written.entropy <= 0.0 || check::entropy(secret) > self.written.entropy;
        let matched = window.get(start..end).unwrap_or_default();
        let is_allowed = || {
            let line = line(window, start, end);
            let fits = |(list, regexes): &(Allow, Vec<meta::Regex>)| {
                list.holds(regexes, secret, matched, line)
            };
            self.allow.iter().any(fits)
        };
        if secret.is_empty() || !random || !self.is_named(window, start, end) || is_allowed() {
            return Read::Nothing;
        }
        Read::Found { from, to }
    }

    /// Whether a keyword stands in the match or before it.
    fn is_named(&self, window: &[u8], start: usize, end: usize) -> bool {
        let near = window.get(start.saturating_sub(AROUND)..end);
        let near = near.unwrap_or_default().to_ascii_lowercase();
        let keywords = &self.written.keywords;
        let stands = |word: &String| memchr::memmem::find(&near, word.as_bytes()).is_some();
        keywords.is_empty() || keywords.iter().any(stands)
    }
}

/// How far an automaton came, and where the last match ended.
enum Run {
    /// No more bytes make another.
    Ended(Option<usize>),
    /// More bytes may.
    Open(Option<usize>),
}

impl Allow {
    fn holds(&self, regexes: &[meta::Regex], secret: &[u8], matched: &[u8], line: &[u8]) -> bool {
        let target = match self.target {
            Target::Secret => secret,
            Target::Match => matched,
            Target::Line => line,
        };
        let lower = secret.to_ascii_lowercase();
        let stopword = |word: &String| memchr::memmem::find(&lower, word.as_bytes()).is_some();
        let regex = regexes.iter().any(|regex| regex.is_match(target));
        let word = self.stopwords.iter().any(stopword);
        if self.all {
            return !self.elsewhere
                && (regex || regexes.is_empty())
                && (word || self.stopwords.is_empty())
                && !(regexes.is_empty() && self.stopwords.is_empty());
        }
        regex || word
    }
}

/// The rarest place of each way to begin.
fn anchors(ways: &[Vec<Class>]) -> Vec<([Class; ANCHOR], usize)> {
    let mut anchors: Vec<([Class; ANCHOR], usize)> = Vec::new();
    for way in ways {
        let place = best_place(way, way.len());
        let anchor = place.and_then(|place| Some((*way.get(place..)?.first_chunk()?, place)));
        anchors.extend(anchor.filter(|anchor| !anchors.contains(anchor)));
    }
    anchors.sort_by_key(|(_, place)| *place);
    anchors
}

/// What stands around a match on its line, as far as it is remembered.
fn line(window: &[u8], start: usize, end: usize) -> &[u8] {
    let before = window.get(start.saturating_sub(AROUND)..start);
    let before = before.unwrap_or_default();
    let broken = before.iter().rposition(|byte| *byte == b'\n');
    let from = start - before.len() + broken.map_or(0, |at| at + 1);
    window.get(from..end).unwrap_or_default()
}

fn parse(text: &str) -> Result<Hir, String> {
    let mut parser = ParserBuilder::new();
    let parsed = parser.utf8(false).unicode(false).build().parse(text);
    parsed.map_err(|error| {
        let text = error.to_string();
        let last = text.lines().last().unwrap_or_default();
        format!("it does not read: {}", last.trim_start_matches("error: "))
    })
}

fn regex(text: &str) -> Result<meta::Regex, String> {
    meta::Builder::new()
        .syntax(syntax::Config::new().utf8(false).unicode(false))
        .configure(meta::Config::new().utf8_empty(false))
        .build(text)
        .map_err(|_| format!("`{text}` of its allowlist does not read"))
}

/// The expression without what may be there or not before it, and without the marks that files
/// have at the ends of values: in requests others stand there, too. Whether there was one
/// before, and after.
fn bounded(hir: &Hir) -> (Hir, (bool, bool)) {
    let HirKind::Concat(parts) = hir.kind() else {
        return (hir.clone(), (false, false));
    };
    let mut parts: Vec<Hir> = parts.clone();
    let optional = |part: &Hir| {
        let groups = part.properties().explicit_captures_len();
        matches!(part.kind(), HirKind::Repetition(rep) if rep.min == 0) && groups == 0
    };
    let skip = parts.iter().take_while(|part| optional(part)).count();
    parts.drain(..skip);
    let before = parts.first().is_some_and(|part| is_edge(part, Look::Start));
    if before {
        parts.remove(0);
    }
    let after = parts.last().is_some_and(|part| is_edge(part, Look::End));
    if after {
        parts.pop();
    }
    (Hir::concat(parts), (before, after))
}

/// A choice of which one is the beginning, or the end, of everything.
fn is_edge(part: &Hir, look: Look) -> bool {
    let HirKind::Alternation(choices) = part.kind() else {
        return false;
    };
    let is_look = |choice: &Hir| matches!(choice.kind(), HirKind::Look(known) if *known == look);
    part.properties().explicit_captures_len() == 0 && choices.iter().any(is_look)
}

/// A way to begin, and whether what is known of it ends there.
type Way = (Vec<Class>, bool);

/// The classes of the first bytes of a match, in each way to begin.
fn ways(hir: &Hir) -> Result<Vec<Vec<Class>>, String> {
    const UNKNOWN: &str = "there is nothing at its beginning to search for";
    let ways = begin(hir).ok_or("it can begin in too many ways")?;
    let ways: Vec<Vec<Class>> = ways.into_iter().map(|(way, _)| way).collect();
    let searchable = |way: &Vec<Class>| best_place(way, way.len()).is_some();
    if ways.is_empty() || !ways.iter().all(searchable) {
        return Err(UNKNOWN.to_owned());
    }
    Ok(ways)
}

fn begin(hir: &Hir) -> Option<Vec<Way>> {
    let ways = match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => vec![(Vec::new(), false)],
        HirKind::Literal(literal) => {
            let bytes = literal.0.iter().take(PREFIX_MAX);
            let way: Vec<Class> = bytes.map(|byte| Class::single(*byte)).collect();
            vec![(way, literal.0.len() > PREFIX_MAX)]
        }
        HirKind::Class(class) => vec![(vec![bytes_of(class)?], false)],
        HirKind::Capture(capture) => begin(&capture.sub)?,
        HirKind::Alternation(choices) => {
            let mut ways = Vec::new();
            for choice in choices {
                ways.extend(begin(choice)?);
            }
            ways
        }
        HirKind::Concat(parts) => {
            let mut ways = vec![(Vec::new(), false)];
            for part in parts {
                if ways.iter().all(|(_, ends): &Way| *ends) {
                    break;
                }
                ways = follow(&ways, &begin(part)?)?;
            }
            ways
        }
        HirKind::Repetition(repetition) => repeated(repetition)?,
    };
    (ways.len() <= WAYS_MAX).then_some(ways)
}

/// Each of `ways` with each of `next` behind it.
fn follow(ways: &[Way], next: &[Way]) -> Option<Vec<Way>> {
    let mut all: Vec<Way> = Vec::new();
    for (way, ends) in ways {
        if *ends {
            all.push((way.clone(), true));
            continue;
        }
        for (more, ends) in next {
            let mut longer = way.clone();
            longer.extend_from_slice(more);
            let full = longer.len() >= PREFIX_MAX;
            longer.truncate(PREFIX_MAX);
            let new = (longer, *ends || full);
            if !all.contains(&new) {
                all.push(new);
            }
        }
    }
    (all.len() <= WAYS_MAX).then_some(all)
}

fn repeated(repetition: &hir::Repetition) -> Option<Vec<Way>> {
    let once = begin(&repetition.sub)?;
    let least = usize::try_from(repetition.min).unwrap_or(usize::MAX);
    let mut ways = vec![(Vec::new(), false)];
    for _ in 0..least.min(PREFIX_MAX) {
        ways = follow(&ways, &once)?;
    }
    if repetition.max == Some(repetition.min) {
        return Some(ways);
    }
    // Once more, or on with what follows.
    let mut all = ways.clone();
    let more = follow(&ways, &once)?.into_iter();
    all.extend(more.map(|(way, _)| (way, true)));
    Some(all)
}

fn bytes_of(class: &hir::Class) -> Option<Class> {
    let mut bytes = Class::default();
    match class {
        hir::Class::Bytes(class) => {
            for range in class.iter() {
                bytes.insert_range(range.start(), range.end());
            }
        }
        hir::Class::Unicode(class) => {
            for range in class.iter() {
                let (start, end) = (
                    u8::try_from(range.start()).ok()?,
                    u8::try_from(range.end()).ok()?,
                );
                bytes.insert_range(start, end);
            }
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests;
