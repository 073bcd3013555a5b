use std::collections::BTreeMap;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use secp256k1::{Keypair, Parity};

use super::*;

fn dice(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

fn bytes<const N: usize>(dice: &mut ChaCha20Rng) -> [u8; N] {
    let mut bytes = [0; N];
    dice.fill_bytes(&mut bytes);
    bytes
}

fn below(dice: &mut ChaCha20Rng, n: usize) -> usize {
    dice.next_u32() as usize % n
}

fn keypairs(n: usize, dice: &mut ChaCha20Rng) -> Vec<Keypair> {
    (0..n).map(|_| Keypair::from_seckey_slice(SECP256K1, &bytes::<32>(dice)).expect("below n")).collect()
}

fn sign(keypair: &Keypair, message: [u8; 32]) -> Signed {
    let signature = SECP256K1.sign_schnorr_no_aux_rand(&Message::from_digest(message), keypair).serialize();
    Signed { public_key: keypair.x_only_public_key().0.serialize(), message, signature }
}

fn signed(keypairs: &[Keypair], n: usize, dice: &mut ChaCha20Rng) -> Vec<Signed> {
    (0..n).map(|_| sign(&keypairs[below(dice, keypairs.len())], bytes(dice))).collect()
}

/// Flips one of the 1,024 bits.
fn flip(signed: &mut Signed, bit: usize) {
    let (byte, mask) = (bit / 8, 1 << (bit % 8));
    match byte {
        0..32 => signed.public_key[byte] ^= mask,
        32..64 => signed.message[byte - 32] ^= mask,
        _ => signed.signature[byte - 64] ^= mask,
    }
}

/// Signs with a chosen nonce.
fn sign_with(key: &Keypair, nonce: &Keypair, message: [u8; 32]) -> Signed {
    sign_plainly(key, &even(nonce).to_bytes(), message)
}

/// Signs with a nonce that is not negated when its y is odd.
fn sign_plainly(key: &Keypair, nonce: &[u8; 32], message: [u8; 32]) -> Signed {
    let r = Keypair::from_seckey_slice(SECP256K1, nonce).expect("below n").x_only_public_key().0;
    let mut signed = Signed { public_key: key.x_only_public_key().0.serialize(), message, signature: [0; 64] };
    signed.signature[..32].copy_from_slice(&r.serialize());
    let s = Scalar::from_bytes(nonce).expect("below n").add(&signed.challenge().mul(&even(key)));
    set_s(&mut signed, &s);
    signed
}

/// Returns the secret of the point with even y.
fn even(keypair: &Keypair) -> Scalar {
    let secret = Scalar::from_bytes(&keypair.secret_bytes()).expect("below n");
    if keypair.x_only_public_key().1 == Parity::Odd { secret.neg() } else { secret }
}

fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let bytes: Vec<u8> =
        (0..text.len() / 2).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).expect("hexadecimal")).collect();
    bytes.try_into().ok()
}

fn s_of(signed: &Signed) -> Scalar {
    Scalar::from_bytes(signed.s()).expect("below n")
}

fn set_s(signed: &mut Signed, s: &Scalar) {
    signed.signature[32..].copy_from_slice(&s.to_bytes());
}

fn small(n: u128) -> Scalar {
    Scalar::from(Factor { size: n, is_negative: false })
}

fn verifier() -> Verifier {
    Verifier::new(1_000)
}

impl Verifier {
    /// Returns true if a batch is found to be valid without libsecp256k1.
    fn holds(&self, batch: &[Signed]) -> bool {
        let parsed = self.parse(batch);
        parsed.equations.len() == batch.len() && parsed.hold(&parsed.equations)
    }
}

#[test]
fn valid_batches_of_every_size_hold() {
    let mut dice = dice(1);
    let keypairs = keypairs(400, &mut dice);
    let all = signed(&keypairs, 3_000, &mut dice);
    let verifier = verifier();
    for n in (0..150).chain([200, 256, 300, 511, 512, 700, 1_024, 3_000]) {
        assert!(verifier.holds(&all[..n]), "{n} signatures");
        assert!(Verifier::new(0).holds(&all[..n.min(600)]), "{n} signatures, no cache");
        assert_eq!(verifier.verify(&all[..n]), vec![true; n]);
    }
    // All by one author, and all the same.
    let by_one: Vec<_> = (0..300_u32).map(|n| sign(&keypairs[0], [n.to_le_bytes()[0]; 32])).collect();
    assert!(verifier.holds(&by_one));
    assert!(verifier.holds(&[all[0]; 300]));
}

