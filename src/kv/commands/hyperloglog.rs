//! HyperLogLog: PFADD, PFCOUNT, PFMERGE and their debugging commands on sketches in strings (kv::formats::hyperloglog).
//!
//! PFCOUNT reads: it never stores the cardinality that it has found in the sketch's header, see docs/decisions/sketches.md.

use crate::kv::call::{ReadCall, ReadResult, WriteCall};
use crate::kv::commands::args;
use crate::kv::commands::lookup::{self, optional};
use crate::kv::commands::table::{Command, Flags, Group, Handler, KeyFlags, Keys};
use crate::kv::errors::{self, CommandError, CommandResult};
use crate::kv::formats::hyperloglog::{Corrupted, Encoding, Histogram, Registers, SKETCH_BYTES_MAX, Sketch};
use crate::resp::Reply;
use crate::storage::{Expiry, Keyspace};

pub const COMMANDS: &[Command] = &[
    Command {
        name: "pfadd",
        arity: -2,
        flags: Flags::WRITE.or(Flags::DENYOOM).or(Flags::FAST),
        keys: Keys::Specs(&[KeyFlags::RW_INSERT.at(1)]),
        complexity: "O(1) to add every element.",
        summary: "Adds elements to a HyperLogLog key. Creates the key if it doesn't exist.",
        syntax: "key [element [element ...]]",
        handler: Handler::Write(pfadd),
        ..ROW
    },
    Command {
        name: "pfcount",
        arity: -2,
        flags: Flags::READONLY,
        keys: Keys::Specs(&[KeyFlags::RW_ACCESS
            .range(1, -1, 1)
            .noted("RW because it may change the internal representation of the key, and propagate to replicas")]),
        complexity: "O(1) with a very small average constant time when called with a single key. O(N) with N being the \
            number of keys, and much bigger constant times, when called with multiple keys.",
        summary: "Returns the approximated cardinality of the set(s) observed by the HyperLogLog key(s).",
        syntax: "key [key ...]",
        handler: Handler::Read(pfcount),
        heavy_when: Some(counts_many),
        ..ROW
    },
    Command {
        name: "pfdebug",
        arity: 3,
        flags: Flags::WRITE.or(Flags::DENYOOM).or(Flags::ADMIN),
        keys: Keys::Specs(&[KeyFlags::RW_ACCESS.at(2)]),
        complexity: "N/A",
        summary: "Internal commands for debugging HyperLogLog values.",
        syntax: "subcommand key",
        handler: Handler::Write(pfdebug),
        ..ROW
    },
    Command {
        name: "pfmerge",
        arity: -2,
        flags: Flags::WRITE.or(Flags::DENYOOM),
        keys: Keys::Specs(&[KeyFlags::RW_ACCESS.or(KeyFlags::INSERT).at(1), KeyFlags::RO_ACCESS.range(2, -1, 1)]),
        complexity: "O(N) to merge N HyperLogLogs, but with high constant times.",
        summary: "Merges one or more HyperLogLog values into a single key.",
        syntax: "destkey [sourcekey [sourcekey ...]]",
        handler: Handler::Write(pfmerge),
        ..ROW
    },
    Command {
        name: "pfselftest",
        flags: Flags::ADMIN,
        complexity: "N/A",
        summary: "An internal command for testing HyperLogLog values.",
        handler: Handler::Pure(pfselftest),
        ..ROW
    },
];

const ROW: Command = Command { group: Group::HyperLogLog, since: "2.8.9", ..Command::ROW };

/// A count of more keys goes to the heavy lane: each of them is some microseconds.
const LIGHT_KEYS_MAX: usize = 64;
/// Elements of the self-test, which runs on the loop.
const TESTED_ELEMENTS: u32 = 200;

impl From<Corrupted> for CommandError {
    fn from(_: Corrupted) -> CommandError {
        errors::CORRUPTED_SKETCH.into()
    }
}

/// The sketch at a key; `None`: there is no such key. Not more of a string is read than a sketch can have.
fn sketch(keyspace: &Keyspace, key: &[u8]) -> Result<Option<Sketch>, CommandError> {
    let Some(bytes) = optional(keyspace.string_range(key, 0, SKETCH_BYTES_MAX as u64 + 1)?)? else { return Ok(None) };
    let is_longer = bytes.len() > SKETCH_BYTES_MAX;
    let sketch = Sketch::of(bytes).ok_or(errors::NOT_A_SKETCH)?;
    if is_longer { Err(Corrupted.into()) } else { Ok(Some(sketch)) }
}

fn counts_many(args: &[&[u8]]) -> bool {
    args.len() > LIGHT_KEYS_MAX
}

