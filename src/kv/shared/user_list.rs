//! All users as bytes that every process sees: the writer alone puts them there, and one word says which version counts. Knows no rules.

use std::io;

use crate::sys::atomic::{AtomicU64, Ordering, fence};
use crate::sys::shared;

/// What all users may take as text; in a model test four words.
pub const USER_LIST_BYTES_MAX: usize = if cfg!(feature = "models") { 32 } else { 1 << 20 };
const WORDS: usize = USER_LIST_BYTES_MAX / 8;
/// Before the bytes: their length, and the number of changes.
const HEAD: usize = 2;
/// Changes while the list is read: each takes a commit, so that more are no accident.
const READ_ATTEMPTS_MAX: u32 = 10_000;

/// Two copies, of which the version's lowest bit says which counts. The writer fills the other one, then moves the version: a writer that
/// dies in it has changed nothing, and its successor begins again.
#[derive(Clone)]
pub struct UserList {
    version: &'static AtomicU64,
    copies: [&'static [AtomicU64]; 2],
}

/// One version of the list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// 0: nobody knows the users yet.
    pub version: u64,
    /// So many changes of the password by CONFIG SET are in it.
    pub password_changes: u64,
    pub lines: Vec<u8>,
}

impl UserList {
    /// Before the first fork. What is not written takes no memory.
    pub fn new() -> io::Result<UserList> {
        let words = shared::words(1 + 2 * (HEAD + WORDS))?;
        let (version, copies) = words.split_at(1);
        let (one, other) = copies.split_at(HEAD + WORDS);
        Ok(UserList { version: &version[0], copies: [one, other] })
    }

    #[must_use]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::SeqCst)
    }

    /// The version that counts. `None`: it could not be read whole, in spite of many attempts.
    #[must_use]
    pub fn read(&self) -> Option<Listed> {
        for _ in 0..READ_ATTEMPTS_MAX {
            let version = self.version();
            let copy = self.copies[(version & 1) as usize];
            let length = (copy[0].load(Ordering::Relaxed) as usize).min(USER_LIST_BYTES_MAX);
            let password_changes = copy[1].load(Ordering::Relaxed);
            let words = copy[HEAD..HEAD + length.div_ceil(8)].iter();
            let mut lines: Vec<u8> = words.flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes()).collect();
            lines.truncate(length);
            fence(Ordering::Acquire);
            // Whoever writes to this copy has moved the version before.
            if self.version() == version {
                return Some(Listed { version, password_changes, lines });
            }
            std::hint::spin_loop();
        }
        None
    }

    /// By the writer. False when it is too long.
    pub fn write(&self, password_changes: u64, lines: &[u8]) -> bool {
        if lines.len() > USER_LIST_BYTES_MAX {
            return false;
        }
        let version = self.version() + 1;
        let copy = self.copies[(version & 1) as usize];
        // Who reads this copy still has seen its version go before.
        fence(Ordering::SeqCst);
        copy[0].store(lines.len() as u64, Ordering::Relaxed);
        copy[1].store(password_changes, Ordering::Relaxed);
        for (word, bytes) in copy[HEAD..].iter().zip(lines.chunks(8)) {
            let mut whole = [0; 8];
            whole[..bytes.len()].copy_from_slice(bytes);
            word.store(u64::from_le_bytes(whole), Ordering::Relaxed);
        }
        self.version.store(version, Ordering::SeqCst);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_is_read_as_it_was_written() {
        let list = UserList::new().unwrap();
        assert_eq!(list.read(), Some(Listed::default()));
        for (number, lines) in [&b""[..], b"a", b"12345678", b"123456789", &[7; USER_LIST_BYTES_MAX]].iter().enumerate()
        {
            let version = number as u64 + 1;
            assert!(list.write(version * 3, lines));
            let listed = Listed { version, password_changes: version * 3, lines: lines.to_vec() };
            assert_eq!((list.version(), list.read()), (version, Some(listed)));
        }
        assert!(!list.write(0, &[0; USER_LIST_BYTES_MAX + 1]));
    }

    #[test]
    fn a_reader_never_sees_half_of_a_version() {
        let list = UserList::new().unwrap();
        std::thread::scope(|scope| {
            let writer =
                scope.spawn(|| (1..=2000_u64).for_each(|number| assert!(list.write(number, &lines_of(number)))));
            while !writer.is_finished() {
                let Some(listed) = list.read() else { continue };
                assert_eq!(listed.lines, if listed.version == 0 { Vec::new() } else { lines_of(listed.version) });
                assert_eq!(listed.password_changes, listed.version);
            }
        });
    }

    fn lines_of(number: u64) -> Vec<u8> {
        vec![number as u8; (number % 900) as usize]
    }
}

#[cfg(all(test, feature = "models"))]
mod models {
    use super::*;
    use loom::thread;

    #[test]
    fn a_version_is_seen_whole_whatever_the_order_is() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| {
            let list = UserList::new().unwrap();
            let writer = thread::spawn({
                let list = list.clone();
                move || [1, 2].into_iter().for_each(|number| assert!(list.write(number, &[number as u8; 16])))
            });
            if let Some(listed) = list.read().filter(|listed| listed.version > 0) {
                assert_eq!(listed.lines, [listed.version as u8; 16]);
                assert_eq!(listed.password_changes, listed.version);
            }
            writer.join().unwrap();
        });
    }
}
