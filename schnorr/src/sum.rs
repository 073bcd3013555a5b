//! A sum of many points, each times a factor, by Pippenger's method.
//!
//! Factors are written in digits of `width` bits. For each place, points are put into a bucket by their digit, and the buckets
//! are added up. What is left is a sum of buckets, each times its number; the number's high and its low half are taken
//! apart, each half again into its bits, and so all of it stays sums of runs of points, which [`Adder`] makes cheap.

use crate::point::{Adder, Affine, Jacobian};
use crate::scalar::Factor;

/// A point and its factor.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Term {
    pub(crate) point: Affine,
    pub(crate) factor: Factor,
}

/// Bits of a factor, and one that a digit may carry.
const BITS: usize = 129;

/// Points that are added up at a time: few enough to stay in the processor's cache.
const AT_A_TIME: usize = 8_192;

/// Returns the sum.
pub(crate) fn sum(terms: &[Term]) -> Jacobian {
    sum_by(terms, best_width(terms.len()))
}

/// Returns the width of digits for which this many terms take the least time: a bucket costs about as much as one and a half of
/// them.
fn best_width(terms: usize) -> usize {
    let cost = |width: &usize| BITS.div_ceil(*width) * (terms + (3 << (width - 2)));
    (3..=14).min_by_key(cost).unwrap_or(3)
}

/// Returns the digits of a factor, from -2^(width-1) to 2^(width-1), lowest first.
fn digits(factor: Factor, width: usize) -> impl Iterator<Item = i16> {
    let (half, mask) = (1_i32 << (width - 1), (1_u128 << width) - 1);
    let (mut rest, mut carry) = (factor.size, 0);
    (0..BITS.div_ceil(width)).map(move |_| {
        let digit = i32::try_from(rest & mask).expect("at most 14 bits") + carry;
        rest >>= width;
        carry = i32::from(digit > half);
        let digit = i16::try_from(digit - (carry << width)).expect("at most 14 bits");
        if factor.is_negative { -digit } else { digit }
    })
}

fn sum_by(terms: &[Term], width: usize) -> Jacobian {
    if terms.is_empty() {
        return Jacobian::INFINITY;
    }
    let places = BITS.div_ceil(width);
    // Of each place, the digits of all terms.
    let mut all = vec![0_i16; places * terms.len()];
    for (n, term) in terms.iter().enumerate() {
        for (place, digit) in digits(term.factor, width).enumerate() {
            all[place * terms.len() + n] = digit;
        }
    }
    let mut work = Work { width, adder: Adder::default(), points: Vec::new(), runs: Vec::new() };
    let at_a_time = (AT_A_TIME / terms.len()).clamp(1, places);
    let mut bits = Vec::with_capacity(places * width);
    for digits in all.chunks(at_a_time * terms.len()) {
        work.fill_buckets(terms, digits);
        work.by_halves();
        work.by_bits();
        bits.extend(work.sums());
    }
    // The sum of the n-th of these times 2^n.
    bits.iter().rev().fold(Jacobian::INFINITY, |sum, bit| match bit {
        Some(point) => sum.double().add(point),
        None => sum.double(),
    })
}

/// Points in runs that are being added up.
struct Work {
    width: usize,
    adder: Adder,
    points: Vec<Affine>,
    runs: Vec<u32>,
}

impl Work {
    /// Returns the number of buckets of a place: by the size of the digit, from 0.
    fn buckets(&self) -> usize {
        (1 << (self.width - 1)) + 1
    }

    /// Returns the bits of the low half of a bucket's number.
    fn low_bits(&self) -> usize {
        self.width / 2
    }

    /// Returns the number of low halves and of high halves.
    fn halves(&self) -> (usize, usize) {
        (1 << self.low_bits(), ((self.buckets() - 1) >> self.low_bits()) + 1)
    }

    /// Puts the points of some places into their buckets and adds these up.
    fn fill_buckets(&mut self, terms: &[Term], digits: &[i16]) {
        let buckets = self.buckets();
        let size = |digit: &i16| usize::from(digit.unsigned_abs());
        self.runs.clear();
        self.runs.resize(digits.len() / terms.len() * buckets, 0);
        for (digits, runs) in digits.chunks(terms.len()).zip(self.runs.chunks_mut(buckets)) {
            digits.iter().for_each(|digit| runs[size(digit)] += 1);
            // What a digit of 0 asks for is nothing.
            runs[0] = 0;
        }
        let mut next: Vec<u32> = Vec::with_capacity(self.runs.len());
        let mut total = 0;
        for length in &self.runs {
            next.push(total);
            total += length;
        }
        self.points.clear();
        self.points.resize(total as usize, Affine::G);
        for (digits, next) in digits.chunks(terms.len()).zip(next.chunks_mut(buckets)) {
            for (digit, term) in digits.iter().zip(terms).filter(|(digit, _)| **digit != 0) {
                let next = &mut next[size(digit)];
                self.points[*next as usize] = if *digit < 0 { term.point.neg() } else { term.point };
                *next += 1;
            }
        }
        self.adder.add_up(&mut self.points, &mut self.runs);
    }

