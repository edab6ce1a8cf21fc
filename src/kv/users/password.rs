//! Passwords as they are kept: their SHA-256. And the numbers that nobody can guess.

use ring::digest;
use ring::rand::{SecureRandom, SystemRandom};
use subtle::{Choice, ConstantTimeEq};

/// Letters of a hash as rules write it.
pub const PASSWORD_HASH_LETTERS: usize = 64;

/// The SHA-256 of a password.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digest([u8; 32]);

impl std::fmt::Debug for Digest {
    /// Nobody sees it by accident.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Digest")
    }
}

impl Digest {
    #[must_use]
    pub fn of(password: &[u8]) -> Digest {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest::digest(&digest::SHA256, password).as_ref());
        Digest(bytes)
    }

    /// Of 64 hexadecimal digits in lower case.
    #[must_use]
    pub fn parse(hex: &[u8]) -> Option<Digest> {
        if hex.len() != PASSWORD_HASH_LETTERS {
            return None;
        }
        let digit = |letter: u8| match letter {
            b'0'..=b'9' => Some(letter - b'0'),
            b'a'..=b'f' => Some(letter - b'a' + 10),
            _ => None,
        };
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Digest(bytes))
    }

    #[must_use]
    pub fn hex(&self) -> String {
        hex(&self.0)
    }

    /// True when one of these is it; all are looked at, so that the time tells nothing of which.
    #[must_use]
    pub fn is_among(&self, digests: &[Digest]) -> bool {
        digests.iter().fold(Choice::from(0), |found, digest| found | self.0.ct_eq(&digest.0)).into()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// So many hexadecimal digits that nobody can guess; `None` where the system has none.
#[must_use]
pub fn random_hex(letters: usize) -> Option<String> {
    let mut bytes = vec![0; letters.div_ceil(2)];
    SystemRandom::new().fill(&mut bytes).ok()?;
    let mut text = hex(&bytes);
    text.truncate(letters);
    Some(text)
}

/// A number that no other user has, and that a row can hold.
#[must_use]
pub fn random_number() -> Option<u64> {
    let mut bytes = [0; 8];
    SystemRandom::new().fill(&mut bytes).ok()?;
    Some((u64::from_le_bytes(bytes) >> 1).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_that_of_redis_and_is_written_as_redis_writes_it() {
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Digest::of(b"abc").hex(), abc);
        assert_eq!(Digest::parse(abc.as_bytes()), Some(Digest::of(b"abc")));
        for wrong in ["", &abc[1..], &abc.to_uppercase(), &abc.replace('b', "g"), &format!("{abc}0")] {
            assert_eq!(Digest::parse(wrong.as_bytes()), None, "{wrong}");
        }
        let all = [Digest::of(b"a"), Digest::of(b"abc")];
        assert!(Digest::of(b"abc").is_among(&all) && Digest::of(b"a").is_among(&all));
        assert!(!Digest::of(b"ab").is_among(&all) && !Digest::of(b"").is_among(&[]));
        assert_eq!(format!("{:?}", all[0]), "Digest");
    }

    #[test]
    fn random_numbers_have_the_length_that_is_asked_for_and_differ() {
        for letters in [1, 2, 63, 64, 1024] {
            assert_eq!(random_hex(letters).unwrap().len(), letters);
        }
        assert_ne!(random_hex(64), random_hex(64));
        assert_ne!(random_number(), random_number());
    }
}
