//! Sets of closed intervals of unix seconds.

/// A span of time in unix seconds, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Interval {
    /// The first second.
    pub since: i64,
    /// The last second; never before `since`.
    pub until: i64,
}

impl Interval {
    /// Returns the interval; `None` if `until` is before `since`.
    #[must_use]
    pub fn new(since: i64, until: i64) -> Option<Self> {
        (since <= until).then_some(Self { since, until })
    }

    /// Returns what is left of this interval without `other`: nothing, one piece or two.
    #[must_use]
    pub fn minus(self, other: Self) -> Vec<Self> {
        if other.until < self.since || other.since > self.until {
            return vec![self];
        }
        let before = other.since.checked_sub(1).and_then(|end| Self::new(self.since, end));
        let after = other.until.checked_add(1).and_then(|start| Self::new(start, self.until));
        before.into_iter().chain(after).collect()
    }
}

/// Intervals that neither overlap nor touch, in order of time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IntervalSet(Vec<Interval>);

impl IntervalSet {
    /// Adds an interval, merging it with those it overlaps or touches.
    pub fn insert(&mut self, mut new: Interval) {
        self.0.retain(|old| {
            let apart = old.until.saturating_add(1) < new.since || new.until.saturating_add(1) < old.since;
            if !apart {
                new.since = new.since.min(old.since);
                new.until = new.until.max(old.until);
            }
            apart
        });
        let at = self.0.partition_point(|old| old.since < new.since);
        self.0.insert(at, new);
    }

    /// Returns the parts of `window` that are in no interval of the set, in order of time.
    #[must_use]
    pub fn missing(&self, window: Interval) -> Vec<Interval> {
        let mut rest = vec![window];
        for covered in &self.0 {
            rest = rest.into_iter().flat_map(|piece| piece.minus(*covered)).collect();
        }
        rest
    }

    /// Adds several intervals.
    pub fn extend(&mut self, intervals: impl IntoIterator<Item = Interval>) {
        intervals.into_iter().for_each(|interval| self.insert(interval));
    }

    /// Returns the intervals, in order of time.
    #[must_use]
    pub fn intervals(&self) -> &[Interval] {
        &self.0
    }
}

impl FromIterator<Interval> for IntervalSet {
    fn from_iter<I: IntoIterator<Item = Interval>>(intervals: I) -> Self {
        let mut set = Self::default();
        intervals.into_iter().for_each(|interval| set.insert(interval));
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_second_is_missing_or_covered_never_both(
            spans in prop::collection::vec((0_i64..60, 0_i64..12), 0..12), window in (0_i64..60, 0_i64..60)
        ) {
            let spans: Vec<_> = spans.iter().filter_map(|(s, n)| Interval::new(*s, s + n)).collect();
            let set: IntervalSet = spans.iter().copied().collect();
            let Some(window) = Interval::new(window.0.min(window.1), window.0.max(window.1)) else { unreachable!() };
            let missing = set.missing(window);
            let within = |list: &[Interval], t: i64| list.iter().filter(|i| i.since <= t && t <= i.until).count();
            for t in 0..80 {
                let covered = within(&spans, t) > 0;
                prop_assert_eq!(within(set.intervals(), t), usize::from(covered));
                let wanted = window.since <= t && t <= window.until && !covered;
                prop_assert_eq!(within(&missing, t), usize::from(wanted));
            }
            for pair in set.intervals().windows(2) {
                prop_assert!(pair[0].until + 1 < pair[1].since);
            }
        }
    }

    #[test]
    fn the_ends_of_time_do_not_overflow() {
        let all = Interval::new(i64::MIN, i64::MAX).expect("in order");
        let mut set = IntervalSet::default();
        set.insert(Interval::new(0, i64::MAX).expect("in order"));
        assert_eq!(set.missing(all), [Interval { since: i64::MIN, until: -1 }]);
        set.insert(all);
        assert_eq!(set.intervals(), [all]);
    }
}
