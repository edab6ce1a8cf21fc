//! How one thread wakes a loop: one byte on a socketpair, and a flag so that many rings cost one byte.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::sys::socket;

/// The ringing end; clones ring the same bell.
#[derive(Clone)]
pub(super) struct Ringer {
    shared: Arc<Shared>,
}

/// The hearing end, for one loop.
pub(super) struct Bell {
    shared: Arc<Shared>,
    ear: OwnedFd,
}

struct Shared {
    rope: OwnedFd,
    /// True from a ring until the loop clears it: in between further rings are the same ring.
    is_rung: AtomicBool,
}

pub(super) fn bell() -> io::Result<(Ringer, Bell)> {
    let (rope, ear) = socket::stream_pair()?;
    let shared = Arc::new(Shared { rope, is_rung: AtomicBool::new(false) });
    Ok((Ringer { shared: Arc::clone(&shared) }, Bell { shared, ear }))
}

impl Ringer {
    /// What was queued before this call will be seen by the loop.
    pub(super) fn ring(&self) {
        if !self.shared.is_rung.swap(true, Ordering::SeqCst) {
            // One byte per cleared flag: the socket can't be full. A closed one means that the loop is gone, and nobody listens.
            if let Err(error) = socket::send(self.shared.rope.as_fd(), b"!") {
                tracing::error!(%error, "a bell can't be rung");
            }
        }
    }
}

impl Bell {
    /// To be called BEFORE the queue is drained, and the whole queue is drained then: whatever is queued later rings again.
    pub(super) fn clear(&self) {
        let mut bytes = Vec::new();
        if let Err(error) = socket::receive(self.ear.as_fd(), &mut bytes, 16) {
            tracing::error!(%error, "a bell can't be read");
        }
        self.shared.is_rung.store(false, Ordering::SeqCst);
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ear.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_rings_are_one_byte_and_a_ring_after_clear_is_heard() {
        let (ringer, bell) = bell().unwrap();
        assert!(!socket::is_readable(bell.as_fd()));
        ringer.ring();
        ringer.clone().ring();
        let mut bytes = Vec::new();
        socket::receive(bell.as_fd(), &mut bytes, 16).unwrap();
        assert_eq!(bytes, b"!");
        bell.clear();
        ringer.ring();
        assert!(socket::is_readable(bell.as_fd()));
    }
}
