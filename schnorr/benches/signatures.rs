//! What a signature costs in batches, beside libsecp256k1 one by one:
//!
//! ```sh
//! cargo bench -p brotr-schnorr
//! ```
//!
//! Prints the median of paired ratios of process CPU time, with quartiles: how many times cheaper a batch is. A slice is
//! verified one by one before and after each batch, so that a change of the machine's load meets both.

use brotr_schnorr::{Signed, Verifier};
use rustix::time::{ClockId, clock_gettime};
use secp256k1::{Keypair, Message, SECP256K1};
use sha2::{Digest, Sha256};

const ROUNDS: usize = 41;
/// Signatures that are verified one by one each time.
const SLICE: usize = 63;

/// Microseconds of the process's CPU time.
fn micros(run: impl FnOnce()) -> f64 {
    let now = || {
        let time = clock_gettime(ClockId::ProcessCPUTime);
        time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
    };
    let began = now();
    run();
    now() - began
}

fn signed(n: usize, authors: usize) -> Vec<Signed> {
    let hash = |what: &str, n: usize| -> [u8; 32] { Sha256::digest(format!("{what} {n}")).into() };
    let keypair = |n| Keypair::from_seckey_slice(SECP256K1, &hash("author", n)).expect("below n");
    let keypairs: Vec<Keypair> = (0..authors).map(keypair).collect();
    let sign = |i: usize| {
        let (keypair, message) = (&keypairs[i % authors], hash("message", i));
        let signature = SECP256K1.sign_schnorr_no_aux_rand(&Message::from_digest(message), keypair).serialize();
        Signed { public_key: keypair.x_only_public_key().0.serialize(), message, signature }
    };
    (0..n).map(sign).collect()
}

fn quartiles(mut ratios: Vec<f64>) -> String {
    ratios.sort_by(f64::total_cmp);
    let at = |quarter: usize| ratios[quarter * (ratios.len() - 1) / 4];
    format!("{:.2} ({:.2} to {:.2})", at(2), at(1), at(3))
}

/// Verifies batches, each between slices that are verified one by one, and returns how many times cheaper a signature was.
fn ratios(batch: &[Signed], mut together: impl FnMut(&[Signed])) -> Vec<f64> {
    let slice = |round: usize| &batch[(round * 37) % (batch.len() - SLICE)..][..SLICE];
    let alone = |round| {
        let run = || assert!(slice(round).iter().filter(|signed| signed.is_valid()).count() <= SLICE);
        micros(run) / SLICE as f64
    };
    let ratio = |round| {
        let before = alone(round);
        let cost = micros(|| together(batch)) / batch.len() as f64;
        (before + alone(round)) / 2.0 / cost
    };
    (0..ROUNDS).map(ratio).collect()
}

fn main() {
    println!("{:<12}{:<12}{:<26}{:<26}", "signatures", "authors", "keys new", "keys known");
    for n in [64, 256, 1_024, 4_096] {
        for percent in [5, 40, 100] {
            let batch = signed(n, (n * percent).div_ceil(100));
            let all_valid = |verifier: &Verifier, batch: &[Signed]| assert!(verifier.verify(batch).iter().all(|v| *v));
            let new = quartiles(ratios(&batch, |batch| all_valid(&Verifier::new(n), batch)));
            let known = Verifier::new(n);
            all_valid(&known, &batch);
            let known = quartiles(ratios(&batch, |batch| all_valid(&known, batch)));
            println!("{n:<12}{:<12}{new:<26}{known:<26}", format!("{percent} %"));
        }
    }
    println!("\n{:<12}{:<12}{:<26}", "signatures", "invalid", "40 % authors, keys known");
    for n in [64, 512, 4_096] {
        for invalid in [1, 2, 8, n] {
            let mut batch = signed(n, n * 40 / 100);
            for at in 0..invalid {
                batch[at * (n / invalid) + n / invalid / 2].message[0] ^= 1;
            }
            let verifier = Verifier::new(n);
            let ratio = quartiles(ratios(&batch, |batch| {
                assert_eq!(verifier.verify(batch).iter().filter(|valid| !**valid).count(), invalid);
            }));
            println!("{n:<12}{invalid:<12}{ratio}");
        }
    }
}
