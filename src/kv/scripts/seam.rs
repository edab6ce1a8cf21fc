//! What a script's surroundings and its interpreter say to each other. Knows no Lua.

use std::borrow::Cow;
use std::fmt;

use crate::kv::errors;
use crate::resp::Version;

/// Runs what a script asks for.
pub trait Host {
    /// Runs a command in the script's name and appends its reply to `reply`, in bytes of `version` (as `redis.setresp` chose). A command that
    /// fails, or is not there, or not allowed, is an error reply.
    fn call(&mut self, args: &[&[u8]], version: Version, reply: &mut Vec<u8>);

    /// `redis.acl_check_cmd`: whether the script's user may run this.
    ///
    /// # Errors
    /// There is no such command.
    fn may_call(&mut self, args: &[&[u8]]) -> Result<bool, Cow<'static, str>>;

    /// `redis.log`
    fn log(&mut self, level: LogLevel, message: &[u8]);

    /// Whether the script is to end, and why: asked every thousand instructions, and as often while a library works.
    fn is_over(&mut self) -> Option<Over>;
}

/// Why a script was ended before its end. Nothing in it can prevent that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// SCRIPT KILL, FUNCTION KILL.
    Killed,
    OutOfTime,
    /// It needed more than [`Limits::memory_max`]. Only the interpreter says so.
    OutOfMemory,
}

/// `redis.LOG_DEBUG` and so on: their numbers are those of Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    Debug,
    Verbose,
    Notice,
    Warning,
}

/// What one interpreter may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the state, and of each buffer that a library builds a string in.
    pub memory_max: usize,
    /// Bytes of one script, library, or chunk that a script loads.
    pub source_bytes_max: usize,
    /// Compiled scripts that are kept.
    pub scripts_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { memory_max: 32 << 20, source_bytes_max: 1 << 20, scripts_max: 500 }
    }
}

/// Why a script has no reply of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScriptError {
    /// The text for the client, with its code. What the script did before stays. `is_counted`: it is the error of a command that was called,
    /// and has been counted there.
    Reply { text: String, is_counted: bool },
    /// What the script did is undone.
    Ended(Over),
    /// The reply is larger than its writer takes.
    ReplyTooLarge,
}

impl ScriptError {
    pub(super) fn reply(text: impl Into<String>) -> ScriptError {
        ScriptError::Reply { text: text.into(), is_counted: false }
    }

    /// The text for the client.
    #[must_use]
    pub fn text(&self) -> Cow<'static, str> {
        match self {
            ScriptError::Reply { text, .. } => Cow::Owned(text.clone()),
            ScriptError::Ended(Over::Killed) => errors::SCRIPT_KILLED.into(),
            ScriptError::Ended(Over::OutOfTime) => errors::SCRIPT_OUT_OF_TIME.into(),
            ScriptError::Ended(Over::OutOfMemory) => errors::SCRIPT_OUT_OF_MEMORY.into(),
            ScriptError::ReplyTooLarge => errors::REPLY_TOO_LARGE.into(),
        }
    }
}

/// What names a script: the SHA-1 of its source.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sha1(pub [u8; 20]);

impl Sha1 {
    #[must_use]
    pub fn of(bytes: &[u8]) -> Sha1 {
        let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, bytes);
        let mut sha = [0; 20];
        sha.copy_from_slice(digest.as_ref());
        Sha1(sha)
    }

    /// Forty digits of either case. None: something else.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Sha1> {
        let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
        if text.len() != 40 {
            return None;
        }
        let mut sha = [0; 20];
        for (byte, pair) in sha.iter_mut().zip(text.chunks(2)) {
            *byte = (digit(pair[0])? << 4) | digit(pair[1])?;
        }
        Some(Sha1(sha))
    }
}

/// As forty small hexadecimal digits.
impl fmt::Display for Sha1 {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha1 {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Sha1({self})")
    }
}

/// What a script's first line, or a function's registration, says of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScriptFlags {
    /// True exactly when an EVAL script has no `#!` line: then the others say nothing, and the commands that it calls decide.
    pub is_undeclared: bool,
    pub no_writes: bool,
    pub allow_oom: bool,
    pub allow_stale: bool,
    pub no_cluster: bool,
    pub allow_cross_slot_keys: bool,
}

impl ScriptFlags {
    /// A name and whether it is set, in the order in which FUNCTION LIST tells them.
    #[must_use]
    pub fn names(&self) -> [(&'static str, bool); 5] {
        [
            ("no-writes", self.no_writes),
            ("allow-oom", self.allow_oom),
            ("allow-stale", self.allow_stale),
            ("no-cluster", self.no_cluster),
            ("allow-cross-slot-keys", self.allow_cross_slot_keys),
        ]
    }

    /// Sets the flag of this name. None: there is none.
    pub(super) fn set(&mut self, name: &[u8]) -> Option<()> {
        let flag = match name {
            b"no-writes" => &mut self.no_writes,
            b"allow-oom" => &mut self.allow_oom,
            b"allow-stale" => &mut self.allow_stale,
            b"no-cluster" => &mut self.no_cluster,
            b"allow-cross-slot-keys" => &mut self.allow_cross_slot_keys,
            _ => return None,
        };
        *flag = true;
        Some(())
    }
}

/// What loading a library's code has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Library {
    pub name: Vec<u8>,
    /// As the first line spells it after `#!`.
    pub engine: Vec<u8>,
    /// In the order of their registration.
    pub functions: Vec<Function>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    pub name: Vec<u8>,
    pub description: Option<Vec<u8>>,
    pub flags: ScriptFlags,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sha_is_written_and_read_in_either_case() {
        let sha = Sha1::of(b"return 1");
        assert_eq!(sha.to_string(), "e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
        assert_eq!(Sha1::parse(sha.to_string().to_uppercase().as_bytes()), Some(sha));
        for text in
            ["", "e0e1", "e0e1f9fabfc9d4800c877a703b823ac0578ff8dg", "e0e1f9fabfc9d4800c877a703b823ac0578ff8db0"]
        {
            assert_eq!(Sha1::parse(text.as_bytes()), None, "{text}");
        }
    }
}
