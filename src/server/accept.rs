//! Which worker listens: the accept rule.
//!
//! All workers share one listener, and of those that wait for it the kernel wakes one, mostly the same one: left alone it gets
//! every connection. So a worker listens only while it has about as few connections as the one with the fewest. Counts are
//! in shared memory; a worker that does not show signs of life does not count. Somebody alive is always listening: the one
//! with the fewest connections among those alive is never above the smallest count.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::config::{ACCEPT_SLACK, HEARTBEAT_FRESH_MS};
use super::counters::{Board, Counter, Slot};
use super::sys::epoll::{Epoll, Watch};

pub(super) struct Acceptor {
    listener: OwnedFd,
    own: Slot,
    board: Board,
    token: u64,
    is_listening: bool,
    /// Not before then, since descriptors ran out.
    muted_until_ms: u64,
    is_draining: bool,
}

impl Acceptor {
    pub(super) fn new(listener: OwnedFd, own: Slot, board: Board, token: u64) -> Acceptor {
        Acceptor { listener, own, board, token, is_listening: false, muted_until_ms: 0, is_draining: false }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    pub(super) fn is_listening(&self) -> bool {
        self.is_listening
    }

    /// Begins or stops listening as the counts say. Returns whom to ring: the one that now has to listen in this one's place.
    pub(super) fn evaluate(&mut self, epoll: &Epoll, now_ms: u64) -> io::Result<Option<Slot>> {
        let own = self.board.read(self.own, Counter::Connections);
        let others = self.board.workers().filter(|&slot| slot != self.own && self.is_alive(slot, now_ms));
        let fewest = others.map(|slot| (self.board.read(slot, Counter::Connections), slot)).min();
        let is_fair = fewest.is_none_or(|(count, _)| own <= count + ACCEPT_SLACK);
        let should_listen = is_fair && !self.is_draining && now_ms >= self.muted_until_ms;
        if should_listen == self.is_listening {
            return Ok(None);
        }
        self.is_listening = should_listen;
        self.board.set(self.own, Counter::Listening, u64::from(should_listen));
        if should_listen {
            epoll.add(&self.listener, self.token, Watch::ReadableExclusive)?;
            return Ok(None);
        }
        epoll.remove(&self.listener)?;
        Ok(fewest.map(|(_, slot)| slot))
    }

    /// True when a connection may be waiting for a worker that was woken for it but does not run (stopped, or dead): then
    /// one that runs has to look by itself, for the kernel wakes only one.
    pub(super) fn must_look(&self, now_ms: u64) -> bool {
        let is_missing = |slot| slot != self.own && !self.is_alive(slot, now_ms);
        self.is_listening && self.board.workers().any(is_missing) && super::sys::socket::is_readable(self.fd())
    }

    /// Descriptors ran out: others may have some, and this one tries again later.
    pub(super) fn mute(&mut self, until_ms: u64) {
        self.muted_until_ms = until_ms;
    }

    pub(super) fn drain(&mut self) {
        self.is_draining = true;
    }

    fn is_alive(&self, slot: Slot, now_ms: u64) -> bool {
        self.board.is_fresh(slot, now_ms, HEARTBEAT_FRESH_MS)
    }
}
