//! A call that reads. It has the keyspace behind a shared reference, so that a read command that changes something does not compile.

use crate::kv::call::User;
use crate::kv::errors::CommandError;
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
    /// Bytes, up to the limit of a reply. What a handler that fails has written is taken back.
    pub reply: ReplyWriter<'a>,
}

/// The reply is written, or this error is the reply.
pub type ReadResult = Result<(), CommandError>;
