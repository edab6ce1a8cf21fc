//! Connections until they are open: accepted, and then perhaps a proxy's header to read, a TLS handshake to do, or one after the other.
//! Most have neither, and are open at once.
//!
//! ```text
//! accept ──> Header ──> Handshake ──> open: it has a session, and is a connection like all others
//!                 └───────────┴─────> closed: wrong, too slow, or its place was needed
//! ```
//! A handshake costs a signature, so each round of the loop does a share of them (`OPENING_TURN`) and then goes on with the others.
//! There are `openings_max` at a time: one more takes the place of the one that waits longest for its peer; and while as many wait for the
//! loop, no further ones are accepted.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::server::config::OPENING_TURN;
use crate::server::listener::Address;
use crate::server::proxy::{self, Progress};
use crate::server::tls::{Failure, Shaken, TlsStream};

/// Those of one worker, by their number, which is also their age.
#[derive(Default)]
pub(super) struct Openings {
    waiting: BTreeMap<u64, Opening>,
    /// Those that may go on.
    queue: VecDeque<u64>,
    /// The last one's.
    number: u64,
}

struct Opening {
    stage: Stage,
    origin: Origin,
    until: Instant,
    is_queued: bool,
}

enum Stage {
    Header(OwnedFd, proxy::Header),
    Handshake(Box<TlsStream>),
}

/// Where a connection has come from.
struct Origin {
    listener: usize,
    address: Address,
    local: Address,
    /// A proxy has said so, or may stand for anybody.
    is_proxied: bool,
}

/// What one step came to.
enum Went {
    Waits(Stage),
    Open(Transport),
    /// It came to nothing. What is left of it is closed once it is counted as gone: whoever sees its end may look at the figures.
    Closed(Option<Stage>),
}

impl Openings {
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Some may go on.
    pub(super) fn are_due(&self) -> bool {
        !self.queue.is_empty()
    }

    /// When the oldest one's time is over.
    pub(super) fn next_at(&self) -> Option<Instant> {
        self.waiting.first_key_value().map(|(_, oldest)| oldest.until)
    }

    /// The number that a token stands for: the last one with these low bits.
    fn number_of(&self, token: u64) -> u64 {
        self.number - (self.number.wrapping_sub(token - OPENINGS) & OPENINGS_MASK)
    }

    fn queue(&mut self, number: u64) {
        if let Some(opening) = self.waiting.get_mut(&number)
            && !opening.is_queued
        {
            opening.is_queued = true;
            self.queue.push_back(number);
        }
    }

    /// Makes room for one more, if it must. Who has lost its place.
    fn make_room(&mut self, openings_max: usize) -> Option<Opening> {
        if self.waiting.len() < openings_max {
            return None;
        }
        let idle = self.waiting.iter().find(|(_, opening)| !opening.is_queued).map(|(number, _)| *number);
        idle.and_then(|number| self.waiting.remove(&number))
    }
}

impl<A: Application> Worker<A> {
    /// Accepts from each listener where something waits.
    pub(super) fn accept_waiting(&mut self) -> io::Result<()> {
        for place in self.acceptor.places() {
            if self.acceptor.has_waiting(place) {
                self.accept(place)?;
            }
        }
        Ok(())
    }

    pub(super) fn accept(&mut self, listener: usize) -> io::Result<()> {
        for turn in 0..ACCEPTS_MAX {
            if self.is_busy_opening(listener) {
                break;
            }
            match socket::accept(self.acceptor.listener(listener).as_fd()) {
                Ok(Some(fd)) => self.welcome(fd, listener),
                Ok(None) => {
                    // The first attempt follows a wake-up: somebody else was faster.
                    if turn == 0 {
                        self.scoreboard.add(self.slot, Counter::AcceptEmptyTotal, 1);
                    }
                    break;
                }
                Err(error) => {
                    self.acceptor.mute(&error, clock::uptime_ms());
                    break;
                }
            }
            self.look_at_counts()?;
            // Another look costs a wake-up of nobody, and is made only when there is something to see.
            if !self.acceptor.has_waiting(listener) {
                break;
            }
        }
        self.look_at_counts()
    }

