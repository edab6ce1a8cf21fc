//! A loop that serves connections over TLS, beside plain ones.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use crate::server::config::Limits;
use crate::server::control::{Control, Message};
use crate::server::counters::Counter;
use crate::server::listener::{Listener, ListenerKind};
use crate::server::outbox::Outbox;
use crate::server::service::{
    Application, ConnectionId, Effects, Executor, ExecutorContext, LaneId, LaneSpec, Peer, Refusal, Responder, Service,
    StartError, Step, Task, Wire, WorkerContext,
};
use crate::server::tls::fixture::{self, Authority};
use crate::server::waker::waker;
use crate::server::worker::{Chief, Ended, Parts, Worker};
use crate::server::{Global, Input, Scoreboard, Slot};
use crate::sys::{clock, socket};

/// Says where a connection has come from, and then sends back what comes; after a `q` it closes.
struct Mirror;

struct Nothing;

impl Wire for Nothing {
    fn encode(&mut self, _out: &mut Vec<u8>) -> Option<bytes::Bytes> {
        None
    }
    fn decode(_bytes: &bytes::Bytes) -> Option<Nothing> {
        Some(Nothing)
    }
}

impl Application for Mirror {
    type Service = Mirror;
    type Executor = Mirror;
    type Job = Nothing;
    type Done = Nothing;

    fn lanes(&self) -> Vec<LaneSpec> {
        Vec::new()
    }
    fn service(&self, _context: &WorkerContext) -> Result<Mirror, StartError> {
        Ok(Mirror)
    }
    fn executor(&self, _lane: LaneId, _context: &ExecutorContext) -> Result<Mirror, StartError> {
        Ok(Mirror)
    }
    fn turned_away(&self) -> &'static [u8] {
        b""
    }
}

impl Executor for Mirror {
    type Job = Nothing;
    type Done = Nothing;

    fn run(&mut self, _tasks: &[Task<Nothing>], _responder: &mut dyn Responder<Nothing>) {}
    fn refuse(&self, _job: &Nothing, _why: Refusal) -> Nothing {
        Nothing
    }
}

impl Service for Mirror {
    type Session = ConnectionId;
    type Job = Nothing;
    type Done = Nothing;

    fn open(&mut self, peer: Peer, effects: &mut Effects) -> ConnectionId {
        effects.write(peer.id, format!("{} {:?}\n", peer.listener, peer.kind).into_bytes());
        peer.id
    }
    fn receive(&mut self, _: &mut ConnectionId, input: &mut Input, out: &mut Outbox, _: &mut Effects) -> Step<Nothing> {
        let is_last = input.bytes().contains(&b'q');
        out.buffer().extend_from_slice(input.bytes());
        input.consume(input.len());
        if is_last { Step::Close } else { Step::NeedInput }
    }
    fn complete(&mut self, _: &mut ConnectionId, _: Nothing, _: &mut Outbox, _: &mut Effects) -> Step<Nothing> {
        Step::NeedInput
    }
    fn resume(&mut self, _: &mut ConnectionId, _: &mut Outbox, _: &mut Effects) -> Step<Nothing> {
        Step::NeedInput
    }
    fn close(&mut self, _: ConnectionId, _: &mut Effects) {}
    fn hear(&mut self, _: Slot, _: &[u8], _: &mut Effects) {}
    fn lost(&mut self, _: Slot, _: &mut Effects) {}
    fn tick(&mut self, _: &mut Effects) {}
}

/// A loop that serves these listeners until it is told to drain.
struct Loop {
    control: Control,
    scoreboard: Scoreboard,
    authority: Authority,
    thread: std::thread::JoinHandle<Ended>,
}