#[test]
fn every_flipped_bit_is_found() {
    let mut dice = dice(2);
    let keypairs = keypairs(12, &mut dice);
    let verifier = verifier();
    for bit in 0..1_024 {
        let n = [16, 17, 24, 40, 100][bit % 5];
        let mut batch = signed(&keypairs, n, &mut dice);
        let at = below(&mut dice, n);
        flip(&mut batch[at], bit);
        assert!(!verifier.holds(&batch), "bit {bit}");
        if bit % 7 == 0 {
            let wanted: Vec<bool> = (0..n).map(|i| i != at).collect();
            assert_eq!(verifier.verify(&batch), wanted, "bit {bit}");
        }
    }
}

#[test]
fn verdicts_are_those_of_libsecp() {
    let mut dice = dice(3);
    let keypairs = keypairs(30, &mut dice);
    let verifier = Verifier::new(20);
    let mut rejected = 0;
    for round in 0..80 {
        let n = 1 + below(&mut dice, 400);
        let mut batch = signed(&keypairs, n, &mut dice);
        for _ in 0..round % 9 {
            let at = below(&mut dice, n);
            match below(&mut dice, 9) {
                0 => batch[at].public_key = bytes(&mut dice),
                1 => batch[at].signature = bytes(&mut dice),
                2 => batch[at].signature[..32].fill(0xFF),
                3 => batch[at].signature[32..].fill(0xFF),
                4 => batch[at].signature.fill(0),
                5 => batch[at].public_key.fill(0),
                // The same once more, which is valid.
                6 => batch[at] = batch[(at + 1) % n],
                // The nonce is the public key's point.
                7 => {
                    let public_key = batch[at].public_key;
                    batch[at].signature[..32].copy_from_slice(&public_key);
                }
                _ => flip(&mut batch[at], below(&mut dice, 1_024)),
            }
        }
        let wanted: Vec<bool> = batch.iter().map(Signed::is_valid).collect();
        rejected += wanted.iter().filter(|valid| !**valid).count();
        assert_eq!(verifier.holds(&batch), wanted.iter().all(|valid| *valid));
        assert_eq!(verifier.verify(&batch), wanted);
    }
    assert!(rejected > 100, "{rejected} rejected");
}

/// Two signatures whose errors are opposite: valid in sum for weights that do not depend on s, or are all alike.
#[test]
fn errors_do_not_cancel_out() {
    let mut dice = dice(4);
    let keypairs = keypairs(3, &mut dice);
    let verifier = verifier();
    for n in [2, 16, 200] {
        for error in [small(1), small(u128::from(dice.next_u64())), small(12_345).neg()] {
            for ratio in [1, 2, 3, 1 << 40] {
                let mut batch = signed(&keypairs, n, &mut dice);
                let first = s_of(&batch[0]).add(&error.mul(&small(ratio)));
                let second = s_of(&batch[1]).add(&error.neg());
                set_s(&mut batch[0], &first);
                set_s(&mut batch[1], &second);
                assert!(!verifier.holds(&batch));
            }
        }
    }
    // If the weights did not depend on s, a forger could compute their ratio and make the errors cancel.
    let forged = |ratio_of: &dyn Fn(&[Signed]) -> Scalar| {
        let mut batch = signed(&keypairs, 16, &mut dice.clone());
        let ratio = ratio_of(&batch);
        let (first, second) = (s_of(&batch[0]).add(&ratio), s_of(&batch[1]).add(&small(1).neg()));
        set_s(&mut batch[0], &first);
        set_s(&mut batch[1], &second);
        batch
    };
    let challenges = |batch: &[Signed]| batch[1].challenge().mul(&batch[0].challenge().neg());
    assert!(!verifier.holds(&forged(&challenges)));
    assert!(!verifier.holds(&forged(&|_| small(1))));
    // The same signature, once with more and once with less.
    let mut batch = vec![signed(&keypairs, 1, &mut dice)[0]; 16];
    assert!(verifier.holds(&batch));
    let (more, less) = (s_of(&batch[0]).add(&small(1)), s_of(&batch[1]).add(&small(1).neg()));
    set_s(&mut batch[0], &more);
    set_s(&mut batch[1], &less);
    assert!(!verifier.holds(&batch));
}

#[test]
fn a_nonce_whose_y_is_odd_is_rejected() {
    let mut dice = dice(5);
    let keypairs = keypairs(1, &mut dice);
    let mut odd = 0;
    while odd < 20 {
        let nonce = Keypair::from_seckey_slice(SECP256K1, &bytes::<32>(&mut dice)).expect("below n");
        let forged = sign_plainly(&keypairs[0], &nonce.secret_bytes(), [7; 32]);
        let (_, parity) = nonce.x_only_public_key();
        let is_valid = parity == Parity::Even;
        assert_eq!(forged.is_valid(), is_valid);
        let mut batch = signed(&keypairs, 20, &mut dice);
        batch[7] = forged;
        assert_eq!(verifier().holds(&batch), is_valid);
        odd += usize::from(!is_valid);
    }
}

