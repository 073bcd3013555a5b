//! Integers modulo p = 2^256 - 2^32 - 977, the field that the curve's coordinates are in.

/// 2^256 modulo p.
const FOLD: u64 = (1 << 32) + 977;
const P: [u64; 4] = [FOLD.wrapping_neg(), u64::MAX, u64::MAX, u64::MAX];

/// An element of the field, in four limbs, the lowest first.
///
/// Elements from p to 2^256 are held as they come out, so one element can have two forms; only [`Field::reduced`] and what
/// uses it tells them apart.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field([u64; 4]);

impl PartialEq for Field {
    fn eq(&self, other: &Self) -> bool {
        self.sub(other).is_zero()
    }
}

/// Returns true if a number is p or more.
fn is_at_least_p(limbs: &[u64; 4]) -> bool {
    limbs[3] & limbs[2] & limbs[1] == u64::MAX && limbs[0] >= P[0]
}

impl Field {
    pub(crate) const ZERO: Self = Self([0; 4]);
    pub(crate) const ONE: Self = Self([1, 0, 0, 0]);
    /// The constant of the curve, y² = x³ + 7.
    pub(crate) const SEVEN: Self = Self([7, 0, 0, 0]);

    /// Returns the element with these limbs, lowest first. They must be below p.
    pub(crate) const fn new(limbs: [u64; 4]) -> Self {
        Self(limbs)
    }

    /// Parses a big-endian number; `None` if it is p or more.
    pub(crate) fn from_bytes(bytes: &[u8; 32]) -> Option<Self> {
        let limbs = crate::scalar::limbs(bytes);
        (!is_at_least_p(&limbs)).then_some(Self(limbs))
    }

    /// Returns the form below p.
    pub(crate) fn reduced(&self) -> [u64; 4] {
        // From p on, only the lowest limb is left.
        if is_at_least_p(&self.0) { [self.0[0].wrapping_sub(P[0]), 0, 0, 0] } else { self.0 }
    }

    #[inline(always)]
    pub(crate) fn is_zero(&self) -> bool {
        self.0 == [0; 4] || self.0 == P
    }

    pub(crate) fn is_odd(&self) -> bool {
        self.reduced()[0] & 1 == 1
    }

    #[inline(always)]
    pub(crate) fn add(&self, other: &Self) -> Self {
        let (a, b) = (&self.0, &other.0);
        let (r0, carry) = a[0].carrying_add(b[0], false);
        let (r1, carry) = a[1].carrying_add(b[1], carry);
        let (r2, carry) = a[2].carrying_add(b[2], carry);
        let (r3, carry) = a[3].carrying_add(b[3], carry);
        add_small([r0, r1, r2, r3], u64::from(carry) * FOLD)
    }

    #[inline(always)]
    pub(crate) fn sub(&self, other: &Self) -> Self {
        let (a, b) = (&self.0, &other.0);
        let (r0, borrow) = a[0].borrowing_sub(b[0], false);
        let (r1, borrow) = a[1].borrowing_sub(b[1], borrow);
        let (r2, borrow) = a[2].borrowing_sub(b[2], borrow);
        let (r3, borrow) = a[3].borrowing_sub(b[3], borrow);
        // 2^256 was borrowed: that is FOLD too much.
        let (r0, borrow) = r0.borrowing_sub(u64::from(borrow) * FOLD, false);
        let (r1, borrow) = r1.borrowing_sub(0, borrow);
        let (r2, borrow) = r2.borrowing_sub(0, borrow);
        let (r3, borrow) = r3.borrowing_sub(0, borrow);
        // Borrowed again, the number is just below 2^256, and the lowest limb has room for it.
        Self([r0.wrapping_sub(u64::from(borrow) * FOLD), r1, r2, r3])
    }

    #[inline(always)]
    pub(crate) fn neg(&self) -> Self {
        Self::ZERO.sub(self)
    }

    /// Multiplies by a number of at most five bits.
    #[inline(always)]
    pub(crate) fn times(&self, factor: u64) -> Self {
        debug_assert!(factor < 32, "what is carried must fit");
        let a = &self.0;
        let (r0, carry) = a[0].carrying_mul(factor, 0);
        let (r1, carry) = a[1].carrying_mul(factor, carry);
        let (r2, carry) = a[2].carrying_mul(factor, carry);
        let (r3, carry) = a[3].carrying_mul(factor, carry);
        add_small([r0, r1, r2, r3], carry * FOLD)
    }

