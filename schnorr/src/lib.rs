//! Verification of BIP-340 Schnorr signatures over secp256k1, many at a time.
//!
//! A signature `(R, s)` by the key `P` over the message `m` is valid if `s·G = R + e·P`, where `e` is the hash of `R`, `P`
//! and `m`. For many signatures one equation stands for all: with random weights `a_i`,
//!
//! ```text
//! (Σ a_i·s_i)·G = Σ a_i·R_i + Σ (a_i·e_i)·P_i
//! ```
//!
//! One sum of many points costs a quarter, or less, of the many sums of two points that one-by-one verification takes.
//!
//! ```
//! use brotr_schnorr::{Signed, Verifier};
//!
//! # let hex = |text: &str| -> Vec<u8> { (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).expect("hexadecimal")).collect() };
//! // The first test vector of BIP-340.
//! let good = Signed {
//!     public_key: hex("F9308A019258C31049344F85F89D5229B531C845836F99B08601F113BCE036F9").try_into().expect("32 bytes"),
//!     message: [0; 32],
//!     signature: hex(
//!         "E907831F80848D1069A5371B402410364BDF1C5F8307B0084C55F1CE2DCA821525F66A4A85EA8B71E482A74F382D2CE5EBEEE8FDB2172F477DF4900D310536C0",
//!     ).try_into().expect("64 bytes"),
//! };
//! let bad = Signed { message: [1; 32], ..good };
//! let verifier = Verifier::new(10_000);
//! assert_eq!(verifier.verify(&[good, bad, good]), [true, false, true]);
//! ```
//!
//! # Security
//!
//! **A batch with an invalid signature passes with a probability of at most 2^-127**, even if an attacker chose the signatures,
//! keys and messages. Say signature `i` is invalid, so that `D_i = s_i·G - R_i - e_i·P_i` is not the point at infinity. The equation holds
//! only if `Σ a_i·D_i` is that point. The group has prime order and 2^128 different weights below the order are equally likely:
//! 127 random bits and a sign, where +0 and -0 are the same. Whatever the other weights are, at most one value of `a_i` makes
//! the sum vanish, and it comes up with a probability of at most 2^-127. When a batch is halved, a signature is in less than
//! log2(n) sums.
//!
//! That needs weights which nobody who supplies a signature can predict. They come from ChaCha20, whose seed is a SHA-256 of 32
//! bytes of the operating system's randomness and of all public keys, messages and signatures (`s` included) of the batch. So
//! they are unknown beforehand; and were the operating system's randomness predictable, every change of an input would still
//! change all weights. Batches that weight by a hash without `s` can be forged: two valid signatures whose `s` are shifted
//! against each other by the ratio of their weights cancel out.
//!
//! **Only libsecp256k1 rejects.** What has not the form of a signature is left to it at once, and is in no sum. A batch whose
//! equation does not hold is halved, with fresh weights for each half, until fewer than 16 signatures are left or halving has
//! cost more than it takes to find one; these libsecp256k1 verifies one by one. A defect of this crate's arithmetic that made
//! valid batches fail would cost time and nothing else.
//!
//! **Encodings** are checked as BIP-340 asks: `R` and `P` are x-coordinates below the field's order that lie on the curve, taken
//! with an even y; `s` is below the group's order. `e` is the hash modulo the group's order. Points that are equal or opposite
//! (the same signature twice, a key and its nonce) take the branches of addition that are made for them.
//!
//! **Nothing is secret**: verification works on public data, and nothing here runs in constant time. The crate must not be
//! used to sign.
//!
//! # Cost
//!
//! `cargo bench -p brotr-schnorr` prints the cost of a signature beside libsecp256k1's. A batch of n signatures by k public keys
//! costs n + k square roots, less the keys that are known, and a sum of n + 2·k points: O((n + k)·128 / log(n + k)) additions.
//!
//! One invalid signature takes the gain of a small batch and half of that of a large one. With several, the batch costs up to
//! two thirds more than one by one: whoever can slip them into each batch takes the gain. Verify what comes from one source
//! together, and one by one for a while after a failure.
//!
//! Memory: 700 bytes for each signature of a batch, a megabyte for each batch, and 150 bytes for each public key that is kept.

mod batch;
mod cache;
mod field;
mod point;
mod scalar;
mod sum;

pub use batch::{Signed, Verifier};