#[test]
fn numbers_out_of_range_are_rejected() {
    let mut dice = dice(6);
    let keypairs = keypairs(3, &mut dice);
    let good = signed(&keypairs, 20, &mut dice);
    let is_parsed = |batch: &[Signed]| verifier().parse(batch).equations.iter().any(|equation| equation.place == 3);
    let n = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
    let p = "fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f";
    // p + 1, which would be 1, the x-coordinate of a point.
    let p_and_1 = "fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc30";
    for (at, number) in [(32, n), (0, p), (0, p_and_1), (0, n)] {
        let mut batch = good.clone();
        batch[3].signature[at..at + 32].copy_from_slice(&hex::<32>(number).expect("32 bytes"));
        assert!(!verifier().holds(&batch), "{number} at {at}");
        // The sum hardly ever tells: the number itself must be refused. An x-coordinate may be as large as n.
        assert!(!is_parsed(&batch) || (at, number) == (0, n), "{number} at {at}");
    }
    for number in [p, p_and_1] {
        let mut batch = good.clone();
        batch[3].public_key = hex(number).expect("32 bytes");
        assert!(!is_parsed(&batch), "{number} as a key");
    }
    for s in [0, 1] {
        let mut batch = good.clone();
        set_s(&mut batch[3], &small(s));
        let wanted: Vec<bool> = batch.iter().map(Signed::is_valid).collect();
        assert_eq!(verifier().verify(&batch), wanted);
    }
}

/// Keys and nonces that are small multiples of each other, opposite, or images by the endomorphism: their sums meet equal and
/// opposite points.
#[test]
fn related_keys_and_nonces_have_their_verdicts() {
    let lambda = hex("5363ad4cc05c30e0a5261c028812645a122e22ea20816678df02967c1b23bd72").expect("32 bytes");
    let lambda = Scalar::from_bytes(&lambda).expect("below n");
    let mut secrets = vec![lambda, lambda.neg(), lambda.add(&small(1)), lambda.mul(&lambda)];
    secrets.extend((1..5).flat_map(|n| [small(n), small(n).neg()]));
    let keypairs: Vec<Keypair> = secrets
        .iter()
        .map(|secret| Keypair::from_seckey_slice(SECP256K1, &secret.to_bytes()).expect("not 0"))
        .collect();
    let mut batch = Vec::new();
    for (n, key) in keypairs.iter().enumerate() {
        batch.extend(keypairs.iter().map(|nonce| sign_with(key, nonce, [n.to_le_bytes()[0]; 32])));
    }
    assert!(batch.iter().all(Signed::is_valid));
    let verifier = verifier();
    for part in batch.chunks(16).chain([&*batch]) {
        assert!(verifier.holds(part));
    }
    let changes: [fn(&mut Signed, &Signed); 3] = [
        |to, from| to.message = from.message,
        |to, from| to.public_key = from.public_key,
        |to, from| to.signature[..32].copy_from_slice(&from.signature[..32]),
    ];
    for (n, at) in (0..batch.len()).step_by(5).enumerate() {
        let mut batch = batch.clone();
        let other = batch[(at + 17) % batch.len()];
        changes[n % 3](&mut batch[at], &other);
        let wanted: Vec<bool> = batch.iter().map(Signed::is_valid).collect();
        assert_eq!(verifier.holds(&batch), wanted.iter().all(|valid| *valid));
        assert_eq!(verifier.verify(&batch), wanted);
    }
}

#[test]
fn malformed_signatures_are_left_out_of_the_sum() {
    let mut dice = dice(10);
    let keypairs = keypairs(5, &mut dice);
    let mut batch = signed(&keypairs, 60, &mut dice);
    batch[3].signature[..32].fill(0xFF);
    batch[17].signature[32..].fill(0xFF);
    batch[59].public_key.fill(0xFF);
    let verifier = verifier();
    let parsed = verifier.parse(&batch);
    assert_eq!(parsed.equations.len(), 57);
    assert!(parsed.hold(&parsed.equations));
    let wanted: Vec<bool> = (0..60).map(|at| ![3, 17, 59].contains(&at)).collect();
    assert_eq!(verifier.verify(&batch), wanted);
}

#[test]
fn invalid_ones_are_found_in_large_batches() {
    let mut dice = dice(11);
    let keypairs = keypairs(300, &mut dice);
    let batch = signed(&keypairs, 2_500, &mut dice);
    let verifier = verifier();
    for invalid in [vec![0], vec![2_499], vec![600, 601], (0..2_500).step_by(40).collect()] {
        let mut batch = batch.clone();
        invalid.iter().for_each(|at: &usize| batch[*at].message[5] ^= 1);
        let wanted: Vec<bool> = (0..2_500).map(|at| !invalid.contains(&at)).collect();
        assert!(!verifier.holds(&batch));
        assert_eq!(verifier.verify(&batch), wanted);
    }
}

