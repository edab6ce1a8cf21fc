//! What the writer tells this worker unasked: events of keys go to its subscribers, changed keys to its clients that track them. And which
//! keys those read, and which are not there.

use super::KvService;
use crate::kv::call::{KEY_MISS, Notifications};
use crate::kv::commands::client::is_client_command;
use crate::kv::commands::client_tracking::{self, Effect};
use crate::kv::commands::pubsub::CHANNEL_BYTES_MAX;
use crate::kv::commands::table::{Command, Handler};
use crate::kv::jobs::news::{self, News};
use crate::kv::sessions::monitors;
use crate::kv::sessions::publishing;
use crate::kv::sessions::pushes;
use crate::kv::sessions::session::Session;
use crate::kv::sessions::subscriptions::{ChannelKind, deliver};
use crate::kv::sessions::tracking::{self, Caching, NOTED_AT_ONCE_MAX};
use crate::kv::sessions::transaction::State;
use crate::kv::shared::hand_offs::HandOff;
use crate::kv::shared::runtime::Knob;
use crate::kv::table::flags::Flags;
use crate::server::Effects;

impl KvService {
    pub(super) fn hear_news(&mut self, notice: &[u8], effects: &mut Effects) {
        let worker = &mut self.worker;
        for news in news::each(notice) {
            match news {
                News::Event { places, database, name, key } => {
                    if worker.subscriptions.is_somebody_there() {
                        each_channel(places, database, name, key, |channel, message| {
                            deliver(worker, ChannelKind::Plain, channel, message, None, effects);
                        });
                    }
                }
                News::Changed { by, key } => {
                    let by = by.filter(|by| by.incarnation == worker.context.incarnation).map(|by| by.connection);
                    tracking::changed(worker, key, by, effects);
                }
                News::AllChanged => tracking::all_changed(worker, effects),
                News::Monitored(line) => monitors::show(worker, line, effects),
                // It may be sent pushes while it waits; from here on they come behind its reply.
                News::Served { client } => {
                    if let Some(client) = worker.clients.get(&client) {
                        pushes::hold(client);
                    }
                }
                News::Published { is_shard, channel, message } => {
                    let kind = if is_shard { ChannelKind::Shard } else { ChannelKind::Plain };
                    publishing::publish(worker, kind, channel, message, effects);
                }
            }
        }
        tracking::tell_prefixes(&mut self.worker, effects);
    }

    /// Some news never came.
    pub(super) fn news_missed(&mut self, effects: &mut Effects) {
        publishing::events_missed(&self.worker, effects);
        if self.worker.shared.hand_offs.is_set(HandOff::ScriptsPublish) {
            publishing::owes_all(&mut self.worker, effects);
        }
        tracking::all_changed(&mut self.worker, effects);
    }

    /// Keys were read that are not there.
    pub(super) fn tell_misses(&self, missed: &[(u8, Vec<u8>)], effects: &mut Effects) {
        let places = Notifications::from_word(self.worker.shared.runtime.read(Knob::KeyspaceEvents));
        for (database, key) in missed {
            each_channel(places, *database, KEY_MISS, key, |channel, message| {
                publishing::publish(&self.worker, ChannelKind::Plain, channel, message, effects);
            });
        }
    }

    /// The same of a call that the cache has answered.
    #[cold]
    pub(super) fn tell_found_misses(&self, database: u8, keys: &[&[u8]], effects: &mut Effects) {
        // No record of a key that has expired answers anything.
        let missed = self.cache.records(&self.found).zip(keys).filter(|(record, _)| record.entry().is_none());
        let missed: Vec<_> = missed.map(|(_, key)| (database, key.to_vec())).collect();
        self.tell_misses(&missed, effects);
    }

    /// A call is about to run, here or on a lane: the keys that it reads are noted before anybody looks at them.
    pub(super) fn note_reads(&mut self, session: &Session, command: &Command, args: &[&[u8]], effects: &mut Effects) {
        let tracking = &session.client.tracking;
        if !tracking.is_on() {
            return;
        }
        tracking.command_begins(is_client_command(command));
        let is_said = tracking.caching.get() != Caching::NotSaid;
        if command.flags.has(Flags::EXECUTES) {
            self.note_queued_reads(session, is_said, effects);
        } else if reads(command) && tracking.tracks_reads(is_said) {
            let positions = command.keys.positions(args);
            let keys = positions.iter().map(|position| args[position.index]);
            tracking::note(&mut self.worker, &session.client, keys, effects);
        }
    }

    /// Those that MULTI has queued, where EXEC comes.
    fn note_queued_reads(&mut self, session: &Session, is_said: bool, effects: &mut Effects) {
        let State::Queuing(queue) = &session.transaction.state else { return };
        if queue.count() > NOTED_AT_ONCE_MAX {
            return tracking::note_all(&mut self.worker, &session.client);
        }
        let (mut is_said, mut is_switched, mut keys) = (is_said, false, Vec::new());
        for (_, call) in queue.calls() {
            match client_tracking::effect(call.command()) {
                Effect::None => {}
                Effect::Says => is_said = true,
                Effect::Switches => is_switched = true,
            }
            if reads(call.command()) && (is_switched || session.client.tracking.tracks_reads(is_said)) {
                let positions = call.command().keys.positions(&call.args);
                keys.extend(positions.iter().map(|position| call.args[position.index].to_vec()));
            }
            if keys.len() > NOTED_AT_ONCE_MAX {
                break;
            }
        }
        tracking::note(&mut self.worker, &session.client, keys.iter().map(|key| &key[..]), effects);
    }
}

/// A script may read all the keys that it declares.
fn reads(command: &Command) -> bool {
    command.flags.has(Flags::READONLY) || matches!(command.handler, Handler::Script(_))
}

/// The channels that an event is published on, with their messages.
fn each_channel(places: Notifications, database: u8, name: &str, key: &[u8], mut publish: impl FnMut(&[u8], &[u8])) {
    let mut channel = Vec::new();
    if places.is_by_key() {
        channel.extend_from_slice(format!("__keyspace@{database}__:").as_bytes());
        channel.extend_from_slice(key);
        // Nobody can subscribe to a longer one, and patterns take as long as it is.
        if channel.len() <= CHANNEL_BYTES_MAX {
            publish(&channel, name.as_bytes());
        }
    }
    if places.is_by_event() {
        channel.clear();
        channel.extend_from_slice(format!("__keyevent@{database}__:{name}").as_bytes());
        publish(&channel, key);
    }
}
