//! Readers that wait for one stream's next entry, all of them for each, beside those of `emptyserver bench` that add entries.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use emptyserver::resp::{Reply, ResponseParser, encode_command};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::loads::{Data, Traffic};
use crate::options::Options;
use crate::peers::Running;
use crate::results::{self, Sample};
use crate::traffic;

/// The one that `xadd` adds to where all keys are one.
const STREAM: &str = "stream:000000000000";
/// How long a look at the sockets waits, so that the end is noticed.
const LOOK_MS: u8 = 100;

/// One run, measured: how fast entries are added, and how fast they come to the readers.
pub(crate) fn run(
    options: &Options,
    running: &Running,
    data: &Data,
    readers: usize,
    load: &Traffic,
) -> io::Result<(Sample, f64)> {
    let mut waiting = (0..readers).map(|_| Reader::begin(running.port)).collect::<io::Result<Vec<_>>>()?;
    let (is_over, received) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let reading = scope.spawn(|| read_all(&mut waiting, &is_over, &received));
        let run = traffic::costing(running.pid(), || traffic::run_ours(&running.endpoint, data, load, options.seconds));
        is_over.store(true, Ordering::SeqCst);
        reading.join().map_err(|_| io::Error::other("who reads panicked"))??;
        let (generated, costs) = run?;
        let mut figures = traffic::figures(&generated, &costs);
        let entries = received.load(Ordering::SeqCst) as f64;
        figures.push((results::RECEIVED, entries / generated.requests * generated.per_second));
        Ok((Sample { figures, ..Sample::default() }, costs.foreign_share))
    })
}

/// Asks for what comes after the last entry that it has seen, and waits for it.
struct Reader {
    stream: TcpStream,
    parser: ResponseParser,
    /// What has been read and not parsed.
    input: Vec<u8>,
}

impl Reader {
    fn begin(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut reader = Self { stream, parser: ResponseParser::default(), input: Vec::new() };
        reader.ask(b"$")?;
        Ok(reader)
    }

    fn ask(&mut self, after: &[u8]) -> io::Result<()> {
        let command: [&[u8]; 6] = [b"XREAD", b"BLOCK", b"0", b"STREAMS", STREAM.as_bytes(), after];
        let mut bytes = Vec::new();
        encode_command(&command, &mut bytes);
        self.stream.write_all(&bytes)
    }

    /// How many entries have come.
    fn take(&mut self, bytes: &mut [u8]) -> io::Result<u64> {
        match self.stream.read(bytes) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => self.input.extend_from_slice(&bytes[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
            Err(error) => return Err(error),
        }
        let mut rest = self.input.as_slice();
        let reply = self.parser.parse(&mut rest).map_err(|error| io::Error::other(error.to_string()))?;
        let parsed = self.input.len() - rest.len();
        self.input.drain(..parsed);
        let Some(reply) = reply else { return Ok(0) };
        let (count, last) = entries(&reply).ok_or_else(|| io::Error::other(format!("XREAD gives {reply:?}")))?;
        self.ask(last)?;
        Ok(count)
    }
}

/// How many there are in an answer to XREAD of one stream, and the id of the last one.
fn entries(reply: &Reply) -> Option<(u64, &[u8])> {
    let Reply::Array(streams) = reply else { return None };
    let [Reply::Array(stream)] = streams.as_slice() else { return None };
    let [_, Reply::Array(entries)] = stream.as_slice() else { return None };
    let Some(Reply::Array(last)) = entries.last() else { return None };
    let Some(Reply::Bulk(id)) = last.first() else { return None };
    Some((entries.len() as u64, id))
}

fn read_all(readers: &mut [Reader], is_over: &AtomicBool, received: &AtomicU64) -> io::Result<()> {
    let mut bytes = vec![0; 1 << 20];
    while !is_over.load(Ordering::SeqCst) {
        let mut looks: Vec<PollFd<'_>> =
            readers.iter().map(|reader| PollFd::new(reader.stream.as_fd(), PollFlags::POLLIN)).collect();
        poll(&mut looks, PollTimeout::from(LOOK_MS))?;
        let ready: Vec<bool> = looks.iter().map(|look| look.any().unwrap_or(false)).collect();
        for (reader, _) in readers.iter_mut().zip(ready).filter(|(_, is_ready)| *is_ready) {
            received.fetch_add(reader.take(&mut bytes)?, Ordering::Relaxed);
        }
    }
    Ok(())
}
