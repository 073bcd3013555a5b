//! Points of the curve y² = x³ + 7, and sums of many of them.

use crate::field::Field;

/// Products and powers that do not wait for one another, so that the processor multiplies several at a time.
const LANES: usize = 4;

/// A point that is not the point at infinity.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Affine {
    pub(crate) x: Field,
    pub(crate) y: Field,
}

/// The cube root of 1 that goes with the endomorphism.
const BETA: Field =
    Field::new([0xC139_6C28_7195_01EE, 0x9CF0_4975_12F5_8995, 0x6E64_479E_AC34_34E9, 0x7AE9_6A2B_657C_0710]);

impl Affine {
    /// The generator of the group.
    pub(crate) const G: Self = Self {
        x: Field::new([0x59F2_815B_16F8_1798, 0x029B_FCDB_2DCE_28D9, 0x55A0_6295_CE87_0B07, 0x79BE_667E_F9DC_BBAC]),
        y: Field::new([0x9C47_D08F_FB10_D4B8, 0xFD17_B448_A685_5419, 0x5DA4_FBFC_0E11_08A8, 0x483A_DA77_26A3_C465]),
    };

    /// Returns the points with these x-coordinates and even y-coordinates, if they exist (`lift_x` of BIP-340).
    pub(crate) fn lift(xs: &[[u8; 32]]) -> Vec<Option<Self>> {
        let mut points = Vec::with_capacity(xs.len());
        for xs in xs.chunks(LANES) {
            let elements: [_; LANES] = std::array::from_fn(|i| xs.get(i).and_then(Field::from_bytes));
            let square = |x: Option<Field>| x.map_or(Field::ZERO, |x| x.square().mul(&x).add(&Field::SEVEN));
            let roots = Field::sqrt(elements.map(square));
            let lifted = elements.into_iter().zip(roots).map(|(x, y)| {
                let (x, y) = x.zip(y)?;
                Some(Self { x, y: if y.is_odd() { y.neg() } else { y } })
            });
            points.extend(lifted.take(xs.len()));
        }
        points
    }

    #[inline(always)]
    pub(crate) fn neg(&self) -> Self {
        Self { x: self.x, y: self.y.neg() }
    }

    /// Returns the point times LAMBDA.
    pub(crate) fn endomorphism(&self) -> Self {
        Self { x: self.x.mul(&BETA), y: self.y }
    }
}

/// How two points are added, with the number that must be inverted for it.
enum Line {
    /// The points differ in x, by this much.
    Chord(Field),
    /// They are the same point: twice its y, which is not 0 on this curve.
    Tangent(Field),
    /// They are opposite: their sum is the point at infinity.
    Vertical,
}

impl Line {
    #[inline(always)]
    fn through(a: &Affine, b: &Affine) -> Self {
        let dx = b.x.sub(&a.x);
        if !dx.is_zero() {
            Self::Chord(dx)
        } else if a.y == b.y {
            Self::Tangent(a.y.times(2))
        } else {
            Self::Vertical
        }
    }
}

/// Adds up runs of points, with memory that is used again.
#[derive(Debug, Default)]
pub(crate) struct Adder {
    /// For each pair of a round, the product of the numbers to be inverted after it in its lane.
    products: Vec<Field>,
}

impl Adder {
    /// Adds up each run of points. `points` holds the runs one after another, `runs` their lengths. Afterwards `points`
    /// holds the sums, and the length of a run is 1, or 0 if its sum is the point at infinity.
    ///
    /// Each round adds the points of all runs in pairs and inverts all that it must at once (Montgomery's trick), which
    /// makes an addition cost about six multiplications.
    pub(crate) fn add_up(&mut self, points: &mut Vec<Affine>, runs: &mut [u32]) {
        loop {
            let pairs: usize = runs.iter().map(|length| *length as usize / 2).sum();
            if pairs == 0 {
                return;
            }
            let mut inverses = invert_all(self.multiply(points, runs, pairs));
            self.add_pairs(points, runs, &mut inverses);
        }
    }

    /// Multiplies, from the last pair to the first, what must be inverted.
    fn multiply(&mut self, points: &[Affine], runs: &[u32], pairs: usize) -> [Field; LANES] {
        self.products.clear();
        self.products.resize(pairs, Field::ONE);
        let mut lanes = [Field::ONE; LANES];
        let (mut end, mut pair) = (points.len(), pairs);
        for length in runs.iter().rev() {
            let length = *length as usize;
            end -= length;
            for place in (0..length / 2).rev() {
                pair -= 1;
                let lane = &mut lanes[pair % LANES];
                self.products[pair] = *lane;
                match Line::through(&points[end + 2 * place], &points[end + 2 * place + 1]) {
                    Line::Chord(d) | Line::Tangent(d) => *lane = lane.mul(&d),
                    Line::Vertical => {}
                }
            }
        }
        lanes
    }

