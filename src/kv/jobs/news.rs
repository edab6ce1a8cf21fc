//! What the writer tells all workers after a commit, unasked: events of keys, and which keys have changed. As bytes, one behind the other,
//! in the order in which it happened.

use crate::kv::call::{Event, Notifications};
use crate::kv::jobs::job::{take, take_slice};
use crate::server::ConnectionId;

/// One thing that has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News<'a> {
    /// An event of a key, to be published where `notify-keyspace-events` says.
    Event { places: Notifications, database: u8, name: &'a str, key: &'a [u8] },
    /// The key has changed, or ended.
    Changed { by: Option<Changer>, key: &'a [u8] },
    /// All keys may have changed.
    AllChanged,
    /// A script has published this: the worker whose client has called it gives it to all.
    Published { is_shard: bool, channel: &'a [u8], message: &'a [u8] },
    /// What monitors see of a call of a script.
    Monitored(&'a [u8]),
    /// The client with this number has waited, and its answer comes right behind: so does what its call has caused.
    Served { client: u64 },
}

/// The client whose call it was. What ends by itself is nobody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changer {
    /// Of its worker.
    pub incarnation: u64,
    pub connection: ConnectionId,
}

/// News of one commit. More than fits one notice go into several.
#[derive(Debug, Default)]
pub struct Bulletin {
    bytes: Vec<u8>,
    /// Where each notice but the last ends.
    ends: Vec<usize>,
}

/// A notice that has so many bytes takes no more.
const NOTICE_BYTES: usize = 64 << 10;

const EVENT: u8 = 1;
const CHANGED: u8 = 2;
const ALL_CHANGED: u8 = 3;
const PUBLISHED: u8 = 4;
const MONITORED: u8 = 5;
const SERVED: u8 = 6;

impl Bulletin {
    pub fn event(&mut self, places: Notifications, event: &Event) {
        self.begin(EVENT);
        self.bytes.extend_from_slice(&places.word().to_le_bytes());
        self.bytes.push(event.database);
        self.put(event.name.as_bytes());
        self.put(&event.key);
    }

    pub fn changed(&mut self, by: Option<Changer>, key: &[u8]) {
        self.begin(CHANGED);
        self.put_changer(by);
        self.put(key);
    }

    pub fn all_changed(&mut self) {
        self.begin(ALL_CHANGED);
    }

    pub fn monitored(&mut self, line: &[u8]) {
        self.begin(MONITORED);
        self.put(line);
    }

    pub fn served(&mut self, client: u64) {
        self.begin(SERVED);
        self.bytes.extend_from_slice(&client.to_le_bytes());
    }

    pub fn published(&mut self, is_shard: bool, channel: &[u8], message: &[u8]) {
        self.begin(PUBLISHED);
        self.bytes.push(u8::from(is_shard));
        self.put(channel);
        self.put(message);
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    #[must_use]
    pub fn bytes_len(&self) -> usize {
        self.bytes.len()
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.bytes.shrink_to(NOTICE_BYTES);
    }

    /// How far it has come, to go back to.
    #[must_use]
    pub fn place(&self) -> (usize, usize) {
        (self.bytes.len(), self.ends.len())
    }

    pub fn go_back(&mut self, (bytes, ends): (usize, usize)) {
        self.bytes.truncate(bytes);
        self.ends.truncate(ends);
    }

    pub fn notices(&self) -> impl Iterator<Item = &[u8]> {
        let mut begin = 0;
        self.ends.iter().copied().chain([self.bytes.len()]).map(move |end| {
            let notice = &self.bytes[begin..end];
            begin = end;
            notice
        })
    }

    fn begin(&mut self, kind: u8) {
        let begun = self.ends.last().copied().unwrap_or(0);
        if self.bytes.len() - begun >= NOTICE_BYTES {
            self.ends.push(self.bytes.len());
        }
        self.bytes.push(kind);
    }

    fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        self.bytes.extend_from_slice(bytes);
    }

    fn put_changer(&mut self, by: Option<Changer>) {
        // No worker has the incarnation 0.
        let (incarnation, connection) = by.map_or((0, 0), |by| (by.incarnation, by.connection.0));
        self.bytes.extend_from_slice(&incarnation.to_le_bytes());
        self.bytes.extend_from_slice(&connection.to_le_bytes());
    }
}

/// What a notice tells, in order.
pub fn each(notice: &[u8]) -> impl Iterator<Item = News<'_>> {
    let mut rest = notice;
    std::iter::from_fn(move || {
        let (kind, behind) = rest.split_first()?;
        rest = behind;
        Some(match *kind {
            EVENT => {
                let places = Notifications::from_word(u64::from_le_bytes(take(&mut rest)));
                let [database] = take(&mut rest);
                let name = std::str::from_utf8(take_bytes(&mut rest)).expect(MADE_HERE);
                News::Event { places, database, name, key: take_bytes(&mut rest) }
            }
            CHANGED => News::Changed { by: take_changer(&mut rest), key: take_bytes(&mut rest) },
            MONITORED => News::Monitored(take_bytes(&mut rest)),
            SERVED => News::Served { client: u64::from_le_bytes(take(&mut rest)) },
            PUBLISHED => {
                let [is_shard] = take(&mut rest);
                let channel = take_bytes(&mut rest);
                News::Published { is_shard: is_shard != 0, channel, message: take_bytes(&mut rest) }
            }
            _ => News::AllChanged,
        })
    })
}

const MADE_HERE: &str = "made by the same program";

fn take_bytes<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let length = usize::try_from(u64::from_le_bytes(take(rest))).expect(MADE_HERE);
    take_slice(rest, length)
}

fn take_changer(rest: &mut &[u8]) -> Option<Changer> {
    let (incarnation, connection) = (u64::from_le_bytes(take(rest)), u64::from_le_bytes(take(rest)));
    (incarnation != 0).then_some(Changer { incarnation, connection: ConnectionId(connection) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::call::Class;

    #[test]
    fn news_come_in_order_and_many_of_them_in_several_notices() {
        let places = Notifications::parse(b"KEA").unwrap();
        let by = Some(Changer { incarnation: 7, connection: ConnectionId(9) });
        let long = vec![b'k'; NOTICE_BYTES];
        let event = Event { database: 15, class: Class::String, name: "set", key: long.clone() };
        let mut bulletin = Bulletin::default();
        assert!(bulletin.is_empty());
        bulletin.changed(by, b"");
        let place = bulletin.place();
        bulletin.event(places, &event);
        bulletin.changed(None, b"b");
        bulletin.go_back(place);
        bulletin.event(places, &event);
        bulletin.all_changed();
        bulletin.published(true, b"channel", b"");
        bulletin.served(77);
        let notices: Vec<Vec<News<'_>>> = bulletin.notices().map(|notice| each(notice).collect()).collect();
        assert_eq!(
            notices,
            [
                vec![News::Changed { by, key: b"" }, News::Event { places, database: 15, name: "set", key: &long }],
                vec![
                    News::AllChanged,
                    News::Published { is_shard: true, channel: b"channel", message: b"" },
                    News::Served { client: 77 },
                ],
            ]
        );
        bulletin.clear();
        assert!(bulletin.is_empty());
    }
}