    /// Adds up the buckets by the low half of their numbers, and by the high half.
    fn by_halves(&mut self) {
        let (lows, highs) = self.halves();
        let (buckets, low_bits) = (self.buckets(), self.low_bits());
        let sums = self.take_sums();
        for sums in sums.chunks(buckets) {
            for low in 0..lows {
                self.push_run(sums.iter().skip(low).step_by(lows).filter(|_| low != 0));
            }
            for high in 0..highs {
                self.push_run(sums.iter().skip(high << low_bits).take(lows).filter(|_| high != 0));
            }
        }
        self.adder.add_up(&mut self.points, &mut self.runs);
    }

    /// Adds up the halves by each of their bits, the lowest of the low half first.
    fn by_bits(&mut self) {
        let (lows, highs) = self.halves();
        let (low_bits, high_bits) = (self.low_bits(), self.width - self.low_bits());
        let sums = self.take_sums();
        for sums in sums.chunks(lows + highs) {
            let (low, high) = sums.split_at(lows);
            for (halves, bits) in [(low, low_bits), (high, high_bits)] {
                for bit in 0..bits {
                    let has_bit = |(n, half)| ((n >> bit) & 1 == 1).then_some(half);
                    self.push_run(halves.iter().enumerate().filter_map(has_bit));
                }
            }
        }
        self.adder.add_up(&mut self.points, &mut self.runs);
    }

    /// Returns the sums and leaves no runs.
    fn take_sums(&mut self) -> Vec<Option<Affine>> {
        let sums = self.sums().collect();
        self.points.clear();
        self.runs.clear();
        sums
    }

    fn push_run<'a>(&mut self, points: impl Iterator<Item = &'a Option<Affine>>) {
        let before = self.points.len();
        self.points.extend(points.flatten());
        self.runs.push(u32::try_from(self.points.len() - before).expect("fewer than were there"));
    }

    /// Returns the sums of the runs; `None` for the point at infinity.
    fn sums(&self) -> impl Iterator<Item = Option<Affine>> {
        let mut points = self.points.iter();
        self.runs.iter().map(move |length| if *length == 0 { None } else { points.next().copied() })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::point::tests::{affine, times_g};

    /// Bit by bit.
    fn plainly(terms: &[Term]) -> Jacobian {
        (0..128).rev().fold(Jacobian::INFINITY, |sum, bit| {
            terms.iter().filter(|term| (term.factor.size >> bit) & 1 == 1).fold(sum.double(), |sum, term| {
                sum.add(&if term.factor.is_negative { term.point.neg() } else { term.point })
            })
        })
    }

    fn factor() -> impl Strategy<Value = Factor> {
        let size = prop_oneof![any::<u128>(), 0..9_u128, (0..9_u128).prop_map(|n| u128::MAX - n)];
        (size, any::<bool>()).prop_map(|(size, is_negative)| Factor { size, is_negative })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(150))]

        /// Few points, so that equal and opposite ones meet.
        #[test]
        fn the_sum_is_that_of_bit_by_bit(terms in prop::collection::vec((1..7_u64, factor()), 0..60)) {
            let term = |(n, factor)| Term { point: affine(&times_g(n)), factor };
            let terms: Vec<Term> = terms.into_iter().map(term).collect();
            let wanted = plainly(&terms).coordinates();
            prop_assert_eq!(sum(&terms).coordinates(), wanted);
            for width in 3..=14 {
                prop_assert_eq!(sum_by(&terms, width).coordinates(), wanted, "{}", width);
            }
        }

        #[test]
        fn digits_make_the_factor(factor in factor(), width in 3..=14_usize) {
            // From the highest: the rest of the number is below 2^129, and a digit may be negative.
            let mut value = num_bigint::BigInt::ZERO;
            for digit in digits(factor, width).collect::<Vec<_>>().into_iter().rev() {
                prop_assert!(digit.unsigned_abs() <= 1 << (width - 1));
                value = (value << width) + digit;
            }
            let size = num_bigint::BigInt::from(factor.size);
            prop_assert_eq!(value, if factor.is_negative { -size } else { size });
        }
    }

    #[test]
    fn many_terms_are_added_a_part_at_a_time() {
        let point = |n: usize| affine(&times_g(1 + n as u64));
        let size = |n: usize| (n as u128 + 3).wrapping_pow(21);
        let terms: Vec<Term> = (0..AT_A_TIME + 10)
            .map(|n| Term { point: point(n % 50), factor: Factor { size: size(n), is_negative: n % 3 == 0 } })
            .collect();
        let mut wanted = Jacobian::INFINITY;
        for part in terms.chunks(700) {
            let sum = plainly(part).coordinates().expect("not infinity");
            let [x, y] = sum.map(crate::field::Field::new);
            wanted = wanted.add(&Affine { x, y });
        }
        assert_eq!(sum(&terms).coordinates(), wanted.coordinates());
    }
}
