//! Clients as CLIENT LIST and CLIENT KILL see them: which ones are meant, and what is told of each. Each worker speaks for
//! its own; `questions` brings it together.

use serde::{Deserialize, Serialize};

use crate::kv::sessions::session::Client;
use crate::kv::sessions::wire;
use crate::kv::sessions::worker_state::WorkerState;
use crate::resp::reply::Version;
use crate::server::{Address, Effects};

/// What CLIENT LIST and CLIENT KILL call a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClientKind {
    Normal,
    Subscriber,
    /// Replicas and masters: there are none.
    Replication,
}

/// The clients that match everything that is named.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// Their numbers, in order; empty: any.
    pub numbers: Vec<u64>,
    /// As the line shows it.
    pub address: Option<Vec<u8>>,
    pub local: Option<Vec<u8>>,
    pub kind: Option<ClientKind>,
    /// True: none at all.
    pub is_none: bool,
    pub user: Option<Vec<u8>>,
    /// Not this one.
    pub except: Option<u64>,
}

impl Selection {
    #[must_use]
    pub fn with_numbers(mut self, mut numbers: Vec<u64>) -> Selection {
        numbers.sort_unstable();
        numbers.dedup();
        self.numbers = numbers;
        self
    }

    #[must_use]
    pub fn holds(&self, client: &Client) -> bool {
        let is_at = |wanted: &Option<Vec<u8>>, address: &Address| {
            wanted.as_ref().is_none_or(|wanted| *wanted == shown(address).as_bytes())
        };
        let kind = if client.is_subscriber() { ClientKind::Subscriber } else { ClientKind::Normal };
        !self.is_none
            && self.kind.is_none_or(|wanted| wanted == kind)
            && self.user.as_ref().is_none_or(|wanted| *wanted == client.user.borrow().name)
            && self.except != Some(client.number)
            && (self.numbers.is_empty() || self.numbers.binary_search(&client.number).is_ok())
            && is_at(&self.address, &client.address)
            && is_at(&self.local, &client.local)
    }
}

/// This worker's clients of the selection, for `merge_lists`: number and line of each.
#[must_use]
pub fn list(worker: &WorkerState, selection: &Selection) -> Vec<u8> {
    let now_ms = worker.clock.now_ms();
    let clients = worker.clients.values().filter(|client| selection.holds(client));
    wire::encode(&clients.map(|client| (client.number, line(client, now_ms))).collect::<Vec<_>>())
}

/// The lines of several workers by the number of their clients.
#[must_use]
pub fn merge_lists(lists: &[Vec<u8>]) -> Vec<(u64, Vec<u8>)> {
    let lists = lists.iter().filter_map(|list| wire::decode::<Vec<(u64, Vec<u8>)>>(list));
    let mut lines: Vec<_> = lists.flatten().collect();
    lines.sort();
    lines
}

/// Closes this worker's clients of the selection, and counts them.
pub fn kill(worker: &WorkerState, selection: &Selection, effects: &mut Effects) -> u64 {
    let killed = worker.clients.values().filter(|client| selection.holds(client));
    killed.map(|client| effects.close(client.id)).count() as u64
}

/// What Redis keeps in a buffer of the client itself; more goes to its list of reply blocks of that size.
const REPLY_BUFFER_BYTES: usize = 16 << 10;
/// Every client takes about so much.
const CLIENT_BYTES: usize = 1024;

/// The client in one line, with its end (Redis: catClientInfoString). Figures of Redis' memory that have no counterpart
/// here are 0.
#[must_use]
pub fn line(client: &Client, now_ms: i64) -> Vec<u8> {
    let seconds_since = |then_ms: i64| (now_ms / 1000 - then_ms / 1000).max(0);
    let kept = client.kept.get();
    let unsent = kept.unsent;
    let in_buffer = unsent.min(REPLY_BUFFER_BYTES);
    let in_list = unsent - in_buffer;
    let subscribed = client.subscribed.borrow();
    let (address, local) = (shown(&client.address), shown(&client.local));
    let mut line =
        format!("id={} addr={address} laddr={local} fd={} name=", client.number, client.descriptor).into_bytes();
    line.extend_from_slice(&client.name.borrow());
    let rest = format!(
        " age={} idle={} flags={} db={} sub={} psub={} ssub={} multi={} qbuf={} qbuf-free={} argv-mem={} multi-mem={} rbs=0 \
         rbp=0 obl={in_buffer} oll={} omem={in_list} tot-mem={} events={} cmd={} user=",
        seconds_since(client.created_ms),
        seconds_since(client.active_ms.get()),
        flags(client),
        client.database.get(),
        subscribed.channels.len(),
        subscribed.patterns.len(),
        subscribed.shard_channels.len(),
        client.queued.get(),
        kept.unread,
        kept.input.saturating_sub(kept.unread),
        client.args_bytes.get(),
        client.queued_bytes.get(),
        in_list.div_ceil(REPLY_BUFFER_BYTES),
        CLIENT_BYTES + client.bytes_kept.get() + client.args_bytes.get(),
        if unsent > 0 { "rw" } else { "r" },
        client.last_command.get(),
    );
    line.extend_from_slice(rest.as_bytes());
    line.extend_from_slice(&client.user.borrow().name);
    let version = if client.version.get() == Version::Resp3 { 3 } else { 2 };
    line.extend_from_slice(format!(" redir={} resp={version} lib-name=", client.tracking.redirect()).as_bytes());
    line.extend_from_slice(&client.library_name.borrow());
    line.extend_from_slice(b" lib-ver=");
    line.extend_from_slice(&client.library_version.borrow());
    if let Some(secured) = &client.secured {
        line.extend_from_slice(format!(" tls={} tls-name=", secured.version).as_bytes());
        // As one word.
        let name = secured.name.as_deref().filter(|name| name.bytes().all(|byte| byte.is_ascii_graphic()));
        line.extend_from_slice(name.unwrap_or_default().as_bytes());
    }
    line.push(b'\n');
    line
}

/// An address as the line has it: a Unix socket's has the port 0.
#[must_use]
pub fn shown(address: &Address) -> String {
    match address {
        Address::Internet(address) => address.to_string(),
        Address::Unix(path) => format!("{path}:0"),
    }
}

fn flags(client: &Client) -> String {
    let all = [
        ('O', client.is_monitor.get()),
        ('P', client.is_subscriber()),
        ('x', client.queued.get() >= 0),
        ('b', client.is_blocked.get()),
        ('t', client.tracking.is_on()),
        ('R', client.tracking.is_broken()),
        ('B', client.tracking.is_broadcast()),
        ('U', matches!(client.address, Address::Unix(_))),
        ('e', client.no_evict.get()),
        ('T', client.no_touch.get()),
    ];
    let set: String = all.iter().filter(|(_, is_set)| *is_set).map(|(letter, _)| letter).collect();
    if set.is_empty() { "N".to_owned() } else { set }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selections_cross_to_another_worker_unchanged() {
        let one = Selection {
            numbers: vec![1, u64::MAX],
            address: Some(b"[::1]:7".to_vec()),
            local: None,
            kind: Some(ClientKind::Subscriber),
            user: Some(b"ann".to_vec()),
            is_none: false,
            except: Some(3),
        };
        let empty = Selection { is_none: true, local: Some(Vec::new()), ..Selection::default() };
        for selection in [one, empty, Selection::default()] {
            let bytes = wire::encode(&selection);
            assert_eq!(wire::decode(&bytes), Some(selection));
            assert_eq!(wire::decode::<Selection>(&bytes[..bytes.len() - 1]), None);
        }
    }
}
