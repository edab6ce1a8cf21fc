//! Messages between workers: a stream to each other worker, made anew by the supervisor whenever either end starts.

use std::io;
use std::os::fd::OwnedFd;

use super::counters::{Counter, Scoreboard, Slot};
use super::link::Link;
use crate::sys::epoll::{Epoll, Watch};

/// A message for the application.
const APPLICATION: u8 = 1;
/// The other worker stopped listening: this one may have to begin. Or all connections have too much, and the largest is here.
const LOOK: u8 = 2;
/// The same, and connections wait that it was perhaps woken for.
const ACCEPT: u8 = 3;

pub(super) struct Bus {
    own: Slot,
    scoreboard: Scoreboard,
    unsent_bytes_max: usize,
    /// By slot; `None` for this worker itself and for those that are gone.
    links: Vec<Option<BusLink>>,
}

struct BusLink {
    link: Link,
    watch: Watch,
}

/// What came from another worker.
pub(super) enum BusEvent {
    Message(Vec<u8>),
    Look {
        accept: bool,
    },
    /// It is gone; everything it had written was delivered before.
    Gone,
}

impl Bus {
    pub(super) fn new(own: Slot, scoreboard: Scoreboard, unsent_bytes_max: usize) -> Bus {
        Bus { own, scoreboard, unsent_bytes_max, links: scoreboard.workers().map(|_| None).collect() }
    }

    /// A new worker is at the other end. What the old one had written must have been read before.
    pub(super) fn connect(&mut self, slot: Slot, fd: OwnedFd, epoll: &Epoll, token: u64) -> io::Result<()> {
        let link = Link::new(fd);
        epoll.add(&link, token, Watch::Readable)?;
        self.links[slot.0] = Some(BusLink { link, watch: Watch::Readable });
        Ok(())
    }

    /// True while that worker is there, or what it wrote before its death is not all read.
    pub(super) fn is_linked(&self, slot: Slot) -> bool {
        self.links[slot.0].is_some()
    }

    /// Queues a message. Dropped, and false, when the other is gone, or does not read.
    pub(super) fn send(&mut self, to: Slot, message: &[u8]) -> bool {
        self.put(to, APPLICATION, message)
    }

    /// Asks another worker to look whether it should listen, and to `accept` what waits.
    pub(super) fn ring(&mut self, to: Slot, accept: bool) {
        self.put(to, if accept { ACCEPT } else { LOOK }, &[]);
    }

    fn put(&mut self, to: Slot, kind: u8, message: &[u8]) -> bool {
        match &mut self.links[to.0] {
            Some(other) if other.link.unsent() + message.len() <= self.unsent_bytes_max => {
                other.link.put(kind, |out| out.extend_from_slice(message));
                true
            }
            _ => {
                self.scoreboard.add(self.own, Counter::BusDroppedTotal, 1);
                false
            }
        }
    }

    /// Sends what was queued in this round.
    pub(super) fn flush(&mut self, epoll: &Epoll, token_of: impl Fn(Slot) -> u64) -> io::Result<()> {
        for (slot, other) in self.links.iter_mut().enumerate() {
            let Some(other) = other else { continue };
            if other.link.unsent() > 0 {
                other.link.flush()?;
            }
            let watch = if other.link.unsent() > 0 { Watch::ReadableOrWritable } else { Watch::Readable };
            if watch != other.watch {
                epoll.modify(&other.link, token_of(Slot(slot)), watch)?;
                other.watch = watch;
            }
        }
        Ok(())
    }

    /// Reads what has come from `slot`.
    pub(super) fn receive(&mut self, slot: Slot, epoll: &Epoll) -> io::Result<Vec<BusEvent>> {
        let Some(other) = &mut self.links[slot.0] else { return Ok(Vec::new()) };
        other.link.fill(READ_BYTES_MAX)?;
        let mut events = Vec::new();
        while let Some((kind, payload)) = other.link.next() {
            events.push(match kind {
                LOOK | ACCEPT => BusEvent::Look { accept: kind == ACCEPT },
                _ => BusEvent::Message(payload.to_vec()),
            });
        }
        other.link.tidy();
        if other.link.is_closed() {
            epoll.remove(&other.link)?;
            self.links[slot.0] = None;
            events.push(BusEvent::Gone);
        }
        Ok(events)
    }
}

/// What one round reads from one other worker.
const READ_BYTES_MAX: usize = 1 << 20;
