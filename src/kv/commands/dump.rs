//! DUMP and RESTORE: a value as bytes that carry a version and a checksum. The format is in kv::formats::rdb.

use crate::kv::call::{Class, ReadCall, ReadResult, WriteCall};
use crate::kv::commands::args;
use crate::kv::commands::elements;
use crate::kv::commands::table::{Command, Flags, Group, Handler, KeyFlags, Keys};
use crate::kv::commands::{lookup, stream_dump};
use crate::kv::errors::{self, CommandError, CommandResult};
use crate::kv::formats::rdb::{self, Holds, ListDump, Payload, TableDump};
use crate::resp::number::parse_integer;
use crate::resp::{Reply, TooLarge};
use crate::storage::{
    Building, Direction, Elements, Encoding, Expiry, Keyspace, Kind, List, ListBuilding, Lookup, SortedSet,
    StreamBuilding,
};

/// More elements are dumped one by one: as one string they would be in memory twice.
const BLOB_ELEMENTS_MAX: u64 = 4096;

pub const COMMANDS: &[Command] = &[
    Command {
        name: "dump",
        arity: 2,
        flags: Flags::READONLY.or(Flags::BY_SIZE),
        keys: Keys::Specs(&[KeyFlags::RO_ACCESS.at(1)]),
        group: Group::Generic,
        since: "2.6.0",
        complexity: "O(1) to access the key and additional O(N*M) to serialize it, where N is the number of objects \
            composing the value and M their average size. For small string values the time complexity is thus \
            O(1)+O(1*M) where M is small, so simply O(1).",
        summary: "Returns a serialized representation of the value stored at a key.",
        syntax: "key",
        handler: Handler::Read(dump),
        tips: &["nondeterministic_output"],
        ..Command::ROW
    },
    Command {
        name: "restore",
        arity: -4,
        flags: Flags::WRITE.or(Flags::DENYOOM).or(Flags::ACL_DANGEROUS),
        keys: Keys::Specs(&[KeyFlags::OW_UPDATE.at(1)]),
        group: Group::Generic,
        since: "2.6.0",
        complexity: "O(1) to create the new key and additional O(N*M) to reconstruct the serialized value, where N \
            is the number of objects composing the value and M their average size. For small string values the time \
            complexity is thus O(1)+O(1*M) where M is small, so simply O(1). However for sorted set values the \
            complexity is O(N*M*log(N)) because inserting values into sorted sets is O(log(N)).",
        summary: "Creates a key from the serialized representation of a value.",
        syntax: "key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]",
        handler: Handler::Write(restore),
        history: &[
            ("3.0.0", "Added the `REPLACE` modifier."),
            ("5.0.0", "Added the `ABSTTL` modifier."),
            ("5.0.0", "Added the `IDLETIME` and `FREQ` options."),
        ],
        ..Command::ROW
    },
];

fn dump(call: &mut ReadCall<'_>) -> ReadResult {
    let (keyspace, key) = (call.keyspace, call.args[1]);
    if let Some(elements) = keyspace.collection(key)? {
        if elements.kind() != Kind::SortedSet {
            return dump_elements(call, &elements);
        }
        let set = SortedSet::of(elements).ok_or(CommandError::from(errors::INTERNAL))?;
        return dump_sorted_set(call, &set);
    }
    if let Lookup::Found(list) = keyspace.list(key)? {
        return dump_list(call, &list);
    }
    if let Lookup::Found(stream) = keyspace.stream(key)? {
        return stream_dump::dump(call, &stream.with_values_up_to(call.reply.room() as u64));
    }
    if let Lookup::Found(length) = keyspace.string_length(key)? {
        call.reply.check(length)?;
    }
    Ok(match keyspace.with_string(key, rdb::dump_string)? {
        Lookup::Found(payload) => call.reply.bulk(&payload),
        Lookup::Absent | Lookup::OtherKind(_) => call.reply.null(),
    }?)
}

