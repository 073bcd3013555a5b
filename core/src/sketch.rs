//! Sketches of distinct authors (HyperLogLog, NIP-45).

use std::fmt;
use std::str::FromStr;

use nostr::{Filter, PublicKey};
use sha2::{Digest, Sha256};

/// The number of registers.
const REGISTERS: usize = 256;
/// The largest value of a register: one more than the leading zeros of seven bytes.
const MAX_REGISTER: u8 = 57;
/// Up to this estimate by empty registers, that estimate is the better one.
const FEW: f64 = 220.0;
/// The same for the other estimate.
const SMALL: f64 = 3.0 * REGISTERS as f64;
/// The correction of HyperLogLog for 256 registers.
const ALPHA: f64 = 0.718_272_593_249_545_8;

/// What is kept of a set of public keys to estimate how many there are: 256 registers of a byte. Sketches of the same filter from
/// several relays merge into the sketch of all events. The estimate is off by some 6 %.
///
/// A key's register depends on the key, which can be chosen: a sketch shows what relays say, and proves nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Sketch(Box<[u8; REGISTERS]>);

/// The position in public keys at which a filter's sketch reads them (NIP-45): a byte, 8 to 23.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offset(usize);

impl Offset {
    /// Returns the position for a filter; `None` unless it is one of those that NIP-45 names for sketches: reactions, reposts,
    /// quotes, replies, comments and followers, by one tag with one value and nothing else.
    #[must_use]
    pub fn of(filter: &Filter) -> Option<Self> {
        let kinds: Vec<u16> = filter.kinds.iter().flatten().map(|kind| kind.as_u16()).collect();
        let mut tags = filter.generic_tags.iter();
        let (Some((letter, values)), None) = (tags.next(), tags.next()) else { return None };
        let mut values = values.iter();
        let (Some(value), None) = (values.next(), values.next()) else { return None };
        let others =
            Filter { kinds: None, generic_tags: std::collections::BTreeMap::new(), limit: None, ..filter.clone() };
        let is_named = match letter.to_string().as_str() {
            "e" => matches!(kinds[..], [7] | [6] | [1]),
            "q" => kinds == [1, 1111],
            "E" => kinds == [1111],
            "p" => kinds == [3],
            _ => false,
        };
        (is_named && others.is_empty()).then(|| Self::of_value(value))
    }

    /// Returns the position for the value of a tag: an id or public key as it is, an address's public key, or the hash of
    /// anything else.
    #[must_use]
    pub fn of_value(value: &str) -> Self {
        let is_key = |text: &str| {
            text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
        };
        let of_address = || {
            let mut parts = value.splitn(3, ':');
            let (kind, key, _) = (parts.next()?, parts.next()?, parts.next()?);
            (kind.parse::<u16>().is_ok() && is_key(key)).then(|| key.to_owned())
        };
        let hex = if is_key(value) {
            value.to_owned()
        } else {
            of_address().unwrap_or_else(|| data_encoding::HEXLOWER.encode(&Sha256::digest(value)))
        };
        let digit = hex.chars().nth(32).and_then(|digit| digit.to_digit(16)).unwrap_or_default();
        Self(digit as usize + 8)
    }

    /// Returns the byte of a public key that selects the register; the seven after it give the value.
    #[must_use]
    pub fn byte(self) -> usize {
        self.0
    }
}

impl Default for Sketch {
    fn default() -> Self {
        Self(Box::new([0; REGISTERS]))
    }
}

impl Sketch {
    /// Adds a public key.
    pub fn add(&mut self, key: &[u8; 32], Offset(at): Offset) {
        let mut rest = [0; 8];
        rest[1..].copy_from_slice(&key[at + 1..at + 8]);
        // The first of the eight bytes is zero.
        let zeros = u64::from_be_bytes(rest).leading_zeros() - 8;
        self.raise(key[at], u8::try_from(zeros + 1).unwrap_or(MAX_REGISTER));
    }

    /// Adds public keys, of which one has this register and this value, at most 57.
    pub fn raise(&mut self, register: u8, value: u8) {
        let register = &mut self.0[usize::from(register)];
        *register = (*register).max(value.min(MAX_REGISTER));
    }

    /// Adds the public keys of another sketch, of the same filter.
    pub fn merge(&mut self, other: &Self) {
        for (mine, other) in self.0.iter_mut().zip(other.0.iter()) {
            *mine = (*mine).max(*other);
        }
    }

    /// Returns about how many distinct public keys were added.
    #[must_use]
    pub fn estimate(&self) -> u64 {
        let registers = REGISTERS as f64;
        let empty = self.0.iter().filter(|register| **register == 0).count() as f64;
        let few = registers * (registers / empty).ln();
        let sum: f64 = self.0.iter().map(|register| f64::from(*register).exp2().recip()).sum();
        let many = ALPHA * registers * registers / sum;
        let estimate = if empty > 0.0 && (few <= FEW || many <= SMALL) { few } else { many };
        estimate as u64
    }
}

impl fmt::Display for Sketch {
    /// As in NIP-45: 512 lower-case hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(self.0.as_slice()))
    }
}

impl fmt::Debug for Sketch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sketch(about {})", self.estimate())
    }
}

