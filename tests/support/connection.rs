//! A raw client: sends what it is told, reads replies one by one, and waits for none of them longer than its patience.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use emptyserver::sys::clock;

use super::notation::words;
use super::value::{Parsed, Value, parse};

/// Longer than anything that goes well takes, also on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub struct Connection {
    pub stream: TcpStream,
    input: Vec<u8>,
    pub patience: Duration,
}

impl Connection {
    pub fn open(address: SocketAddr) -> Self {
        Self::try_open(address).unwrap_or_else(|error| panic!("no connection to {address}: {error}"))
    }

    pub fn try_open(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, input: Vec::new(), patience: PATIENCE })
    }

    pub fn address(&self) -> SocketAddr {
        self.stream.local_addr().unwrap()
    }

    /// Sends one command and gives its reply.
    pub fn call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Value {
        self.send(args);
        self.read()
    }

    /// `call` for words in the notation of the transcripts; so is the answer.
    pub fn ask(&mut self, line: &str) -> String {
        self.call(&words(line)).to_string()
    }

    /// A number of INFO.
    pub fn of_info(&mut self, name: &str) -> u64 {
        let info = self.call(&["INFO", "all"]).text();
        let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("INFO has no {name}"))
    }

    pub fn send<A: AsRef<[u8]>>(&mut self, args: &[A]) {
        self.send_bytes(&encoded(args));
    }

    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.try_send_bytes(bytes).unwrap_or_else(|error| panic!("can't send: {error}"));
    }

    pub fn try_send_bytes(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.set_write_timeout(Some(self.patience))?;
        self.stream.write_all(bytes)
    }

    pub fn read(&mut self) -> Value {
        self.try_read().unwrap_or_else(|error| panic!("no reply: {error}"))
    }

    /// `call` that survives a service which dies meanwhile.
    pub fn try_call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> std::io::Result<Value> {
        self.try_send_bytes(&encoded(args))?;
        self.try_read()
    }

    /// The next reply. `UnexpectedEof` where the other side has closed, `TimedOut` where it says nothing.
    pub fn try_read(&mut self) -> std::io::Result<Value> {
        loop {
            match parse(&self.input) {
                Ok(Parsed::Complete(value, length)) => {
                    self.input.drain(..length);
                    return Ok(value);
                }
                Ok(Parsed::NeedMore) => self.fill()?,
                Err(what) => return Err(std::io::Error::new(ErrorKind::InvalidData, what)),
            }
        }
    }

    /// Exactly so many bytes, whatever they are.
    pub fn read_bytes(&mut self, count: usize) -> std::io::Result<Vec<u8>> {
        while self.input.len() < count {
            self.fill()?;
        }
        Ok(self.input.drain(..count).collect())
    }

    /// The peer hears that no more comes, and can still answer.
    pub fn shut_down_sending(&self) {
        self.stream.shutdown(std::net::Shutdown::Write).unwrap();
    }

    /// True exactly when the other side closes before it says anything more.
    pub fn is_closed(&mut self) -> bool {
        match self.fill() {
            Err(error) => matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset),
            Ok(()) => false,
        }
    }

    /// What has come and was not read.
    pub fn unread(&self) -> &[u8] {
        &self.input
    }

    fn fill(&mut self) -> std::io::Result<()> {
        if !self.input.is_empty() && self.input.capacity() - self.input.len() < 4096 {
            self.input.reserve(self.input.len());
        }
        let mut bytes = [0; 1 << 16];
        let deadline = clock::monotonic() + self.patience;
        loop {
            let left = deadline.saturating_duration_since(clock::monotonic());
            if left.is_zero() {
                return Err(ErrorKind::TimedOut.into());
            }
            self.stream.set_read_timeout(Some(left))?;
            match self.stream.read(&mut bytes) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    self.input.extend_from_slice(&bytes[..count]);
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(ErrorKind::TimedOut.into()),
                Err(error) => return Err(error),
            }
        }
    }
}

pub fn encoded<A: AsRef<[u8]>>(args: &[A]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        let arg = arg.as_ref();
        bytes.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        bytes.extend_from_slice(arg);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}