/// In the encoding that OBJECT ENCODING says, as far as Redis 7.0 has it: it knows no listpack of a set.
fn dump_elements(call: &mut ReadCall<'_>, elements: &Elements<'_>) -> ReadResult {
    let (keyspace, is_small) = (call.keyspace, elements.len() <= BLOB_ELEMENTS_MAX);
    match elements.encoding() {
        Encoding::Intset if is_small => {
            let mut numbers = Vec::new();
            elements.each_name(|member| {
                numbers.extend(parse_integer(member));
                Ok::<_, CommandError>(())
            })?;
            if numbers.len() as u64 == elements.len() {
                return Ok(call.reply.bulk(&rdb::dump_intset(&mut numbers))?);
            }
        }
        Encoding::Listpack if is_small && elements.kind() == Kind::Hash => {
            let (mut texts, mut bytes) = (Vec::new(), 0);
            elements.each(|field, value| {
                bytes += (field.len() + value.len()) as u64;
                call.reply.check(bytes)?;
                texts.extend([field.to_vec(), value.to_vec()]);
                Ok::<_, CommandError>(())
            })?;
            return Ok(call.reply.bulk(&rdb::dump_listpack_hash(texts.iter().map(Vec::as_slice)))?);
        }
        _ => {}
    }
    call.reply.bulk_of_unknown_length(|out, bytes_max| {
        let is_hash = elements.kind() == Kind::Hash;
        let mut dump = if is_hash { TableDump::hash(out, elements.len()) } else { TableDump::set(out, elements.len()) };
        let mut count = 0;
        elements.each(|name, value| {
            dump.add(name);
            if is_hash {
                dump.add(value);
            }
            count += 1;
            elements::check_time(keyspace, count)?;
            if dump.bytes() as u64 > bytes_max { Err(CommandError::from(TooLarge)) } else { Ok(()) }
        })?;
        dump.finish();
        Ok(())
    })
}

fn dump_list(call: &mut ReadCall<'_>, list: &List<'_>) -> ReadResult {
    let keyspace = call.keyspace;
    call.reply.bulk_of_unknown_length(|out, bytes_max| {
        let mut dump = ListDump::new(out, list.encoding() == Encoding::Listpack);
        let mut count = 0;
        list.each(0, list.len(), |item| {
            dump.add(item);
            count += 1;
            elements::check_time(keyspace, count)?;
            if dump.bytes() as u64 > bytes_max { Err(CommandError::from(TooLarge)) } else { Ok(()) }
        })?;
        dump.finish();
        Ok(())
    })
}

/// A skiplist from the highest member to the lowest, as Redis does.
fn dump_sorted_set(call: &mut ReadCall<'_>, set: &SortedSet<'_>) -> ReadResult {
    let (keyspace, members) = (call.keyspace, set.len());
    if set.elements().encoding() == Encoding::Listpack && members <= BLOB_ELEMENTS_MAX {
        let (mut scored, mut bytes) = (Vec::new(), 0);
        set.each_from::<CommandError>(0, members, Direction::Forward, |member, score| {
            bytes += member.len() as u64;
            call.reply.check(bytes)?;
            scored.push((member.to_vec(), score));
            Ok(())
        })?;
        let scored = scored.iter().map(|(member, score)| (member.as_slice(), *score));
        return Ok(call.reply.bulk(&rdb::dump_listpack_sorted_set(scored))?);
    }
    call.reply.bulk_of_unknown_length(|out, bytes_max| {
        let mut dump = TableDump::sorted_set(out, members);
        let mut count = 0;
        set.each_from(0, members, Direction::Backward, |member, score| {
            dump.add_scored(member, score);
            count += 1;
            elements::check_time(keyspace, count)?;
            if dump.bytes() as u64 > bytes_max { Err(CommandError::from(TooLarge)) } else { Ok(()) }
        })?;
        dump.finish();
        Ok(())
    })
}