fn pfadd(call: &mut WriteCall<'_>) -> CommandResult {
    let (key, bytes_max) = (call.args[1], sparse_bytes_max(call));
    let found = sketch(call.keyspace, key)?;
    let mut is_changed = found.is_none();
    let mut sketch = found.unwrap_or_else(Sketch::empty);
    for element in &call.args[2..] {
        is_changed |= sketch.add(element, bytes_max)?;
    }
    if is_changed {
        put(call, key, sketch)?;
    }
    Ok(Reply::Integer(i64::from(is_changed)))
}

fn sparse_bytes_max(call: &WriteCall<'_>) -> usize {
    usize::try_from(call.sparse_sketch_bytes_max).unwrap_or(usize::MAX)
}

/// Stores a sketch that was changed, and tells of it.
fn put(call: &mut WriteCall<'_>, key: &[u8], mut sketch: Sketch) -> Result<(), CommandError> {
    sketch.outdate();
    lookup::put(call, key, sketch.bytes(), Expiry::Keep, "pfadd")
}

fn pfcount(call: &mut ReadCall<'_>) -> ReadResult {
    let cardinality = match &call.args[1..] {
        [key] => sketch(call.keyspace, key)?.map_or(Ok(0), |sketch| sketch.cardinality())?,
        keys => {
            let mut union = Registers::zeros();
            for key in keys {
                call.keyspace.check_read_limit()?;
                if let Some(sketch) = sketch(call.keyspace, key)? {
                    sketch.unite_into(&mut union)?;
                }
            }
            Histogram::of(union.values().iter().copied()).cardinality()
        }
    };
    Ok(call.reply.count(cardinality)?)
}

/// The destination is one of the sources, and gets dense where another is.
fn pfmerge(call: &mut WriteCall<'_>) -> CommandResult {
    let (key, bytes_max) = (call.args[1], sparse_bytes_max(call));
    let mut merged = sketch(call.keyspace, key)?.unwrap_or_else(Sketch::empty);
    let (mut union, mut is_dense) = (Registers::zeros(), false);
    merged.unite_into(&mut union)?;
    for source in &call.args[2..] {
        if let Some(sketch) = sketch(call.keyspace, source)? {
            is_dense |= sketch.encoding() == Encoding::Dense;
            sketch.unite_into(&mut union)?;
        }
    }
    if is_dense {
        merged.make_dense()?;
    }
    for (index, value) in union.values().iter().copied().enumerate().filter(|(_, value)| *value > 0) {
        merged.raise(index, value, bytes_max)?;
    }
    put(call, key, merged)?;
    Ok(Reply::Ok)
}

/// What makes a sketch dense changes nothing that a command on sketches says of it, and is no event.
fn pfdebug(call: &mut WriteCall<'_>) -> CommandResult {
    let (subcommand, key) = (call.args[1], call.args[2]);
    let mut sketch = sketch(call.keyspace, key)?.ok_or(errors::NO_SPECIFIED_KEY)?;
    let was_dense = sketch.encoding() == Encoding::Dense;
    let make_dense = |call: &mut WriteCall<'_>, sketch: &mut Sketch| {
        if !was_dense {
            sketch.make_dense()?;
            call.keyspace.put_string(key, sketch.bytes(), Expiry::Keep)?;
        }
        Ok::<_, CommandError>(())
    };
    if args::is_word(subcommand, "getreg") {
        make_dense(call, &mut sketch)?;
        let mut registers = Registers::zeros();
        sketch.unite_into(&mut registers)?;
        Ok(Reply::Array(registers.values().iter().map(|value| Reply::Integer(i64::from(*value))).collect()))
    } else if args::is_word(subcommand, "decode") {
        let runs = sketch.runs().ok_or(errors::SKETCH_NOT_SPARSE)?;
        Ok(Reply::Bulk(runs.into_bytes()))
    } else if args::is_word(subcommand, "encoding") {
        Ok(Reply::Simple(if was_dense { "dense" } else { "sparse" }.into()))
    } else if args::is_word(subcommand, "todense") {
        make_dense(call, &mut sketch)?;
        Ok(Reply::Integer(i64::from(!was_dense)))
    } else {
        Err(errors::unknown_pfdebug_subcommand(subcommand))
    }
}

/// That both encodings say the same of the same elements. Redis tests ten million of them, and stands still meanwhile.
fn pfselftest(_: &[&[u8]]) -> CommandResult {
    let (mut sparse, mut dense) = (Sketch::empty(), Sketch::empty());
    dense.make_dense()?;
    for element in 0..TESTED_ELEMENTS {
        let element = element.to_le_bytes();
        if sparse.add(&element, SKETCH_BYTES_MAX)? != dense.add(&element, SKETCH_BYTES_MAX)? {
            return Err(errors::SKETCH_TEST_FAILED.into());
        }
    }
    sparse.outdate();
    dense.outdate();
    if sparse.cardinality()? != dense.cardinality()? {
        return Err(errors::SKETCH_TEST_FAILED.into());
    }
    Ok(Reply::Ok)
}
