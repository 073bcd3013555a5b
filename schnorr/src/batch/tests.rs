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
    // Of weights that are a function of all but s, the ratio is known to the forger.
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

/// Signed by hand, without turning the nonce around when its y is odd.
#[test]
fn a_nonce_whose_y_is_odd_is_rejected() {
    let mut dice = dice(5);
    let keypairs = keypairs(1, &mut dice);
    let (public_key, parity) = keypairs[0].x_only_public_key();
    let secret = Scalar::from_bytes(&keypairs[0].secret_bytes()).expect("below n");
    let secret = if parity == Parity::Odd { secret.neg() } else { secret };
    let mut odd = 0;
    while odd < 20 {
        let nonce = Keypair::from_seckey_slice(SECP256K1, &bytes::<32>(&mut dice)).expect("below n");
        let (r, parity) = nonce.x_only_public_key();
        let mut forged = Signed { public_key: public_key.serialize(), message: [7; 32], signature: [0; 64] };
        forged.signature[..32].copy_from_slice(&r.serialize());
        let k = Scalar::from_bytes(&nonce.secret_bytes()).expect("below n");
        let s = k.add(&forged.challenge().mul(&secret));
        set_s(&mut forged, &s);
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
    let n = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
    let p = "fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f";
    // p + 1, which would be 1, the x-coordinate of a point.
    let p_and_1 = "fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc30";
    for (at, number) in [(32, n), (0, p), (0, p_and_1), (0, n)] {
        let mut batch = good.clone();
        batch[3].signature[at..at + 32].copy_from_slice(&hex::<32>(number).expect("32 bytes"));
        assert!(!verifier().holds(&batch), "{number} at {at}");
        // The sum hardly ever tells: the number itself must be refused. An x-coordinate may be as large as n.
        let is_number = verifier().terms(&batch, &mut weights(&batch)).is_some();
        assert!(!is_number || (at, number) == (0, n), "{number} at {at}");
    }
    for number in [p, p_and_1] {
        let mut batch = good.clone();
        batch[3].public_key = hex(number).expect("32 bytes");
        assert!(verifier().terms(&batch, &mut weights(&batch)).is_none(), "{number} as a key");
    }
    for s in [0, 1] {
        let mut batch = good.clone();
        set_s(&mut batch[3], &small(s));
        let wanted: Vec<bool> = batch.iter().map(Signed::is_valid).collect();
        assert_eq!(verifier().verify(&batch), wanted);
    }
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
    let first = seed(&[1; 32], &batch);
    assert_eq!(seed(&[1; 32], &batch), first);
    assert_ne!(seed(&[2; 32], &batch), first);
    assert_ne!(seed(&[1; 32], &batch[..1]), first);
    for at in 0..2 {
        for bit in 0..1_024 {
            let mut other = batch.clone();
            flip(&mut other[at], bit);
            assert_ne!(seed(&[1; 32], &other), first, "bit {bit} of {at}");
        }
    }
    let mut drawn: Vec<_> = (0..200).map(|_| weight(&mut weights(&batch))).map(|w| (w.size, w.is_negative)).collect();
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
