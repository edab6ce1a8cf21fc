//! What lies in an area: GEOSEARCH and GEOSEARCHSTORE, and the older GEORADIUS and GEORADIUSBYMEMBER.
//!
//! The cells that cover the area are ranges of scores: they are looked through one after the other, which is the order of what is not sorted.

use crate::kv::call::{Class, ReadCall, ReadResult, WriteCall};
use crate::kv::commands::args;
use crate::kv::commands::elements::{self, Ended};
use crate::kv::commands::geo::write_position;
use crate::kv::commands::geo_options::{Form, Search, Sorting, Store};
use crate::kv::commands::lookup;
use crate::kv::commands::ranked;
use crate::kv::commands::ranking::{Order, Overfull, Ranking, Sorted, Weight};
use crate::kv::commands::table::{
    Begin, Command, Deprecated, Either, Find, Flags, Group, Handler, KeyFlags, KeyPosition, KeySpec, Keys,
};
use crate::kv::errors::{self, CommandError, CommandResult};
use crate::kv::formats::geohash::{Area, distance_text, position_of};
use crate::resp::{Reply, ReplyWriter};
use crate::storage::{Bound, Direction, Keyspace, Kind, SortedSet, StorageError};

pub const COMMANDS: &[Command] = &[
    Command {
        name: "georadius",
        arity: -6,
        flags: Flags::WRITE.or(Flags::DENYOOM),
        keys: Keys::Custom(&[SOURCE, stored("STORE", 6), stored("STOREDIST", 6)], |args| keys_of_radius(args, 6)),
        summary: "Queries a geospatial index for members within a distance from a coordinate, optionally stores the \
            result.",
        syntax: "key longitude latitude radius <M | KM | FT | MI> [WITHCOORD] [WITHDIST] [WITHHASH] \
            [COUNT count [ANY]] [ASC | DESC] [STORE storekey | STOREDIST storedistkey]",
        handler: Handler::Either(Either { changes: georadius_stores, read: georadius, write: georadius_store }),
        history: &[
            ("6.2.0", "Added the `ANY` option for `COUNT`."),
            ("7.0.0", "Added support for uppercase unit names."),
        ],
        deprecated: Some(Deprecated {
            since: "6.2.0",
            replaced_by: "`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` argument",
        }),
        ..ROW
    },
    Command {
        name: "georadius_ro",
        arity: -6,
        since: "3.2.10",
        summary: "Returns members from a geospatial index that are within a distance from a coordinate.",
        syntax: "key longitude latitude radius <M | KM | FT | MI> [WITHCOORD] [WITHDIST] [WITHHASH] \
            [COUNT count [ANY]] [ASC | DESC]",
        handler: Handler::Read(georadius),
        history: &[("6.2.0", "Added the `ANY` option for `COUNT`.")],
        deprecated: Some(Deprecated { since: "6.2.0", replaced_by: "`GEOSEARCH` with the `BYRADIUS` argument" }),
        ..ROW
    },
    Command {
        name: "georadiusbymember",
        arity: -5,
        flags: Flags::WRITE.or(Flags::DENYOOM),
        keys: Keys::Custom(&[SOURCE, stored("STORE", 5), stored("STOREDIST", 5)], |args| keys_of_radius(args, 5)),
        summary: "Queries a geospatial index for members within a distance from a member, optionally stores the \
            result.",
        syntax: "key member radius <M | KM | FT | MI> [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] \
            [ASC | DESC] [STORE storekey | STOREDIST storedistkey]",
        handler: Handler::Either(Either {
            changes: georadiusbymember_stores,
            read: georadiusbymember,
            write: georadiusbymember_store,
        }),
        history: &[("7.0.0", "Added support for uppercase unit names.")],
        deprecated: Some(Deprecated {
            since: "6.2.0",
            replaced_by: "`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` and `FROMMEMBER` arguments",
        }),
        ..ROW
    },
    Command {
        name: "georadiusbymember_ro",
        arity: -5,
        since: "3.2.10",
        summary: "Returns members from a geospatial index that are within a distance from a member.",
        syntax: "key member radius <M | KM | FT | MI> [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] \
            [ASC | DESC]",
        handler: Handler::Read(georadiusbymember),
        deprecated: Some(Deprecated {
            since: "6.2.0",
            replaced_by: "`GEOSEARCH` with the `BYRADIUS` and `FROMMEMBER` arguments",
        }),
        ..ROW
    },
    Command {
        name: "geosearch",
        arity: -7,
        since: "6.2.0",
        complexity: SEARCH_COMPLEXITY,
        summary: "Queries a geospatial index for members inside an area of a box or a circle.",
        syntax: "key <FROMMEMBER member | FROMLONLAT longitude latitude> <BYRADIUS radius <M | KM | FT | MI> | \
            BYBOX width height <M | KM | FT | MI>> [ASC | DESC] [COUNT count [ANY]] [WITHCOORD] [WITHDIST] [WITHHASH]",
        handler: Handler::Read(geosearch),
        history: &[("7.0.0", "Added support for uppercase unit names.")],
        ..ROW
    },
    Command {
        name: "geosearchstore",
        arity: -8,
        flags: Flags::WRITE.or(Flags::DENYOOM),
        keys: Keys::Specs(&[KeyFlags::OW_UPDATE.at(1), KeyFlags::RO_ACCESS.at(2)]),
        since: "6.2.0",
        complexity: SEARCH_COMPLEXITY,
        summary: "Queries a geospatial index for members inside an area of a box or a circle, optionally stores the \
            result.",
        syntax: "destination source <FROMMEMBER member | FROMLONLAT longitude latitude> \
            <BYRADIUS radius <M | KM | FT | MI> | BYBOX width height <M | KM | FT | MI>> [ASC | DESC] \
            [COUNT count [ANY]] [STOREDIST]",
        handler: Handler::Write(geosearchstore),
        history: &[("7.0.0", "Added support for uppercase unit names.")],
        ..ROW
    },
];

