//! A Bloom filter with one cache line per lookup.

/// The key of a filter: 128 bits of a hash.
pub(in crate::sqlite) type Mark = (u64, u64);

/// Bits per key. With [`PROBES`] of them set within a line of 512, about one unknown key in 150 passes.
const BITS: usize = 12;
const PROBES: u32 = 7;
/// Words per line.
const LINE: usize = 8;

/// A filter of a few thousand keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bloom(Box<[u64]>);

impl Bloom {
    /// Builds the filter of these keys.
    pub(super) fn of(marks: &[Mark]) -> Self {
        let lines = (marks.len() * BITS).div_ceil(LINE * 64);
        let mut words = vec![0; lines * LINE].into_boxed_slice();
        for mark in marks {
            let (from, bits) = place(*mark, lines);
            for bit in bits {
                words[from + bit / 64] |= 1 << (bit % 64);
            }
        }
        Self(words)
    }

    /// Returns false for a key that is certainly not in the filter.
    pub(super) fn may_hold(&self, mark: Mark) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let (from, mut bits) = place(mark, self.0.len() / LINE);
        bits.all(|bit| (self.0[from + bit / 64] >> (bit % 64)) & 1 == 1)
    }

    pub(super) fn to_bytes(&self) -> impl Iterator<Item = u8> {
        self.0.iter().flat_map(|word| word.to_le_bytes())
    }

    /// Decodes the output of [`Bloom::to_bytes`]; `None` if it is invalid.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (words, rest) = bytes.as_chunks::<8>();
        let whole = rest.is_empty() && words.len().is_multiple_of(LINE);
        whole.then(|| Self(words.iter().map(|word| u64::from_le_bytes(*word)).collect()))
    }
}

/// Returns the first word of a key's line, and its bits within the line.
fn place((line, bits): Mark, lines: usize) -> (usize, impl Iterator<Item = usize>) {
    let line = ((u128::from(line) * lines as u128) >> 64) as usize;
    (line * LINE, (0..PROBES).map(move |probe| ((bits >> (9 * probe)) & 511) as usize))
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    fn mark(n: u32) -> Mark {
        let hash = Sha256::digest(n.to_le_bytes());
        let word = |from: usize| u64::from_le_bytes(hash[from..from + 8].try_into().expect("eight bytes"));
        (word(0), word(8))
    }

    #[test]
    fn the_filter_passes_its_keys_and_few_others() {
        for n in [0, 1, 40, 3_584] {
            let marks: Vec<_> = (0..n).map(mark).collect();
            let bloom = Bloom::of(&marks);
            assert!(marks.iter().all(|mark| bloom.may_hold(*mark)));
            assert_eq!(Bloom::from_bytes(&bloom.to_bytes().collect::<Vec<_>>()), Some(bloom.clone()));
            let passed = (0..20_000).filter(|other| bloom.may_hold(mark(n + 1 + other))).count();
            assert!(passed < 300, "{passed} of 20,000 unknown marks pass a filter of {n}");
        }
        assert_eq!(Bloom::from_bytes(&[0; 63]), None);
    }
}
