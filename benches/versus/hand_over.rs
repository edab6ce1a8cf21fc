//! How long an element takes from whoever pushes it to whoever waits for it: one at a time, while many wait.

use std::io;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use emptyserver::client::Connection;
use emptyserver::resp::Reply;
use emptyserver::sys::clock;

use crate::peers::Running;
use crate::results::{self, Figure};

const QUEUE: &str = "queue";
const LAST: &[u8] = b"last";
/// All who wait have asked by then.
const BEFORE: Duration = Duration::from_millis(500);

/// What an element took, by `waiters` clients that wait for it, for so many seconds.
pub(crate) fn run(server: &Running, waiters: u64, seconds: f64) -> io::Result<Vec<(Figure, f64)>> {
    let (told, received) = mpsc::channel();
    let clients = (0..waiters).map(|_| server.connect()).collect::<io::Result<Vec<_>>>()?;
    let clients: Vec<_> = clients
        .into_iter()
        .map(|client| {
            let told = told.clone();
            thread::spawn(move || wait(client, &told))
        })
        .collect();
    clock::pause(BEFORE);
    let mut pusher = server.connect()?;
    let mut took = Vec::new();
    let begun = clock::monotonic();
    while (clock::monotonic() - begun).as_secs_f64() < seconds {
        let sent = clock::monotonic();
        call(&mut pusher, &["RPUSH", QUEUE, "element"])?;
        let at = received.recv().map_err(|_| io::Error::other("nobody waits any more"))?;
        took.push(at.saturating_duration_since(sent));
    }
    for _ in 0..waiters {
        call(&mut pusher, &["RPUSH", QUEUE, "last"])?;
    }
    for client in clients {
        client.join().map_err(|_| io::Error::other("a client that waits panicked"))??;
    }
    took.sort_unstable();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    Ok(vec![
        (results::P50, at(0.5)),
        (results::P99, at(0.99)),
        (results::P99_9, at(0.999)),
        (results::LONGEST, at(1.0)),
        (results::RATE, took.len() as f64 / seconds),
    ])
}

/// Says when each element came.
fn wait(mut client: Connection, told: &mpsc::Sender<Instant>) -> io::Result<()> {
    loop {
        let reply = call(&mut client, &["BLPOP", QUEUE, "0"])?;
        let now = clock::monotonic();
        match reply {
            Reply::Array(items) if items.last() == Some(&Reply::Bulk(LAST.to_vec())) => return Ok(()),
            Reply::Array(_) => {}
            other => return Err(io::Error::other(format!("{other:?}"))),
        }
        if told.send(now).is_err() {
            return Ok(());
        }
    }
}

fn call(connection: &mut Connection, args: &[&str]) -> io::Result<Reply> {
    connection.call(args).map_err(|error| io::Error::other(error.to_string()))
}
