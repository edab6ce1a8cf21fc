//! A call that reads. It has the keyspace behind a shared reference, so that a read command that changes something does not compile.

use crate::kv::errors::CommandError;
use crate::kv::users::User;
use crate::resp::{ReplyWriter, Version};
use crate::storage::Keyspace;

/// What the handler of a read may know, and where its reply goes.
pub struct ReadCall<'a> {
    pub keyspace: &'a Keyspace,
    /// The name first.
    pub args: &'a [&'a [u8]],
    pub user: &'a User,
    /// Of the client's protocol. `reply` writes as it says.
    pub version: Version,
    /// The time of the view, in milliseconds since 1970: what it shows as expired has expired by then.
    pub now_ms: i64,
    pub database: u8,
    /// How much it may read here, in bytes; `None`: all that there is.
    pub weight: Option<u64>,
    /// Whether it may wait: `CommandError::Waits`.
    pub may_wait: bool,
    /// A script calls it: what it replies may decide what is written.
    pub is_scripted: bool,
    /// Bytes, up to the limit of a reply. What a handler that fails has written is taken back.
    pub reply: ReplyWriter<'a>,
}

/// An element that has a row of its own costs as much as so many bytes of a string.
pub const ELEMENT_WEIGHT: u64 = 1 << 10;

impl ReadCall<'_> {
    /// It is about to read so many elements that have rows of their own.
    ///
    /// # Errors
    /// `TooHeavy`: that is too much here, and the call goes to another lane.
    pub fn check_elements(&self, count: u64) -> Result<(), CommandError> {
        let weight = count.saturating_mul(ELEMENT_WEIGHT);
        if self.weight.is_some_and(|weight_max| weight > weight_max) { Err(CommandError::TooHeavy) } else { Ok(()) }
    }
}

/// The reply is written, or this error is the reply.
pub type ReadResult = Result<(), CommandError>;
