//! What reads of collections have in common: all elements, a walk through them, some at random, whether they lie packed in the key's
//! row or have rows of their own.

use crate::kv::call::{ReadCall, ReadResult};
use crate::kv::commands::args;
use crate::kv::commands::lookup;
use crate::kv::commands::random::Random;
use crate::kv::commands::scan::{CURSOR_END, Options, STEP_KEYS, Walk, parse_cursor};
use crate::kv::errors::{self, CommandError};
use crate::kv::formats::number::to_text_of_17_digits;
use crate::resp::ReplyWriter;
use crate::resp::number::DoubleText;
use crate::storage::{Elements, Encoding, Keyspace, Kind, SortedSet, StorageError, score_of};

/// A read that asks for more elements at random goes to the heavy lane.
const LIGHT_COUNT_MAX: u64 = 1000;
/// Elements at random that are chosen together: the choices are in memory.
const CHOICES: u64 = 1 << 16;
/// The bytes of the shortest element in a reply.
const ELEMENT_BYTES_MIN: u64 = 6;

/// Elements between two looks at how long a walk takes.
const ELEMENTS_A_LOOK: u64 = 1024;

/// Ends a read that has taken too long: it is asked at each element, which have numbers, and looks now and then.
pub fn check_time(keyspace: &Keyspace, number: u64) -> Result<(), StorageError> {
    if number.is_multiple_of(ELEMENTS_A_LOOK) { keyspace.check_read_limit() } else { Ok(()) }
}

/// What ends a walk before its end.
pub enum Ended {
    Enough,
    Failed(CommandError),
}

impl Ended {
    pub fn outcome(walk: Result<(), Ended>) -> ReadResult {
        match walk {
            Ok(()) | Err(Ended::Enough) => Ok(()),
            Err(Ended::Failed(error)) => Err(error),
        }
    }
}

impl From<StorageError> for Ended {
    fn from(error: StorageError) -> Ended {
        Ended::Failed(error.into())
    }
}

/// What a reply has of each element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parts {
    Names,
    Values,
    Both,
}

/// The collection at a key. `None`: there is no such key; one of another kind is the error WRONGTYPE.
pub fn of<'a>(keyspace: &'a Keyspace, kind: Kind, key: &[u8]) -> Result<Option<Elements<'a>>, CommandError> {
    lookup::optional(match kind {
        Kind::Set => keyspace.set(key)?,
        Kind::SortedSet => keyspace.sorted_set(key)?.map(SortedSet::into_elements),
        _ => keyspace.hash(key)?,
    })
}

/// The same for who shows values: a long one that the reply has no room for is not read.
pub fn with_values<'a>(
    keyspace: &'a Keyspace,
    kind: Kind,
    key: &[u8],
    reply: &ReplyWriter<'_>,
) -> Result<Option<Elements<'a>>, CommandError> {
    Ok(of(keyspace, kind, key)?.map(|elements| elements.with_values_up_to(reply.room() as u64)))
}

/// The same for who shows elements at random, with their values or without.
pub fn at_random<'a>(
    keyspace: &'a Keyspace,
    kind: Kind,
    key: &[u8],
    has_values: bool,
    reply: &ReplyWriter<'_>,
) -> Result<Option<Elements<'a>>, CommandError> {
    let elements = with_values(keyspace, kind, key, reply)?;
    Ok(elements.map(|elements| if has_values { elements } else { elements.without_values() }))
}

/// The collection at the first key of a call that has looked at the key before: it is there.
pub fn found<'a>(call: &ReadCall<'a>, kind: Kind) -> Result<Elements<'a>, CommandError> {
    with_values(call.keyspace, kind, call.args[1], &call.reply)?.ok_or(CommandError::from(errors::INTERNAL))
}

/// So many elements, as a length in a reply.
pub fn count(elements: &Elements<'_>) -> usize {
    usize::try_from(elements.len()).unwrap_or(usize::MAX)
}

/// Writes all elements behind a header that has announced `count` of them.
pub fn write_all(elements: &Elements<'_>, parts: Parts, reply: &mut ReplyWriter<'_>) -> ReadResult {
    let mut left = elements.len();
    let mut write = |name: &[u8], value: &[u8]| {
        // More rows than the key's row knows of would end up in the next reply.
        left = left.checked_sub(1).ok_or_else(wrong_count)?;
        write_parts(parts, name, value, reply)
    };
    match parts {
        Parts::Names => elements.each_name(|name| write(name, &[]))?,
        Parts::Values | Parts::Both => elements.each(write)?,
    }
    if left == 0 { Ok(()) } else { Err(wrong_count().into()) }
}

/// A collection that has another number of elements than its key's row says.
pub fn wrong_count() -> StorageError {
    StorageError::Corrupt("a collection has another number of elements than its key's row says".into())
}

fn write_parts(parts: Parts, name: &[u8], value: &[u8], reply: &mut ReplyWriter<'_>) -> ReadResult {
    if parts != Parts::Values {
        reply.bulk(name)?;
    }
    if parts != Parts::Names {
        reply.bulk(value)?;
    }
    Ok(())
}

