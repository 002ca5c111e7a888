//! Families with labels: a bounded set of series under one name.
//!
//! The vectors of the `prometheus` crate find a series by a hash over the label values put
//! end to end, so that `a` + `bc` and `ab` + `c` are one series, and they grow without end.
//! These compare the values themselves and stop at [`SERIES`].

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::core::{Collector, Desc, Metric, Opts};
use prometheus::proto::{MetricFamily, MetricType};
use prometheus::{Histogram, HistogramOpts, IntCounter, IntGauge, Registry};

use super::table::{Doc, Kind};

/// Most series one family may have; further names share the label value [`OTHER`].
pub const SERIES: usize = 2_000;
/// Stands for all names that came too late.
pub const OTHER: &str = "other";

/// A fixed set of label values, so that a series is found by number.
pub trait Label: Copy + 'static {
    /// Every value, in the order of [`Label::index`].
    const ALL: &'static [Self];
    /// The value as exported.
    fn label(self) -> &'static str;
    /// Its place in [`Label::ALL`].
    fn index(self) -> usize;
}

/// Makes an enum of label values.
macro_rules! label_values {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $label:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant),* }

        impl $crate::metrics::family::Label for $name {
            const ALL: &'static [Self] = &[$(Self::$variant),*];

            fn label(self) -> &'static str {
                match self { $(Self::$variant => $label),* }
            }

            fn index(self) -> usize {
                self as usize
            }
        }
    };
}
pub(super) use label_values;

impl Label for crate::error::Reason {
    const ALL: &'static [Self] = Self::ALL;

    fn label(self) -> &'static str {
        Self::label(self)
    }

    fn index(self) -> usize {
        self as usize
    }
}

impl Label for crate::error::Verdict {
    const ALL: &'static [Self] = Self::ALL;

    fn label(self) -> &'static str {
        Self::label(self)
    }

    fn index(self) -> usize {
        self as usize
    }
}

/// What a family can be made of.
pub(super) trait Child: Metric + 'static {
    const TYPE: MetricType;
    fn make(opts: Opts) -> prometheus::Result<Self>;
}

impl Child for IntCounter {
    const TYPE: MetricType = MetricType::COUNTER;

    fn make(opts: Opts) -> prometheus::Result<Self> {
        Self::with_opts(opts)
    }
}

impl Child for IntGauge {
    const TYPE: MetricType = MetricType::GAUGE;

    fn make(opts: Opts) -> prometheus::Result<Self> {
        Self::with_opts(opts)
    }
}

impl Child for Histogram {
    const TYPE: MetricType = MetricType::HISTOGRAM;

    fn make(opts: Opts) -> prometheus::Result<Self> {
        Self::with_opts(HistogramOpts::from(opts).buckets(BUCKETS.to_vec()))
    }
}

/// Seconds, from a reused connection nearby to a long answer of a model.
const BUCKETS: &[f64] = &[
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0, 300.0,
];

/// All series of one name. Cloning shares them.
pub(super) struct Family<M>(Arc<Inner<M>>);

struct Inner<M> {
    doc: &'static Doc,
    desc: Desc,
    /// Most series under names of their own; what remains of [`SERIES`] is for [`OTHER`].
    room: usize,
    series: Mutex<Series<M>>,
}

struct Series<M> {
    children: HashMap<Vec<Box<str>>, M>,
    /// How many of them are not under [`OTHER`].
    named: usize,
}

impl<M> Clone for Family<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M: Child> Family<M> {
    /// The series with these values, one for each label of the family. Once the family is
    /// full, the first value is replaced by [`OTHER`].
    ///
    /// Takes a lock and allocates: for handles that are kept, not for each request.
    pub(super) fn child(&self, values: &[&str]) -> M {
        debug_assert_eq!(values.len(), self.0.doc.labels.len());
        let mut key: Vec<Box<str>> = values.iter().map(|&value| value.into()).collect();
        let mut series = self.0.series.lock();
        if let Some(child) = series.children.get(&key) {
            return child.clone();
        }
        if key.first().is_none_or(|name| **name != *OTHER) {
            if series.named < self.0.room {
                series.named += 1;
            } else if let Some(name) = key.first_mut() {
                *name = OTHER.into();
            }
        }
        let doc = self.0.doc;
        series
            .children
            .entry(key)
            .or_insert_with_key(|key| make(doc, key))
            .clone()
    }

    /// Forgets all series; those who still hold one count into nothing.
    pub(super) fn clear(&self) {
        let mut series = self.0.series.lock();
        series.children.clear();
        series.named = 0;
    }
}

impl<M: Child> Collector for Family<M> {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.0.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let metrics = self
            .0
            .series
            .lock()
            .children
            .values()
            .map(Metric::metric)
            .collect();
        let mut family = MetricFamily::default();
        family.set_name(self.0.doc.name.to_owned());
        family.set_help(self.0.doc.help.to_owned());
        family.set_field_type(M::TYPE);
        family.set_metric(metrics);
        vec![family]
    }
}

/// One series. Names and help come from the table and any text may be a label's value, so
/// only a bad row of the table can fail, and then every test does.
#[allow(
    clippy::expect_used,
    reason = "depends on the constants of the table alone"
)]
fn make<M: Child>(doc: &Doc, values: &[Box<str>]) -> M {
    let mut opts = Opts::new(doc.name, doc.help);
    for (name, value) in doc.labels.iter().zip(values) {
        opts = opts.const_label(*name, value.as_ref());
    }
    M::make(opts).expect("the table's names are valid")
}

/// One series for each value of a fixed set, all present from the start, counted without a lock.
pub(super) struct ByLabel<L, M = IntCounter> {
    children: Box<[M]>,
    labels: PhantomData<L>,
}

