//! The equation of a batch, and what is done when it does not hold.

use std::collections::HashMap;
use std::sync::LazyLock;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use secp256k1::schnorr::Signature;
use secp256k1::{Message, SECP256K1, XOnlyPublicKey};
use sha2::{Digest, Sha256};

use crate::cache::Keys;
use crate::point::Affine;
use crate::scalar::{Factor, Scalar};
use crate::sum::{Term, sum};

/// Fewer signatures than this are verified one by one, which is about as fast.
const SMALLEST: usize = 16;

/// What is said to be signed: by whom, what, and the signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signed {
    /// The x-coordinate of the public key.
    pub public_key: [u8; 32],
    /// The message, or the hash of one.
    pub message: [u8; 32],
    /// The x-coordinate of R, and s.
    pub signature: [u8; 64],
}

impl Signed {
    /// Returns whether the signature is valid, by libsecp256k1.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let Ok(signature) = Signature::from_slice(&self.signature) else { return false };
        let Ok(key) = XOnlyPublicKey::from_slice(&self.public_key) else { return false };
        SECP256K1.verify_schnorr(&signature, &Message::from_digest(self.message), &key).is_ok()
    }

    fn r(&self) -> &[u8; 32] {
        self.signature.first_chunk().expect("64 bytes have 32")
    }

    fn s(&self) -> &[u8; 32] {
        self.signature.last_chunk().expect("64 bytes have 32")
    }

    /// The hash that the signature answers.
    fn challenge(&self) -> Scalar {
        /// SHA-256 of what a tagged hash begins with: one block.
        static TAGGED: LazyLock<Sha256> = LazyLock::new(|| {
            let tag = Sha256::digest("BIP0340/challenge");
            Sha256::new().chain_update(tag).chain_update(tag)
        });
        let hash = TAGGED.clone().chain_update(self.r()).chain_update(self.public_key).chain_update(self.message);
        Scalar::from_bytes_reduced(&hash.finalize().into())
    }
}

/// Verifies signatures in batches, and keeps the points of public keys that it met. One can be shared by threads.
#[derive(Debug)]
pub struct Verifier {
    keys: Keys,
}

impl Verifier {
    /// Makes a verifier that keeps the points of this many public keys, 150 bytes each.
    #[must_use]
    pub fn new(keys: usize) -> Self {
        Self { keys: Keys::new(keys) }
    }

    /// Returns of each signature whether it is valid.
    ///
    /// Every `false` is libsecp256k1's; a `true` is wrong with a probability of at most 2^-127. The more signatures there
    /// are, and the fewer public keys, the less each costs; beyond some thousands there is little to gain.
    ///
    /// # Panics
    /// When the operating system has no randomness to give.
    #[must_use]
    pub fn verify(&self, batch: &[Signed]) -> Vec<bool> {
        let mut valid = vec![false; batch.len()];
        self.bisect(batch, &mut valid, false);
        valid
    }

    /// `is_suspect`: not all of these are valid, as is known already.
    fn bisect(&self, batch: &[Signed], valid: &mut [bool], is_suspect: bool) {
        if batch.len() < SMALLEST {
            for (valid, signed) in valid.iter_mut().zip(batch) {
                *valid = signed.is_valid();
            }
        } else if !is_suspect && self.holds(batch) {
            valid.fill(true);
        } else {
            let middle = batch.len() / 2;
            let (first, second) = valid.split_at_mut(middle);
            self.bisect(&batch[..middle], first, false);
            self.bisect(&batch[middle..], second, first.iter().all(|valid| *valid));
        }
    }

    /// Returns whether the equation of a batch holds.
    fn holds(&self, batch: &[Signed]) -> bool {
        self.terms(batch, &mut weights(batch)).is_some_and(|terms| sum(&terms).is_infinity())
    }

    /// Returns the terms whose sum is the point at infinity if all signatures are valid: `Σ a_i·R_i + Σ (a_i·e_i)·P_i -
    /// (Σ a_i·s_i)·G`, with one term for each public key. `None` if a signature is not even one by its form.
    fn terms(&self, batch: &[Signed], weights: &mut impl RngCore) -> Option<Vec<Term>> {
        let mut keys: Vec<[u8; 32]> = Vec::with_capacity(batch.len());
        let mut of_keys: Vec<Scalar> = Vec::with_capacity(batch.len());
        let mut places = HashMap::with_capacity(batch.len());
        let mut of_g = Scalar::ZERO;
        let mut terms = Vec::with_capacity(3 * batch.len() + 2);
        let rs = Affine::lift(&batch.iter().map(|signed| *signed.r()).collect::<Vec<_>>());
        for (signed, r) in batch.iter().zip(rs) {
            let factor = weight(weights);
            let a = Scalar::from(factor);
            terms.push(Term { point: r?, factor });
            of_g = of_g.add(&a.mul(&Scalar::from_bytes(signed.s())?));
            let place = *places.entry(&signed.public_key).or_insert(keys.len());
            if place == keys.len() {
                keys.push(signed.public_key);
                of_keys.push(Scalar::ZERO);
            }
            of_keys[place] = of_keys[place].add(&a.mul(&signed.challenge()));
        }
        let points = self.keys.lift(&keys).into_iter().zip(of_keys).map(|(point, scalar)| Some((point?, scalar)));
        let points = points.collect::<Option<Vec<_>>>()?;
        for (point, scalar) in points.into_iter().chain([(Affine::G, of_g.neg())]) {
            let [first, second] = scalar.split();
            terms.push(Term { point, factor: first });
            terms.push(Term { point: point.endomorphism(), factor: second });
        }
        Some(terms)
    }
}

/// The source of a batch's weights. Nobody can tell them before the batch is fixed, nor afterwards.
fn weights(batch: &[Signed]) -> ChaCha20Rng {
    let mut random = [0; 32];
    getrandom::fill(&mut random).expect("the operating system gives random bytes");
    ChaCha20Rng::from_seed(seed(&random, batch))
}

fn seed(random: &[u8; 32], batch: &[Signed]) -> [u8; 32] {
    let mut hash = Sha256::new_with_prefix("brotr-schnorr weights").chain_update((batch.len() as u64).to_be_bytes());
    hash.update(random);
    for signed in batch {
        hash.update(signed.public_key);
        hash.update(signed.message);
        hash.update(signed.signature);
    }
    hash.finalize().into()
}

/// A weight: 127 random bits and a random sign.
fn weight(weights: &mut impl RngCore) -> Factor {
    let bits = u128::from(weights.next_u64()) << 64 | u128::from(weights.next_u64());
    Factor { size: bits >> 1, is_negative: bits & 1 == 1 }
}

#[cfg(test)]
mod tests;
