//! That somebody was not let in, or may not do something: what ACL LOG tells.

use serde::{Deserialize, Serialize};

use crate::kv::users::request::{Denied, Reason};
use crate::kv::users::user::User;

/// What was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Refused {
    Command,
    Key,
    Channel,
    Login,
}

/// Where the call came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Context {
    TopLevel,
    Multi,
    Script,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Denial {
    pub what: Refused,
    pub context: Context,
    /// The command's full name, or the key, or the channel.
    pub object: Vec<u8>,
    pub user: Vec<u8>,
}

/// As much of a key or a name as is kept.
const OBJECT_BYTES_MAX: usize = 1024;

impl Refused {
    /// As ACL LOG names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Refused::Command => "command",
            Refused::Key => "key",
            Refused::Channel => "channel",
            Refused::Login => "auth",
        }
    }
}

impl Context {
    /// As ACL LOG names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Context::TopLevel => "toplevel",
            Context::Multi => "multi",
            Context::Script => "lua",
        }
    }
}

impl Denial {
    /// `command` is the full name.
    #[must_use]
    pub fn of(denied: Denied, user: &User, command: &str, args: &[&[u8]], context: Context) -> Denial {
        let (what, object) = match denied.reason {
            Reason::Command => (Refused::Command, command.as_bytes()),
            Reason::Key => (Refused::Key, args[denied.index]),
            Reason::Channel => (Refused::Channel, args[denied.index]),
        };
        Denial { what, context, object: cut(object), user: user.name.clone() }
    }

    /// Somebody gave a wrong password, or a user that is not there. `command` as it was sent.
    #[must_use]
    pub fn of_login(user: &[u8], command: &[u8], context: Context) -> Denial {
        Denial { what: Refused::Login, context, object: cut(command), user: cut(user) }
    }
}

fn cut(bytes: &[u8]) -> Vec<u8> {
    bytes[..bytes.len().min(OBJECT_BYTES_MAX)].to_vec()
}
