//! Integers modulo n, the order of the group, and how they are split in two.

/// n, in limbs, the lowest first.
const N: [u64; 4] = [0xBFD2_5E8C_D036_4141, 0xBAAE_DCE6_AF48_A03B, 0xFFFF_FFFF_FFFF_FFFE, 0xFFFF_FFFF_FFFF_FFFF];
/// 2^256 - n.
const FOLD: [u64; 3] = [0x402D_A173_2FC9_BEBF, 0x4551_2319_50B7_5FC4, 1];

/// Of the curve's endomorphism: `LAMBDA·P` has the y-coordinate of P, and an x-coordinate that costs one multiplication.
const LAMBDA: Scalar =
    Scalar([0xDF02_967C_1B23_BD72, 0x122E_22EA_2081_6678, 0xA526_1C02_8812_645A, 0x5363_AD4C_C05C_30E0]);
// A short basis of the lattice of all (a, b) with a + b·LAMBDA = 0 modulo n has the vectors (a1, b1) and (a2, b2).
const MINUS_B1: Scalar = Scalar([0x6F54_7FA9_0ABF_E4C3, 0xE443_7ED6_010E_8828, 0, 0]);
const MINUS_B2: Scalar =
    Scalar([0xD765_CDA8_3DB1_562C, 0x8A28_0AC5_0774_346D, 0xFFFF_FFFF_FFFF_FFFE, 0xFFFF_FFFF_FFFF_FFFF]);
/// 2^384·b2/n and -2^384·b1/n, rounded.
const G1: [u64; 4] = [0xE893_209A_45DB_B031, 0x3DAA_8A14_71E8_CA7F, 0xE86C_90E4_9284_EB15, 0x3086_D221_A7D4_6BCD];
const G2: [u64; 4] = [0x1571_B4AE_8AC4_7F71, 0x2212_08AC_9DF5_06C6, 0x6F54_7FA9_0ABF_E4C4, 0xE443_7ED6_010E_8828];

/// An integer below n, in four limbs, the lowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scalar([u64; 4]);

/// A factor of a point: a number below 2^128 and its sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Factor {
    pub(crate) size: u128,
    pub(crate) is_negative: bool,
}

/// Parses a big-endian number of 256 bits.
pub(crate) fn limbs(bytes: &[u8; 32]) -> [u64; 4] {
    let (chunks, _) = bytes.as_chunks::<8>();
    std::array::from_fn(|limb| u64::from_be_bytes(chunks[3 - limb]))
}

fn is_at_least_n(limbs: &[u64; 4]) -> bool {
    limbs.iter().rev().cmp(N.iter().rev()).is_ge()
}

/// Subtracts n, once.
fn without_n(limbs: [u64; 4]) -> [u64; 4] {
    let mut borrow = false;
    std::array::from_fn(|i| {
        let difference;
        (difference, borrow) = limbs[i].borrowing_sub(N[i], borrow);
        difference
    })
}

fn multiply(a: &[u64; 4], b: &[u64; 4]) -> [u64; 8] {
    let mut wide = [0; 8];
    for i in 0..4 {
        let mut carry = 0;
        for j in 0..4 {
            (wide[i + j], carry) = a[i].carrying_mul_add(b[j], wide[i + j], carry);
        }
        wide[i + 4] = carry;
    }
    wide
}

impl Scalar {
    pub(crate) const ZERO: Self = Self([0; 4]);

    /// Parses a big-endian number; `None` if it is n or more.
    pub(crate) fn from_bytes(bytes: &[u8; 32]) -> Option<Self> {
        let limbs = limbs(bytes);
        (!is_at_least_n(&limbs)).then_some(Self(limbs))
    }

    /// Parses a big-endian number modulo n.
    pub(crate) fn from_bytes_reduced(bytes: &[u8; 32]) -> Self {
        Self::below_2n(limbs(bytes))
    }

    /// A number below 2·n, and below 2^256.
    fn below_2n(limbs: [u64; 4]) -> Self {
        Self(if is_at_least_n(&limbs) { without_n(limbs) } else { limbs })
    }

    pub(crate) fn add(&self, other: &Self) -> Self {
        let mut carry = false;
        let sum: [u64; 4] = std::array::from_fn(|i| {
            let limb;
            (limb, carry) = self.0[i].carrying_add(other.0[i], carry);
            limb
        });
        // What is carried, 2^256, is more than n as well, and the difference wraps into place.
        if carry { Self(without_n(sum)) } else { Self::below_2n(sum) }
    }

    pub(crate) fn neg(&self) -> Self {
        if *self == Self::ZERO {
            return *self;
        }
        let mut borrow = false;
        Self(std::array::from_fn(|i| {
            let difference;
            (difference, borrow) = N[i].borrowing_sub(self.0[i], borrow);
            difference
        }))
    }

    #[cfg(test)]
    pub(crate) fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (chunk, limb) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(self.0.iter().rev()) {
            *chunk = limb.to_be_bytes();
        }
        bytes
    }

    pub(crate) fn mul(&self, other: &Self) -> Self {
        reduce(multiply(&self.0, &other.0))
    }

    /// Returns the two factors of which this is the first plus LAMBDA times the second.
    pub(crate) fn split(&self) -> [Factor; 2] {
        let c1 = rounded_shift(&multiply(&self.0, &G1));
        let c2 = rounded_shift(&multiply(&self.0, &G2));
        let second = c1.mul(&MINUS_B1).add(&c2.mul(&MINUS_B2));
        let first = self.add(&second.mul(&LAMBDA).neg());
        [first.factor(), second.factor()]
    }

    /// Returns a scalar that is less than 2^128 away from 0 as a factor.
    fn factor(&self) -> Factor {
        let is_negative = self.0[3] | self.0[2] != 0;
        let [low, high, rest @ ..] = if is_negative { self.neg().0 } else { self.0 };
        debug_assert_eq!(rest, [0; 2], "half as long as n");
        Factor { size: u128::from(high) << 64 | u128::from(low), is_negative }
    }
}

