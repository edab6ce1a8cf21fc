//! A client as its loop serves it: its session, and the parser of its bytes.

use crate::kv::sessions::session::Session;
use crate::kv::sessions::worker_state::WorkerState;
use crate::resp::protocol_error::ProtocolError;
use crate::resp::request::{Limits, Parsed, RequestParser};
use crate::server::Input;

/// A client as the loop serves it. Its session, whose `awaits` is the client's state, is apart from the parser of its bytes: a call's
/// arguments lie in the parser while the session changes.
pub struct ServedClient {
    pub(super) session: Session,
    pub(super) parser: RequestParser,
    pub(super) next: NextRequest,
}

/// How far the bytes that are not handled yet were looked at.
pub(super) enum NextRequest {
    /// The parser is to go on with them.
    Unparsed,
    /// A request of so many bytes is complete in the parser: it waits for the run before it, or for the end of a pause.
    Held(usize),
    /// They can't be understood; answered when what came before is.
    Broken(ProtocolError),
}

impl ServedClient {
    pub(super) fn next_request(&mut self, input: &Input, limits: &Limits) -> Result<Parsed, ProtocolError> {
        match std::mem::replace(&mut self.next, NextRequest::Unparsed) {
            NextRequest::Unparsed => {}
            NextRequest::Held(length) => return Ok(Parsed::Complete(length)),
            NextRequest::Broken(error) => return Err(error),
        }
        if input.is_empty() {
            return Ok(Parsed::NeedMore);
        }
        self.parser.parse(input.bytes(), limits)
    }

    /// What a request may take of a client that has logged in, or not.
    pub(super) fn limits(&self, worker: &WorkerState) -> Limits {
        let settings = &worker.shared.settings;
        Limits {
            bulk_bytes_max: usize::try_from(settings.storage.value_bytes_max).unwrap_or(usize::MAX),
            unauthenticated: !self.session.is_authenticated && worker.users.needs_login(),
            ..Limits::default()
        }
    }
}