/// HSCAN, SSCAN, ZSCAN. What is packed is shown whole, whatever cursor and count are.
pub fn scan(call: &mut ReadCall<'_>, kind: Kind) -> ReadResult {
    let (keyspace, reply) = (call.keyspace, &mut call.reply);
    let cursor = parse_cursor(call.args[2])?;
    let elements = with_values(keyspace, kind, call.args[1], reply)?;
    let (mut written, mut next) = (0, 0);
    let header = reply.gap();
    if let Some(elements) = elements {
        let options = Options::parse(walk_of(kind), &call.args[3..])?;
        let wanted = options.wanted()?;
        let parts = if options.has_values { Parts::Both } else { Parts::Names };
        // Behind the last position there is nothing to look at.
        let is_behind = cursor >= CURSOR_END && !elements.is_packed();
        let (mut at, mut left) = if is_behind { (0, 0) } else { (cursor, options.count) };
        while left > 0 {
            let step = left.min(STEP_KEYS);
            at = elements.scan(at, step, |name, value| {
                if wanted.holds(name) {
                    if kind == Kind::SortedSet && options.has_values {
                        write_parts(parts, name, &score_text(score_of(value)?, elements.encoding()), reply)?;
                    } else {
                        write_parts(parts, name, value, reply)?;
                    }
                    written += if parts == Parts::Both { 2 } else { 1 };
                }
                Ok::<_, CommandError>(())
            })?;
            left = if at == 0 { 0 } else { left - step };
            keyspace.check_read_limit()?;
        }
        next = at;
    }
    Ok(reply.fill(header, |reply| {
        reply.array(2)?;
        reply.bulk(itoa::Buffer::new().format(next).as_bytes())?;
        reply.array(written)
    })?)
}

fn walk_of(kind: Kind) -> Walk {
    match kind {
        Kind::Set => Walk::Members,
        Kind::SortedSet => Walk::Scores,
        _ => Walk::Fields,
    }
}

/// A score as ZSCAN shows it: of a skiplist with 17 digits, as Redis does.
fn score_text(score: f64, encoding: Encoding) -> Vec<u8> {
    match encoding {
        Encoding::Skiplist => to_text_of_17_digits(score).into_bytes(),
        _ => DoubleText::new(score).as_bytes().to_vec(),
    }
}

/// True for a walk of steps that take long. Malformed calls are light: they fail at once.
#[must_use]
pub fn scans_many(args: &[&[u8]]) -> bool {
    Options::parse(Walk::Fields, args.get(3..).unwrap_or_default()).is_ok_and(|options| options.are_heavy())
}

/// How many elements HRANDFIELD, SRANDMEMBER and ZRANDMEMBER are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// So many different ones, or all if there are no more.
    Different(u64),
    /// So many, and any of them may come again.
    Any(u64),
}

impl Wish {
    /// Negative: any.
    #[must_use]
    pub fn of(count: i64) -> Wish {
        if count < 0 { Wish::Any(count.unsigned_abs()) } else { Wish::Different(count.unsigned_abs()) }
    }
}

/// True for a call that asks for many elements at random, by its count.
#[must_use]
pub fn asks_for_many(args: &[&[u8]]) -> bool {
    args.get(2).is_some_and(|count| args::integer(count).is_ok_and(|count| count.unsigned_abs() > LIGHT_COUNT_MAX))
}

/// How many elements, and whether with their values, which this word asks for. The errors come in the order of Redis.
pub fn random_options(count: &[u8], options: &[&[u8]], word: &str) -> Result<(Wish, bool), CommandError> {
    let count = args::integer(count)?;
    if count == i64::MIN {
        return Err(errors::COUNT_OUT_OF_RANGE.into());
    }
    match options {
        [] => Ok((Wish::of(count), false)),
        [option] if args::is_word(option, word) => {
            // Twice as many have to be counted.
            let most = i64::MAX / 2;
            let is_countable = (-most..=most).contains(&count);
            if is_countable { Ok((Wish::of(count), true)) } else { Err(errors::VALUE_OUT_OF_RANGE.into()) }
        }
        _ => Err(errors::SYNTAX.into()),
    }
}

/// How many elements that makes, as a length in a reply, which has to have room for them.
pub fn granted(elements: &Elements<'_>, wish: Wish, reply: &ReplyWriter<'_>) -> Result<usize, CommandError> {
    let count = match wish {
        Wish::Different(count) => count.min(elements.len()),
        Wish::Any(count) => count,
    };
    reply.check(count.saturating_mul(ELEMENT_BYTES_MIN))?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

/// Shows elements at random, each as likely as any other.
pub fn each_random(
    keyspace: &Keyspace,
    elements: &Elements<'_>,
    wish: Wish,
    show: &mut dyn FnMut(&[u8], &[u8]) -> ReadResult,
) -> ReadResult {
    let mut random = Random::new();
    let random = &mut || random.draw();
    let mut left = match wish {
        Wish::Different(count) => return elements.random(count, random, show),
        Wish::Any(count) => count,
    };
    while left > 0 {
        let count = left.min(CHOICES);
        elements.random_repeating(count, random, show)?;
        left -= count;
        keyspace.check_read_limit()?;
    }
    Ok(())
}