    /// As many handshakes wait for the loop as there may be. The others wait in the kernel, or another worker takes them.
    fn is_busy_opening(&self, listener: usize) -> bool {
        self.acceptor.listener(listener).kind == ListenerKind::Tls
            && self.openings.queue.len() >= self.limits.openings_max
    }

    fn welcome(&mut self, fd: OwnedFd, listener: usize) {
        let connections_max = self.scoreboard.global(Global::ConnectionsMax).load(Ordering::Relaxed);
        if self.scoreboard.sum(Counter::Connections) >= connections_max {
            self.scoreboard.add(self.slot, Counter::TurnedAwayTotal, 1);
            static TURNED_AWAY: LogLimit = LogLimit::new();
            if let Some(left_out) = TURNED_AWAY.admit() {
                tracing::warn!(
                    connections_max,
                    left_out,
                    "a connection was turned away: there are as many as are allowed"
                );
            }
            // It is told why if its socket takes that much, and closed either way. Over TLS nothing can be said before the handshake.
            if self.acceptor.listener(listener).kind != ListenerKind::Tls
                && let Err(error) = socket::send(fd.as_fd(), self.turned_away)
            {
                tracing::debug!(%error, "a connection was turned away without a word");
            }
            return;
        }
        if let Err(error) = self.arrive(fd, listener) {
            tracing::debug!(%error, "a connection was gone before it began");
        }
    }

    fn arrive(&mut self, fd: OwnedFd, listener: usize) -> io::Result<()> {
        let kind = self.acceptor.listener(listener).kind;
        if kind != ListenerKind::Unix {
            socket::set_no_delay(fd.as_fd())?;
            if self.limits.keep_alive_seconds > 0 {
                socket::set_keep_alive(fd.as_fd(), self.limits.keep_alive_seconds)?;
            }
        }
        let (address, local) = self.acceptor.listener(listener).addresses(fd.as_fd())?;
        let is_proxied = address
            .internet()
            .is_some_and(|address| self.limits.proxies.iter().any(|network| network.contains(address.ip())));
        let origin = Origin { listener, address, local, is_proxied };
        match (is_proxied, kind) {
            (true, _) => self.begin(Stage::Header(fd, proxy::Header::default()), origin),
            (false, ListenerKind::Tls) => {
                let stage = self.handshake(fd)?;
                self.begin(stage, origin)
            }
            (false, ListenerKind::Tcp | ListenerKind::Unix) => self.open(Transport::Plain(fd), origin, false),
        }
    }

    fn handshake(&self, fd: OwnedFd) -> io::Result<Stage> {
        let certificates = self.certificates.as_ref().expect("a TLS listener has a certificate");
        let stream = TlsStream::new(fd, certificates.service()).map_err(io::Error::other)?;
        Ok(Stage::Handshake(Box::new(stream)))
    }

    fn begin(&mut self, stage: Stage, origin: Origin) -> io::Result<()> {
        if let Some(opening) = self.openings.make_room(self.limits.openings_max) {
            self.give_up(opening, "another one needed its place, and it was the one that waited longest");
        }
        let number = self.openings.number + 1;
        self.openings.number = number;
        self.epoll.add(&stage, OPENINGS + (number & OPENINGS_MASK), Watch::Changes)?;
        let until = self.now + Duration::from_secs(self.limits.opening_seconds_max);
        self.openings.waiting.insert(number, Opening { stage, origin, until, is_queued: false });
        // What it sent with its first packet is there already.
        self.openings.queue(number);
        self.count_connections();
        Ok(())
    }

    /// Epoll's word on one that is not open yet.
    pub(super) fn note_opening(&mut self, event: Event) {
        let number = self.openings.number_of(event.token);
        self.openings.queue(number);
    }

