//! SORT and SORT_RO. Only the elements that LIMIT asks for are kept while all are looked at; what that takes is bounded.

use std::ops::Range;

use crate::kv::call::{Class, ReadCall, ReadResult, WriteCall};
use crate::kv::commands::args;
use crate::kv::commands::lookup;
use crate::kv::commands::ranking::{Order, Overfull, Ranking, Sorted, Weight};
use crate::kv::commands::sort_options::Options;
use crate::kv::commands::sort_patterns::Pattern;
use crate::kv::commands::sort_source::Source;
use crate::kv::commands::table;
use crate::kv::commands::table::{Begin, Command, Either, Find, Flags, Handler, KeyFlags, KeyPosition, KeySpec, Keys};
use crate::kv::errors::{self, CommandError, CommandResult};
use crate::kv::formats::float_text::TEXT_BYTES_MAX;
use crate::kv::formats::number::parse_double;
use crate::kv::users::User;
use crate::resp::{Reply, ReplyWriter};
use crate::storage::{Expiry, Keyspace, StorageError};

pub const COMMANDS: &[Command] = &[
    Command {
        name: "sort",
        flags: Flags::WRITE.or(Flags::DENYOOM).or(ACL),
        keys: Keys::Custom(
            &[SOURCE, PATTERNS, KeySpec { flags: KeyFlags::OW_UPDATE, ..unknown(STORE_NOTES) }],
            keys_of_sort,
        ),
        since: "1.0.0",
        summary: "Sorts the elements in a list, a set, or a sorted set, optionally storing the result.",
        syntax: "key [BY by-pattern] [LIMIT offset count] [GET get-pattern [GET get-pattern ...]] [ASC | DESC] [ALPHA] \
            [STORE destination]",
        handler: Handler::Either(Either { changes: stores, read: sort, write: sort_and_store }),
        ..ROW
    },
    Command {
        name: "sort_ro",
        flags: Flags::READONLY.or(ACL),
        keys: Keys::Custom(&[SOURCE, PATTERNS], |_| vec![SOURCE_POSITION]),
        since: "7.0.0",
        summary: "Returns the sorted elements of a list, a set, or a sorted set.",
        syntax: "key [BY by-pattern] [LIMIT offset count] [GET get-pattern [GET get-pattern ...]] [ASC | DESC] [ALPHA]",
        handler: Handler::Read(sort),
        ..ROW
    },
];

const ROW: Command = Command {
    arity: -2,
    complexity: "O(N+M*log(M)) where N is the number of elements in the list or set to sort, and M the number of \
        returned elements. When the elements are not sorted, complexity is O(N).",
    heavy_when: Some(has_many_patterns),
    ..Command::ROW
};

const ACL: Flags = Flags::BY_SIZE.or(Flags::ACL_NOT_GROUP).or(Flags::ACL_COLLECTIONS).or(Flags::ACL_DANGEROUS);

const SOURCE: KeySpec = KeyFlags::RO_ACCESS.at(1);
const SOURCE_POSITION: KeyPosition = KeyPosition { index: 1, flags: KeyFlags::RO_ACCESS };
const PATTERNS: KeySpec = unknown(
    "For the optional BY/GET keyword. It is marked 'unknown' because the key names derive from the content of the key \
     we sort",
);
const STORE_NOTES: &str = "For the optional STORE keyword. It is marked 'unknown' because the keyword can appear anywhere \
     in the argument array";

const fn unknown(notes: &'static str) -> KeySpec {
    KeySpec { flags: KeyFlags::RO_ACCESS, begin: Begin::Unknown, find: Find::Unknown, notes }
}

/// What a sort may keep in memory.
const KEPT_BYTES_MAX: usize = 256 << 20;
/// A call with more arguments looks up much for each element, and goes to the heavy lane.
const LIGHT_ARGS_MAX: usize = 16;
/// The bytes of the shortest element in a reply.
const ELEMENT_BYTES_MIN: u64 = 3;

fn has_many_patterns(args: &[&[u8]]) -> bool {
    args.len() > LIGHT_ARGS_MAX
}

/// The last STORE counts. What follows it, BY, GET and LIMIT is no option.
fn keys_of_sort(args: &[&[u8]]) -> Vec<KeyPosition> {
    let (mut keys, mut at) = (vec![SOURCE_POSITION], 2);
    while at < args.len() {
        let is = |word| args::is_word(args[at], word);
        if is("store") && at + 1 < args.len() {
            keys.truncate(1);
            keys.push(KeyPosition { index: at + 1, flags: KeyFlags::OW_UPDATE });
        }
        at += 1 + if is("limit") { 2 } else { usize::from(is("store") || is("by") || is("get")) };
    }
    keys
}

/// What BY and GET read are keys whose names nobody knows before.
fn may_look_up(user: &User, args: &[&[u8]]) -> bool {
    table::lookup_row(args).is_some_and(|command| user.may_read_all_keys(command, args))
}

/// A call that can't be understood reads, and fails.
fn stores(args: &[&[u8]]) -> bool {
    Options::parse(&args[2..], true, true).is_ok_and(|options| options.destination.is_some())
}

