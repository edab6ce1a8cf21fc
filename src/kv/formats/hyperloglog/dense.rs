//! Dense registers: 6 bits each, the lowest bits of a byte first, so that a register lies in one byte or two.

use super::registers::{REGISTER_MAX, REGISTERS};

const REGISTER_BITS: usize = 6;
pub(super) const DENSE_BYTES: usize = REGISTERS * REGISTER_BITS / 8;

/// The values of all registers, in order. `registers` has `DENSE_BYTES` bytes.
pub(super) fn values(registers: &[u8]) -> impl Iterator<Item = u8> {
    registers.as_chunks::<3>().0.iter().flat_map(|[a, b, c]| {
        let bits = u32::from_le_bytes([*a, *b, *c, 0]);
        [bits, bits >> 6, bits >> 12, bits >> 18].map(|bits| bits as u8 & REGISTER_MAX)
    })
}

/// Raises a register. False: it had this value or a higher one.
pub(super) fn raise(registers: &mut [u8], index: usize, value: u8) -> bool {
    // Four registers in three bytes.
    let (at, shift) = (index / 4 * 3, index % 4 * REGISTER_BITS);
    let Some([a, b, c]) = registers.get_mut(at..at + 3).and_then(|bytes| bytes.as_mut_array::<3>()) else {
        return false;
    };
    let bits = u32::from_le_bytes([*a, *b, *c, 0]);
    if (bits >> shift) as u8 & REGISTER_MAX >= value {
        return false;
    }
    let bits = bits & !(u32::from(REGISTER_MAX) << shift) | u32::from(value) << shift;
    [*a, *b, *c, _] = bits.to_le_bytes();
    true
}