/// By what is left of the budget: which sums failed.
#[test]
fn bisection_sums_no_more_than_necessary() {
    let mut dice = dice(12);
    let keypairs = keypairs(20, &mut dice);
    let good = signed(&keypairs, 512, &mut dice);
    let verifier = verifier();
    let left = |invalid: &[usize], budget: usize| {
        let mut batch = good.clone();
        invalid.iter().for_each(|at| batch[*at].message[5] ^= 1);
        let (mut verdicts, mut left) = (vec![None; 512], budget);
        let parsed = verifier.parse(&batch);
        parsed.bisect(&parsed.equations, &mut verdicts, &mut left, false);
        let wanted: Vec<_> = (0..512).map(|at| Some(!invalid.contains(&at))).collect();
        assert_eq!(verdicts, wanted);
        left
    };
    assert_eq!(left(&[], 1_024), 1_024);
    assert_eq!(left(&[0], 1_024), 1_024 - (512 + 256 + 128 + 64 + 32 + 16));
    // Where the first half holds, the second one is not tried before it is halved.
    assert_eq!(left(&[511], 1_024), 1_024 - 512);
    assert_eq!(left(&[0, 511], 1_024), 1_024 - (512 + 256 + 128 + 64 + 32 + 16));
    assert_eq!(left(&[0, 511], 2_048), 2_048 - (512 + 2 * 256 + 128 + 64 + 32 + 16));
    assert_eq!(left(&[0], 511), 511);
}

/// Every row with a message of 32 bytes, alone and among valid signatures.
#[test]
fn the_vectors_of_bip_340_have_their_verdicts() {
    let mut dice = dice(7);
    let keypairs = keypairs(3, &mut dice);
    let mut counts = BTreeMap::new();
    for row in include_str!("../../tests/bip-0340.csv").lines().skip(1) {
        let fields: Vec<&str> = row.split(',').collect();
        let is_valid = fields[6] == "TRUE";
        let Some(message) = hex(fields[4]) else { continue };
        let public_key = hex(fields[2]).expect("32 bytes");
        let item = Signed { public_key, message, signature: hex(fields[5]).expect("64 bytes") };
        assert_eq!(item.is_valid(), is_valid, "{row}");
        assert_eq!(verifier().holds(&[item]), is_valid, "{row}");
        let mut batch = signed(&keypairs, 30, &mut dice);
        batch[11] = item;
        assert_eq!(verifier().holds(&batch), is_valid, "{row}");
        *counts.entry(is_valid).or_insert(0) += 1;
    }
    assert!(counts[&true] >= 5 && counts[&false] >= 9, "{counts:?}");
}

#[test]
fn weights_change_with_every_input() {
    let mut dice = dice(8);
    let keypairs = keypairs(2, &mut dice);
    let batch = signed(&keypairs, 2, &mut dice);
    let first = seed(&[1; 32], batch.iter());
    assert_eq!(seed(&[1; 32], batch.iter()), first);
    assert_ne!(seed(&[2; 32], batch.iter()), first);
    assert_ne!(seed(&[1; 32], batch[..1].iter()), first);
    for at in 0..2 {
        for bit in 0..1_024 {
            let mut other = batch.clone();
            flip(&mut other[at], bit);
            assert_ne!(seed(&[1; 32], other.iter()), first, "bit {bit} of {at}");
        }
    }
    let mut drawn: Vec<_> =
        (0..200).map(|_| weight(&mut weights(batch.iter()))).map(|w| (w.size, w.is_negative)).collect();
    assert!(drawn.iter().any(|(_, negative)| *negative) && drawn.iter().any(|(_, negative)| !*negative));
    assert!(drawn.iter().all(|(size, _)| *size < 1 << 127));
    assert!(drawn.iter().any(|(size, _)| *size >= 1 << 126), "127 bits");
    drawn.sort_unstable();
    drawn.dedup();
    assert_eq!(drawn.len(), 200, "the same batch has other weights each time");
}

#[test]
fn a_shared_verifier_serves_threads() {
    let mut dice = dice(9);
    let keypairs = keypairs(50, &mut dice);
    let batches: Vec<_> = (0..8).map(|_| signed(&keypairs, 100, &mut dice)).collect();
    let verifier = Verifier::new(10);
    std::thread::scope(|scope| {
        for batch in &batches {
            scope.spawn(|| assert_eq!(verifier.verify(batch), vec![true; 100]));
        }
    });
}
