//! How one thread wakes a loop: one byte on a socketpair, and a flag so that many wakes cost one byte.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use crate::sys::atomic::{AtomicBool, Ordering};
use crate::sys::socket;

/// The end that wakes; clones wake the same loop.
#[derive(Clone)]
pub(super) struct Waker {
    shared: Arc<Shared>,
}

/// The end that a loop watches.
pub(super) struct Wakes {
    shared: Arc<Shared>,
    receiver: OwnedFd,
}

struct Shared {
    sender: OwnedFd,
    /// True from a wake until the loop clears it: in between further wakes are the same one.
    is_woken: AtomicBool,
}

pub(super) fn waker() -> io::Result<(Waker, Wakes)> {
    let (sender, receiver) = socket::stream_pair()?;
    let shared = Arc::new(Shared { sender, is_woken: AtomicBool::new(false) });
    Ok((Waker { shared: Arc::clone(&shared) }, Wakes { shared, receiver }))
}

impl Waker {
    /// What was queued before this call will be seen by the loop.
    pub(super) fn wake(&self) {
        if !self.shared.is_woken.swap(true, Ordering::SeqCst) {
            // One byte per cleared flag: the socket can't be full. A closed one means that the loop is gone, and nobody listens.
            if let Err(error) = socket::send(self.shared.sender.as_fd(), b"!") {
                tracing::error!(%error, "a loop can't be woken");
            }
        }
    }
}

impl Wakes {
    /// To be called BEFORE the queue is drained, and the whole queue is drained then: whatever is queued later wakes again.
    pub(super) fn clear(&self) {
        let mut bytes = Vec::new();
        if let Err(error) = socket::receive(self.receiver.as_fd(), &mut bytes, 16) {
            tracing::error!(%error, "the wakes of a loop can't be read");
        }
        // Not a store: what reads the flag as others have set it also sees what they had queued before.
        self.shared.is_woken.swap(false, Ordering::SeqCst);
    }
}

impl AsFd for Wakes {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.receiver.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_wakes_are_one_byte_and_a_wake_after_clear_is_heard() {
        let (waker, wakes) = waker().unwrap();
        assert!(!socket::is_readable(wakes.as_fd()));
        waker.wake();
        waker.clone().wake();
        let mut bytes = Vec::new();
        socket::receive(wakes.as_fd(), &mut bytes, 16).unwrap();
        assert_eq!(bytes, b"!");
        wakes.clear();
        waker.wake();
        assert!(socket::is_readable(wakes.as_fd()));
    }
}

#[cfg(all(test, feature = "models"))]
mod models {
    use super::*;
    use crate::sys::atomic::AtomicU64;

    use loom::thread;

    #[test]
    fn what_was_queued_before_a_wake_is_drained_or_wakes_again() {
        loom::model(|| {
            let (waker, wakes) = waker().unwrap();
            let queue = Arc::new(AtomicU64::new(0));
            waker.wake();
            let producers = [1, 2].map(|entry| {
                let (waker, queue) = (waker.clone(), Arc::clone(&queue));
                thread::spawn(move || {
                    queue.fetch_or(entry, Ordering::Release);
                    waker.wake();
                })
            });
            wakes.clear();
            let mut drained = queue.load(Ordering::Acquire);
            producers.into_iter().for_each(|producer| producer.join().unwrap());
            if socket::is_readable(wakes.as_fd()) {
                drained = queue.load(Ordering::Acquire);
            }
            assert_eq!(drained, 3, "a wake is lost");
        });
    }
}