    /// Goes on with those that can, for one turn; and closes those that took too long.
    pub(super) fn go_on_opening(&mut self) -> io::Result<()> {
        while self.openings.next_at().is_some_and(|until| until <= self.now) {
            if let Some((_, opening)) = self.openings.waiting.pop_first() {
                self.give_up(opening, "it took too long");
            }
        }
        if !self.openings.are_due() {
            return Ok(());
        }
        let began = clock::monotonic();
        for _ in 0..self.openings.queue.len() {
            let Some(number) = self.openings.queue.pop_front() else { break };
            self.go_on_with(number);
            if clock::monotonic() - began >= OPENING_TURN {
                break;
            }
        }
        self.count_connections();
        self.look_at_counts()
    }

    fn go_on_with(&mut self, number: u64) {
        let Some(Opening { stage, origin, until, .. }) = self.openings.waiting.remove(&number) else { return };
        let mut origin = origin;
        match self.step(stage, &mut origin) {
            Went::Closed(stage) => {
                self.count_connections();
                drop(stage);
            }
            Went::Open(transport) => {
                if let Err(error) = self.open(transport, origin, true) {
                    tracing::debug!(%error, "a connection was gone before it began");
                }
            }
            Went::Waits(stage) => {
                self.openings.waiting.insert(number, Opening { stage, origin, until, is_queued: false });
            }
        }
    }

    /// It has waited for long enough.
    fn give_up(&mut self, opening: Opening, what: &'static str) {
        match &opening.stage {
            Stage::Header(..) => self.proxy_refused(what, &opening.origin),
            Stage::Handshake(_) => self.handshake_failed(what, &opening.origin),
        }
        self.count_connections();
        drop(opening);
    }

    fn step(&mut self, stage: Stage, origin: &mut Origin) -> Went {
        match stage {
            Stage::Header(fd, mut header) => {
                match header.receive(fd.as_fd()) {
                    Ok(Progress::NeedMore) => return Went::Waits(Stage::Header(fd, header)),
                    Ok(Progress::Whole(addresses)) => {
                        if let Some((source, target)) = addresses {
                            (origin.address, origin.local) = (source.into(), target.into());
                        }
                        return self.after_header(fd, origin);
                    }
                    Ok(Progress::Silent) => {}
                    Ok(Progress::Gone) => self.proxy_refused("it ended within its PROXY header", origin),
                    Ok(Progress::Wrong(what)) => self.proxy_refused(what, origin),
                    Err(error) => tracing::debug!(%error, "a proxy's connection failed"),
                }
                Went::Closed(Some(Stage::Header(fd, header)))
            }
            Stage::Handshake(mut stream) => match stream.shake() {
                Shaken::Waits => Went::Waits(Stage::Handshake(stream)),
                Shaken::Done => {
                    self.scoreboard.add(self.slot, Counter::HandshakesTotal, 1);
                    Went::Open(Transport::Tls(stream))
                }
                Shaken::Failed(failure) => {
                    self.shaking_failed(&failure, origin);
                    Went::Closed(Some(Stage::Handshake(stream)))
                }
            },
        }
    }

    /// What the client sent behind the header is there already, perhaps.
    fn after_header(&mut self, fd: OwnedFd, origin: &mut Origin) -> Went {
        match self.acceptor.listener(origin.listener).kind {
            ListenerKind::Tls => match self.handshake(fd) {
                Ok(stage) => self.step(stage, origin),
                Err(error) => {
                    tracing::error!(%error, "no handshake can be begun");
                    Went::Closed(None)
                }
            },
            ListenerKind::Tcp | ListenerKind::Unix => Went::Open(Transport::Plain(fd)),
        }
    }

    fn proxy_refused(&mut self, what: &'static str, origin: &Origin) {
        self.scoreboard.add(self.slot, Counter::ProxyRefusedTotal, 1);
        static REFUSED: LogLimit = LogLimit::new();
        if let Some(left_out) = REFUSED.admit() {
            let peer = &origin.address;
            tracing::warn!(%peer, left_out, what, "a connection of a proxy (EMPTYSERVER_PROXY_PEERS) was closed");
        }
    }