    /// Adds the pairs, from the first to the last. `inverses` are those of all that is left to be inverted in each lane.
    fn add_pairs(&mut self, points: &mut Vec<Affine>, runs: &mut [u32], inverses: &mut [Field; LANES]) {
        // A sum is written where points were that have been read.
        let (mut from, mut to, mut pair) = (0, 0, 0);
        for length in runs {
            let (count, first) = (*length as usize, to);
            for place in 0..count / 2 {
                let (a, b) = (points[from + 2 * place], points[from + 2 * place + 1]);
                let inverse_of_all = &mut inverses[pair % LANES];
                let inverse_of_this = inverse_of_all.mul(&self.products[pair]);
                pair += 1;
                let slope = match Line::through(&a, &b) {
                    Line::Chord(d) => {
                        *inverse_of_all = inverse_of_all.mul(&d);
                        b.y.sub(&a.y).mul(&inverse_of_this)
                    }
                    Line::Tangent(d) => {
                        *inverse_of_all = inverse_of_all.mul(&d);
                        a.x.square().times(3).mul(&inverse_of_this)
                    }
                    Line::Vertical => continue,
                };
                let x = slope.square().sub(&a.x).sub(&b.x);
                points[to] = Affine { x, y: slope.mul(&a.x.sub(&x)).sub(&a.y) };
                to += 1;
            }
            if count % 2 == 1 {
                points[to] = points[from + count - 1];
                to += 1;
            }
            from += count;
            *length = u32::try_from(to - first).expect("no longer than it was");
        }
        points.truncate(to);
    }
}

/// Inverts several elements, none of which is 0, with one inversion.
fn invert_all(elements: [Field; LANES]) -> [Field; LANES] {
    let mut before = [Field::ONE; LANES];
    let mut product = Field::ONE;
    for (before, element) in before.iter_mut().zip(&elements) {
        *before = product;
        product = product.mul(element);
    }
    let mut inverse = product.invert();
    let mut inverses = elements;
    for lane in (0..LANES).rev() {
        inverses[lane] = inverse.mul(&before[lane]);
        inverse = inverse.mul(&elements[lane]);
    }
    inverses
}

/// A point as (x/z², y/z³); the point at infinity if z is 0.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Jacobian {
    x: Field,
    y: Field,
    z: Field,
}

impl Jacobian {
    pub(crate) const INFINITY: Self = Self { x: Field::ONE, y: Field::ONE, z: Field::ZERO };

    pub(crate) fn is_infinity(&self) -> bool {
        self.z.is_zero()
    }

    pub(crate) fn double(&self) -> Self {
        let yy = self.y.square();
        let slope = self.x.square().times(3);
        let xyy = self.x.mul(&yy).times(4);
        let x = slope.square().sub(&xyy.times(2));
        let y = slope.mul(&xyy.sub(&x)).sub(&yy.square().times(8));
        Self { x, y, z: self.y.mul(&self.z).times(2) }
    }

