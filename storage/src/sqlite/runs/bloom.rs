//! A Bloom filter of one cache line a look-up, over ids, which are hashes already.

/// Bits for each id. With [`PROBES`] of them set within a line of 512, about one unknown id in 150 passes.
const BITS: usize = 12;
const PROBES: u32 = 7;
/// Words of a line.
const LINE: usize = 8;

/// A filter over a few thousand ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bloom(Box<[u64]>);

impl Bloom {
    /// Builds the filter of these ids.
    pub(super) fn of<'a>(ids: impl ExactSizeIterator<Item = &'a [u8; 32]>) -> Self {
        let lines = (ids.len() * BITS).div_ceil(LINE * 64);
        let mut words = vec![0; lines * LINE].into_boxed_slice();
        for id in ids {
            let (from, bits) = place(id, lines);
            for bit in bits {
                words[from + bit / 64] |= 1 << (bit % 64);
            }
        }
        Self(words)
    }

    /// Returns false for an id that is certainly not among those.
    pub(super) fn may_hold(&self, id: &[u8; 32]) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let (from, mut bits) = place(id, self.0.len() / LINE);
        bits.all(|bit| (self.0[from + bit / 64] >> (bit % 64)) & 1 == 1)
    }

    pub(super) fn to_bytes(&self) -> impl Iterator<Item = u8> {
        self.0.iter().flat_map(|word| word.to_le_bytes())
    }

    /// Reads what [`Bloom::to_bytes`] wrote; `None` if it is not such.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (words, rest) = bytes.as_chunks::<8>();
        let whole = rest.is_empty() && words.len().is_multiple_of(LINE);
        whole.then(|| Self(words.iter().map(|word| u64::from_le_bytes(*word)).collect()))
    }
}

/// The first word of an id's line, and its bits within the line. The front of the id is left out: the ids of a filter lie
/// close together.
fn place(id: &[u8; 32], lines: usize) -> (usize, impl Iterator<Item = usize>) {
    let word = |from: usize| u64::from_le_bytes(id[from..from + 8].try_into().expect("eight bytes"));
    let line = ((u128::from(word(16)) * lines as u128) >> 64) as usize;
    let bits = word(24);
    (line * LINE, (0..PROBES).map(move |probe| ((bits >> (9 * probe)) & 511) as usize))
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    fn id(n: u32) -> [u8; 32] {
        Sha256::digest(n.to_le_bytes()).into()
    }

    #[test]
    fn what_is_there_passes_and_little_else_does() {
        for n in [0, 1, 40, 3_584] {
            let ids: Vec<_> = (0..n).map(id).collect();
            let bloom = Bloom::of(ids.iter());
            assert!(ids.iter().all(|id| bloom.may_hold(id)));
            assert_eq!(Bloom::from_bytes(&bloom.to_bytes().collect::<Vec<_>>()), Some(bloom.clone()));
            let passed = (0..20_000).filter(|other| bloom.may_hold(&id(n + 1 + other))).count();
            assert!(passed < 300, "{passed} of 20,000 unknown ids pass a filter of {n}");
        }
        assert_eq!(Bloom::from_bytes(&[0; 63]), None);
    }
}
