//! The equation of a batch, and bisection if it does not hold.

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

/// A signature with what is claimed to be signed, and by whom.
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
    /// Returns true if the signature is valid, by libsecp256k1.
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

    /// Returns the challenge hash of the signature.
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

/// Verifies signatures in batches, and caches the points of public keys. It can be shared by threads.
#[derive(Debug)]
pub struct Verifier {
    keys: Keys,
}

impl Verifier {
    /// Returns a verifier that caches the points of this many public keys, 150 bytes each.
    #[must_use]
    pub fn new(keys: usize) -> Self {
        Self { keys: Keys::new(keys) }
    }

    /// Returns for each signature whether it is valid.
    ///
    /// Every `false` is libsecp256k1's; a `true` is wrong with a probability of at most log2(n)·2^-127. The more signatures
    /// there are, and the fewer public keys, the less each costs; beyond some thousands there is little to gain.
    ///
    /// # Panics
    /// Panics if the operating system provides no randomness.
    #[must_use]
    pub fn verify(&self, batch: &[Signed]) -> Vec<bool> {
        let mut verdicts = vec![None; batch.len()];
        if batch.len() >= SMALLEST {
            let parsed = self.parse(batch);
            let mut budget = 2 * batch.len();
            parsed.bisect(&parsed.equations, &mut verdicts, &mut budget, false);
        }
        verdicts.into_iter().zip(batch).map(|(verdict, signed)| verdict.unwrap_or_else(|| signed.is_valid())).collect()
    }

    /// Parses the numbers and the points of a batch.
    fn parse<'a>(&self, batch: &'a [Signed]) -> Parsed<'a> {
        let mut keys = Vec::with_capacity(batch.len());
        let mut places = HashMap::with_capacity(batch.len());
        let mut place_of = |key: &'a [u8; 32]| {
            *places.entry(key).or_insert_with(|| {
                keys.push(*key);
                keys.len() - 1
            })
        };
        let places: Vec<usize> = batch.iter().map(|signed| place_of(&signed.public_key)).collect();
        let points = self.keys.lift(&keys);
        let rs = Affine::lift(&batch.iter().map(|signed| *signed.r()).collect::<Vec<_>>());
        let equations = batch.iter().zip(rs).zip(places).enumerate().filter_map(|(place, ((signed, r), key))| {
            let (s, point) = (Scalar::from_bytes(signed.s())?, points[key]?);
            Some(Equation { place, r: r?, s, key, point, challenge: signed.challenge() })
        });
        Parsed { batch, equations: equations.collect() }
    }
}

/// What one signature claims: that `s` times the generator is the sum of `r` and `challenge` times `point`.
struct Equation {
    /// Its index in the batch.
    place: usize,
    r: Affine,
    s: Scalar,
    challenge: Scalar,
    /// The number of the public key; one key has one number.
    key: usize,
    point: Affine,
}

/// A batch, and the equations of its well-formed signatures. The others are left to libsecp256k1, and are in no sum.
struct Parsed<'a> {
    batch: &'a [Signed],
    equations: Vec<Equation>,
}

impl Parsed<'_> {
    /// Finds the valid signatures by bisection. `is_suspect`: it is known that not all of these are valid.
    ///
    /// `budget` is how many equations may still be in sums that fail. Finding one invalid signature takes twice as many as
    /// there are; with more invalid ones, bisection costs more than it saves.
    fn bisect(&self, equations: &[Equation], verdicts: &mut [Option<bool>], budget: &mut usize, is_suspect: bool) {
        if equations.len() < SMALLEST || equations.len() > *budget {
            for Equation { place, .. } in equations {
                verdicts[*place] = Some(self.batch[*place].is_valid());
            }
        } else if !is_suspect && self.hold(equations) {
            equations.iter().for_each(|equation| verdicts[equation.place] = Some(true));
        } else {
            *budget -= if is_suspect { 0 } else { equations.len() };
            let (first, second) = equations.split_at(equations.len() / 2);
            self.bisect(first, verdicts, budget, false);
            let all_valid = first.iter().all(|equation| verdicts[equation.place] == Some(true));
            self.bisect(second, verdicts, budget, all_valid);
        }
    }

    /// Returns true if all of these hold, by their sum.
    fn hold(&self, equations: &[Equation]) -> bool {
        let signed = equations.iter().map(|equation| &self.batch[equation.place]);
        sum(&terms(equations, &mut weights(signed))).is_infinity()
    }
}

/// Returns the terms whose sum is the point at infinity if all equations hold: `Σ a_i·R_i + Σ (a_i·e_i)·P_i - (Σ a_i·s_i)·G`,
/// with one term for each public key.
fn terms(equations: &[Equation], weights: &mut impl RngCore) -> Vec<Term> {
    let mut terms = Vec::with_capacity(3 * equations.len() + 2);
    let mut of_g = Scalar::ZERO;
    let mut of_keys = HashMap::with_capacity(equations.len());
    for Equation { r, s, challenge, key, point, .. } in equations {
        let factor = weight(weights);
        let a = Scalar::from(factor);
        terms.push(Term { point: *r, factor });
        of_g = of_g.add(&a.mul(s));
        let (_, of_key) = of_keys.entry(key).or_insert((*point, Scalar::ZERO));
        *of_key = of_key.add(&a.mul(challenge));
    }
    for (point, scalar) in of_keys.into_values().chain([(Affine::G, of_g.neg())]) {
        let [first, second] = scalar.split();
        terms.push(Term { point, factor: first });
        terms.push(Term { point: point.endomorphism(), factor: second });
    }
    terms
}

/// Returns the source of a batch's weights, which cannot be predicted before the batch is fixed, nor afterwards.
fn weights<'a>(batch: impl Iterator<Item = &'a Signed>) -> ChaCha20Rng {
    let mut random = [0; 32];
    getrandom::fill(&mut random).expect("the operating system gives random bytes");
    ChaCha20Rng::from_seed(seed(&random, batch))
}

fn seed<'a>(random: &[u8; 32], batch: impl Iterator<Item = &'a Signed>) -> [u8; 32] {
    let mut hash = Sha256::new_with_prefix("brotr-schnorr weights").chain_update(random);
    for signed in batch {
        hash.update(signed.public_key);
        hash.update(signed.message);
        hash.update(signed.signature);
    }
    hash.finalize().into()
}

/// Returns a weight: 127 random bits and a random sign.
fn weight(weights: &mut impl RngCore) -> Factor {
    let bits = u128::from(weights.next_u64()) << 64 | u128::from(weights.next_u64());
    Factor { size: bits >> 1, is_negative: bits & 1 == 1 }
}

#[cfg(test)]
mod tests;