    fn shaking_failed(&mut self, failure: &Failure, origin: &Origin) {
        match failure {
            Failure::Silent => {}
            Failure::Gone => self.handshake_failed("its peer left in the middle", origin),
            Failure::NotTls => {
                self.handshake_failed("it does not begin with a TLS handshake", origin);
                static PLAIN: LogLimit = LogLimit::new();
                if let Some(left_out) = PLAIN.admit() {
                    let peer = &origin.address;
                    tracing::warn!(%peer, left_out, "a client spoke without TLS to an address of EMPTYSERVER_TLS_LISTEN");
                }
            }
            Failure::Refused(error) => {
                let what = error.to_string();
                self.handshake_failed(&what, origin);
                static REFUSED: LogLimit = LogLimit::new();
                if let Some(left_out) = REFUSED.admit() {
                    let peer = &origin.address;
                    tracing::warn!(%peer, left_out, error = what, "a TLS handshake failed");
                }
            }
            Failure::Socket(error) => self.handshake_failed(&error.to_string(), origin),
        }
    }

    fn handshake_failed(&mut self, what: &str, origin: &Origin) {
        self.scoreboard.add(self.slot, Counter::HandshakesFailedTotal, 1);
        tracing::debug!(peer = %origin.address, what, "a connection was closed before it was open");
    }

    /// From here on it has a session. `is_watched`: epoll knows its socket already, by another token.
    fn open(&mut self, transport: Transport, origin: Origin, is_watched: bool) -> io::Result<()> {
        let Origin { listener, address, local, is_proxied } = origin;
        let kind = self.acceptor.listener(listener).kind;
        let number = self.scoreboard.global(Global::Connections).fetch_add(1, Ordering::Relaxed) + 1;
        let descriptor = transport.as_fd().as_raw_fd();
        let is_local = !is_proxied && address.is_local();
        let secured = transport.secured();
        let (service, effects, now) = (&mut self.service, &mut self.effects, self.now);
        let unsent_allowed = self.limits.output_bytes_pause;
        let id = self.connections.insert(|id| {
            let peer = Peer { id, number, address, local, descriptor, listener, kind, is_local, secured };
            Connection::new(transport, kind, service.open(peer, effects), now, unsent_allowed)
        });
        self.scoreboard.add(self.slot, Counter::AcceptedTotal, 1);
        self.count_kind(kind, 1);
        self.count_connections();
        let connection = self.connections.find(id).expect("just inserted");
        let watched = match is_watched {
            true => self.epoll.modify(&connection.transport, id.0, Watch::Changes),
            false => self.epoll.add(&connection.transport, id.0, Watch::Changes),
        };
        if let Err(error) = watched {
            self.remove(id);
            return Err(error);
        }
        if is_watched {
            // Something may have come with what was read so far.
            connection.is_readable = true;
            mark_dirty(connection, id, &mut self.dirty);
            self.queue(id);
        }
        if let Some(time) = self.idle_timeout() {
            self.look_again(id, self.now + time);
        }
        self.apply_effects();
        Ok(())
    }

    /// How many there are of each kind, for the figures.
    pub(super) fn count_kind(&mut self, kind: ListenerKind, change: isize) {
        let (count, counter) = match kind {
            ListenerKind::Tcp => return,
            ListenerKind::Tls => (&mut self.tls_connections, Counter::TlsConnections),
            ListenerKind::Unix => (&mut self.unix_connections, Counter::UnixConnections),
        };
        *count = count.saturating_add_signed(change);
        self.scoreboard.set(self.slot, counter, *count as u64);
    }

    /// Those that are not open yet count, too.
    pub(super) fn count_connections(&self) {
        let openings = self.openings.len();
        self.scoreboard.set(self.slot, Counter::Connections, (self.connections.len() + openings) as u64);
        self.scoreboard.set(self.slot, Counter::Openings, openings as u64);
    }

    /// The service drains: nobody has asked for anything yet.
    pub(super) fn drop_openings(&mut self) {
        let dropped = std::mem::take(&mut self.openings.waiting);
        self.openings.queue.clear();
        self.count_connections();
        drop(dropped);
    }
}

impl AsFd for Stage {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        match self {
            Stage::Header(fd, _) => fd.as_fd(),
            Stage::Handshake(stream) => stream.as_fd(),
        }
    }
}

/// What the certificates are for, where the service has any.
pub(super) type OwnCertificates = Option<Arc<crate::server::tls::Certificates>>;
