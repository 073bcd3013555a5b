//! Signatures get the same verdict together as from libsecp256k1 one by one.
#![no_main]
use std::sync::LazyLock;

use brotr_schnorr::{Signed, Verifier};
use nostr::SECP256K1;
use nostr::secp256k1::{Keypair, Message};

/// Valid ones, by five keys.
static SIGNED: LazyLock<Vec<Signed>> = LazyLock::new(|| {
    let sign = |n: u8| {
        let keypair = Keypair::from_seckey_slice(SECP256K1, &[n % 5 + 1; 32]).expect("below n");
        let signature = SECP256K1.sign_schnorr_no_aux_rand(&Message::from_digest([n; 32]), &keypair);
        let public_key = keypair.x_only_public_key().0.serialize();
        Signed { public_key, message: [n; 32], signature: signature.serialize() }
    };
    (0..20).map(sign).collect()
});
static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| Verifier::new(16));

fn byte(signed: &mut Signed, place: usize) -> &mut u8 {
    match place % 128 {
        place @ 0..64 => &mut signed.signature[place],
        place @ 64..96 => &mut signed.public_key[place - 64],
        place => &mut signed.message[place - 96],
    }
}

// Steps of four bytes: what to do, with which signature, with the help of which or at which byte, and a number.
libfuzzer_sys::fuzz_target!(|steps: &[u8]| {
    let mut batch = SIGNED.clone();
    for step in steps.as_chunks::<4>().0.iter().take(64) {
        let [what, at, place, number] = step.map(usize::from);
        let other = batch[place % batch.len()];
        let at = at % batch.len();
        let one = &mut batch[at];
        match what % 8 {
            0 => one.public_key = other.public_key,
            1 => one.message = other.message,
            2 => one.signature[..32].copy_from_slice(&other.signature[..32]),
            3 => one.signature[32..].copy_from_slice(&other.signature[32..]),
            4 => one.signature[..32].copy_from_slice(&other.public_key),
            5 => *byte(one, place) = byte(one, place).wrapping_add(number as u8),
            6 => (place..place + number % 33).for_each(|place| *byte(one, place) = 0xFF),
            _ => batch.push(other),
        }
    }
    let alone: Vec<bool> = batch.iter().map(Signed::is_valid).collect();
    assert_eq!(VERIFIER.verify(&batch), alone);
});
