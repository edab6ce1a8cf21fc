//! MONITOR: every worker shows its clients' calls to the monitors of all workers, as Redis writes them, passwords left out.

use bytes::Bytes;

use crate::kv::commands::table::{Command, Handler};
use crate::kv::metrics::statistics::Counted;
use crate::kv::sessions::monitors;
use crate::kv::sessions::pushes;
use crate::kv::sessions::questions::Notice;
use crate::kv::sessions::scatter_gather::{self, MessageKind};
use crate::kv::sessions::session::Client;
use crate::kv::sessions::wire;
use crate::kv::sessions::worker_state::WorkerState;
use crate::kv::table::flags::Flags;
use crate::server::{Address, Effects, Outbox};

/// A call of `client` has run here, and its reply is in `out`; or it goes to a lane, or was the client's last. A monitor that
/// is the client itself sees it only with `out`.
pub fn feed(
    worker: &WorkerState,
    client: &Client,
    command: &Command,
    args: &[&[u8]],
    mut out: Option<&mut Outbox>,
    effects: &mut Effects,
) {
    // A script is shown, and what it calls behind it.
    let is_script = matches!(command.handler, Handler::Script(_));
    if command.flags.has(Flags::SKIP_MONITOR) && !is_script || command.flags.has(Flags::ADMIN) {
        return;
    }
    let line = line(client, command, args);
    let shared = Bytes::copy_from_slice(&line);
    for monitor in &worker.monitors {
        if monitor.number != client.number {
            pushes::push(worker, monitor, &shared, effects);
        } else if let Some(out) = &mut out {
            // Right behind the reply, also in a pipeline.
            out.buffer().extend_from_slice(&line);
        }
    }
    for slot in worker.context.scoreboard.workers() {
        if slot != worker.context.slot && worker.totals.of(slot, Counted::Monitors) > 0 {
            effects.send(
                slot,
                scatter_gather::message(MessageKind::Notice, 0, &wire::encode(&Notice::Monitored(line.clone()))),
            );
        }
    }
}

fn line(client: &Client, command: &Command, args: &[&[u8]]) -> Vec<u8> {
    let (database, address) = (client.database.get(), &client.address);
    let unix = if let Address::Unix(_) = address { "unix:" } else { "" };
    monitors::line(format_args!("{database} {unix}{address}"), command.name, args)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::commands::table;
    use crate::kv::sessions::monitors::LINE_BYTES_MAX;
    use crate::kv::sessions::session::Session;
    use crate::server::{ConnectionId, ListenerKind, Peer};

    #[test]
    fn a_line_is_short_whatever_the_call_is() {
        let address = Address::Internet("127.0.0.1:7".parse().unwrap());
        let (id, local, listener, kind) = (ConnectionId(1), address.clone(), 0, ListenerKind::Tcp);
        let (is_local, secured) = (true, None);
        let peer = Peer { id, number: 1, address, local, descriptor: 3, listener, kind, is_local, secured };
        let client = Session::new(&peer, 0).client;
        let long = vec![0; 8 << 20];
        let set = line(&client, table::lookup(b"set").unwrap(), &[b"set", b"k", &long, b"EX", b"1"]);
        assert!(set.len() < 5 * LINE_BYTES_MAX, "{}", set.len());
        assert!(set.ends_with(b"\\x00... (8323076 more bytes)\" \"... (2 more arguments)\"\r\n"));
        let many = vec![&b""[..]; 100_000];
        let exists = line(&client, table::lookup(b"exists").unwrap(), &many);
        assert!(exists.ends_with(b" \"\" \"... (34464 more arguments)\"\r\n"), "{}", exists.len());
        let get = line(&client, table::lookup(b"get").unwrap(), &[b"get", &long[..10]]);
        assert!(get.ends_with(b"\\x00\"\r\n"));
    }

    #[test]
    fn bytes_are_shown_as_redis_escapes_them() {
        let mut out = Vec::new();
        crate::resp::inline::escape(b"a\"\\\r\n\t\x07\x08\0\xff~", &mut out);
        assert_eq!(out, br#"a\"\\\r\n\t\a\b\x00\xff~"#);
    }
}
