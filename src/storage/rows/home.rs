//! A key's home: the position in its space that its row is named by, a keyed hash of the key. Hash and seed are part of the
//! file format.

use std::borrow::Cow;

use siphasher::sip::SipHasher13;
use siphasher::sip128;

pub const POSITION_BITS: u32 = 48;
/// The last 2^16 positions are nobody's home: a run of rows that begins before them has room to end in its own space.
pub const HOMES: u64 = (1 << POSITION_BITS) - (1 << 16);

/// The keyed hash of one file.
#[derive(Clone, Copy, Debug)]
pub struct Homes {
    keys: (u64, u64),
    count: u64,
}

#[cfg(test)]
pub const FEW_HOMES_KEYS: (u64, u64) = (1, 2);

#[cfg(test)]
thread_local! {
    static CROWDED: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// From now on every file that this thread opens has so few homes; 0: as many as there are.
#[cfg(test)]
pub fn crowd_files(count: u64) {
    CROWDED.set(count);
}

#[cfg(test)]
pub fn files_are_crowded() -> bool {
    CROWDED.get() > 0
}

impl Homes {
    /// `seed` is the file's own and random: nobody outside can make keys collide.
    #[must_use]
    pub fn new(seed: [u8; 16]) -> Self {
        #[cfg(test)]
        if CROWDED.get() > 0 {
            return Self::crowded(CROWDED.get());
        }
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| seed[at + i]));
        Self { keys: (word(0), word(8)), count: HOMES }
    }

    /// Few homes, so that a test gets long runs of colliding keys, the same ones each time.
    #[cfg(test)]
    pub fn crowded(count: u64) -> Self {
        Self { keys: FEW_HOMES_KEYS, count }
    }

    /// 1..=`HOMES`.
    #[must_use]
    pub fn position(&self, key: &[u8]) -> u64 {
        let hash = SipHasher13::new_with_keys(self.keys.0, self.keys.1).hash(key);
        1 + hash % self.count
    }

    /// What names an element in its row's key: itself up to `bytes_max` bytes, else its beginning and a digest of the whole, one byte more
    /// than that. The digest is keyed too, so that nobody can make two that are equal.
    #[must_use]
    pub fn short_name<'a>(&self, name: &'a [u8], bytes_max: usize) -> Cow<'a, [u8]> {
        if name.len() <= bytes_max {
            return Cow::Borrowed(name);
        }
        let digest = sip128::SipHasher13::new_with_keys(self.keys.0, self.keys.1).hash(name);
        let digest = u128::from(digest).to_le_bytes();
        let mut short = name[..bytes_max + 1 - digest.len()].to_vec();
        short.extend_from_slice(&digest);
        Cow::Owned(short)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_never_changes_because_it_is_part_of_the_file_format() {
        let homes = Homes::new(*b"0123456789abcdef");
        assert_eq!(homes.position(b""), 29_253_878_454_925);
        assert_eq!(homes.position(b"hello"), 189_458_079_937_369);
    }

    #[test]
    fn a_long_name_is_told_from_all_others() {
        let homes = Homes::new(*b"0123456789abcdef");
        let short = |name: &[u8]| homes.short_name(name, 20).into_owned();
        assert_eq!(short(&[b'a'; 20]), [b'a'; 20]);
        let long = short(&[b'a'; 21]);
        assert!(long.len() == 21 && long.starts_with(b"aaaaa") && long != [b'a'; 21]);
        assert_ne!(long, short(&[b'a'; 22]));
        let digest = [214, 140, 101, 196, 159, 217, 147, 238, 9, 230, 99, 37, 32, 210, 101, 39];
        assert_eq!(long[5..], digest, "the digest is part of the file format");
    }
}
