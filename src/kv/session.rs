//! What a session handler is called with and what it leaves behind.

use std::marker::PhantomData;

/// One call of a command that runs on the loop.
pub struct SessionCall<'a> {
    session: PhantomData<&'a mut ()>,
}

/// What the session does after a command that ran on the loop.
pub enum Outcome {
    Reply(crate::resp::reply::Reply),
}
