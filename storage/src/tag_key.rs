//! Keys of the tag index.

use sha2::{Digest, Sha256};

/// Returns the key under which one value of a one-letter tag is indexed: 64 bits of a hash. Two values share a key with a
/// probability of 2^-64, and rows found by key are compared in full.
pub(crate) fn tag_key(letter: char, value: &str) -> i64 {
    let hash = Sha256::new_with_prefix([letter as u8]).chain_update(value).finalize();
    i64::from_be_bytes(hash[..8].try_into().expect("a hash has 32 bytes"))
}
