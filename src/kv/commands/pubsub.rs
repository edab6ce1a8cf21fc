//! Channels: SUBSCRIBE and its kin, PUBLISH, SPUBLISH; the rows of PUBSUB, whose handlers are in `pubsub_introspection`.

use crate::kv::call::ScriptSession;
use crate::kv::commands::pubsub_introspection;
use crate::kv::commands::table::{Channels, Command, Flags, Group, Handler, KeyFlags, Keys};
use crate::kv::errors::{self, CommandError, CommandResult};
use crate::kv::sessions::publishing;
use crate::kv::sessions::session::{Outcome, SessionCall};
use crate::kv::sessions::subscriptions::{ChannelKind, SUBSCRIPTIONS_MAX, Subscribable};
use crate::resp::encode;
use crate::resp::reply::Reply;

/// The longest name of a channel: each message is matched with all patterns, and that takes as long as its channel's name is.
pub const CHANNEL_BYTES_MAX: usize = 4096;

const LISTENING: Flags =
    Flags::PUBSUB.or(Flags::NOSCRIPT).or(Flags::LOADING).or(Flags::STALE).or(Flags::WHILE_SUBSCRIBED);
const LOOKING: Flags = Flags::PUBSUB.or(Flags::LOADING).or(Flags::STALE);
const PUBLISHING: Flags = LOOKING.or(Flags::FAST).or(Flags::MAY_REPLICATE);

