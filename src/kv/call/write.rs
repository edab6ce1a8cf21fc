//! A call that changes data, and one that may wait until it can.

use std::sync::Arc;

use crate::kv::call::{Class, Events};
use crate::kv::errors::{self, CommandError};
use crate::kv::users::{Defaults, User};
use crate::resp::{Reply, Version};
use crate::storage::{Keyspace, StorageError};

/// What the handler of a write may know and do. Its reply is a value: it leaves with the commit, when the call has changed what it changes.
pub struct WriteCall<'a> {
    pub keyspace: &'a mut Keyspace,
    /// The name first.
    pub args: &'a [&'a [u8]],
    pub user: &'a User,
    /// Of the client's protocol.
    pub version: Version,
    /// The time of the group, in milliseconds since 1970.
    pub now_ms: i64,
    /// The one that `keyspace` has selected.
    pub database: u8,
    /// What the reply may have: to be looked at before anything is changed.
    pub reply_bytes_max: usize,
    /// It has waited, and is run again.
    pub is_again: bool,
    /// Bytes of a HyperLogLog that stays sparse.
    pub sparse_sketch_bytes_max: u64,
    /// What the call tells others. It is lost with the call where the call fails, as what it changed is.
    pub events: Events,
}

/// What became of a call that may wait.
#[derive(Debug, PartialEq)]
pub enum Waited {
    Answered(Reply),
    /// It changed nothing: it is to run again when one of its keys has something for it.
    Parked,
    /// The same, and what it changed stands. It changes nothing when it is run again in vain.
    ParkedWithChanges,
}

impl From<Option<Reply>> for Waited {
    /// `None`: there was nothing for the call.
    fn from(reply: Option<Reply>) -> Waited {
        reply.map_or(Waited::Parked, Waited::Answered)
    }
}

/// Those who wait, as a command sees them.
pub trait WaitingCalls {
    /// Ends the waiting of this client's call: it is answered as after its timeout, or with an error. False when it waits for nothing.
    fn end(&mut self, client: u64, with_error: bool) -> bool;
}

/// The users, as a command changes them.
pub trait UserRows {
    /// As it is now, also where this group has changed it.
    fn named(&self, name: &[u8]) -> Option<Arc<User>>;

    /// What new users and selectors have.
    fn defaults(&self) -> Defaults;

    /// # Errors
    /// There is no room for it, or a file rules.
    fn put(&mut self, user: User) -> Result<(), CommandError>;

    /// False where there is no such user.
    ///
    /// # Errors
    /// A file rules.
    fn remove(&mut self, name: &[u8]) -> Result<bool, CommandError>;

    /// Reads the file of users.
    ///
    /// # Errors
    /// There is none, or it has errors: the users stay as they are.
    fn load(&mut self) -> Result<(), CommandError>;
}

impl WriteCall<'_> {
    /// Tells those who listen that this happened to a key of the call's database.
    pub fn tell(&mut self, class: Class, name: &'static str, key: &[u8]) {
        self.tell_in(self.database, class, name, key);
    }

    /// The same of a key of another database.
    pub fn tell_in(&mut self, database: u8, class: Class, name: &'static str, key: &[u8]) {
        self.events.tell(database, class, name, key);
    }

    /// A key of another database is about to be replaced, or looked for: if its time has passed, that is told before. Those of the call's own
    /// database were looked at before the call.
    pub fn end_if_expired_in(&mut self, database: u8, key: &[u8]) -> Result<(), StorageError> {
        match self.events.are_wanted(Class::Expired) && database != self.database {
            true => self.keyspace.end_if_expired(database, key),
            false => Ok(()),
        }
    }

    /// True exactly when the key is not there and somebody wants to hear of new keys: nobody else pays for the look. Before the change.
    pub fn is_news(&self, key: &[u8]) -> Result<bool, StorageError> {
        Ok(self.events.are_wanted(Class::New) && self.keyspace.entry(key)?.is_none())
    }

    /// A string was written; `is_news`: its key was not there before.
    pub fn tell_of_string(&mut self, is_news: bool, name: &'static str, key: &[u8]) {
        self.tell_of(Class::String, is_news, name, key);
    }

    /// The same of a key of any kind.
    pub fn tell_of(&mut self, class: Class, is_news: bool, name: &'static str, key: &[u8]) {
        if is_news {
            self.tell(Class::New, "new", key);
        }
        self.tell(class, name, key);
    }

    /// The error where a reply of so many bytes is too large.
    pub fn check_reply(&self, bytes: usize) -> Result<(), CommandError> {
        if bytes <= self.reply_bytes_max { Ok(()) } else { Err(errors::REPLY_TOO_LARGE.into()) }
    }
}