/// What most rows have in common.
const ROW: Command = Command {
    flags: Flags::READONLY,
    keys: Keys::Specs(&[SOURCE]),
    group: Group::Geo,
    since: "3.2.0",
    complexity: "O(N+log(M)) where N is the number of elements inside the bounding box of the circular area delimited \
        by center and radius and M is the number of items inside the index.",
    ..Command::ROW
};

const SEARCH_COMPLEXITY: &str = "O(N+log(M)) where N is the number of elements in the grid-aligned bounding box area \
    around the shape provided as the filter and M is the number of items inside the shape";

const SOURCE: KeySpec = KeyFlags::RO_ACCESS.at(1);

const fn stored(keyword: &'static str, start: i16) -> KeySpec {
    let find = Find::Range { last: 0, step: 1, limit: 0 };
    KeySpec { flags: KeyFlags::OW_UPDATE, begin: Begin::Keyword { keyword, start }, find, notes: "" }
}

/// Every STORE and STOREDIST: the last one counts, and a user needs the right to all. What follows COUNT is no option.
fn keys_of_radius(args: &[&[u8]], begin: usize) -> Vec<KeyPosition> {
    let (mut keys, mut at) = (vec![KeyPosition { index: 1, flags: KeyFlags::RO_ACCESS }], begin);
    while at < args.len() {
        let is = |word| args::is_word(args[at], word);
        let stores = is("store") || is("storedist");
        if stores && at + 1 < args.len() {
            keys.push(KeyPosition { index: at + 1, flags: KeyFlags::OW_UPDATE });
        }
        at += 1 + usize::from(stores || is("count"));
    }
    keys
}

/// What a search may keep in memory.
const KEPT_BYTES_MAX: usize = 256 << 20;
/// The bytes of the shortest place in a reply.
const PLACE_BYTES_MIN: u64 = 6;

/// True where there may be an option that stores: the writer looks whether there is.
fn georadius_stores(args: &[&[u8]]) -> bool {
    has_store(args, 6)
}

fn georadiusbymember_stores(args: &[&[u8]]) -> bool {
    has_store(args, 5)
}

fn has_store(args: &[&[u8]], begin: usize) -> bool {
    let options = args.get(begin..).unwrap_or_default();
    options.iter().any(|option| args::is_word(option, "store") || args::is_word(option, "storedist"))
}

