//! Places in sorted sets, member by member: GEOADD, GEOPOS, GEODIST, GEOHASH. A place is its member's score (kv::formats::geohash).

use crate::kv::call::{ReadCall, ReadResult, WriteCall};
use crate::kv::commands::args;
use crate::kv::commands::ranked;
use crate::kv::commands::sorted_sets::AddOptions;
use crate::kv::commands::table::{Command, Flags, Group, Handler, KeyFlags, Keys};
use crate::kv::errors::{self, CommandError, CommandResult};
use crate::kv::formats::geohash::{
    LATITUDE_MAX, LONGITUDE_MAX, Position, Unit, coordinate_text, distance_m, distance_text, geohash_text, position_of,
    score_of,
};
use crate::kv::formats::number::parse_double;
use crate::resp::{Reply, ReplyWriter};
use crate::storage::{Packed, StorageError};

pub const COMMANDS: &[Command] = &[
    Command {
        name: "geoadd",
        arity: -5,
        flags: Flags::WRITE.or(Flags::DENYOOM),
        keys: Keys::Specs(&[KeyFlags::RW_UPDATE.at(1)]),
        complexity: "O(log(N)) for each item added, where N is the number of elements in the sorted set.",
        summary: "Adds one or more members to a geospatial index. The key is created if it doesn't exist.",
        syntax: "key [NX | XX] [CH] longitude latitude member [longitude latitude member ...]",
        handler: Handler::Write(geoadd),
        history: &[("6.2.0", "Added the `CH`, `NX` and `XX` options.")],
        ..ROW
    },
    Command {
        name: "geodist",
        arity: -4,
        summary: "Returns the distance between two members of a geospatial index.",
        syntax: "key member1 member2 [M | KM | FT | MI]",
        handler: ranked::look(geodist_packed, geodist_apart),
        ..ROW
    },
    Command {
        name: "geohash",
        arity: -2,
        complexity: "O(1) for each member requested.",
        summary: "Returns members from a geospatial index as geohash strings.",
        syntax: "key [member [member ...]]",
        handler: ranked::look(geohash_packed, geohash_apart),
        ..ROW
    },
    Command {
        name: "geopos",
        arity: -2,
        complexity: "O(1) for each member requested.",
        summary: "Returns the longitude and latitude of members from a geospatial index.",
        syntax: "key [member [member ...]]",
        handler: ranked::look(geopos_packed, geopos_apart),
        ..ROW
    },
];

/// What most rows have in common.
const ROW: Command = Command {
    flags: Flags::READONLY,
    keys: Keys::Specs(&[KeyFlags::RO_ACCESS.at(1)]),
    group: Group::Geo,
    since: "3.2.0",
    ..Command::ROW
};

/// Says a member's score, if it is there.
type ScoreOf<'a> = &'a dyn Fn(&[u8]) -> Result<Option<f64>, StorageError>;

/// Two arguments that are a place.
pub fn position(longitude: &[u8], latitude: &[u8]) -> Result<Position, CommandError> {
    let double = |arg| parse_double(arg).ok_or(CommandError::from(errors::NOT_A_FLOAT));
    let (longitude, latitude) = (double(longitude)?, double(latitude)?);
    match longitude.abs() <= LONGITUDE_MAX && latitude.abs() <= LATITUDE_MAX {
        true => Ok(Position { longitude, latitude }),
        false => Err(errors::no_such_place(longitude, latitude)),
    }
}

pub fn unit(arg: &[u8]) -> Result<Unit, CommandError> {
    Unit::named(arg).ok_or(errors::UNKNOWN_UNIT.into())
}

pub fn write_position(position: Position, reply: &mut ReplyWriter<'_>) -> ReadResult {
    reply.array(2)?;
    reply.double_text(&coordinate_text(position.longitude))?;
    Ok(reply.double_text(&coordinate_text(position.latitude))?)
}

/// All places are looked at before one is stored.
fn geoadd(call: &mut WriteCall<'_>) -> CommandResult {
    let (mut options, mut rest) = (AddOptions::default(), &call.args[2..]);
    while let [option, after @ ..] = rest {
        match option {
            option if args::is_word(option, "nx") => options.only_new = true,
            option if args::is_word(option, "xx") => options.only_present = true,
            option if args::is_word(option, "ch") => options.counts_changes = true,
            _ => break,
        }
        rest = after;
    }
    let (places, left) = rest.as_chunks::<3>();
    if !left.is_empty() || places.is_empty() || (options.only_new && options.only_present) {
        return Err(errors::SYNTAX.into());
    }
    let scores = places
        .iter()
        .map(|[longitude, latitude, _]| Ok(score_of(position(longitude, latitude)?)))
        .collect::<Result<Vec<f64>, CommandError>>()?;
    let members: Vec<&[u8]> = places.iter().map(|[.., member]| *member).collect();
    Ok(Reply::Integer(options.add_scores(call, &members, &scores)?.count))
}

fn geopos_packed(args: &[&[u8]], members: &Packed<'_>, reply: &mut ReplyWriter<'_>) -> ReadResult {
    geopos(args, &|member| members.score(member), reply)
}

fn geopos_apart(call: &mut ReadCall<'_>) -> ReadResult {
    let set = ranked::found(call)?;
    geopos(call.args, &|member| set.score(member), &mut call.reply)
}

fn geopos(args: &[&[u8]], score: ScoreOf<'_>, reply: &mut ReplyWriter<'_>) -> ReadResult {
    reply.array(args.len() - 2)?;
    args[2..].iter().try_for_each(|member| match score(member)? {
        Some(score) => write_position(position_of(score), reply),
        None => Ok(reply.null_array()?),
    })
}

fn geohash_packed(args: &[&[u8]], members: &Packed<'_>, reply: &mut ReplyWriter<'_>) -> ReadResult {
    geohash(args, &|member| members.score(member), reply)
}

fn geohash_apart(call: &mut ReadCall<'_>) -> ReadResult {
    let set = ranked::found(call)?;
    geohash(call.args, &|member| set.score(member), &mut call.reply)
}

fn geohash(args: &[&[u8]], score: ScoreOf<'_>, reply: &mut ReplyWriter<'_>) -> ReadResult {
    reply.array(args.len() - 2)?;
    args[2..].iter().try_for_each(|member| match score(member)? {
        Some(score) => Ok(reply.bulk(&geohash_text(position_of(score)))?),
        None => Ok(reply.null()?),
    })
}

fn geodist_packed(args: &[&[u8]], members: &Packed<'_>, reply: &mut ReplyWriter<'_>) -> ReadResult {
    geodist(args, &|member| members.score(member), reply)
}

fn geodist_apart(call: &mut ReadCall<'_>) -> ReadResult {
    let set = ranked::found(call)?;
    geodist(call.args, &|member| set.score(member), &mut call.reply)
}

fn geodist(args: &[&[u8]], score: ScoreOf<'_>, reply: &mut ReplyWriter<'_>) -> ReadResult {
    let unit = match args[4..] {
        [] => Unit::METER,
        [name] => unit(name)?,
        _ => return Err(errors::SYNTAX.into()),
    };
    match (score(args[2])?, score(args[3])?) {
        (Some(one), Some(other)) => {
            let distance = distance_m(position_of(one), position_of(other)) / unit.meters;
            Ok(reply.bulk(distance_text(distance).as_bytes())?)
        }
        _ => Ok(reply.null()?),
    }
}
