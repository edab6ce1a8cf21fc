//! When what a client has not asked for may go out: between its replies.

use crate::kv::jobs::job::Job;
use crate::kv::sessions::pushes;
use crate::kv::sessions::session::{Awaits, Session};
use crate::server::{Outbox, Step};

impl Session {
    /// The client has had its turn: what it is sent from here on goes out at once, unless a reply is open.
    pub(super) fn let_pushes_go(&self, step: &Step<Job>, out: &mut Outbox) {
        let is_open = match &self.awaits {
            Awaits::Run(_)
            | Awaits::RunTurn(..)
            | Awaits::Watch(_)
            | Awaits::Exec(_)
            | Awaits::ExecTurn(_)
            | Awaits::ExecEvent(..)
            // Until it is known that it has to wait.
            | Awaits::Waiting(_) => true,
            Awaits::Request | Awaits::PauseEnd | Awaits::Event(_) => matches!(step, Step::Submit(..)),
        };
        if !is_open {
            pushes::put_behind(&self.client, out);
        }
        self.client.is_amid_reply.set(is_open);
    }
}
