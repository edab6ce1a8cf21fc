//! One epoll instance: descriptors are registered with a 64-bit token that comes back with each event.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::sys::epoll::{Epoll as NixEpoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

/// How a descriptor is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// Readable, reported as long as it is so.
    Readable,
    /// Readable or writable, reported as long as it is so.
    ReadableOrWritable,
    /// Writable, reported as long as it is so.
    Writable,
    /// Both directions, each change reported once: the owner keeps the state. Registered once, never modified.
    Changes,
    /// Readable, and of all the processes that wait for it the kernel wakes one. For a shared listener.
    ReadableExclusive,
}

/// What epoll says of one descriptor.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    pub token: u64,
    pub is_readable: bool,
    pub is_writable: bool,
    /// The peer sends no more; what it sent before may still have to be read.
    pub is_ended: bool,
    /// The connection is gone in both directions, or in error: nothing can be sent any more.
    pub is_dead: bool,
}

pub struct Epoll {
    epoll: NixEpoll,
    events: Vec<EpollEvent>,
}

impl Epoll {
    /// `events_max`: how many events one wait returns at most.
    pub fn new(events_max: usize) -> io::Result<Epoll> {
        let epoll = NixEpoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        Ok(Epoll { epoll, events: vec![EpollEvent::empty(); events_max] })
    }

    pub fn add(&self, fd: impl AsFd, token: u64, watch: Watch) -> io::Result<()> {
        Ok(self.epoll.add(fd, EpollEvent::new(flags(watch), token))?)
    }

    /// Not for `ReadableExclusive`: the kernel refuses to modify such an entry (epoll_ctl(2)), it is removed and added.
    pub fn modify(&self, fd: impl AsFd, token: u64, watch: Watch) -> io::Result<()> {
        Ok(self.epoll.modify(fd, &mut EpollEvent::new(flags(watch), token))?)
    }

    pub fn remove(&self, fd: impl AsFd) -> io::Result<()> {
        Ok(self.epoll.delete(fd)?)
    }

    /// Waits until something happens or the time is over (`None`: for ever), and returns the events. A signal ends the wait early.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<impl Iterator<Item = Event> + '_> {
        let timeout = match timeout {
            None => EpollTimeout::NONE,
            // Rounded up: a deadline 0.3 ms away must not become a busy loop of zero timeouts.
            Some(time) => EpollTimeout::try_from(time.as_micros().div_ceil(1000).min(i32::MAX as u128) as i32)
                .expect("a non-negative number of milliseconds is a valid timeout"),
        };
        let count = match self.epoll.wait(&mut self.events, timeout) {
            Err(nix::errno::Errno::EINTR) => 0,
            other => other?,
        };
        Ok(self.events[..count].iter().map(|event| {
            let flags = event.events();
            Event {
                token: event.data(),
                is_readable: flags.intersects(EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP),
                is_writable: flags.contains(EpollFlags::EPOLLOUT),
                is_ended: flags.contains(EpollFlags::EPOLLRDHUP),
                is_dead: flags.intersects(EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR),
            }
        }))
    }
}

impl AsFd for Epoll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }
}

fn flags(watch: Watch) -> EpollFlags {
    match watch {
        Watch::Readable => EpollFlags::EPOLLIN,
        Watch::ReadableOrWritable => EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT,
        Watch::Writable => EpollFlags::EPOLLOUT,
        Watch::Changes => EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET,
        Watch::ReadableExclusive => EpollFlags::EPOLLIN | EpollFlags::EPOLLEXCLUSIVE,
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::sync::mpsc;

    use super::super::{clock, socket};
    use super::*;

    /// True while the thread of this process waits in the kernel: one that was woken, and has not run yet, does not.
    fn is_asleep(thread: i32) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/self/task/{thread}/stat")).unwrap();
        stat.rsplit_once(") ").unwrap().1.starts_with('S')
    }

    #[test]
    fn a_connection_wakes_one_of_those_that_wait_exclusively() {
        const WAITING: usize = 4;
        let listener = socket::listen_on(([127, 0, 0, 1], 0).into(), 8).unwrap();
        let (started, starts) = mpsc::channel();
        let (woken, wakes) = mpsc::channel();
        let mut waiting: Vec<_> = (0..WAITING)
            .map(|_| {
                let mut epoll = Epoll::new(1).unwrap();
                epoll.add(&listener, 1, Watch::ReadableExclusive).unwrap();
                let (started, woken) = (started.clone(), woken.clone());
                let handle = std::thread::spawn(move || {
                    let thread = nix::unistd::gettid().as_raw();
                    started.send(thread).unwrap();
                    assert_eq!(epoll.wait(None).unwrap().count(), 1);
                    woken.send(thread).unwrap();
                });
                (starts.recv().unwrap(), handle)
            })
            .collect();
        while !waiting.iter().all(|(thread, _)| is_asleep(*thread)) {
            clock::pause(Duration::from_millis(1));
        }
        // Nobody accepts: the next connection wakes the next one all the same.
        let mut clients = Vec::new();
        for _ in 0..WAITING {
            clients.push(TcpStream::connect(socket::local_address(listener.as_fd()).unwrap()).unwrap());
            let thread = wakes.recv().unwrap();
            let place = waiting.iter().position(|(waits, _)| *waits == thread).unwrap();
            waiting.swap_remove(place).1.join().unwrap();
            assert!(wakes.try_recv().is_err() && waiting.iter().all(|(thread, _)| is_asleep(*thread)));
        }
    }
}
