//! A stream as commands, for one that is too large for RESTORE. What they can't say: when a consumer was seen last, and what is pending of
//! entries that are deleted.

use std::collections::BTreeMap;

use super::fault::Result;
use super::sender::{Command, Wanted};
use crate::kv::formats::rdb::{RestoreError, StreamPart};

type Id = (u64, u64);

/// Entries in one XCLAIM.
const CLAIMED_MAX: usize = 500;
/// A group for a moment: it makes a stream without entries.
const PASSING_GROUP: &str = "emptyserver-import";

/// What is known of the stream that comes.
#[derive(Debug, Default)]
pub(super) struct StreamCommands {
    has_entries: bool,
    group: Vec<u8>,
    consumer: Vec<u8>,
    /// Of the group, until its consumers say whose they are.
    pending: BTreeMap<Id, Delivery>,
    /// Of the consumer, with one delivery.
    claimed: Vec<Id>,
    delivery: Delivery,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Delivery {
    ms: i64,
    count: u64,
}

impl StreamCommands {
    /// Gives `send` the commands that bring a part to the key `name`.
    ///
    /// # Errors
    /// A stream has no such part there.
    pub(super) fn add(
        &mut self,
        name: &[u8],
        part: StreamPart<'_>,
        send: &mut dyn FnMut(Command, Wanted),
    ) -> Result<()> {
        match part {
            StreamPart::Entry { id, parts, .. } => {
                self.has_entries = true;
                let id = text(id);
                send(command(&[&[b"XADD", name, &id], parts].concat()), Wanted::Portion);
            }
            StreamPart::Counters { last, max_deleted, added } => {
                if !self.has_entries {
                    let group = PASSING_GROUP.as_bytes();
                    send(command(&[b"XGROUP", b"CREATE", name, group, b"0", b"MKSTREAM"]), Wanted::Portion);
                    send(command(&[b"XGROUP", b"DESTROY", name, group]), Wanted::Portion);
                }
                let (last, added, max_deleted) = (text(last), digits(added), text(max_deleted));
                let counters: [&[u8]; 7] =
                    [b"XSETID", name, &last, b"ENTRIESADDED", &added, b"MAXDELETEDID", &max_deleted];
                send(command(&counters), Wanted::Portion);
            }
            StreamPart::Group { name: group, delivered, read } => {
                self.group = group.to_vec();
                let delivered = text(delivered);
                let mut parts: Vec<&[u8]> = vec![b"XGROUP", b"CREATE", name, group, &delivered];
                let read = read.map(|read| read.map_or_else(|| b"-1".to_vec(), digits));
                if let Some(read) = &read {
                    parts.extend([&b"ENTRIESREAD"[..], read]);
                }
                send(command(&parts), Wanted::Portion);
            }
            StreamPart::Pending { id, delivered_ms, deliveries } => {
                if self.pending.insert(id, Delivery { ms: delivered_ms, count: deliveries }).is_some() {
                    return Err(RestoreError::Format.into());
                }
            }
            StreamPart::Consumer { name: consumer, .. } => {
                self.claim(name, send);
                self.consumer = consumer.to_vec();
                send(command(&[b"XGROUP", b"CREATECONSUMER", name, &self.group, consumer]), Wanted::Portion);
            }
            StreamPart::Owned { id } => {
                let delivery = self.pending.remove(&id).ok_or(RestoreError::Format)?;
                if delivery != self.delivery || self.claimed.len() == CLAIMED_MAX {
                    self.claim(name, send);
                    self.delivery = delivery;
                }
                self.claimed.push(id);
            }
            StreamPart::GroupEnd => {
                self.claim(name, send);
                if !self.pending.is_empty() {
                    return Err(RestoreError::Format.into());
                }
            }
        }
        Ok(())
    }

    fn claim(&mut self, name: &[u8], send: &mut dyn FnMut(Command, Wanted)) {
        if self.claimed.is_empty() {
            return;
        }
        let ids: Vec<Vec<u8>> = self.claimed.drain(..).map(text).collect();
        let (ms, count) = (self.delivery.ms.to_string(), digits(self.delivery.count));
        let mut parts: Vec<&[u8]> = vec![b"XCLAIM", name, &self.group, &self.consumer, b"0"];
        parts.extend(ids.iter().map(Vec::as_slice));
        parts.extend([&b"TIME"[..], ms.as_bytes(), b"RETRYCOUNT", &count, b"FORCE", b"JUSTID"]);
        send(command(&parts), Wanted::Claimed(ids.len()));
    }
}

fn command(parts: &[&[u8]]) -> Command {
    parts.iter().map(|part| part.to_vec()).collect()
}

fn text((ms, seq): Id) -> Vec<u8> {
    format!("{ms}-{seq}").into_bytes()
}

fn digits(number: u64) -> Vec<u8> {
    number.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commands(parts: &[StreamPart<'_>]) -> Result<Vec<String>> {
        let (mut stream, mut sent) = (StreamCommands::default(), Vec::new());
        for part in parts {
            stream.add(b"k", *part, &mut |command, _| {
                sent.push(String::from_utf8(command.join(&b' ')).unwrap());
            })?;
        }
        Ok(sent)
    }

    #[test]
    fn a_stream_is_added_claimed_and_counted() {
        let entry = |seq| StreamPart::Entry { id: (1, seq), begins: false, parts: &[b"f", b"v"] };
        let pending = |seq, ms| StreamPart::Pending { id: (1, seq), delivered_ms: ms, deliveries: 2 };
        let consumer = |name| StreamPart::Consumer { name, seen_ms: 9, active_ms: None };
        let owned = |seq| StreamPart::Owned { id: (1, seq) };
        let parts = [
            entry(1),
            entry(2),
            StreamPart::Counters { last: (7, 0), max_deleted: (1, 9), added: 5 },
            StreamPart::Group { name: b"g", delivered: (1, 2), read: Some(None) },
            pending(1, 8),
            pending(2, 8),
            pending(3, 9),
            consumer(b"Ann"),
            owned(1),
            owned(3),
            consumer(b"Bob"),
            owned(2),
            StreamPart::GroupEnd,
        ];
        let expected = [
            "XADD k 1-1 f v",
            "XADD k 1-2 f v",
            "XSETID k 7-0 ENTRIESADDED 5 MAXDELETEDID 1-9",
            "XGROUP CREATE k g 1-2 ENTRIESREAD -1",
            "XGROUP CREATECONSUMER k g Ann",
            "XCLAIM k g Ann 0 1-1 TIME 8 RETRYCOUNT 2 FORCE JUSTID",
            "XCLAIM k g Ann 0 1-3 TIME 9 RETRYCOUNT 2 FORCE JUSTID",
            "XGROUP CREATECONSUMER k g Bob",
            "XCLAIM k g Bob 0 1-2 TIME 8 RETRYCOUNT 2 FORCE JUSTID",
        ];
        assert_eq!(commands(&parts).unwrap(), expected);
        assert!(commands(&parts[..parts.len() - 2]).is_ok());
        let lost = [&parts[..11], &[StreamPart::GroupEnd]].concat();
        assert!(commands(&lost).is_err(), "an entry that nobody has");
        assert!(commands(&[owned(1)]).is_err());
    }
}