impl Loop {
    fn new(kinds: &[ListenerKind], limits: Limits) -> (Loop, Vec<SocketAddr>) {
        let listener = |&kind: &ListenerKind| {
            let fd = socket::listen_on(([127, 0, 0, 1], 0).into(), 8).unwrap();
            (socket::local_address(fd.as_fd()).unwrap(), Listener { fd, kind })
        };
        let (addresses, listeners) = kinds.iter().map(listener).unzip();
        let (control, childs_control) = Control::pair().unwrap();
        let scoreboard = Scoreboard::new(1, 0).unwrap();
        scoreboard.global(Global::ConnectionsMax).store(64, std::sync::atomic::Ordering::Relaxed);
        let authority = Authority::new("an authority");
        let certificates = Some(fixture::certificates(&authority));
        let thread = std::thread::spawn(move || {
            let (_waker, wakes) = waker().unwrap();
            let mut worker: Worker<Mirror> = Worker::new(Parts {
                service: Mirror,
                lanes: Vec::new(),
                wakes,
                listeners,
                certificates,
                chief: Chief::Supervisor(childs_control),
                slot: Slot(0),
                scoreboard,
                limits,
                turned_away: b"",
            })
            .unwrap();
            worker.run(|| {}).unwrap()
        });
        (Loop { control, scoreboard, authority, thread }, addresses)
    }

    fn secure(&self, address: SocketAddr) -> fixture::Client {
        fixture::client(&self.authority, connect(address))
    }

    fn count(&self, which: Counter) -> u64 {
        self.scoreboard.sum(which)
    }

    /// Until so many are counted: when one that is gone is noticed nobody can see.
    fn wait_for_connections(&self, count: u64) {
        let until = clock::monotonic() + Duration::from_secs(20);
        while self.count(Counter::Connections) != count {
            assert!(clock::monotonic() < until, "{} are counted", self.count(Counter::Connections));
            clock::pause(Duration::from_millis(1));
        }
    }

