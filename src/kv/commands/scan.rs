//! Walking through the keys: KEYS and SCAN. Both work in steps, each in a fresh snapshot.

use crate::kv::call::{ReadCall, ReadResult};
use crate::kv::commands::args;
use crate::kv::commands::keys::kind_name;
use crate::kv::commands::table::{Command, Flags, Group, Handler};
use crate::kv::errors::{self, CommandError};
use crate::kv::formats::glob::Pattern;
use crate::resp::{ReplyWriter, Written};
use crate::storage::Entry;

/// Keys that are looked at before the snapshot is renewed: a long read must not hold the -wal.
pub(super) const STEP_KEYS: usize = 1000;
/// A SCAN that asks for more keys goes to the heavy lane.
const LIGHT_COUNT_MAX: usize = 1000;
/// So does one with a longer pattern: what a key costs grows with it.
const LIGHT_PATTERN_BYTES_MAX: usize = 256;
/// Past every cursor that a SCAN hands out: positions are 48 bits.
pub(super) const CURSOR_END: u64 = 1 << 48;

pub const COMMANDS: &[Command] = &[
    Command {
        name: "keys",
        arity: 2,
        flags: Flags::READONLY.or(Flags::ACL_DANGEROUS).or(Flags::HEAVY),
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(N) with N being the number of keys in the database, under the assumption that the key names \
            in the database and the given pattern have limited length.",
        summary: "Returns all key names that match a pattern.",
        syntax: "pattern",
        handler: Handler::Read(keys),
        tips: &["request_policy:all_shards", "nondeterministic_output_order"],
        ..Command::ROW
    },
    Command {
        name: "scan",
        arity: -2,
        flags: Flags::READONLY,
        group: Group::Generic,
        since: "2.8.0",
        complexity: "O(1) for every call. O(N) for a complete iteration, including enough command calls for the \
            cursor to return back to 0. N is the number of elements inside the collection.",
        summary: "Iterates over the key names in the database.",
        syntax: "cursor [MATCH pattern] [COUNT count] [TYPE type]",
        handler: Handler::Read(scan),
        heavy_when: Some(is_heavy_scan),
        tips: &["nondeterministic_output", "request_policy:special", "response_policy:special"],
        history: &[("6.0.0", "Added the `TYPE` subcommand.")],
        ..Command::ROW
    },
];

/// All keys that match.
fn keys(call: &mut ReadCall<'_>) -> ReadResult {
    let (keyspace, reply) = (call.keyspace, &mut call.reply);
    let wanted = Wanted::new(call.args[1])?;
    let header = reply.gap();
    let (mut cursor, mut count) = (0, 0);
    loop {
        let mut found = Found { count: 0, written: Ok(()) };
        cursor = keyspace.scan(cursor, STEP_KEYS, &mut |key, _| {
            if wanted.holds(key) {
                found.add(reply, key);
            }
        })?;
        found.written?;
        count += found.count;
        if cursor == 0 {
            return Ok(reply.fill(header, |reply| reply.array(count))?);
        }
        keyspace.check_read_limit()?;
        keyspace.renew_snapshot()?;
    }
}

/// The cursor is a position in the order of the keys' hashes, which no change of other keys moves: what stays through a
/// whole iteration is seen.
fn scan(call: &mut ReadCall<'_>) -> ReadResult {
    let (keyspace, reply) = (call.keyspace, &mut call.reply);
    let mut cursor = parse_cursor(call.args[1])?;
    let options = Options::parse(Walk::Keys, &call.args[2..])?;
    let wanted = options.wanted()?;
    let header = reply.gap();
    let (mut count, mut left) = (0, options.count);
    // Behind the last position there is nothing to look at.
    let mut is_over = cursor >= CURSOR_END;
    if is_over {
        cursor = 0;
    }
    while !is_over {
        let step = left.min(STEP_KEYS);
        let mut found = Found { count: 0, written: Ok(()) };
        cursor = keyspace.scan(cursor, step, &mut |key, entry| {
            if options.is_of_kind(entry) && wanted.holds(key) {
                found.add(reply, key);
            }
        })?;
        found.written?;
        count += found.count;
        left -= step;
        is_over = cursor == 0 || left == 0;
        if !is_over {
            keyspace.check_read_limit()?;
            keyspace.renew_snapshot()?;
        }
    }
    Ok(reply.fill(header, |reply| {
        reply.array(2)?;
        reply.bulk(itoa::Buffer::new().format(cursor).as_bytes())?;
        reply.array(count)
    })?)
}