    #[inline(always)]
    pub(crate) fn mul(&self, other: &Self) -> Self {
        let (a, b) = (&self.0, &other.0);
        // Row by row, and each row added in one chain of carries.
        let [w0, r1, r2, r3, r4] = row(a[0], b);
        let ([w1, r2, r3, r4], r5) = add_row([r1, r2, r3, r4], row(a[1], b));
        let ([w2, r3, r4, r5], r6) = add_row([r2, r3, r4, r5], row(a[2], b));
        let ([w3, w4, w5, w6], w7) = add_row([r3, r4, r5, r6], row(a[3], b));
        reduce([w0, w1, w2, w3, w4, w5, w6, w7])
    }

    #[inline(always)]
    pub(crate) fn square(&self) -> Self {
        let [a, b, c, d] = self.0;
        // The products of two different limbs,
        let (w1, carry) = a.carrying_mul(b, 0);
        let (w2, carry) = a.carrying_mul(c, carry);
        let (w3, w4) = a.carrying_mul(d, carry);
        let (w3, carry) = b.carrying_mul_add(c, w3, 0);
        let (w4, w5) = b.carrying_mul_add(d, w4, carry);
        let (w5, w6) = c.carrying_mul_add(d, w5, 0);
        // each of which is there twice, and the squares. (Shifting would be slow on some processors.)
        let (s0, s1) = a.carrying_mul(a, 0);
        let (s2, s3) = b.carrying_mul(b, 0);
        let (s4, s5) = c.carrying_mul(c, 0);
        let (s6, s7) = d.carrying_mul(d, 0);
        let add_products = |[s1, s2, s3, s4, s5, s6, s7]: [u64; 7]| {
            let (s1, carry) = s1.carrying_add(w1, false);
            let (s2, carry) = s2.carrying_add(w2, carry);
            let (s3, carry) = s3.carrying_add(w3, carry);
            let (s4, carry) = s4.carrying_add(w4, carry);
            let (s5, carry) = s5.carrying_add(w5, carry);
            let (s6, carry) = s6.carrying_add(w6, carry);
            [s1, s2, s3, s4, s5, s6, s7.wrapping_add(u64::from(carry))]
        };
        let [s1, s2, s3, s4, s5, s6, s7] = add_products(add_products([s1, s2, s3, s4, s5, s6, s7]));
        reduce([s0, s1, s2, s3, s4, s5, s6, s7])
    }

    /// Returns the inverse, self^(p-2); zero for zero.
    pub(crate) fn invert(&self) -> Self {
        let Powers { ones_2, ones_22, ones_223 } = Powers::of([*self]);
        // p - 2 in binary: 223 ones, 0, 22 ones, 0000, 1, 0, 11, 0, 1.
        let power = join(&ones_223, 23, &ones_22);
        let power = join(&power, 5, &[*self]);
        let power = join(&power, 3, &ones_2);
        let [inverse] = join(&power, 2, &[*self]);
        inverse
    }

    /// Returns the square roots, each self^((p+1)/4), of the elements that have one.
    ///
    /// A step of a power waits for the one before it; several powers at once keep the processor's multiplier busy.
    pub(crate) fn sqrt<const N: usize>(elements: [Self; N]) -> [Option<Self>; N] {
        let Powers { ones_2, ones_22, ones_223 } = Powers::of(elements);
        // (p + 1) / 4 in binary: 223 ones, 0, 22 ones, 0000, 11, 00.
        let power = join(&ones_223, 23, &ones_22);
        let power = join(&power, 6, &ones_2);
        let roots = squared(power, 2);
        std::array::from_fn(|i| (roots[i].square() == elements[i]).then_some(roots[i]))
    }
}

/// Squares each this many times.
#[inline(always)]
fn squared<const N: usize>(mut powers: [Field; N], times: u32) -> [Field; N] {
    for _ in 0..times {
        powers.iter_mut().for_each(|power| *power = power.square());
    }
    powers
}

/// Returns the powers whose exponents in binary are those of `high`, followed by the `n` digits of those of `low`.
fn join<const N: usize>(high: &[Field; N], n: u32, low: &[Field; N]) -> [Field; N] {
    let mut powers = squared(*high, n);
    powers.iter_mut().zip(low).for_each(|(power, low)| *power = power.mul(low));
    powers
}

/// Powers whose exponents are 2, 22 and 223 ones in binary, of several elements.
struct Powers<const N: usize> {
    ones_2: [Field; N],
    ones_22: [Field; N],
    ones_223: [Field; N],
}

