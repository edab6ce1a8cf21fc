//! What changes a set. It keeps the time when it ends, and goes with its last member.

use super::contents::{Added, Removed};
use super::keyspace::{Keyspace, Lookup, Store};
use crate::storage::error::{Result, StorageError};
use crate::storage::rows::Kind;

/// What was taken out of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Popped {
    pub members: Vec<Vec<u8>>,
    /// The last one went, and the key with it.
    pub is_gone: bool,
}

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
}
