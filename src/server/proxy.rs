//! The header that a proxy puts before a connection's bytes: whose connection it is (PROXY protocol, version 2, as HAProxy's
//! `proxy-protocol.txt` has it). It is read to its last byte and no further: what follows is the connection's own.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::BorrowedFd;

use crate::sys::socket::{self, Moved};

/// As much of a header as has come.
#[derive(Debug, Default)]
pub(super) struct Header {
    bytes: Vec<u8>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    NeedMore,
    /// Both ends' addresses as the proxy saw them; `None` where it speaks for itself, or knows none.
    Whole(Option<(SocketAddr, SocketAddr)>),
    /// It is no header, or one that can't be.
    Wrong(&'static str),
    /// The peer said nothing at all, as a probe of the port does.
    Silent,
    Gone,
}

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family, length of the rest.
const FIXED_BYTES: usize = 16;
/// Addresses and what else the proxy tells of the connection.
const REST_BYTES_MAX: usize = 4 << 10;

impl Header {
    /// Reads what is missing, as far as it has come.
    pub(super) fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<Progress> {
        loop {
            let wanted = match wanted(&self.bytes) {
                Ok(0) => return Ok(addresses(&self.bytes)),
                Ok(wanted) => wanted,
                Err(what) => return Ok(Progress::Wrong(what)),
            };
            match socket::receive(socket, &mut self.bytes, wanted)? {
                Moved::Bytes(_) => {}
                Moved::WouldBlock => return Ok(Progress::NeedMore),
                Moved::Closed if self.bytes.is_empty() => return Ok(Progress::Silent),
                Moved::Closed => return Ok(Progress::Gone),
            }
        }
    }
}

/// How many bytes of the header are still to come, at least.
fn wanted(bytes: &[u8]) -> Result<usize, &'static str> {
    let begun = bytes.len().min(SIGNATURE.len());
    if bytes[..begun] != SIGNATURE[..begun] {
        return Err("it does not begin with a PROXY header of version 2");
    }
    let Some(fixed) = bytes.first_chunk::<FIXED_BYTES>() else { return Ok(FIXED_BYTES - bytes.len()) };
    let rest = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if fixed[12] & 0xf0 != 0x20 || fixed[12] & 0x0f > 1 {
        return Err("its PROXY header has an unknown version or command");
    }
    if rest > REST_BYTES_MAX {
        return Err("its PROXY header is too long");
    }
    Ok(FIXED_BYTES + rest - bytes.len())
}

fn addresses(bytes: &[u8]) -> Progress {
    let (command, family, rest) = (bytes[12] & 0x0f, bytes[13], &bytes[FIXED_BYTES..]);
    let port = |at: usize| rest.get(at..at + 2).map(|port| u16::from_be_bytes([port[0], port[1]]));
    let v4 = |at: usize| Some(IpAddr::from(Ipv4Addr::from(*rest.get(at..)?.first_chunk::<4>()?)));
    let v6 = |at: usize| Some(IpAddr::from(Ipv6Addr::from(*rest.get(at..)?.first_chunk::<16>()?)));
    let found = match (command, family) {
        (1, 0x11) => [(v4(0), port(8)), (v4(4), port(10))],
        (1, 0x21) => [(v6(0), port(32)), (v6(16), port(34))],
        // LOCAL: the proxy itself. Or a family that is none of a TCP connection.
        _ => return Progress::Whole(None),
    };
    match found.map(|(ip, port)| Some(socket::canonical(SocketAddr::new(ip?, port?)))) {
        [Some(source), Some(target)] => Progress::Whole(Some((source, target))),
        _ => Progress::Wrong("its PROXY header is too short for its addresses"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    fn header(version_and_command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = (rest.len() as u16).to_be_bytes();
        [SIGNATURE, &[version_and_command, family], &length, rest].concat()
    }

    /// What becomes of these bytes, sent one by one; and how many were left unread.
    fn read(bytes: &[u8], is_closed_then: bool) -> (Progress, usize) {
        let (here, there) = socket::stream_pair().unwrap();
        let mut header = Header::default();
        let mut progress = header.receive(here.as_fd()).unwrap();
        for byte in bytes {
            assert_eq!(socket::send(there.as_fd(), &[*byte]).unwrap(), Moved::Bytes(1));
            if progress == Progress::NeedMore {
                progress = header.receive(here.as_fd()).unwrap();
            }
        }
        if is_closed_then {
            drop(there);
            progress = header.receive(here.as_fd()).unwrap();
        }
        let mut left = Vec::new();
        let left = match socket::receive(here.as_fd(), &mut left, 1 << 16).unwrap() {
            Moved::Bytes(count) => count,
            Moved::WouldBlock | Moved::Closed => 0,
        };
        (progress, left)
    }

    #[test]
    fn a_header_says_whose_connection_it_is_and_nothing_behind_it_is_read() {
        let v4 = [&[192, 0, 2, 7, 10, 0, 0, 1][..], &50_000_u16.to_be_bytes(), &6379_u16.to_be_bytes()].concat();
        let pair = |one: &str, other: &str| Some((one.parse().unwrap(), other.parse().unwrap()));
        let v4_pair = pair("192.0.2.7:50000", "10.0.0.1:6379");
        let with_more = [v4.clone(), vec![3, 0, 4, 1, 2, 3, 4]].concat();
        let (one, other) = ("2001:db8::1".parse::<Ipv6Addr>().unwrap(), "::ffff:10.0.0.1".parse::<Ipv6Addr>().unwrap());
        let v6 = [&one.octets()[..], &other.octets(), &1_u16.to_be_bytes(), &2_u16.to_be_bytes()].concat();
        for (bytes, expected) in [
            (header(0x21, 0x11, &v4), v4_pair),
            (header(0x21, 0x11, &with_more), v4_pair),
            (header(0x21, 0x21, &v6), pair("[2001:db8::1]:1", "10.0.0.1:2")),
            (header(0x20, 0x11, &v4), None),
            (header(0x20, 0x00, &[]), None),
            (header(0x21, 0x00, &[]), None),
            (header(0x21, 0x31, &[0; 216]), None),
            (header(0x21, 0x12, &v4), None),
        ] {
            let with_more = [&bytes[..], b"PING\r\n"].concat();
            assert_eq!(read(&with_more, false), (Progress::Whole(expected), 6), "{bytes:?}");
        }
    }

    #[test]
    fn what_is_no_header_is_refused_at_the_first_byte_that_tells() {
        for (bytes, left) in [(&b"PING\r\n"[..], 5), (b"\r\nPING\r\n", 5), (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", 31)]
        {
            let (progress, unread) = read(bytes, false);
            assert!(matches!(progress, Progress::Wrong(_)), "{progress:?}");
            assert_eq!(unread, left);
        }
        for wrong in [
            header(0x11, 0x11, &[0; 12]),
            header(0x22, 0x11, &[0; 12]),
            header(0x21, 0x11, &[0; 11]),
            header(0x21, 0x21, &[0; 35]),
            header(0x21, 0x11, &[0; REST_BYTES_MAX + 1])[..FIXED_BYTES].to_vec(),
        ] {
            assert!(matches!(read(&wrong, false).0, Progress::Wrong(_)), "{wrong:?}");
        }
        let whole = header(0x21, 0x11, &[0; 12]);
        for length in 0..whole.len() {
            assert_eq!(read(&whole[..length], false).0, Progress::NeedMore);
            let expected = if length == 0 { Progress::Silent } else { Progress::Gone };
            assert_eq!(read(&whole[..length], true).0, expected);
        }
    }
}
