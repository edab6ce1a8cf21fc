//! The places that connections of the admin process have, and how long each has waited for its peer.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::sys::clock;

pub(super) struct Places {
    max: usize,
    /// In the order of their connections. Those that are gone are forgotten when there are too many.
    taken: Vec<Weak<Place>>,
}

/// One connection's.
pub(super) struct Place {
    peer: SocketAddr,
    /// When the connection was accepted, or its peer last took bytes of the answer; milliseconds of the machine's uptime.
    moved_at_ms: AtomicU64,
    /// There are bytes of the answer that the peer does not take.
    is_writing: AtomicBool,
    eviction: Notify,
}

/// A connection whose writes are seen by its place.
pub(super) struct Watched {
    stream: TcpStream,
    place: Arc<Place>,
}

impl Places {
    pub(super) fn new(max: usize) -> Places {
        Places { max, taken: Vec::with_capacity(max + 1) }
    }

    /// A place for a new connection. If there are too many, the one that has waited longest for its peer is closed; the second
    /// value is whose it was.
    pub(super) fn take(&mut self, peer: SocketAddr) -> (Arc<Place>, Option<SocketAddr>) {
        let place = Arc::new(Place {
            peer,
            moved_at_ms: AtomicU64::new(clock::uptime_ms()),
            is_writing: AtomicBool::new(false),
            eviction: Notify::new(),
        });
        self.taken.retain(|place| place.strong_count() > 0);
        let mut evicted = None;
        if self.taken.len() >= self.max {
            // Of those that moved in the same millisecond the one that came first.
            let places = self.taken.iter().enumerate().filter_map(|(index, place)| Some((index, place.upgrade()?)));
            let longest = places.min_by_key(|(index, place)| (place.moved_at_ms.load(Ordering::Relaxed), *index));
            if let Some((index, place)) = longest {
                place.eviction.notify_one();
                evicted = Some(place.peer);
                self.taken.remove(index);
            }
        }
        self.taken.push(Arc::downgrade(&place));
        (place, evicted)
    }
}

impl Place {
    pub(super) fn peer(&self) -> SocketAddr {
        self.peer
    }

    pub(super) fn watch(self: &Arc<Place>, stream: TcpStream) -> Watched {
        Watched { stream, place: Arc::clone(self) }
    }

    /// Ends when another connection has got the place.
    pub(super) async fn evicted(&self) {
        self.eviction.notified().await;
    }

    /// Ends when the peer has taken nothing of an answer for so long.
    pub(super) async fn stalled(&self, limit: Duration) {
        let limit_ms = limit.as_millis() as u64;
        loop {
            let waited_ms = clock::uptime_ms().saturating_sub(self.moved_at_ms.load(Ordering::Relaxed));
            let is_writing = self.is_writing.load(Ordering::Relaxed);
            if is_writing && waited_ms >= limit_ms {
                return;
            }
            let left_ms = if is_writing { limit_ms - waited_ms } else { limit_ms };
            tokio::time::sleep(Duration::from_millis(left_ms)).await;
        }
    }

    fn moved(&self, written: &Poll<io::Result<usize>>) {
        // Work on the answer counts as well as the peer's: what begins to be written begins to wait.
        let was_writing = self.is_writing.swap(written.is_pending(), Ordering::Relaxed);
        if matches!(written, Poll::Ready(Ok(1..))) || (written.is_pending() && !was_writing) {
            self.moved_at_ms.store(clock::uptime_ms(), Ordering::Relaxed);
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.place.moved(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.place.moved(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn the_one_that_waited_longest_gives_way() {
        let mut places = Places::new(3);
        let held: Vec<_> = (1..=3).map(|port| places.take(peer(port)).0).collect();
        for (place, at_ms) in held.iter().zip([20, 10, 30]) {
            place.moved_at_ms.store(at_ms, Ordering::Relaxed);
        }
        let (fourth, evicted) = places.take(peer(4));
        assert_eq!(evicted, Some(peer(2)));
        assert_eq!(places.take(peer(5)).1, Some(peer(1)), "the new ones are the last to go");
        drop(fourth);
        assert_eq!(places.take(peer(6)).1, None, "who has left makes room");
    }
    #[test]
    fn only_an_answer_that_is_not_taken_has_stalled() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let mut places = Places::new(1);
        let has_stalled = |is_writing: bool, place: &Place| {
            place.is_writing.store(is_writing, Ordering::Relaxed);
            place.moved_at_ms.store(clock::uptime_ms().saturating_sub(10_000), Ordering::Relaxed);
            let limit = Duration::from_secs(5);
            runtime
                .block_on(async { tokio::time::timeout(Duration::from_millis(20), place.stalled(limit)).await.is_ok() })
        };
        let (place, _) = places.take(peer(1));
        assert!(has_stalled(true, &place) && !has_stalled(false, &place));
    }
}
