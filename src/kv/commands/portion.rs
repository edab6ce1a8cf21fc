//! Members that are in memory at once where a collection is made of others: what they were read from is let go of while they are written.

use std::ops::ControlFlow;

use crate::storage::Place;

const MEMBERS_MAX: usize = 1024;
const BYTES_MAX: usize = 1 << 20;
/// Where many collections have to be opened again for each portion, it has so many times more at most.
const TIMES_MAX: usize = 64;

/// `T`: what a member has beside its name.
#[derive(Debug)]
pub struct Portion<T> {
    pub members: Vec<(Vec<u8>, T)>,
    bytes: usize,
    times: usize,
    /// Where to go on behind; `None`: these were the last.
    pub last: Option<(u64, Vec<u8>)>,
}

impl<T> Portion<T> {
    #[must_use]
    pub fn empty() -> Portion<T> {
        Portion::of(1)
    }

    /// Of members that are read from so many collections.
    #[must_use]
    pub fn of(collections: usize) -> Portion<T> {
        let times = (collections / MEMBERS_MAX).clamp(1, TIMES_MAX);
        Portion { members: Vec::new(), bytes: 0, times, last: None }
    }

    pub fn push(&mut self, member: &[u8], value: T) {
        self.members.push((member.to_vec(), value));
        self.bytes += member.len();
    }

    /// The same of members that come by their places: it breaks off where these are enough. Without places all come at once.
    pub fn add(&mut self, place: Option<Place<'_>>, member: &[u8], value: T) -> ControlFlow<()> {
        self.push(member, value);
        match place {
            Some((position, name)) if self.is_full() => {
                self.last = Some((position, name.to_vec()));
                ControlFlow::Break(())
            }
            _ => ControlFlow::Continue(()),
        }
    }

    #[must_use]
    pub fn is_full(&self) -> bool {
        self.members.len() >= self.times * MEMBERS_MAX || self.bytes >= self.times * BYTES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_portion_ends_with_so_many_members_or_bytes() {
        let count = |member: &[u8]| {
            let mut portion = Portion::empty();
            while portion.add(Some((7, b"name")), member, ()).is_continue() {}
            assert_eq!(portion.last, Some((7, b"name".to_vec())));
            portion.members.len()
        };
        assert_eq!(count(b"member"), MEMBERS_MAX);
        assert_eq!(count(&[b'm'; BYTES_MAX / 4]), 4);
        assert_eq!(count(&[b'm'; BYTES_MAX + 1]), 1);
        let mut portion = Portion::empty();
        assert!((0..2 * MEMBERS_MAX).all(|_| portion.add(None, b"member", 1.0).is_continue()));
        assert!(portion.is_full() && portion.last.is_none());
    }
}
