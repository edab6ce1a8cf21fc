//! Intsets: how Redis keeps small sets of integers in one string.
//!
//! ```text
//! bytes of a member 4 (2, 4 or 8), members 4, little endian; the members in order, little endian
//! ```

use super::payload::RestoreError;

/// Of members in any order.
pub(super) fn write(members: &mut [i64]) -> Vec<u8> {
    members.sort_unstable();
    let fits = |bits: u32| members.iter().all(|member| *member >> (bits - 1) == 0 || *member >> (bits - 1) == -1);
    let width = if fits(16) {
        2
    } else if fits(32) {
        4
    } else {
        8
    };
    let mut blob = Vec::with_capacity(8 + members.len() * width);
    blob.extend_from_slice(&(width as u32).to_le_bytes());
    blob.extend_from_slice(&(members.len() as u32).to_le_bytes());
    members.iter().for_each(|member| blob.extend_from_slice(&member.to_le_bytes()[..width]));
    blob
}

/// The members, each greater than the one before it.
pub(super) fn read(blob: &[u8]) -> Result<impl Iterator<Item = i64>, RestoreError> {
    let (header, members) = blob.split_at_checked(8).ok_or(RestoreError::Format)?;
    let word = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| header[at + i]));
    let (width, count) = (word(0), word(4));
    let is_right = matches!(width, 2 | 4 | 8);
    if !is_right || u64::from(width) * u64::from(count) != members.len() as u64 {
        return Err(RestoreError::Format);
    }
    let values = || {
        members.chunks(width as usize).map(|low| {
            let mut bytes = [if low.last().is_some_and(|top| top & 0x80 != 0) { 0xff } else { 0 }; 8];
            bytes[..low.len()].copy_from_slice(low);
            i64::from_le_bytes(bytes)
        })
    };
    if !values().is_sorted_by(|a, b| a < b) {
        return Err(RestoreError::Format);
    }
    Ok(values())
}