/// The checks come in the order of Redis: options, the key, the time, the payload.
fn restore(call: &mut WriteCall<'_>) -> CommandResult {
    let (args, key) = (call.args, call.args[1]);
    let options = RestoreOptions::parse(&args[4..])?;
    if !options.replace && call.keyspace.entry(key)?.is_some() {
        return Err(errors::BUSY_KEY.into());
    }
    let ttl_ms = args::integer(args[2])?;
    if ttl_ms < 0 {
        return Err(errors::INVALID_TTL.into());
    }
    let expires_at_ms = match ttl_ms {
        0 => None,
        _ if options.absttl => Some(ttl_ms),
        // Redis lets it overflow, and then the key has ended already.
        _ => Some(ttl_ms.checked_add(call.now_ms).ok_or_else(|| errors::invalid_expire_time("restore"))?),
    };
    call.keyspace.begin_long(args[3].len() as u64 / ELEMENT_BYTES)?;
    let restored = Restored::of(call.keyspace, args[3])?;
    let expiry = expires_at_ms.map_or(Expiry::Clear, Expiry::At);
    let has_passed = expires_at_ms.is_some_and(|at_ms| at_ms <= call.now_ms);
    if has_passed {
        // The old value goes, no new one comes.
        lookup::delete(call, key)?;
    }
    match restored {
        Restored::String(_) if has_passed => {}
        Restored::String(value) => call.keyspace.put_string(key, &value, expiry)?,
        // What was built is given up there, if the time has passed.
        Restored::List(building) => drop(call.keyspace.put_built_list(key, building, expiry)?),
        Restored::Stream(building) => call.keyspace.put_built_stream(key, *building, expiry)?,
        Restored::Elements(building) => drop(call.keyspace.put_built(key, building, expiry)?),
    }
    if has_passed {
        return Ok(Reply::Ok);
    }
    // Redis deletes what was there first: the key is always a new one.
    call.tell(Class::New, "new", key);
    call.tell(Class::Generic, "restore", key);
    Ok(Reply::Ok)
}

/// What an element takes in a payload, about.
const ELEMENT_BYTES: u64 = 32;

/// What a payload has, on its way to a key.
enum Restored {
    String(Vec<u8>),
    List(ListBuilding),
    Elements(Building),
    Stream(Box<StreamBuilding>),
}

impl Restored {
    /// Of a bad payload nothing stays: the call is undone.
    fn of(keyspace: &mut Keyspace, payload: &[u8]) -> Result<Restored, CommandError> {
        let payload = Payload::open(payload, keyspace.value_bytes_max())?;
        let kind = match payload.holds()? {
            Holds::String => return Ok(Restored::String(payload.string()?)),
            Holds::List => {
                let mut building = keyspace.build_list();
                payload.each_item(|item| Ok::<_, CommandError>(keyspace.add_to_list(&mut building, item)?))?;
                return Ok(Restored::List(building));
            }
            Holds::Stream => {
                let building = stream_dump::restore(keyspace, &payload)?;
                return Ok(Restored::Stream(Box::new(building)));
            }
            Holds::Set => Kind::Set,
            Holds::Hash => Kind::Hash,
            Holds::SortedSet => {
                let mut building = keyspace.build(Kind::SortedSet);
                payload.each_scored(|member, score| {
                    Ok::<_, CommandError>(keyspace.add_score_to(&mut building, member, score)?)
                })?;
                return Ok(Restored::Elements(building));
            }
        };
        let mut building = keyspace.build(kind);
        let mut add = |name: &[u8], value: &[u8]| Ok::<_, CommandError>(keyspace.add_to(&mut building, name, value)?);
        match kind {
            Kind::Hash => payload.each_field(add)?,
            _ => payload.each_member(|member| add(member, &[]))?,
        }
        Ok(Restored::Elements(building))
    }
}

#[derive(Default)]
struct RestoreOptions {
    replace: bool,
    absttl: bool,
}

impl RestoreOptions {
    /// IDLETIME and FREQ are checked and then dropped: accesses are not tracked. Either excludes the other.
    fn parse(args: &[&[u8]]) -> Result<RestoreOptions, CommandError> {
        let mut options = RestoreOptions::default();
        let (mut has_idletime, mut has_freq) = (false, false);
        let mut args = args.iter();
        while let Some(option) = args.next() {
            if args::is_word(option, "replace") {
                options.replace = true;
            } else if args::is_word(option, "absttl") {
                options.absttl = true;
            } else if args::is_word(option, "idletime")
                && !has_freq
                && let Some(value) = args.next()
            {
                has_idletime = true;
                if args::integer(value)? < 0 {
                    return Err(errors::INVALID_IDLETIME.into());
                }
            } else if args::is_word(option, "freq")
                && !has_idletime
                && let Some(value) = args.next()
            {
                has_freq = true;
                if !(0..=255).contains(&args::integer(value)?) {
                    return Err(errors::INVALID_FREQ.into());
                }
            } else {
                return Err(errors::SYNTAX.into());
            }
        }
        Ok(options)
    }
}