fn georadius(call: &mut ReadCall<'_>) -> ReadResult {
    search(call, Form::Around)
}

fn georadiusbymember(call: &mut ReadCall<'_>) -> ReadResult {
    search(call, Form::AroundMember)
}

fn geosearch(call: &mut ReadCall<'_>) -> ReadResult {
    search(call, Form::Search)
}

fn georadius_store(call: &mut WriteCall<'_>) -> CommandResult {
    search_and_store(call, Form::Around, "georadiusstore")
}

fn georadiusbymember_store(call: &mut WriteCall<'_>) -> CommandResult {
    search_and_store(call, Form::AroundMember, "georadiusstore")
}

fn geosearchstore(call: &mut WriteCall<'_>) -> CommandResult {
    search_and_store(call, Form::SearchStore, "geosearchstore")
}

/// Places of the set, as ranks: those of each range of scores.
struct Ranks {
    ranges: Vec<(u64, u64)>,
    members: u64,
}

impl Ranks {
    fn of(set: &SortedSet<'_>, area: &Area) -> Result<Ranks, StorageError> {
        let before = |score| set.count_before(Bound::Score { score, is_behind: false });
        let mut ranks = Ranks { ranges: Vec::new(), members: 0 };
        for scores in area.scores() {
            let first = before(scores.start)?;
            let count = before(scores.end)?.saturating_sub(first);
            ranks.ranges.push((first, count));
            ranks.members += count;
        }
        Ok(ranks)
    }
}

/// Shows member, score and distance in meters of the places within the area, so many at most.
fn each_place(
    keyspace: &Keyspace,
    set: &SortedSet<'_>,
    (area, ranks): (&Area, &Ranks),
    places_max: u64,
    mut show: impl FnMut(&[u8], f64, f64) -> ReadResult,
) -> ReadResult {
    let (mut seen, mut found) = (0_u64, 0);
    for (first, count) in &ranks.ranges {
        let ended = set.each_from(*first, *count, Direction::Forward, |member, score| {
            seen += 1;
            elements::check_time(keyspace, seen)?;
            if let Some(distance) = area.distance_within(position_of(score)) {
                show(member, score, distance).map_err(Ended::Failed)?;
                found += 1;
            }
            if found < places_max { Ok(()) } else { Err(Ended::Enough) }
        });
        match ended {
            Ok(()) => {}
            Err(Ended::Enough) => break,
            Err(Ended::Failed(error)) => return Err(error),
        }
    }
    Ok(())
}

impl Search<'_> {
    /// COUNT asks for the nearest, unless it takes any.
    fn order(&self) -> Option<Order> {
        let is_counted = self.count > 0 && !self.takes_any;
        let sorting = self.sorting.or(is_counted.then_some(Sorting::Ascending))?;
        Some(Order { is_descending: sorting == Sorting::Descending, are_ties_by_text: false })
    }

    fn places_max(&self) -> u64 {
        if self.takes_any { self.count } else { u64::MAX }
    }

    /// The places as the reply has them, in memory: each as its score and its member, with its distance.
    fn gathered(
        &self,
        keyspace: &Keyspace,
        set: &SortedSet<'_>,
        (area, ranks): (&Area, &Ranks),
        kept_bytes_max: usize,
        too_much: &dyn Fn() -> CommandError,
    ) -> Result<Sorted, CommandError> {
        let wanted = if self.count > 0 { self.count } else { u64::MAX };
        let mut ranking = Ranking::of(wanted, self.order().unwrap_or(Order::SHOWN), kept_bytes_max);
        let (is_sorted, mut place) = (self.order().is_some(), Vec::new());
        each_place(keyspace, set, (area, ranks), self.places_max(), |member, score, distance| {
            place.clear();
            place.extend_from_slice(&score.to_le_bytes());
            place.extend_from_slice(&distance.to_le_bytes());
            place.extend_from_slice(member);
            let weight = if is_sorted { Weight::Number(distance) } else { Weight::Nothing };
            ranking.add(&place, weight).map_err(|Overfull| too_much())
        })?;
        Ok(ranking.sorted())
    }

    fn write(&self, area: &Area, (member, score, distance): Place<'_>, reply: &mut ReplyWriter<'_>) -> ReadResult {
        let options = [self.with_distance, self.with_hash, self.with_position].into_iter().filter(|is_set| *is_set);
        let options = options.count();
        if options > 0 {
            reply.array(1 + options)?;
        }
        reply.bulk(member)?;
        if self.with_distance {
            reply.bulk(distance_text(distance / area.unit.meters).as_bytes())?;
        }
        if self.with_hash {
            reply.integer(score as i64)?;
        }
        if self.with_position {
            write_position(position_of(score), reply)?;
        }
        Ok(())
    }
}