pub const COMMANDS: &[Command] = &[
    Command {
        name: "psubscribe",
        arity: -2,
        flags: LISTENING,
        channels: Channels::Patterns,
        group: Group::PubSub,
        since: "2.0.0",
        complexity: "O(N) where N is the number of patterns to subscribe to.",
        summary: "Listens for messages published to channels that match one or more patterns.",
        syntax: "pattern [pattern ...]",
        handler: Handler::Session(|call, args| subscribe(call, Subscribable::Pattern, args)),
        ..Command::ROW
    },
    Command {
        name: "publish",
        arity: 3,
        flags: PUBLISHING,
        channels: Channels::First,
        group: Group::PubSub,
        since: "2.0.0",
        complexity: "O(N+M) where N is the number of clients subscribed to the receiving channel and M is the total \
            number of subscribed patterns (by any client).",
        summary: "Posts a message to a channel.",
        syntax: "channel message",
        handler: Handler::Session(|call, args| publish(call, ChannelKind::Plain, args)),
        scripted: Some(|session, args| publish_from_script(session, false, args)),
        ..Command::ROW
    },
    Command {
        name: "pubsub",
        arity: -2,
        group: Group::PubSub,
        since: "2.8.0",
        complexity: "Depends on subcommand.",
        summary: "A container for Pub/Sub commands.",
        handler: Handler::Container,
        subcommands: &[
            Command {
                name: "pubsub|channels",
                arity: -2,
                flags: LOOKING,
                group: Group::PubSub,
                since: "2.8.0",
                complexity: "O(N) where N is the number of active channels, and assuming constant time pattern \
                    matching (relatively short channels and patterns)",
                summary: "Returns the active channels.",
                syntax: "[pattern]",
                handler: Handler::Session(|call, args| pubsub_introspection::channels(call, ChannelKind::Plain, args)),
                ..Command::ROW
            },
            Command {
                name: "pubsub|help",
                arity: 2,
                flags: Flags::LOADING.or(Flags::STALE).or(Flags::ACL_NOT_GROUP),
                group: Group::PubSub,
                since: "6.2.0",
                complexity: "O(1)",
                summary: "Returns helpful text about the different subcommands.",
                handler: Handler::Pure(pubsub_introspection::help),
                ..Command::ROW
            },
            Command {
                name: "pubsub|numpat",
                arity: 2,
                flags: LOOKING,
                group: Group::PubSub,
                since: "2.8.0",
                complexity: "O(1)",
                summary: "Returns a count of unique pattern subscriptions.",
                handler: Handler::Session(pubsub_introspection::numpat),
                ..Command::ROW
            },
            Command {
                name: "pubsub|numsub",
                arity: -2,
                flags: LOOKING,
                group: Group::PubSub,
                since: "2.8.0",
                complexity: "O(N) for the NUMSUB subcommand, where N is the number of requested channels",
                summary: "Returns a count of subscribers to channels.",
                syntax: "[channel [channel ...]]",
                handler: Handler::Session(|call, args| pubsub_introspection::numsub(call, ChannelKind::Plain, args)),
                ..Command::ROW
            },
            Command {
                name: "pubsub|shardchannels",
                arity: -2,
                flags: LOOKING,
                group: Group::PubSub,
                since: "7.0.0",
                complexity: "O(N) where N is the number of active shard channels, and assuming constant time pattern \
                    matching (relatively short shard channels).",
                summary: "Returns the active shard channels.",
                syntax: "[pattern]",
                handler: Handler::Session(|call, args| pubsub_introspection::channels(call, ChannelKind::Shard, args)),
                ..Command::ROW
            },
            Command {
                name: "pubsub|shardnumsub",
                arity: -2,
                flags: LOOKING,
                group: Group::PubSub,
                since: "7.0.0",
                complexity: "O(N) for the SHARDNUMSUB subcommand, where N is the number of requested shard channels",
                summary: "Returns the count of subscribers of shard channels.",
                syntax: "[shardchannel [shardchannel ...]]",
                handler: Handler::Session(|call, args| pubsub_introspection::numsub(call, ChannelKind::Shard, args)),
                ..Command::ROW
            },
        ],
        ..Command::ROW
    },
    Command {
        name: "punsubscribe",
        arity: -1,
        flags: LISTENING,
        group: Group::PubSub,
        since: "2.0.0",
        complexity: "O(N) where N is the number of patterns to unsubscribe.",
        summary: "Stops listening to messages published to channels that match one or more patterns.",
        syntax: "[pattern [pattern ...]]",
        handler: Handler::Session(|call, args| unsubscribe(call, Subscribable::Pattern, args)),
        ..Command::ROW
    },
    Command {
        name: "spublish",
        arity: 3,
        flags: PUBLISHING,
        channels: Channels::First,
        keys: Keys::Specs(&[KeyFlags::NOT_KEY.at(1)]),
        group: Group::PubSub,
        since: "7.0.0",
        complexity: "O(N) where N is the number of clients subscribed to the receiving shard channel.",
        summary: "Post a message to a shard channel.",
        syntax: "shardchannel message",
        handler: Handler::Session(|call, args| publish(call, ChannelKind::Shard, args)),
        scripted: Some(|session, args| publish_from_script(session, true, args)),
        ..Command::ROW
    },
    Command {
        name: "ssubscribe",
        arity: -2,
        flags: LISTENING,
        channels: Channels::All,
        keys: Keys::Specs(&[KeyFlags::NOT_KEY.range(1, -1, 1)]),
        group: Group::PubSub,
        since: "7.0.0",
        complexity: "O(N) where N is the number of shard channels to subscribe to.",
        summary: "Listens for messages published to shard channels.",
        syntax: "shardchannel [shardchannel ...]",
        handler: Handler::Session(|call, args| subscribe(call, Subscribable::Channel(ChannelKind::Shard), args)),
        ..Command::ROW
    },
    Command {
        name: "subscribe",
        arity: -2,
        flags: LISTENING,
        channels: Channels::All,
        group: Group::PubSub,
        since: "2.0.0",
        complexity: "O(N) where N is the number of channels to subscribe to.",
        summary: "Listens for messages published to channels.",
        syntax: "channel [channel ...]",
        handler: Handler::Session(|call, args| subscribe(call, Subscribable::Channel(ChannelKind::Plain), args)),
        ..Command::ROW
    },
    Command {
        name: "sunsubscribe",
        arity: -1,
        flags: LISTENING,
        keys: Keys::Specs(&[KeyFlags::NOT_KEY.range(1, -1, 1)]),
        group: Group::PubSub,
        since: "7.0.0",
        complexity: "O(N) where N is the number of shard channels to unsubscribe.",
        summary: "Stops listening to messages posted to shard channels.",
        syntax: "[shardchannel [shardchannel ...]]",
        handler: Handler::Session(|call, args| unsubscribe(call, Subscribable::Channel(ChannelKind::Shard), args)),
        ..Command::ROW
    },
    Command {
        name: "unsubscribe",
        arity: -1,
        flags: LISTENING,
        group: Group::PubSub,
        since: "2.0.0",
        complexity: "O(N) where N is the number of channels to unsubscribe.",
        summary: "Stops listening to messages posted to channels.",
        syntax: "[channel [channel ...]]",
        handler: Handler::Session(|call, args| unsubscribe(call, Subscribable::Channel(ChannelKind::Plain), args)),
        ..Command::ROW
    },
];