impl<const N: usize> Powers<N> {
    fn of(base: [Field; N]) -> Self {
        let ones_2 = join(&base, 1, &base);
        let ones_3 = join(&ones_2, 1, &base);
        let ones_6 = join(&ones_3, 3, &ones_3);
        let ones_9 = join(&ones_6, 3, &ones_3);
        let ones_11 = join(&ones_9, 2, &ones_2);
        let ones_22 = join(&ones_11, 11, &ones_11);
        let ones_44 = join(&ones_22, 22, &ones_22);
        let ones_88 = join(&ones_44, 44, &ones_44);
        let ones_176 = join(&ones_88, 88, &ones_88);
        let ones_220 = join(&ones_176, 44, &ones_44);
        Self { ones_2, ones_22, ones_223: join(&ones_220, 3, &ones_3) }
    }
}

/// Multiplies four limbs by one.
#[inline(always)]
fn row(a: u64, b: &[u64; 4]) -> [u64; 5] {
    let (r0, high0) = a.carrying_mul(b[0], 0);
    let (low1, high1) = a.carrying_mul(b[1], 0);
    let (low2, high2) = a.carrying_mul(b[2], 0);
    let (low3, high3) = a.carrying_mul(b[3], 0);
    let (r1, carry) = low1.carrying_add(high0, false);
    let (r2, carry) = low2.carrying_add(high1, carry);
    let (r3, carry) = low3.carrying_add(high2, carry);
    // The product of a limb and four is below 2^320.
    [r0, r1, r2, r3, high3.wrapping_add(u64::from(carry))]
}

/// Adds a row to four limbs; the sum fits five.
#[inline(always)]
fn add_row(a: [u64; 4], row: [u64; 5]) -> ([u64; 4], u64) {
    let (r0, carry) = a[0].carrying_add(row[0], false);
    let (r1, carry) = a[1].carrying_add(row[1], carry);
    let (r2, carry) = a[2].carrying_add(row[2], carry);
    let (r3, carry) = a[3].carrying_add(row[3], carry);
    ([r0, r1, r2, r3], row[4].wrapping_add(u64::from(carry)))
}

/// Reduces a number of eight limbs.
#[inline(always)]
fn reduce(wide: [u64; 8]) -> Field {
    let [w0, w1, w2, w3, high @ ..] = wide;
    let ([r0, r1, r2, r3], carry) = add_row([w0, w1, w2, w3], row(FOLD, &high));
    // At most FOLD is carried, and counts FOLD times.
    let (low, high) = carry.carrying_mul(FOLD, 0);
    let (r0, carry) = r0.carrying_add(low, false);
    let (r1, carry) = r1.carrying_add(high, carry);
    let (r2, carry) = r2.carrying_add(0, carry);
    let (r3, carry) = r3.carrying_add(0, carry);
    // Inputs can be chosen to carry once more. What is left is below FOLD² then, and the lowest two limbs have room.
    let (r0, carry) = r0.carrying_add(u64::from(carry) * FOLD, false);
    Field([r0, r1.wrapping_add(u64::from(carry)), r2, r3])
}

/// Adds a number below 2^40.
#[inline(always)]
fn add_small([r0, r1, r2, r3]: [u64; 4], small: u64) -> Field {
    let (r0, carry) = r0.carrying_add(small, false);
    let (r1, carry) = r1.carrying_add(0, carry);
    let (r2, carry) = r2.carrying_add(0, carry);
    let (r3, carry) = r3.carrying_add(0, carry);
    // After a carry the number is below `small`, and the lowest limb has room.
    Field([r0.wrapping_add(u64::from(carry) * FOLD), r1, r2, r3])
}

#[cfg(test)]
mod tests {
    use num_bigint::BigUint;
    use proptest::prelude::*;

    use super::*;
    use crate::scalar::tests::{big, modulo};

    fn p() -> BigUint {
        big(&P)
    }

    /// Limbs at and near their ends as often as others: that is where carries go wrong.
    pub(crate) fn limb() -> impl Strategy<Value = u64> {
        prop_oneof![
            3 => any::<u64>(),
            1 => prop::sample::select(vec![0, 1, 2, FOLD - 1, FOLD, FOLD + 1, 1 << 63, u64::MAX - 1, u64::MAX]),
            1 => (0..3_u64).prop_map(|n| P[0].wrapping_add(n).wrapping_sub(1)),
            1 => Just(u64::MAX),
        ]
    }

    fn element() -> impl Strategy<Value = Field> {
        [limb(), limb(), limb(), limb()].prop_map(Field)
    }

