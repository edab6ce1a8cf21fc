//! What a lane has brought to its loop, in the order in which it was said at the other end.

use bytes::Bytes;

use super::service::ConnectionId;

/// `D`: the answer's type. A parked job has a number, by which it is cancelled.
pub(super) enum Arrived<D> {
    Answer(ConnectionId, D),
    /// The job was applied, but the process died before it answered.
    AnswerLost(ConnectionId),
    /// The job has no answer yet, and takes no place in its lane any more.
    Parked(ConnectionId, u64),
    ParkedAnswer(ConnectionId, D),
    /// The parked job was served, but the process died before it answered.
    ParkedLost(ConnectionId),
    /// The parked job will never be served.
    Cancelled(ConnectionId),
    Notice(Bytes),
    /// Notices before this one may be lost.
    Missed,
}

impl<D> Arrived<D> {
    /// Whose job has given up its place in the lane by this.
    pub(super) fn frees(&self) -> Option<ConnectionId> {
        match self {
            Arrived::Answer(id, _) | Arrived::AnswerLost(id) | Arrived::Parked(id, _) => Some(*id),
            Arrived::ParkedAnswer(..)
            | Arrived::ParkedLost(_)
            | Arrived::Cancelled(_)
            | Arrived::Notice(_)
            | Arrived::Missed => None,
        }
    }
}