/// Member, score, and distance in meters.
type Place<'a> = (&'a [u8], f64, f64);

/// A place as `gathered` keeps it.
fn place(kept: &[u8]) -> Place<'_> {
    let number = |bytes: &[u8]| bytes.first_chunk().map_or(0.0, |bytes| f64::from_le_bytes(*bytes));
    let (numbers, member) = kept.split_at(kept.len().min(2 * size_of::<f64>()));
    (member, number(numbers), number(numbers.get(size_of::<f64>()..).unwrap_or_default()))
}

fn search(call: &mut ReadCall<'_>, form: Form) -> ReadResult {
    let set = ranked::of(call.keyspace, form.source(call.args))?;
    let search = Search::parse(form, call.args, false, set.as_ref())?;
    let Some(set) = set else { return Ok(call.reply.array(0)?) };
    let area = search.area.ok_or(errors::INTERNAL)?;
    let ranks = Ranks::of(&set, &area)?;
    if !set.is_packed() {
        call.check_elements(ranks.members)?;
    }
    let (keyspace, weight, reply) = (call.keyspace, call.weight, &mut call.reply);
    if search.order().is_none() {
        let (header, mut count) = (reply.gap(), 0);
        each_place(keyspace, &set, (&area, &ranks), search.places_max(), |member, score, distance| {
            count += 1;
            search.write(&area, (member, score, distance), reply)
        })?;
        return Ok(reply.fill(header, |reply| reply.array(count))?);
    }
    let kept_bytes_max = weight.map_or(KEPT_BYTES_MAX, |weight| usize::try_from(weight).unwrap_or(usize::MAX));
    let too_much = || if weight.is_some() { CommandError::TooHeavy } else { errors::SEARCH_TOO_LARGE.into() };
    let places = search.gathered(keyspace, &set, (&area, &ranks), kept_bytes_max, &too_much)?;
    reply.check(PLACE_BYTES_MIN.saturating_mul(places.len() as u64))?;
    reply.array(places.len())?;
    places.iter().try_for_each(|(kept, _)| search.write(&area, place(kept), reply))
}

fn search_and_store(call: &mut WriteCall<'_>, form: Form, event: &'static str) -> CommandResult {
    let set = ranked::of(call.keyspace, form.source(call.args))?;
    let search = Search::parse(form, call.args, true, set.as_ref())?;
    let Store { key, is_by_distance } = search.store.ok_or(errors::INTERNAL)?;
    let Some(set) = set else {
        lookup::delete(call, key)?;
        return Ok(Reply::Integer(0));
    };
    let area = search.area.ok_or(errors::INTERNAL)?;
    let ranks = Ranks::of(&set, &area)?;
    call.keyspace.begin_long(ranks.members)?;
    let too_much = || errors::SEARCH_TOO_LARGE.into();
    let places = search.gathered(call.keyspace, &set, (&area, &ranks), KEPT_BYTES_MAX, &too_much)?;
    let mut building = call.keyspace.build(Kind::SortedSet);
    for (kept, _) in places.iter() {
        let (member, score, distance) = place(kept);
        let score = if is_by_distance { distance / area.unit.meters } else { score };
        // Ranges do not overlap: nobody is there twice.
        call.keyspace.add_new_score_to(&mut building, member, score)?;
    }
    lookup::put_built(call, Class::SortedSet, key, building, event)
}