    pub(crate) fn add(&self, other: &Affine) -> Self {
        if self.is_infinity() {
            return Self { x: other.x, y: other.y, z: Field::ONE };
        }
        let zz = self.z.square();
        let dx = other.x.mul(&zz).sub(&self.x);
        let dy = other.y.mul(&zz).mul(&self.z).sub(&self.y);
        if dx.is_zero() {
            return if dy.is_zero() { self.double() } else { Self::INFINITY };
        }
        let dx2 = dx.square();
        let dx3 = dx2.mul(&dx);
        let xdx2 = self.x.mul(&dx2);
        let x = dy.square().sub(&dx3).sub(&xdx2.times(2));
        let y = dy.mul(&xdx2.sub(&x)).sub(&self.y.mul(&dx3));
        Self { x, y, z: self.z.mul(&dx) }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use secp256k1::{Parity, PublicKey, SECP256K1, Scalar as Secret, SecretKey, XOnlyPublicKey};
    use sha2::{Digest, Sha256};

    use super::*;

    impl Jacobian {
        /// The coordinates, reduced; nothing at infinity.
        pub(crate) fn coordinates(&self) -> Option<[[u64; 4]; 2]> {
            let inverse = self.z.invert();
            let squared = inverse.square();
            let (x, y) = (self.x.mul(&squared), self.y.mul(&squared).mul(&inverse));
            (!self.is_infinity()).then(|| [x.reduced(), y.reduced()])
        }

        pub(crate) fn of(point: &Affine) -> Self {
            Self::INFINITY.add(point)
        }
    }

    /// What libsecp256k1 has for this many times the generator.
    pub(crate) fn times_g(n: u64) -> PublicKey {
        let mut bytes = [0; 32];
        bytes[24..].copy_from_slice(&n.to_be_bytes());
        SecretKey::from_slice(&bytes).expect("not 0").public_key(SECP256K1)
    }

    pub(crate) fn affine(key: &PublicKey) -> Affine {
        let bytes = key.serialize_uncompressed();
        let part =
            |from: usize| Field::from_bytes(bytes[from..from + 32].try_into().expect("32 bytes")).expect("below p");
        Affine { x: part(1), y: part(33) }
    }

    fn same(ours: &Jacobian, theirs: &PublicKey) {
        let theirs = affine(theirs);
        assert_eq!(ours.coordinates(), Some([theirs.x.reduced(), theirs.y.reduced()]));
    }

    #[test]
    fn sums_are_those_of_libsecp() {
        let mut sum = Jacobian::of(&Affine::G);
        for n in 2..200 {
            // The first step adds a point to itself.
            sum = sum.add(&Affine::G);
            same(&sum, &times_g(n));
            same(&sum.double(), &times_g(2 * n));
        }
        let point = affine(&times_g(77));
        assert!(Jacobian::of(&point).add(&point.neg()).is_infinity());
        assert!(Jacobian::INFINITY.double().is_infinity());
        let mut lambda = [0; 32];
        let limbs = [0x5363_AD4C_C05C_30E0_u64, 0xA526_1C02_8812_645A, 0x122E_22EA_2081_6678, 0xDF02_967C_1B23_BD72];
        lambda.as_chunks_mut::<8>().0.iter_mut().zip(limbs).for_each(|(to, limb)| *to = limb.to_be_bytes());
        let theirs =
            times_g(77).mul_tweak(SECP256K1, &Secret::from_be_bytes(lambda).expect("below n")).expect("a point");
        same(&Jacobian::of(&point.endomorphism()), &theirs);
    }

    /// Lists of all lengths around the number of lanes, with and without points, which are about half of all.
    #[test]
    fn lifted_points_are_those_of_libsecp() {
        let mut counts = [0, 0];
        for length in 0..40_u8 {
            let x = |n: u8| Sha256::digest([length, n]).into();
            let mut xs: Vec<[u8; 32]> = (0..length).map(x).collect();
            if let Some(x) = xs.get_mut(7) {
                *x = [0xFF; 32];
            }
            let points = Affine::lift(&xs);
            assert_eq!(points.len(), xs.len());
            for (x, point) in xs.iter().zip(points) {
                let theirs = XOnlyPublicKey::from_slice(x).map(|key| affine(&key.public_key(Parity::Even)));
                let numbers = |point: Affine| [point.x.reduced(), point.y.reduced()];
                assert_eq!(point.map(numbers), theirs.ok().map(numbers));
                counts[usize::from(point.is_some())] += 1;
            }
        }
        assert!(counts.iter().all(|count| *count > 300), "{counts:?}");
    }

    #[test]
    fn runs_are_added_up_whatever_meets_in_them() {
        let multiple = |n: i64| {
            let point = affine(&times_g(n.unsigned_abs()));
            if n < 0 { point.neg() } else { point }
        };
        let lists: [&[i64]; 12] = [
            &[],
            &[5],
            &[1, 2],
            &[3, 3],
            &[4, -4],
            &[4, -4, 7],
            &[1, 1, 1, 1, 1],
            &[9, -9, 9, -9],
            &[2, 2, -4],
            &[1, 2, 3, 4, 5, 6, 7, 8, 9],
            &[10, -3, -7, 11],
            &[6, 6, -6, -6, 1, -1],
        ];
        let mut points: Vec<Affine> = lists.concat().into_iter().map(multiple).collect();
        let mut runs: Vec<u32> = lists.iter().map(|list| list.len() as u32).collect();
        Adder::default().add_up(&mut points, &mut runs);
        let mut sums = points.into_iter();
        for (list, length) in lists.iter().zip(runs) {
            let total: i64 = list.iter().sum();
            assert_eq!(length, u32::from(total != 0), "{list:?}");
            if total != 0 {
                let wanted = Jacobian::of(&multiple(total)).coordinates();
                assert_eq!(Jacobian::of(&sums.next().expect("a sum")).coordinates(), wanted, "{list:?}");
            }
        }
        assert!(sums.next().is_none());
    }
}