    fn drain(self) -> Ended {
        self.control.send(Message::Drain { within_ms: 10_000 }, None).unwrap();
        self.thread.join().unwrap()
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    client
}

fn read(stream: &mut impl Read, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

#[test]
fn a_connection_over_tls_is_served_like_a_plain_one() {
    let (here, addresses) = Loop::new(&[ListenerKind::Tcp, ListenerKind::Tls], Limits::default());
    let mut plain = connect(addresses[0]);
    assert_eq!(read(&mut plain, 6), b"0 Tcp\n");
    let mut client = here.secure(addresses[1]);
    assert_eq!(read(&mut client, 6), b"1 Tls\n");
    assert_eq!((here.count(Counter::TlsConnections), here.count(Counter::HandshakesTotal)), (1, 1));
    // More than one read of the loop takes, and more than the socket takes: neither side waits for the other.
    let text: Vec<u8> = (0..3_000_000_u32).map(|number| b'a' + (number % 16) as u8).collect();
    let expected = text.clone();
    let mut sent = 0;
    let mut got = Vec::new();
    client.sock.set_nonblocking(true).unwrap();
    while got.len() < expected.len() {
        let mut waits = 0;
        match client.write(&text[sent..(sent + 50_000).min(text.len())]) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => waits += 1,
            Err(error) => panic!("{error}"),
        }
        let mut bytes = [0; 20_000];
        match client.read(&mut bytes) {
            Ok(count) => got.extend_from_slice(&bytes[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => waits += 1,
            Err(error) => panic!("{error}"),
        }
        if waits == 2 {
            clock::pause(Duration::from_millis(1));
        }
    }
    assert!(got == expected);
    client.sock.set_nonblocking(false).unwrap();
    // The last replies are in the socket before it closes, and so is the word that nothing was cut off.
    client.write_all(&[vec![b'a'; 200_000], b"q".to_vec()].concat()).unwrap();
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).unwrap();
    assert_eq!(rest.len(), 200_001);
    assert_eq!(here.drain(), Ended::Drained);
}

#[test]
fn a_peer_that_says_farewell_is_answered_to_the_end() {
    let (here, addresses) = Loop::new(&[ListenerKind::Tls], Limits::default());
    for is_tcp_closed in [false, true] {
        let mut client = here.secure(addresses[0]);
        assert_eq!(read(&mut client, 6), b"0 Tls\n");
        // In one flight.
        let mut sent = 0;
        let text = [b'a'; 100_000];
        while sent < text.len() {
            sent += client.write(&text[sent..]).unwrap();
        }
        client.conn.send_close_notify();
        client.flush().unwrap();
        if is_tcp_closed {
            client.sock.shutdown(std::net::Shutdown::Write).unwrap();
        }
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).unwrap();
        assert!(rest.len() >= text.len());
    }
    assert_eq!(here.drain(), Ended::Drained);
}

#[test]
fn what_comes_with_the_end_of_the_handshake_is_not_lost() {
    let (here, addresses) = Loop::new(&[ListenerKind::Tls], Limits::default());
    let mut client = here.secure(addresses[0]);
    // rustls keeps it until the handshake is done, and sends both together.
    client.conn.writer().write_all(b"hello").unwrap();
    assert_eq!(read(&mut client, 11), b"0 Tls\nhello");
    assert_eq!(here.drain(), Ended::Drained);
}

#[test]
fn handshakes_that_come_to_nothing_hold_up_nobody_and_end() {
    let limits = Limits { openings_max: 4, opening_seconds_max: 1, ..Limits::default() };
    let (here, addresses) = Loop::new(&[ListenerKind::Tls], limits);
    // More than there may be at a time: those that have waited longest make room.
    let silent: Vec<TcpStream> = (0..12).map(|_| connect(addresses[0])).collect();
    let mut client = here.secure(addresses[0]);
    assert_eq!(read(&mut client, 6), b"0 Tls\n");
    for mut one in silent {
        assert_eq!(one.read(&mut [0; 8]).unwrap_or(0), 0, "none of them is served, and each is closed");
    }
    assert_eq!((here.count(Counter::HandshakesFailedTotal), here.count(Counter::Openings)), (12, 0));
    let mut plain = connect(addresses[0]);
    plain.write_all(b"PING\r\n").unwrap();
    assert_eq!(plain.read(&mut [0; 8]).unwrap_or(0), 0);
    let accepted = here.count(Counter::Connections);
    drop(connect(addresses[0]));
    client.write_all(b"still here").unwrap();
    assert_eq!(read(&mut client, 10), b"still here");
    here.wait_for_connections(1);
    assert_eq!(
        (here.count(Counter::HandshakesFailedTotal), accepted),
        (13, 1),
        "who says nothing at all has not failed"
    );
    assert_eq!(here.drain(), Ended::Drained);
}

#[test]
fn a_header_that_does_not_come_is_the_proxys_failure_and_what_comes_behind_one_is_not_waited_for_again() {
    let (proxies, limits) = (vec!["127.0.0.0/8".parse().unwrap()], Limits::default());
    let limits = Limits { openings_max: 2, opening_seconds_max: 1, proxies, ..limits };
    let (here, addresses) = Loop::new(&[ListenerKind::Tls], limits);
    let silent: Vec<TcpStream> = (0..3).map(|_| connect(addresses[0])).collect();
    for mut one in silent {
        assert_eq!(one.read(&mut [0; 8]).unwrap_or(0), 0);
    }
    let failed =
        |here: &Loop| [Counter::ProxyRefusedTotal, Counter::HandshakesFailedTotal].map(|which| here.count(which));
    assert_eq!((failed(&here), here.count(Counter::Openings)), ([3, 0], 0));
    // The header says that the connection is the proxy's own, and the handshake is in the same packet or behind it.
    let mut proxied = connect(addresses[0]);
    proxied.write_all(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0").unwrap();
    let mut client = fixture::client(&here.authority, proxied);
    assert_eq!(read(&mut client, 6), b"0 Tls\n");
    let mut stuck = connect(addresses[0]);
    stuck.write_all(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0").unwrap();
    assert_eq!(stuck.read(&mut [0; 8]).unwrap_or(0), 0);
    assert_eq!((failed(&here), here.count(Counter::Openings)), ([3, 1], 0), "from there on it is a handshake");
    assert_eq!(here.drain(), Ended::Drained);
}
