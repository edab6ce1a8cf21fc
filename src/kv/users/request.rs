//! What is asked of a user: a command with its arguments, and which of those are keys and channels.

use std::borrow::Cow;

use crate::kv::errors;

/// A key among the arguments, and what the command does with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyUse {
    pub index: usize,
    pub reads: bool,
    pub writes: bool,
}

/// Which arguments are channels that the command speaks or listens to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Channels {
    #[default]
    None,
    /// The first argument.
    First,
    /// All arguments.
    All,
    /// All arguments, and they are patterns.
    Patterns,
}

/// A call as its user's rights are asked.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// Its number in the vocabulary.
    pub command: u16,
    /// Who may not log in may run it as well.
    pub is_for_strangers: bool,
    /// The name first.
    pub args: &'a [&'a [u8]],
    /// Looked for only where it matters.
    pub keys: &'a dyn Fn() -> Vec<KeyUse>,
    pub channels: Channels,
}

/// What a user lacks. Of several the last one counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    Command,
    Key,
    Channel,
}

/// Why a call may not run: the argument of this index stands for it, 0 for the command itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Denied {
    pub reason: Reason,
    pub index: usize,
}

impl Denied {
    /// The error that the client gets. `command` is its full name.
    #[must_use]
    pub fn text(&self, user: &[u8], command: &str) -> Cow<'static, str> {
        match self.reason {
            Reason::Command => errors::no_permission_to_run(user, command).into(),
            Reason::Key => errors::NO_PERMISSION_OF_KEY.into(),
            Reason::Channel => errors::NO_PERMISSION_OF_CHANNEL.into(),
        }
    }

    /// The same where the rights were others when the call was queued.
    #[must_use]
    pub const fn text_at_exec(&self) -> &'static str {
        match self.reason {
            Reason::Command => errors::NO_LONGER_ALLOWED_TO_RUN,
            Reason::Key => errors::NO_LONGER_ALLOWED_KEY,
            Reason::Channel => errors::NO_LONGER_ALLOWED_CHANNEL,
        }
    }

    /// What ACL DRYRUN says, which names the key.
    #[must_use]
    pub fn verdict(&self, user: &[u8], command: &str, args: &[&[u8]]) -> Vec<u8> {
        let object = args[self.index];
        match self.reason {
            Reason::Command => errors::cannot_run(user, command),
            Reason::Key => errors::cannot_access(user, object, "key"),
            Reason::Channel => errors::cannot_access(user, object, "channel"),
        }
    }
}