/// A text is not a sketch: it has another length, other digits, or a register that no key can reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a HyperLogLog of NIP-45: 256 registers of at most 57, in hexadecimal")]
pub struct InvalidSketch;

impl FromStr for Sketch {
    type Err = InvalidSketch;

    fn from_str(text: &str) -> Result<Self, InvalidSketch> {
        let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).map_err(|_| InvalidSketch)?;
        let registers: Box<[u8; REGISTERS]> = bytes.into_boxed_slice().try_into().map_err(|_| InvalidSketch)?;
        if registers.iter().any(|register| *register > MAX_REGISTER) {
            return Err(InvalidSketch);
        }
        Ok(Self(registers))
    }
}

impl FromIterator<(PublicKey, Offset)> for Sketch {
    fn from_iter<I: IntoIterator<Item = (PublicKey, Offset)>>(keys: I) -> Self {
        let mut sketch = Self::default();
        for (key, offset) in keys {
            sketch.add(key.as_bytes(), offset);
        }
        sketch
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn filter(value: serde_json::Value) -> Filter {
        serde_json::from_value(value).expect("a filter")
    }

    #[test]
    fn the_vectors_of_nip_45() {
        // The hashes of the empty string and of "abc".
        let id = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let key = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let offset = Offset::of(&filter(json!({"kinds": [7], "#e": [id]}))).expect("a filter of the NIP");
        assert_eq!(offset, Offset(10));
        assert_eq!(Offset::of_value(""), offset, "other values are hashed");
        assert_eq!(Offset::of_value(&format!("30023:{id}:a:b")), offset, "an address has a key");
        let sketch = Sketch::from_iter([(PublicKey::from_hex(key).expect("a key"), offset)]);
        assert_eq!(sketch.0.iter().map(|register| u32::from(*register)).sum::<u32>(), 1);
        assert_eq!((sketch.0[0x40], sketch.estimate()), (1, 1));
        assert_eq!(sketch.to_string().parse(), Ok(sketch));
    }

    #[test]
    fn leading_zeros_are_those_of_seven_bytes() {
        let mut sketch = Sketch::default();
        sketch.add(&[0; 32], Offset(8));
        assert_eq!(sketch.0[0], 57);
        let mut key = [0; 32];
        (key[8], key[9]) = (1, 0x10);
        sketch.add(&key, Offset(8));
        assert_eq!(sketch.0[1], 4);
    }

    #[test]
    fn only_filters_that_the_nip_names_have_a_sketch() {
        let id = "11".repeat(32);
        for (value, is_named) in [
            (json!({"kinds": [7], "#e": [id]}), true),
            (json!({"kinds": [1], "#e": [id], "limit": 0}), true),
            (json!({"kinds": [1111, 1], "#q": [id]}), true),
            (json!({"kinds": [3], "#p": [id]}), true),
            (json!({"kinds": [1111], "#E": [id]}), true),
            (json!({"kinds": [7, 6], "#e": [id]}), false),
            (json!({"#e": [id]}), false),
            (json!({"kinds": [3], "#p": [id, "22".repeat(32)]}), false),
            (json!({"kinds": [3], "#p": [id], "#e": [id]}), false),
            (json!({"kinds": [3], "#p": [id], "since": 1}), false),
            (json!({"kinds": [1], "#t": ["nostr"]}), false),
            (json!({"kinds": [3]}), false),
        ] {
            assert_eq!(Offset::of(&filter(value.clone())).is_some(), is_named, "{value}");
        }
    }

    #[test]
    fn what_is_no_sketch_is_refused() {
        for text in
            ["", "00", &"0g".repeat(256), &"00".repeat(255), &format!("{}3a", "00".repeat(255)), &"é".repeat(256)]
        {
            assert_eq!(text.parse::<Sketch>(), Err(InvalidSketch), "{text}");
        }
        assert!(format!("{}39", "00".repeat(255)).parse::<Sketch>().is_ok());
    }

    #[test]
    fn estimates_are_close() {
        let mut sketch = Sketch::default();
        let mut added = 0_u64;
        for most in [0_u64, 1, 5, 50, 200, 1_000, 10_000, 100_000] {
            while added < most {
                sketch.add(&Sha256::digest(added.to_be_bytes()).into(), Offset(12));
                added += 1;
            }
            let off = sketch.estimate().abs_diff(most) as f64 / (most.max(1) as f64);
            assert!(off <= 0.2, "{most}: {}", sketch.estimate());
        }
        // No register is empty.
        assert!(Sketch(Box::new([MAX_REGISTER; REGISTERS])).estimate() > 1 << 60);
    }

    proptest! {
        #[test]
        fn the_sketch_of_all_is_the_merge_of_parts(keys in prop::collection::vec(any::<[u8; 32]>(), 0..300), at in 8_usize..24, cut in 0_usize..300) {
            let sketch = |keys: &[[u8; 32]]| {
                let mut sketch = Sketch::default();
                keys.iter().for_each(|key| sketch.add(key, Offset(at)));
                sketch
            };
            let cut = cut.min(keys.len());
            let (mut first, second) = (sketch(&keys[..cut]), sketch(&keys[cut..]));
            first.merge(&second);
            prop_assert_eq!(&first, &sketch(&keys));
            prop_assert_eq!(first.to_string().parse(), Ok(first));
        }
    }
}
