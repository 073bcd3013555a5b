//! Variable-length integers: seven bits per byte, lowest first; the last byte has its highest bit clear.

/// The most bytes of a number.
const LONGEST: usize = 10;

/// Appends a number.
pub(crate) fn put(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n.to_le_bytes()[0] | 0x80);
        n >>= 7;
    }
    out.push(n.to_le_bytes()[0]);
}

/// Takes a number off the front; `None` if it is not complete.
pub(crate) fn take(from: &mut &[u8]) -> Option<u64> {
    let mut n = 0;
    for (place, byte) in from.iter().enumerate().take(LONGEST) {
        n |= u64::from(byte & 0x7F) << (7 * place);
        if byte & 0x80 == 0 {
            *from = &from[place + 1..];
            return Some(n);
        }
    }
    None
}
