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

fn main() {
    println!("{:<12}{:<12}{:<26}{:<26}us one by one", "signatures", "authors", "keys new", "keys known");
    for (n, percent) in [(64, 40), (256, 5), (256, 40), (256, 100), (1_024, 5), (1_024, 40), (1_024, 100), (4_096, 40)]
    {
        let batch = signed(n, n * percent / 100);
        let known = Verifier::new(n);
        let (mut with_new, mut with_known, mut one_by_one) = (vec![], vec![], vec![]);
        for round in 0..=ROUNDS {
            let slice = &batch[(round * 37) % (n - SLICE)..][..SLICE];
            let alone = || micros(|| assert!(slice.iter().all(Signed::is_valid))) / SLICE as f64;
            let together =
                |verifier: &Verifier| micros(|| assert!(verifier.verify(&batch).iter().all(|valid| *valid))) / n as f64;
            let before = alone();
            let new = together(&Verifier::new(n));
            let between = alone();
            let again = together(&known);
            let alone = (before + between + alone()) / 3.0;
            // The first round makes the keys known.
            if round > 0 {
                with_new.push(alone / new);
                with_known.push(alone / again);
                one_by_one.push(alone);
            }
        }
        let (new, known) = (quartiles(with_new), quartiles(with_known));
        one_by_one.sort_by(f64::total_cmp);
        println!("{n:<12}{:<12}{new:<26}{known:<26}{:.0}", format!("{percent} %"), one_by_one[ROUNDS / 2]);
    }
}
