//! What changes a set. It keeps the time when it ends, and goes with its last member.

use super::changes::Expiry;
use super::contents::{Added, Removed};
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

    /// Takes out so many members, each as likely as any other; all where there are no more. `random` gives uniform numbers.
    pub fn set_pop(&mut self, key: &[u8], count: u64, random: &mut dyn FnMut() -> u64) -> Result<Lookup<Popped>> {
        let mut members = Vec::new();
        match self.set(key)? {
            Lookup::Absent => return Ok(Lookup::Absent),
            Lookup::OtherKind(kind) => return Ok(Lookup::OtherKind(kind)),
            Lookup::Found(set) if count >= set.len() => {
                set.each_name::<StorageError>(|member| {
                    members.push(member.to_vec());
                    Ok(())
                })?;
                self.delete(key)?;
                return Ok(Lookup::Found(Popped { members, is_gone: true }));
            }
            Lookup::Found(set) if !set.is_packed() && (set.len() - count).saturating_mul(LEFT_SHARE) <= count => {
                return self.leave(key, count, random);
            }
            Lookup::Found(set) => {
                set.random::<StorageError>(count, random, &mut |member, _| {
                    members.push(member.to_vec());
                    Ok(())
                })?;
            }
        }
        let names: Vec<&[u8]> = members.iter().map(Vec::as_slice).collect();
        let is_gone = match self.set_remove(key, &names)? {
            Lookup::Found(removed) => removed.is_gone,
            Lookup::Absent | Lookup::OtherKind(_) => false,
        };
        Ok(Lookup::Found(Popped { members, is_gone }))
    }

    /// Takes out so many members, more than stay: these are written anew, and all rows of before are left to the sweeper.
    fn leave(&mut self, key: &[u8], count: u64, random: &mut dyn FnMut() -> u64) -> Result<Lookup<Popped>> {
        let (mut members, mut staying) = (Vec::new(), Vec::new());
        if let Lookup::Found(set) = self.set(key)? {
            let (mut wanted, mut left) = (count, set.len());
            set.each_name::<StorageError>(|member| {
                let is_taken = below(random(), left.max(1)) < wanted;
                (wanted, left) = (wanted - u64::from(is_taken), left.saturating_sub(1));
                if is_taken { &mut members } else { &mut staying }.push(member.to_vec());
                Ok(())
            })?;
        }
        let mut building = self.build(Kind::Set);
        for member in &staying {
            self.add_new_to(&mut building, member, &[])?;
        }
        let is_gone = self.put_built(key, building, Expiry::Keep)? == 0;
        Ok(Lookup::Found(Popped { members, is_gone }))
    }
}
