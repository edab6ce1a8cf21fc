//! What a client gets without having asked for it just then: messages of channels, invalidations. It goes between replies: behind one that
//! is being made or waited for, never inside it. It goes to a client that wants no replies as well.

use bytes::Bytes;

use crate::kv::metrics::statistics::Counted;
use crate::kv::sessions::session::Client;
use crate::kv::sessions::worker_state::WorkerState;
use crate::server::{Effects, LogLimit, Outbox};

/// Pushes that wait for the end of a client's reply.
#[derive(Default)]
pub struct HeldPushes {
    pushes: Vec<Bytes>,
    bytes: usize,
    /// It has more than it may, and is about to be closed.
    is_overrun: bool,
}

impl HeldPushes {
    /// The memory that they take, as if nobody else had them.
    #[must_use]
    pub fn bytes_kept(&self) -> usize {
        self.bytes + self.pushes.capacity() * size_of::<Bytes>()
    }
}

/// Sends a push to a client of this worker, or keeps it until the client's reply is whole. Several clients may be sent the same bytes:
/// they share their memory.
pub fn push(worker: &WorkerState, client: &Client, bytes: &Bytes, effects: &mut Effects) {
    if !client.is_amid_reply.get() {
        return effects.write(client.id, bytes.clone());
    }
    let mut held = client.held.borrow_mut();
    if held.is_overrun {
        return;
    }
    held.pushes.push(bytes.clone());
    held.bytes += bytes.len();
    let (kept, limit) = (held.bytes_kept(), client.output_bytes_max(&worker.shared));
    if kept > limit {
        *held = HeldPushes { is_overrun: true, ..HeldPushes::default() };
        effects.close(client.id);
        worker.statistics.add(Counted::OutputLimitTotal, 1);
        static HELD: LogLimit = LogLimit::new();
        if let Some(left_out) = HELD.admit() {
            let (peer, command) = (&client.address, client.last_command.get());
            tracing::warn!(%peer, command, bytes = kept, limit, left_out, "a client is closed: too many messages wait for the end of its reply");
        }
    }
}

/// A reply to this client begins, or is waited for: pushes wait for its end.
pub fn hold(client: &Client) {
    client.is_amid_reply.set(true);
}

/// The client's reply is whole: what waited for that follows it. The next reply may begin at once.
pub fn put_behind(client: &Client, out: &mut Outbox) {
    if !client.held.borrow().pushes.is_empty() {
        let held = client.held.take();
        held.pushes.iter().for_each(|push| out.append_shared(push));
    }
}

/// The client waits for something else than a reply that has begun: what it is sent meanwhile goes out at once.
pub fn release(client: &Client, effects: &mut Effects) {
    client.is_amid_reply.set(false);
    let held = client.held.take();
    held.pushes.into_iter().for_each(|push| effects.write(client.id, push));
}
