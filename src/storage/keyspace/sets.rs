//! What changes a set. It keeps the time when it ends, and goes with its last member.

use super::changes::Expiry;
use super::contents::{Added, Opened, Removed};
use super::elements::Elements;
use super::keyspace::{Keyspace, Lookup, Store};
use super::walks::below;
use crate::storage::error::{Result, StorageError};
use crate::storage::rows::Kind;

/// What was taken out of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Popped {
    pub members: Vec<Vec<u8>>,
    /// The last one went, and the key with it.
    pub is_gone: bool,
}

/// A member that went from one set to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetMoved {
    /// It was the last of the first set, and that key is gone.
    pub is_gone: bool,
    /// What has come to the other set, which may have had it.
    pub added: Added,
}

/// Is asked whether a member may be taken out.
type Grant<'a, E> = &'a mut dyn FnMut(&[u8]) -> std::result::Result<(), E>;

/// Where at most this share of what is taken out stays, that is written anew, and nothing is deleted.
const LEFT_SHARE: u64 = 5;

impl<S: Store> Keyspace<S> {
    pub fn set_add(&mut self, key: &[u8], members: &[&[u8]]) -> Result<Lookup<Added>> {
        let mut opened = match self.open(Kind::Set, key)? {
            Lookup::Found(opened) => opened,
            Lookup::Absent => return Ok(Lookup::Absent),
            Lookup::OtherKind(kind) => return Ok(Lookup::OtherKind(kind)),
        };
        opened.contents.expect(members.len() as u64, &self.thresholds);
        let mut added = Added { count: 0, is_new: opened.is_new };
        for member in members {
            added.count += u64::from(self.set_element(&mut opened.contents, member, &[], false)?);
        }
        self.close(opened)?;
        Ok(Lookup::Found(added))
    }

    pub fn set_remove(&mut self, key: &[u8], members: &[&[u8]]) -> Result<Lookup<Removed>> {
        self.remove_elements(Kind::Set, key, members)
    }

    /// Takes a member out of a set into another, which has another key. The kind of the other matters only where the first is there. `None`:
    /// there is no such member.
    pub fn set_move(&mut self, source: &[u8], target: &[u8], member: &[u8]) -> Result<Lookup<Option<SetMoved>>> {
        let mut opened = match self.open_there(Kind::Set, source)? {
            Lookup::Found(opened) => opened,
            none => return Ok(none.map(|_| None)),
        };
        let mut other = match self.open(Kind::Set, target)? {
            Lookup::Found(other) => other,
            none => return Ok(none.map(|_| None)),
        };
        if !self.remove_element(&mut opened.contents, member)? {
            return Ok(Lookup::Found(None));
        }
        let is_gone = self.close(opened)?;
        other.contents.expect(1, &self.thresholds);
        let count = u64::from(self.set_element(&mut other.contents, member, &[], false)?);
        let added = Added { count, is_new: other.is_new };
        self.close(other)?;
        Ok(Lookup::Found(Some(SetMoved { is_gone, added })))
    }

    /// Takes out so many members, each as likely as any other; all where there are no more. `random` gives uniform numbers. `grant` is
    /// asked of each member that is chosen.
    ///
    /// # Errors
    /// Those of `grant`, before anything has changed.
    pub fn set_pop<E: From<StorageError>>(
        &mut self,
        key: &[u8],
        count: u64,
        random: &mut dyn FnMut() -> u64,
        grant: Grant<'_, E>,
    ) -> std::result::Result<Lookup<Popped>, E> {
        let opened = match self.open_there(Kind::Set, key)? {
            Lookup::Found(opened) => opened,
            Lookup::Absent => return Ok(Lookup::Absent),
            Lookup::OtherKind(kind) => return Ok(Lookup::OtherKind(kind)),
        };
        let set = Elements::of(self, &opened.contents);
        let length = set.len();
        if !set.is_packed() && count < length {
            self.begin_long(2 * count)?;
        }
        if count < length && !set.is_packed() && (length - count).saturating_mul(LEFT_SHARE) <= count {
            return self.leave(key, &opened, count, random, grant).map(Lookup::Found);
        }
        let mut members = Vec::new();
        set.random::<E>(count, random, &mut |member, _| {
            grant(member)?;
            members.push(member.to_vec());
            Ok(())
        })?;
        if count >= length {
            self.close_without_any(opened)?;
            return Ok(Lookup::Found(Popped { members, is_gone: true }));
        }
        let is_gone = self.remove_opened(opened, &members)?.is_gone;
        Ok(Lookup::Found(Popped { members, is_gone }))
    }

    /// Takes out so many members, more than stay: these are written anew, and all rows of before are left to the sweeper.
    fn leave<E: From<StorageError>>(
        &mut self,
        key: &[u8],
        opened: &Opened<'_>,
        count: u64,
        random: &mut dyn FnMut() -> u64,
        grant: Grant<'_, E>,
    ) -> std::result::Result<Popped, E> {
        let (mut members, mut staying) = (Vec::new(), Vec::new());
        let (mut wanted, mut left) = (count, opened.contents.count());
        Elements::of(self, &opened.contents).each_name::<E>(|member| {
            let is_taken = below(random(), left.max(1)) < wanted;
            (wanted, left) = (wanted - u64::from(is_taken), left.saturating_sub(1));
            if is_taken {
                grant(member)?;
            }
            if is_taken { &mut members } else { &mut staying }.push(member.to_vec());
            Ok(())
        })?;
        let mut building = self.build(Kind::Set);
        for member in &staying {
            self.add_new_to(&mut building, member, &[])?;
        }
        let is_gone = self.put_built(key, building, Expiry::Keep)? == 0;
        Ok(Popped { members, is_gone })
    }
}