fn sort(call: &mut ReadCall<'_>) -> ReadResult {
    let mut options = Options::parse(&call.args[2..], false, may_look_up(call.user, call.args))?;
    let source = Source::open(call.keyspace, call.args[1])?;
    // As in Redis, so that scripts do the same each time.
    if call.is_scripted && source.is_set() {
        options.order_a_set();
    }
    let (keyspace, weight, reply) = (call.keyspace, call.weight, &mut call.reply);
    let range = options.range(source.count());
    let count = (range.end - range.start).saturating_mul(options.gets.len().max(1) as u64);
    reply.check(count.saturating_mul(ELEMENT_BYTES_MIN))?;
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    if options.is_unsorted {
        reply.array(count)?;
        return source
            .each(keyspace, range, options.is_descending, |element| show(keyspace, &options.gets, element, reply));
    }
    let kept_bytes_max = weight.map_or(KEPT_BYTES_MAX, |weight| usize::try_from(weight).unwrap_or(usize::MAX));
    let too_much = || if weight.is_some() { CommandError::TooHeavy } else { errors::SORT_TOO_LARGE.into() };
    let sorted = sorted(keyspace, &source, &options, range.end, kept_bytes_max, &too_much)?;
    reply.array(count)?;
    wanted(&sorted, &range).try_for_each(|element| show(keyspace, &options.gets, element, reply))
}

fn show(keyspace: &Keyspace, gets: &[Pattern<'_>], element: &[u8], reply: &mut ReplyWriter<'_>) -> ReadResult {
    match gets {
        [] => Ok(reply.bulk(element)?),
        gets => gets.iter().try_for_each(|get| get.write(keyspace, element, reply)),
    }
}

fn wanted<'s>(sorted: &'s Sorted, range: &Range<u64>) -> impl Iterator<Item = &'s [u8]> {
    let skipped = usize::try_from(range.start).unwrap_or(usize::MAX);
    sorted.iter().map(|(element, _)| element).skip(skipped)
}

/// The first so many elements in the order that the options ask for. `too_much` is the error where they need more memory.
fn sorted(
    keyspace: &Keyspace,
    source: &Source<'_>,
    options: &Options<'_>,
    wanted: u64,
    kept_bytes_max: usize,
    too_much: &dyn Fn() -> CommandError,
) -> Result<Sorted, CommandError> {
    let order = Order { is_descending: options.is_descending, are_ties_by_text: true };
    let mut ranking = Ranking::of(wanted, order, kept_bytes_max);
    source.each(keyspace, 0..source.count(), false, |element| {
        let value;
        let weight = match (&options.by, options.is_alpha) {
            (None, true) => Weight::Same,
            (None, false) => Weight::Number(number_in(element)?),
            (Some(by), true) => match by.value(keyspace, element, ranking.room() as u64) {
                Err(StorageError::TooLarge) => return Err(too_much()),
                found => {
                    value = found?;
                    value.as_deref().map_or(Weight::Nothing, Weight::Text)
                }
            },
            (Some(by), false) => match by.value(keyspace, element, TEXT_BYTES_MAX as u64) {
                Err(StorageError::TooLarge) => return Err(errors::SORT_NO_DOUBLE.into()),
                found => Weight::Number(found?.map_or(Ok(0.0), |text| number_in(&text))?),
            },
        };
        ranking.add(element, weight).map_err(|Overfull| too_much())
    })?;
    Ok(ranking.sorted())
}

/// As `strtod` reads it: blanks may come first, the empty text is 0, and a NUL byte ends it. What is smaller than the smallest normal number
/// is out of range.
fn number_in(text: &[u8]) -> Result<f64, CommandError> {
    let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
    let digits = text[..end].iter().position(|byte| !matches!(byte, b' ' | b'\t'..=b'\r')).unwrap_or(end);
    match &text[digits..end] {
        [] if end == 0 => Ok(0.0),
        number => parse_double(number).filter(|number| !number.is_subnormal()).ok_or(errors::SORT_NO_DOUBLE.into()),
    }
}

fn sort_and_store(call: &mut WriteCall<'_>) -> CommandResult {
    let mut options = Options::parse(&call.args[2..], true, may_look_up(call.user, call.args))?;
    let destination = options.destination.ok_or(errors::INTERNAL)?;
    let source = Source::open(call.keyspace, call.args[1])?;
    // Other keys than those that it names are not watched while a call is prepared.
    if !options.looks_up() {
        call.keyspace.begin_long(source.count())?;
    }
    let mut range = options.range(source.count());
    if source.is_set() {
        options.order_a_set();
    }
    let too_much = || errors::SORT_TOO_LARGE.into();
    let sorted = if options.is_unsorted {
        let mut ranking = Ranking::of(range.end - range.start, Order::SHOWN, KEPT_BYTES_MAX);
        source.each(call.keyspace, range.clone(), options.is_descending, |element| {
            ranking.add(element, Weight::Nothing).map_err(|Overfull| too_much())
        })?;
        range = 0..range.end - range.start;
        ranking.sorted()
    } else {
        sorted(call.keyspace, &source, &options, range.end, KEPT_BYTES_MAX, &too_much)?
    };
    let mut building = call.keyspace.build_list();
    for element in wanted(&sorted, &range) {
        match &options.gets[..] {
            [] => call.keyspace.add_to_list(&mut building, element)?,
            gets => {
                for get in gets {
                    let value = get.value(call.keyspace, element, u64::MAX)?.unwrap_or_default();
                    call.keyspace.add_to_list(&mut building, &value)?;
                }
            }
        }
    }
    if range.is_empty() {
        lookup::delete(call, destination)?;
        return Ok(Reply::Integer(0));
    }
    let is_news = call.is_news(destination)?;
    let count = call.keyspace.put_built_list(destination, building, Expiry::Clear)?;
    call.tell_of(Class::List, is_news, "sortstore", destination);
    Ok(Reply::Integer(i64::try_from(count).unwrap_or(i64::MAX)))
}