/// Keys that one step has found.
struct Found {
    count: usize,
    /// An error once one has not found room: the step goes on, and nothing more is written.
    written: Written,
}

impl Found {
    fn add(&mut self, reply: &mut ReplyWriter<'_>, key: &[u8]) {
        if self.written.is_ok() {
            self.written = reply.bulk(key);
            self.count += 1;
        }
    }
}

/// True exactly when a SCAN asks for many keys at once, or looks long at each. Malformed calls are light: they fail at once.
fn is_heavy_scan(args: &[&[u8]]) -> bool {
    Options::parse(Walk::Keys, args.get(2..).unwrap_or_default()).is_ok_and(|options| options.are_heavy())
}

/// What a walk goes through: which options it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Walk {
    /// TYPE
    Keys,
    /// NOVALUES
    Fields,
    Members,
    /// NOSCORES
    Scores,
}

impl Walk {
    /// The option that leaves values out.
    fn word_without_values(self) -> Option<&'static str> {
        match self {
            Walk::Fields => Some("novalues"),
            Walk::Scores => Some("noscores"),
            Walk::Keys | Walk::Members => None,
        }
    }
}

/// What a walk was asked for.
pub(super) struct Options<'a> {
    pub(super) count: usize,
    pub(super) pattern: Option<&'a [u8]>,
    kind: Option<&'a [u8]>,
    pub(super) has_values: bool,
}

impl<'a> Options<'a> {
    pub(super) fn parse(walk: Walk, args: &[&'a [u8]]) -> Result<Options<'a>, CommandError> {
        let mut options =
            Options { count: 10, pattern: None, kind: None, has_values: walk.word_without_values().is_some() };
        let mut args = args.iter();
        while let Some(option) = args.next() {
            if walk.word_without_values().is_some_and(|word| args::is_word(option, word)) {
                options.has_values = false;
                continue;
            }
            let Some(value) = args.next() else { return Err(errors::SYNTAX.into()) };
            if args::is_word(option, "count") {
                options.count = match usize::try_from(args::integer(value)?) {
                    Ok(count) if count > 0 => count,
                    _ => return Err(errors::SYNTAX.into()),
                };
            } else if args::is_word(option, "match") {
                options.pattern = Some(value);
            } else if walk == Walk::Keys && args::is_word(option, "type") {
                options.kind = Some(value);
            } else {
                return Err(errors::SYNTAX.into());
            }
        }
        Ok(options)
    }

    /// True exactly when much is looked at at once, or each for long.
    pub(super) fn are_heavy(&self) -> bool {
        self.count > LIGHT_COUNT_MAX || self.pattern.is_some_and(|pattern| pattern.len() > LIGHT_PATTERN_BYTES_MAX)
    }

    pub(super) fn wanted(&self) -> Result<Wanted, CommandError> {
        self.pattern.map_or(Ok(Wanted::All), Wanted::new)
    }

    /// A kind that does not exist matches nothing.
    fn is_of_kind(&self, entry: &Entry) -> bool {
        self.kind.is_none_or(|kind| args::is_word(kind, kind_name(entry.kind)))
    }
}

/// Which keys or elements are wanted.
pub(super) enum Wanted {
    All,
    Matching(Pattern),
}

impl Wanted {
    fn new(pattern: &[u8]) -> Result<Wanted, CommandError> {
        Ok(if pattern == b"*" { Wanted::All } else { Wanted::Matching(Pattern::new(pattern, false)?) })
    }

    pub(super) fn holds(&self, key: &[u8]) -> bool {
        match self {
            Wanted::All => true,
            Wanted::Matching(pattern) => pattern.matches(key),
        }
    }
}

/// A cursor as C's `strtoul` reads it, which is what Redis 7 does: a sign is allowed and wraps, nothing is zero, a zero
/// byte ends it; leading blanks, other bytes and more than 64 bits are refused.
pub(super) fn parse_cursor(text: &[u8]) -> Result<u64, CommandError> {
    cursor_of(text).ok_or(errors::INVALID_CURSOR.into())
}

fn cursor_of(text: &[u8]) -> Option<u64> {
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    let (is_negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() && !text.is_empty() {
        return None;
    }
    let mut value = 0u64;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    Some(if is_negative { value.wrapping_neg() } else { value })
}