impl<L: Label, M> ByLabel<L, M> {
    /// The series of this value.
    pub(super) fn at(&self, label: L) -> Option<&M> {
        self.children.get(label.index())
    }
}

impl<L: Label> ByLabel<L> {
    pub(super) fn add(&self, label: L, count: u64) {
        if let Some(counter) = self.at(label) {
            counter.inc_by(count);
        }
    }
}

/// Brings a counter to the value that is kept elsewhere. When that one began again from
/// nothing, so does the counter: Prometheus knows a reset when it sees one.
pub(super) fn mirror(counter: &IntCounter, value: u64) {
    let have = counter.get();
    if value < have {
        counter.reset();
        counter.inc_by(value);
    } else {
        counter.inc_by(value - have);
    }
}

/// Makes families from rows of the table and puts them into the registry.
pub(super) struct Builder<'a>(pub(super) &'a Registry);

impl Builder<'_> {
    pub(super) fn counter(&self, doc: &'static Doc) -> IntCounter {
        debug_assert_eq!(doc.kind, Kind::Counter);
        self.register(make::<IntCounter>(doc, &[]))
    }

    pub(super) fn gauge(&self, doc: &'static Doc) -> IntGauge {
        debug_assert_eq!(doc.kind, Kind::Gauge);
        self.register(make::<IntGauge>(doc, &[]))
    }

    pub(super) fn histogram(&self, doc: &'static Doc) -> Histogram {
        debug_assert_eq!(doc.kind, Kind::Histogram);
        self.register(make::<Histogram>(doc, &[]))
    }

    /// A family whose first label holds names; `combinations` is how many series one name
    /// can have, which is what must stay free for [`OTHER`].
    pub(super) fn named<M: Child>(&self, doc: &'static Doc, combinations: usize) -> Family<M> {
        self.family(doc, SERIES.saturating_sub(combinations))
    }

    /// A family with one label out of a fixed set.
    pub(super) fn by_label<L: Label, M: Child>(&self, doc: &'static Doc) -> ByLabel<L, M> {
        let family = self.family::<M>(doc, SERIES);
        let children = L::ALL
            .iter()
            .map(|label| family.child(&[label.label()]))
            .collect();
        ByLabel {
            children,
            labels: PhantomData,
        }
    }

    /// A family with two labels out of fixed sets: one row of series for each first value.
    pub(super) fn by_labels<A: Label, B: Label>(&self, doc: &'static Doc) -> Box<[ByLabel<B>]> {
        let family = self.family::<IntCounter>(doc, SERIES);
        let row = |first: &A| ByLabel {
            children: B::ALL
                .iter()
                .map(|second| family.child(&[first.label(), second.label()]))
                .collect(),
            labels: PhantomData,
        };
        A::ALL.iter().map(row).collect()
    }

    #[allow(
        clippy::expect_used,
        reason = "depends on the constants of the table alone"
    )]
    fn family<M: Child>(&self, doc: &'static Doc, room: usize) -> Family<M> {
        let labels = doc.labels.iter().map(|&label| label.to_owned()).collect();
        let desc = Desc::new(
            doc.name.to_owned(),
            doc.help.to_owned(),
            labels,
            HashMap::new(),
        )
        .expect("the table's names are valid");
        self.register(Family(Arc::new(Inner {
            doc,
            desc,
            room,
            series: Mutex::new(Series {
                children: HashMap::new(),
                named: 0,
            }),
        })))
    }

    #[allow(
        clippy::expect_used,
        reason = "depends on the constants of the table alone"
    )]
    fn register<C: Collector + Clone + 'static>(&self, collector: C) -> C {
        self.0
            .register(Box::new(collector.clone()))
            .expect("each row of the table is built once");
        collector
    }
}

#[cfg(test)]
mod tests {
    use super::super::table;
    use super::*;
    use crate::error::{Reason, Verdict};

    #[test]
    fn label_values_that_read_alike_end_to_end_are_two_series() {
        let registry = Registry::new();
        let family = Builder(&registry).named::<IntCounter>(&table::RULE_REQUESTS, 3);
        family.child(&["a", "bc"]).inc();
        family.child(&["ab", "c"]).inc_by(2);
        assert_eq!(family.child(&["a", "bc"]).get(), 1);
        assert_eq!(family.child(&["ab", "c"]).get(), 2);
    }

    #[test]
    fn a_full_family_sends_new_names_to_other_and_keeps_the_old() {
        let registry = Registry::new();
        let family = Builder(&registry).named::<IntCounter>(&table::RULE_REQUESTS, 3);
        for number in 0..10_000 {
            family.child(&[&format!("rule-{number}"), "allow"]).inc();
        }
        let collected = family.collect();
        assert_eq!(collected[0].get_metric().len(), SERIES - 3 + 1);
        assert_eq!(family.child(&["rule-0", "allow"]).get(), 1);
        assert_eq!(
            family.child(&[OTHER, "allow"]).get(),
            10_000 - (SERIES as u64 - 3)
        );
    }

    #[test]
    fn a_mirror_follows_resets() {
        let counter = IntCounter::new("a", "b").unwrap();
        for value in [5, 9, 9, 2, 3] {
            mirror(&counter, value);
            assert_eq!(counter.get(), value);
        }
    }

    #[test]
    fn reasons_and_verdicts_are_found_by_number() {
        fn check<L: Label>() {
            for (place, label) in L::ALL.iter().enumerate() {
                assert_eq!(label.index(), place, "{}", label.label());
            }
        }
        check::<Reason>();
        check::<Verdict>();
    }
}
