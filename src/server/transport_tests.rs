//! A transport that wraps what it carries, as TLS does, and a loop that serves its connections.
//!
//! Each byte is sent inverted, two bytes for one, after a handshake: the client sends `?` and the server answers `!` before either
//! takes anything else.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use crate::server::config::Limits;
use crate::server::control::{Control, Message};
use crate::server::listener::{Listener, ListenerKind};
use crate::server::outbox::Outbox;
use crate::server::service::{
    Application, ConnectionId, Effects, Executor, ExecutorContext, LaneId, LaneSpec, Peer, Refusal, Responder, Service,
    StartError, Step, Task, Wire, WorkerContext,
};
use crate::server::waker::waker;
use crate::server::worker::{Chief, Ended, Parts, Worker};
use crate::server::{Global, Input, Scoreboard, Slot};
use crate::sys::socket::{self, Moved};

/// Raw bytes that it takes in at once, and lets wait to be sent.
const RAW_BYTES: usize = 512 << 10;

pub(in crate::server) struct Wrapped {
    socket: OwnedFd,
    is_ready: bool,
    received: Vec<u8>,
    unsent: Vec<u8>,
    is_empty: bool,
    is_closed: bool,
}

impl Wrapped {
    pub(super) fn new(socket: OwnedFd) -> Wrapped {
        let (received, unsent) = (Vec::new(), Vec::new());
        Wrapped { socket, is_ready: false, received, unsent, is_empty: false, is_closed: false }
    }

    pub(super) fn receive(&mut self, buffer: &mut Vec<u8>, bytes_max: usize) -> io::Result<Moved> {
        if self.received.len() < 2 && !self.is_closed {
            match socket::receive(self.socket.as_fd(), &mut self.received, RAW_BYTES)? {
                Moved::Bytes(_) => self.is_empty = false,
                Moved::WouldBlock => self.is_empty = true,
                Moved::Closed => self.is_closed = true,
            }
        }
        if !self.is_ready && self.received.first() == Some(&b'?') {
            self.received.remove(0);
            self.unsent.push(b'!');
            self.is_ready = true;
        }
        let count = if self.is_ready { (self.received.len() / 2).min(bytes_max) } else { 0 };
        buffer.extend(self.received.drain(..2 * count).step_by(2).map(|byte| !byte));
        match count {
            0 if self.is_closed => Ok(Moved::Closed),
            0 if self.is_empty => Ok(Moved::WouldBlock),
            0 => self.receive(buffer, bytes_max),
            count => Ok(Moved::Bytes(count)),
        }
    }

    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<Moved> {
        let count = bytes.len().min((RAW_BYTES - self.unsent.len().min(RAW_BYTES)) / 2);
        if !self.is_ready || count == 0 {
            return Ok(match self.flush()? {
                Moved::Closed => Moved::Closed,
                Moved::Bytes(_) if self.is_ready => return self.send(bytes),
                _ => Moved::WouldBlock,
            });
        }
        self.unsent.extend(bytes[..count].iter().flat_map(|byte| [!byte, 0]));
        Ok(Moved::Bytes(count))
    }

    pub(super) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    pub(super) fn flush(&mut self) -> io::Result<Moved> {
        let mut count = 0;
        while count < self.unsent.len() {
            match socket::send(self.socket.as_fd(), &self.unsent[count..])? {
                Moved::Bytes(sent) => count += sent,
                other => {
                    self.unsent.drain(..count);
                    return Ok(other);
                }
            }
        }
        self.unsent.clear();
        Ok(Moved::Bytes(count))
    }

    pub(super) fn may_have_more(&self) -> bool {
        !self.is_empty
    }
}

impl AsFd for Wrapped {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

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
    thread: std::thread::JoinHandle<Ended>,
}

impl Loop {
    fn new(kinds: &[ListenerKind]) -> (Loop, Vec<std::net::SocketAddr>) {
        let listener = |&kind: &ListenerKind| {
            let fd = socket::listen_on(([127, 0, 0, 1], 0).into(), 8).unwrap();
            (socket::local_address(fd.as_fd()).unwrap(), Listener { fd, kind })
        };
        let (addresses, listeners) = kinds.iter().map(listener).unzip();
        let (control, childs_control) = Control::pair().unwrap();
        let scoreboard = Scoreboard::new(1, 0).unwrap();
        scoreboard.global(Global::ConnectionsMax).store(8, std::sync::atomic::Ordering::Relaxed);
        let thread = std::thread::spawn(move || {
            let (_waker, wakes) = waker().unwrap();
            let mut worker: Worker<Mirror> = Worker::new(Parts {
                service: Mirror,
                lanes: Vec::new(),
                wakes,
                listeners,
                chief: Chief::Supervisor(childs_control),
                slot: Slot(0),
                scoreboard,
                limits: Limits::default(),
                turned_away: b"",
            })
            .unwrap();
            worker.run(|| {}).unwrap()
        });
        (Loop { control, thread }, addresses)
    }

    fn drain(self) -> Ended {
        self.control.send(Message::Drain { within_ms: 10_000 }, None).unwrap();
        self.thread.join().unwrap()
    }
}

fn connect(address: std::net::SocketAddr) -> TcpStream {
    let client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    client
}

fn wrapped(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().flat_map(|byte| [!byte, 0]).collect()
}

#[test]
fn a_wrapping_transport_is_served_whichever_direction_waits_for_the_other() {
    let (here, addresses) = Loop::new(&[ListenerKind::Tcp, ListenerKind::Wrapped]);
    let mut plain = connect(addresses[0]);
    let mut greeting = [0; 6];
    plain.read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, b"0 Tcp\n");
    let mut client = connect(addresses[1]);
    // The greeting waits in the loop for the handshake: nothing is sent before.
    client.set_nonblocking(true).unwrap();
    assert!(client.read(&mut [0]).is_err());
    client.set_nonblocking(false).unwrap();
    client.write_all(b"?").unwrap();
    let expected = [b"!".to_vec(), wrapped(b"1 Wrapped\n")].concat();
    let mut got = vec![0; expected.len()];
    client.read_exact(&mut got).unwrap();
    assert_eq!(got, expected);
    // What it reads ahead at once is more than one read of the loop takes, and epoll speaks once; half a pair is not lost.
    let text: Vec<u8> = (0..200_000_u32).map(|number| b'a' + (number % 16) as u8).collect();
    let sent = wrapped(&text);
    client.write_all(&sent[..399_999]).unwrap();
    client.write_all(&sent[399_999..]).unwrap();
    let mut got = vec![0; sent.len()];
    client.read_exact(&mut got).unwrap();
    assert!(got == sent);
    // The last replies are in the socket before it closes, though the client reads late.
    let text = [vec![b'a'; 2_000_000], b"q".to_vec()].concat();
    let mut writer = client.try_clone().unwrap();
    let sent = wrapped(&text);
    let writing = std::thread::spawn(move || writer.write_all(&sent).unwrap());
    let mut got = Vec::new();
    client.read_to_end(&mut got).unwrap();
    writing.join().unwrap();
    assert_eq!(got.len(), 2 * text.len());
    assert_eq!(here.drain(), Ended::Drained);
}
