//! LPOS: where an item is in a list.

use std::ops::ControlFlow;

use crate::kv::call::{ReadCall, ReadResult};
use crate::kv::commands::args;
use crate::kv::commands::lists::list_at;
use crate::kv::commands::table::{Command, Flags, Group, Handler, KeyFlags, Keys};
use crate::kv::errors::{self, CommandError};
use crate::storage::End;

pub const COMMANDS: &[Command] = &[Command {
    name: "lpos",
    arity: -3,
    flags: Flags::READONLY,
    keys: Keys::Specs(&[KeyFlags::RO_ACCESS.at(1)]),
    group: Group::List,
    since: "6.0.6",
    complexity: "O(N) where N is the number of elements in the list, for the average case. When searching for elements \
        near the head or the tail of the list, or when the MAXLEN option is provided, the command may run in constant \
        time.",
    summary: "Returns the index of matching elements in a list.",
    syntax: "key element [RANK rank] [COUNT num-matches] [MAXLEN len]",
    handler: Handler::Read(lpos),
    ..Command::ROW
}];

struct Options {
    from: End,
    /// So many matches come before the first that is wanted.
    skipped: u64,
    /// So many are wanted; 0: all. `None`: one, and not in an array.
    count: Option<u64>,
    items_max: u64,
}

fn lpos(call: &mut ReadCall<'_>) -> ReadResult {
    let options = Options::parse(&call.args[3..])?;
    let Some(list) = list_at(call, call.args[1])? else {
        return Ok(match options.count {
            Some(_) => call.reply.array(0),
            None => call.reply.null(),
        }?);
    };
    if !list.is_packed() {
        call.check_elements(options.items_max.min(list.len()))?;
    }
    let (keyspace, reply) = (call.keyspace, &mut call.reply);
    let header = options.count.is_some().then(|| reply.gap());
    let (mut matches, mut shown) = (0, 0);
    list.find(call.args[2], options.from, options.items_max, &mut |index| {
        matches += 1;
        if matches <= options.skipped {
            return Ok::<_, CommandError>(ControlFlow::Continue(()));
        }
        keyspace.check_read_limit()?;
        reply.count(index)?;
        shown += 1;
        let is_last = options.count.is_none_or(|count| count == shown);
        Ok(if is_last { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    match header {
        Some(header) => reply.fill(header, |reply| reply.array(usize::try_from(shown).unwrap_or(usize::MAX)))?,
        None if shown == 0 => reply.null()?,
        None => {}
    }
    Ok(())
}

impl Options {
    fn parse(mut args: &[&[u8]]) -> Result<Options, CommandError> {
        let (mut rank, mut count, mut items_max) = (1, None, 0);
        while let [option, value, rest @ ..] = args {
            if args::is_word(option, "rank") {
                rank = args::integer(value)?;
                if rank == i64::MIN {
                    return Err(errors::COUNT_OUT_OF_RANGE.into());
                }
                if rank == 0 {
                    return Err(errors::RANK_ZERO.into());
                }
            } else if args::is_word(option, "count") {
                count = Some(args::natural_or(value, errors::COUNT_NEGATIVE)?);
            } else if args::is_word(option, "maxlen") {
                items_max = args::natural_or(value, errors::MAXLEN_NEGATIVE)?;
            } else {
                return Err(errors::SYNTAX.into());
            }
            args = rest;
        }
        if !args.is_empty() {
            return Err(errors::SYNTAX.into());
        }
        Ok(Options {
            from: if rank < 0 { End::Back } else { End::Front },
            skipped: rank.unsigned_abs() - 1,
            count,
            items_max: if items_max == 0 { u64::MAX } else { items_max },
        })
    }
}