    fn value(field: &Field) -> BigUint {
        let value = big(&field.reduced());
        assert!(value < p());
        value
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn arithmetic_is_that_of_integers(a in element(), b in element(), k in 0..32_u64) {
            let (x, y) = (big(&a.0), big(&b.0));
            prop_assert_eq!(value(&a), modulo(&x, &p()));
            prop_assert_eq!(value(&a.add(&b)), modulo(&(&x + &y), &p()));
            prop_assert_eq!(value(&a.sub(&b)), modulo(&(&x + p() * 2_u8 - &y), &p()));
            prop_assert_eq!(value(&a.neg()), modulo(&(p() * 2_u8 - &x), &p()));
            prop_assert_eq!(value(&a.mul(&b)), modulo(&(&x * &y), &p()));
            prop_assert_eq!(value(&a.square()), modulo(&(&x * &x), &p()));
            prop_assert_eq!(value(&a.times(k)), modulo(&(&x * k), &p()));
            prop_assert_eq!(a == b, modulo(&x, &p()) == modulo(&y, &p()));
            prop_assert_eq!(a.is_zero(), modulo(&x, &p()) == BigUint::ZERO);
            prop_assert_eq!(a.is_odd(), modulo(&x, &p()).bit(0));
            // The same element in its other form.
            let twin = Field(a.reduced());
            prop_assert!(twin == a && twin.mul(&b) == a.mul(&b));
        }

        #[test]
        fn wide_numbers_are_reduced(wide in [limb(), limb(), limb(), limb(), limb(), limb(), limb(), limb()]) {
            prop_assert_eq!(value(&reduce(wide)), modulo(&big(&wide), &p()));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn inverses_and_roots_are_those_of_integers(a in element()) {
            let x = modulo(&big(&a.0), &p());
            prop_assert_eq!(value(&a.invert()), x.modpow(&(p() - 2_u8), &p()));
            prop_assert_eq!(a.is_zero(), a.mul(&a.invert()) != Field::ONE);
            let is_square = x == BigUint::ZERO || x.modpow(&((p() - 1_u8) / 2_u8), &p()) == BigUint::from(1_u8);
            prop_assert_eq!(Field::sqrt([a])[0].is_some(), is_square);
            let [mine, of_square] = Field::sqrt([a, a.square()]);
            prop_assert!(mine.is_none_or(|root| root.square() == a));
            prop_assert!(of_square.is_some_and(|root| root == a || root == a.neg()));
        }
    }

    /// Numbers whose reduction carries out of the highest limb twice, which random ones do not find.
    #[test]
    fn the_last_carry_of_a_reduction_counts() {
        let mut met = 0;
        for high in [[u64::MAX; 4], [0, 0, 0, u64::MAX], [FOLD, 0, 0, u64::MAX], [u64::MAX, 0, 0, u64::MAX]] {
            let folded = big(&high) * FOLD;
            let carried: BigUint = &folded >> 256_u32;
            // The low half for which the first pass leaves just less than 2^256 beside what it carries.
            let rest = modulo(&folded, &(BigUint::from(1_u8) << 256_u32));
            // What is carried counts `low` more in the lowest limb: beyond that, the last carry reaches the second one.
            let low = modulo(&(&carried * FOLD), &(BigUint::from(1_u8) << 64_u32));
            for below in [1_u8, 2, 3].map(BigUint::from).into_iter().chain([&low + 1_u8, &low + 2_u8]) {
                let full = (BigUint::from(1_u8) << 256_u32) - below;
                if full < rest {
                    continue;
                }
                let low = (full - &rest).to_u64_digits();
                let low: [u64; 4] = std::array::from_fn(|i| low.get(i).copied().unwrap_or(0));
                let wide = [low[0], low[1], low[2], low[3], high[0], high[1], high[2], high[3]];
                assert_eq!(value(&reduce(wide)), modulo(&big(&wide), &p()));
                met += usize::from(carried != BigUint::ZERO);
            }
        }
        assert!(met >= 9);
    }

    #[test]
    fn invalid_field_elements_are_refused() {
        let bytes = |n: &BigUint| -> [u8; 32] { n.to_bytes_be().try_into().expect("256 bits") };
        assert!(Field::from_bytes(&bytes(&p())).is_none());
        assert!(Field::from_bytes(&bytes(&(p() + 1_u8))).is_none());
        assert!(Field::from_bytes(&[0xFF; 32]).is_none());
        let largest = Field::from_bytes(&bytes(&(p() - 1_u8))).expect("below p");
        assert_eq!(largest, Field::ONE.neg());
    }
}
