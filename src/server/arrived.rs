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
    /// The same of a job that can't be cancelled: its connection has it in flight all the same.
    Lasting(ConnectionId, u64),
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
    /// Whose job is kept no more, if it was.
    pub(super) fn ends(&self) -> Option<ConnectionId> {
        match self {
            Arrived::ParkedAnswer(id, _) | Arrived::ParkedLost(id) => Some(*id),
            Arrived::Lasting(..) => None,
            other => other.frees(),
        }
    }

    /// Whose job has given up its place in the lane by this.
    pub(super) fn frees(&self) -> Option<ConnectionId> {
        match self {
            Arrived::Answer(id, _) | Arrived::AnswerLost(id) | Arrived::Parked(id, _) | Arrived::Lasting(id, _) => {
                Some(*id)
            }
            Arrived::ParkedAnswer(..)
            | Arrived::ParkedLost(_)
            | Arrived::Cancelled(_)
            | Arrived::Notice(_)
            | Arrived::Missed => None,
        }
    }
}
