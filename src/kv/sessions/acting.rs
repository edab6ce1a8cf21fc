//! By whose rights a worker's clients act, and what becomes of them when the users have changed.

use std::rc::Rc;
use std::sync::Arc;

use crate::kv::sessions::session::Client;
use crate::kv::sessions::subscriptions::Subscribed;
use crate::kv::sessions::worker_state::WorkerState;
use crate::kv::users::{Rights, User};
use crate::server::Effects;

impl Client {
    /// From here on it acts as this user.
    pub fn act_as(&self, user: &Arc<User>, version: u64) {
        self.is_restricted.set(!user.is_unrestricted());
        self.rights.set(Rights { user: user.id, version });
        self.user.replace(Arc::clone(user));
    }
}

/// Looks whether the users have changed. `own`: the client whose turn it is. Whoever may no longer be there is closed, as in Redis: who acts as
/// a user that is gone, and who listens to what its user may not listen to any more. `own` has its answer before.
#[inline]
pub fn look(worker: &mut WorkerState, own: Option<&Client>, effects: &mut Effects) {
    if worker.users.look(&worker.shared) {
        changed(worker, own, effects);
    }
}

#[cold]
fn changed(worker: &WorkerState, own: Option<&Client>, effects: &mut Effects) {
    let version = worker.users.version();
    for client in worker.clients.values() {
        let before = Arc::clone(&client.user.borrow());
        let user = worker.users.users().of_id(before.id);
        let may_stay = user.is_some_and(|user| Arc::ptr_eq(user, &before) || stays(client, &before, user));
        match user {
            Some(user) => client.act_as(user, version),
            None => client.act_as(&User::nobody(), version),
        }
        if may_stay {
            continue;
        }
        match own.is_some_and(|own| own.number == client.number) {
            true => client.is_doomed.set(true),
            false => effects.close(client.id),
        }
    }
}

fn stays(client: &Rc<Client>, before: &User, now: &User) -> bool {
    let subscribed: &Subscribed = &client.subscribed.borrow();
    if subscribed.is_empty() {
        return true;
    }
    let channels = subscribed.channels.iter().chain(&subscribed.shard_channels).map(|name| &name[..]);
    now.lets_stay(before, channels, subscribed.patterns.iter().map(|name| &name[..]))
}

/// The user of a connection that has not logged in.
#[must_use]
pub fn default_user(worker: &WorkerState) -> Arc<User> {
    worker.users.users().default_user().cloned().unwrap_or_else(User::nobody)
}