fn check_channel(name: &[u8]) -> Result<(), CommandError> {
    let is_too_long = name.len() > CHANNEL_BYTES_MAX;
    if is_too_long { Err(CommandError::Reply(errors::channel_too_long(CHANNEL_BYTES_MAX))) } else { Ok(()) }
}

fn subscribe(call: &mut SessionCall<'_>, what: Subscribable, args: &[&[u8]]) -> Outcome {
    let names = &args[1..];
    let client = std::rc::Rc::clone(&call.session.client);
    // A name that it is subscribed to already, or that is there twice, counts: to find that out costs as much.
    if client.subscribed.borrow().count() + names.len() > SUBSCRIPTIONS_MAX {
        return Outcome::error(errors::too_many_subscriptions(SUBSCRIPTIONS_MAX));
    }
    let mut confirmations = Confirmations::of(call, what.subscribe_word());
    for name in names {
        match check_channel(name).and_then(|()| publishing::subscribe(call.worker, &client, what, name)) {
            Ok(()) => confirmations.add(Some(name), client.subscribed.borrow().count_beside(what)),
            Err(error) => confirmations.refuse(&error.text()),
        }
    }
    Outcome::Pushes(confirmations.bytes)
}

fn unsubscribe(call: &mut SessionCall<'_>, what: Subscribable, args: &[&[u8]]) -> Outcome {
    let client = std::rc::Rc::clone(&call.session.client);
    let mut confirmations = Confirmations::of(call, what.unsubscribe_word());
    let mut leave = |name: &[u8]| {
        publishing::unsubscribe(call.worker, &client, what, name);
        confirmations.add(Some(name), client.subscribed.borrow().count_beside(what));
    };
    match &args[1..] {
        [] => {
            let names = client.names(what);
            names.iter().for_each(|name| leave(name));
            if names.is_empty() {
                confirmations.add(None, client.subscribed.borrow().count_beside(what));
            }
        }
        names => names.iter().for_each(|name| leave(name)),
    }
    Outcome::Pushes(confirmations.bytes)
}

fn publish(call: &mut SessionCall<'_>, kind: ChannelKind, args: &[&[u8]]) -> Outcome {
    if let Err(error) = check_channel(args[1]) {
        return Outcome::error(error.text());
    }
    let count = publishing::publish(call.worker, kind, args[1], args[2], call.effects);
    Outcome::Reply(Reply::Integer(count.cast_signed()))
}

fn publish_from_script(session: &mut dyn ScriptSession, is_shard: bool, args: &[&[u8]]) -> CommandResult {
    check_channel(args[1])?;
    Ok(Reply::Integer(session.publish(is_shard, args[1], args[2])?.cast_signed()))
}

/// What SUBSCRIBE and its kin answer: a push for each name.
struct Confirmations {
    word: &'static str,
    version: crate::resp::reply::Version,
    bytes: Vec<u8>,
}

impl Confirmations {
    fn of(call: &SessionCall<'_>, word: &'static str) -> Confirmations {
        Confirmations { word, version: call.session.version, bytes: Vec::new() }
    }

    fn add(&mut self, name: Option<&[u8]>, count: usize) {
        let (version, out) = (self.version, &mut self.bytes);
        encode::push_header(3, version, out);
        encode::bulk(self.word.as_bytes(), out);
        match name {
            Some(name) => encode::bulk(name, out),
            None => encode::null(version, out),
        }
        encode::integer(count as i64, out);
    }

    /// Instead of one.
    fn refuse(&mut self, error: &str) {
        encode::error(error, &mut self.bytes);
    }
}