impl From<Factor> for Scalar {
    fn from(factor: Factor) -> Self {
        let (low, high) = (factor.size & u128::from(u64::MAX), factor.size >> 64);
        let part = |n: u128| u64::try_from(n).expect("64 bits");
        let size = Self([part(low), part(high), 0, 0]);
        if factor.is_negative { size.neg() } else { size }
    }
}

/// Divides by 2^384 and rounds.
fn rounded_shift(wide: &[u64; 8]) -> Scalar {
    let (low, carry) = wide[6].carrying_add(wide[5] >> 63, false);
    let (high, _) = wide[7].carrying_add(0, carry);
    Scalar([low, high, 0, 0])
}

/// Reduces a number of eight limbs: what lies above 2^256 counts FOLD times, until nothing does.
fn reduce(mut wide: [u64; 8]) -> Scalar {
    while wide[4..] != [0; 4] {
        let [w0, w1, w2, w3, high @ ..] = wide;
        let mut folded = [w0, w1, w2, w3, 0, 0, 0, 0];
        for (i, limb) in high.into_iter().enumerate() {
            let mut carry = 0;
            for (j, factor) in FOLD.into_iter().enumerate() {
                (folded[i + j], carry) = limb.carrying_mul_add(factor, folded[i + j], carry);
            }
            for place in &mut folded[i + FOLD.len()..] {
                let overflow;
                (*place, overflow) = place.carrying_add(carry, false);
                carry = u64::from(overflow);
            }
        }
        wide = folded;
    }
    Scalar::below_2n([wide[0], wide[1], wide[2], wide[3]])
}

#[cfg(test)]
pub(crate) mod tests {
    use num_bigint::BigUint;
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn big(limbs: &[u64]) -> BigUint {
        limbs.iter().rev().fold(BigUint::ZERO, |sum, limb| (sum << 64_u32) + *limb)
    }

    pub(crate) fn modulo(a: &BigUint, b: &BigUint) -> BigUint {
        a % b
    }

    fn n() -> BigUint {
        big(&N)
    }

    fn limb() -> impl Strategy<Value = u64> {
        let ends = vec![0, 1, u64::MAX - 1, u64::MAX, N[0], N[0] - 1, N[0] + 1, N[1], N[2], FOLD[0], FOLD[1]];
        prop_oneof![2 => any::<u64>(), 1 => prop::sample::select(ends)]
    }

    fn scalar() -> impl Strategy<Value = Scalar> {
        let near_n = (0..3_u64).prop_map(|k| Scalar([N[0] - 1 - k, N[1], N[2], N[3]]));
        prop_oneof![8 => [limb(), limb(), limb(), limb()].prop_map(Scalar::below_2n), 1 => near_n, 1 => Just(Scalar::ZERO)]
    }

    fn value(scalar: &Scalar) -> BigUint {
        let value = big(&scalar.0);
        assert!(value < n(), "reduced");
        value
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn arithmetic_is_that_of_integers(a in scalar(), b in scalar()) {
            let (x, y) = (value(&a), value(&b));
            prop_assert_eq!(value(&a.add(&b)), modulo(&(&x + &y), &n()));
            prop_assert_eq!(value(&a.neg()), modulo(&(n() - &x), &n()));
            prop_assert_eq!(value(&a.mul(&b)), modulo(&(&x * &y), &n()));
        }

        #[test]
        fn wide_numbers_are_reduced(wide in [limb(), limb(), limb(), limb(), limb(), limb(), limb(), limb()]) {
            prop_assert_eq!(value(&reduce(wide)), modulo(&big(&wide), &n()));
        }

        #[test]
        fn two_short_factors_make_the_scalar(a in scalar()) {
            let [first, second] = a.split().map(Scalar::from);
            prop_assert_eq!(first.add(&second.mul(&LAMBDA)), a);
        }

        #[test]
        fn a_factor_is_its_magnitude_with_its_sign(size: u128, is_negative: bool) {
            let scalar = Scalar::from(Factor { size, is_negative });
            let wanted = if is_negative { modulo(&(n() - size), &n()) } else { BigUint::from(size) };
            prop_assert_eq!(value(&scalar), wanted);
        }
    }

    #[test]
    fn invalid_scalars_are_refused() {
        let bytes = |n: &BigUint| -> [u8; 32] { n.to_bytes_be().try_into().expect("256 bits") };
        assert_eq!(Scalar::from_bytes(&bytes(&n())), None);
        assert_eq!(Scalar::from_bytes_reduced(&bytes(&n())), Scalar::ZERO);
        assert_eq!(Scalar::from_bytes(&bytes(&(n() - 1_u8))), Some(Scalar([1, 0, 0, 0]).neg()));
        assert_eq!(value(&Scalar::from_bytes_reduced(&[0xFF; 32])), modulo(&big(&[u64::MAX; 4]), &n()));
    }
}
