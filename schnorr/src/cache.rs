//! A cache of the points of public keys.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use lru::LruCache;

use crate::point::Affine;

/// A bounded cache of points, least recently used first to go. Keys that are no points are not cached.
#[derive(Debug)]
pub(crate) struct Keys {
    points: Option<Mutex<LruCache<[u8; 32], Affine>>>,
}

impl Keys {
    pub(crate) fn new(most: usize) -> Self {
        Self { points: NonZeroUsize::new(most).map(|most| Mutex::new(LruCache::new(most))) }
    }

    /// Returns the points of some keys, in order; `None` for one that is no point.
    ///
    /// The lock is held while keys are looked up and while new ones are added, not while these are computed.
    pub(crate) fn lift(&self, keys: &[[u8; 32]]) -> Vec<Option<Affine>> {
        let Some(points) = &self.points else { return Affine::lift(keys) };
        let lock = || points.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found: Vec<Option<Affine>> = {
            let mut points = lock();
            keys.iter().map(|key| points.get(key).copied()).collect()
        };
        let new: Vec<usize> = (0..keys.len()).filter(|at| found[*at].is_none()).collect();
        let lifted = Affine::lift(&new.iter().map(|at| keys[*at]).collect::<Vec<_>>());
        let mut points = lock();
        for (at, point) in new.into_iter().zip(lifted) {
            found[at] = point;
            if let Some(point) = point {
                points.put(keys[at], point);
            }
        }
        found
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.points.as_ref().map_or(0, |points| points.lock().expect("not poisoned").len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::point::tests::times_g;

    #[test]
    fn points_are_kept_up_to_a_bound_and_bad_keys_are_not() {
        let key = |n: u64| times_g(n).x_only_public_key().0.serialize();
        let keys = Keys::new(3);
        let off_the_curve =
            (0..).map(|n| [n; 32]).find(|key| Affine::lift(&[*key])[0].is_none()).expect("half of all are");
        for n in 1..6 {
            let found = keys.lift(&[key(n), off_the_curve, key(n), key(n + 1)]);
            assert!(found[1].is_none());
            for (place, n) in [(0, n), (2, n), (3, n + 1)] {
                let wanted = Affine::lift(&[key(n)])[0].expect("a point");
                let point = found[place].expect("a point");
                assert!(point.x == wanted.x && point.y == wanted.y);
            }
            assert!(keys.len() <= 3);
        }
        assert_eq!(keys.len(), 3);
        // The one that was asked for longest ago gives way.
        let kept = |keys: &Keys, n: u64| keys.points.as_ref().expect("some").lock().expect("sound").contains(&key(n));
        for n in [4, 5, 6, 4, 9] {
            keys.lift(&[key(n)]);
        }
        assert_eq!([4, 5, 6, 9].map(|n| kept(&keys, n)), [true, false, true, true]);
        let none = Keys::new(0);
        assert!(none.lift(&[key(1)])[0].is_some());
        assert_eq!(none.len(), 0);
    }
}
