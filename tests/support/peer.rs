//! A peer that speaks lines, with a deadline on everything.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use super::connection::PATIENCE;

#[derive(Debug)]
pub struct Client {
    reader: BufReader<TcpStream>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Client { reader: BufReader::new(stream) }
    }

    pub fn stream(&self) -> &TcpStream {
        self.reader.get_ref()
    }

    pub fn send(&mut self, text: &str) {
        self.reader.get_mut().write_all(text.as_bytes()).unwrap();
    }

    /// The next reply, without its line feed.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        assert_eq!(line.pop(), Some('\n'), "the connection ended after {line:?}");
        line
    }

    pub fn ask(&mut self, line: &str) -> String {
        self.send(&format!("{line}\n"));
        self.line()
    }

    /// True when something has come that was not read.
    pub fn has_reply(&self) -> bool {
        self.stream().set_nonblocking(true).unwrap();
        let has_come = !self.reader.buffer().is_empty() || self.stream().peek(&mut [0]).is_ok();
        self.stream().set_nonblocking(false).unwrap();
        has_come
    }

    /// Everything until the server closes the connection.
    pub fn rest(&mut self) -> String {
        let mut text = String::new();
        match self.reader.read_to_string(&mut text) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}"),
        }
        text
    }

    pub fn has_ended(&mut self) -> bool {
        self.rest().is_empty()
    }

    /// Says that nothing more will be sent. One that was turned away may have been reset before.
    pub fn finish(&mut self) {
        if let Err(error) = self.stream().shutdown(Shutdown::Write) {
            assert_eq!(error.kind(), ErrorKind::NotConnected, "{error}");
        }
    }

    /// Ends the connection as a peer that crashed: with a reset, not in good order.
    pub fn abort(self) {
        use nix::sys::socket::{setsockopt, sockopt};
        let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
        setsockopt(self.stream(), sockopt::Linger, &linger).unwrap();
    }
}
