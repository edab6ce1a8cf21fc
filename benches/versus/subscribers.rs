//! Subscribers that read all that they are sent, beside publishers of `emptyserver bench`.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::loads::{Data, Traffic};
use crate::options::Options;
use crate::peers::Running;
use crate::results::{self, Sample};
use crate::traffic;

/// How long a look at the sockets waits, so that the end is noticed.
const LOOK_MS: u8 = 100;

/// One run, measured: how fast messages are taken, and how fast they are handed on.
pub(crate) fn published(
    options: &Options,
    running: &Running,
    data: &Data,
    subscribers: usize,
    load: &Traffic,
) -> io::Result<(Sample, f64)> {
    let mut streams = (0..subscribers).map(|_| subscriber(running.port)).collect::<io::Result<Vec<_>>>()?;
    let (is_over, received) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| read_all(&mut streams, &is_over, &received));
        let run = traffic::costing(running.pid(), || traffic::run_ours(&running.endpoint, data, load, options.seconds));
        is_over.store(true, Ordering::SeqCst);
        let (generated, costs) = run?;
        let mut figures = traffic::figures(&generated, &costs);
        if subscribers > 0 {
            let bytes = message_bytes(data.value_bytes as usize) as f64;
            let messages = received.load(Ordering::SeqCst) as f64 / bytes;
            figures.push((results::RECEIVED, messages / generated.requests * generated.per_second));
        }
        Ok((Sample { figures, ..Sample::default() }, costs.foreign_share))
    })
}

fn subscriber(port: u16) -> io::Result<TcpStream> {
    const CONFIRMATION: &[u8] = b"*3\r\n$9\r\nsubscribe\r\n$7\r\nchannel\r\n:1\r\n";
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.write_all(b"SUBSCRIBE channel\r\n")?;
    let mut answer = [0; CONFIRMATION.len()];
    stream.read_exact(&mut answer)?;
    stream.set_nonblocking(true)?;
    if answer == CONFIRMATION { Ok(stream) } else { Err(io::Error::other("SUBSCRIBE is not confirmed")) }
}

/// `*3 message channel VALUE`, as RESP2 has it.
fn message_bytes(value_bytes: usize) -> usize {
    b"*3\r\n$7\r\nmessage\r\n$7\r\nchannel\r\n$\r\n\r\n".len() + value_bytes.to_string().len() + value_bytes
}

fn read_all(streams: &mut [TcpStream], is_over: &AtomicBool, received: &AtomicU64) {
    let mut bytes = vec![0; 1 << 20];
    while !is_over.load(Ordering::SeqCst) {
        let mut looks: Vec<PollFd<'_>> =
            streams.iter().map(|stream| PollFd::new(stream.as_fd(), PollFlags::POLLIN)).collect();
        if poll(&mut looks, PollTimeout::from(LOOK_MS)).is_err() {
            return;
        }
        let ready: Vec<bool> = looks.iter().map(|look| look.any().unwrap_or(false)).collect();
        for (stream, _) in streams.iter_mut().zip(ready).filter(|(_, is_ready)| *is_ready) {
            if let Ok(count) = stream.read(&mut bytes) {
                received.fetch_add(count as u64, Ordering::Relaxed);
            }
        }
    }
}
