//! A call that changes data, and one that may wait until it can.

use crate::kv::call::{Class, Events, User};
use crate::kv::errors::{self, CommandError};
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
    /// What the call tells others. It is lost with the call where the call fails, as what it changed is.
    pub events: Events,
}

/// What became of a call that may wait.
#[derive(Debug, PartialEq)]
pub enum Waited {
    Answered(Reply),
    /// It changed nothing: it is to run again when one of its keys has something for it.
    Parked,
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
