//! One accepted connection and the states it goes through.
//!
//! ```text
//!            receive: Submit                     complete
//!   ┌──────┐ ───────────────> ┌───────────┐ ───────────────> Open
//!   │ Open │                  │ InFlight  │
//!   └──────┘                  └───────────┘ ── the lane parks the job ──> ┌─────────┐ ── complete, cancelled ──> Open
//!      │  │                                                               │ Waiting │
//!      │  └─ receive: Park ──> ┌────────┐ ── wake, deadline: resume       └─────────┘
//!      │                       │ Parked │      ──> Open
//!      │ Close, end of file    └────────┘
//!      v
//!   ┌─────────┐ all sent
//!   │ Closing │ ────────> removed        (an error of the socket removes at once, from any state)
//!   └─────────┘
//! ```

use std::time::Instant;

use super::input::Input;
use super::listener::ListenerKind;
use super::outbox::Outbox;
use super::transport::Transport;

pub(super) struct Connection<S> {
    pub(super) transport: Transport,
    pub(super) kind: ListenerKind,
    pub(super) session: S,
    pub(super) input: Input,
    pub(super) out: Outbox,
    pub(super) state: State,
    /// True from epoll's word until a read found the socket empty: epoll reports only changes.
    pub(super) is_readable: bool,
    /// True until a write found the socket full.
    pub(super) is_writable: bool,
    /// True once epoll said that the peer sends no more: an end of file follows its last bytes, without another word of epoll.
    pub(super) has_ended: bool,
    /// True once all that the peer sent is read; it is still answered.
    pub(super) is_at_end: bool,
    /// True when the service has consumed all whole requests: only then is more read, so that a flood stays in the socket.
    pub(super) needs_input: bool,
    /// True when a wake came while it was not parked but in the middle of its work: it is woken as soon as it parks.
    pub(super) was_woken: bool,
    /// True while the connection is in the loop's list of those to go on with.
    pub(super) is_queued: bool,
    /// True while the connection is in the loop's list of those with replies to send.
    pub(super) is_dirty: bool,
    /// When bytes last came or left, or the connection was resumed.
    pub(super) active_at: Instant,
    /// It is gone on with while fewer reply bytes are unsent. Grows while the peer takes none: see `Worker::hold_back`.
    pub(super) unsent_allowed: usize,
    /// Set while it is held back: when its peer last took something, or it was held back.
    pub(super) held_back_at: Option<Instant>,
    /// Unsent reply bytes, and all that is kept for it, as they stand in the worker's sums.
    pub(super) unsent_counted: usize,
    pub(super) bytes_counted: usize,
    /// Of the job that is on a lane.
    pub(super) job_bytes: usize,
    /// As the service said when it was last counted.
    pub(super) output_bytes_max: usize,
    pub(super) may_be_closed: bool,
    pub(super) has_idle_timeout: bool,
    /// The timers' entry of this connection that is in force.
    pub(super) timer_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Requests are read and handled as they come.
    Open,
    /// A job is on a lane, or waits for its turn there. Nothing is read.
    InFlight,
    /// Waits for a wake or the deadline. Nothing is read. Without a deadline it closes when its peer has ended: a peer that is
    /// gone looks like one that has only stopped sending, and would be waited for, for ever.
    Parked { until: Option<Instant> },
    /// The lane has parked its job under this number, and answers it some day; at `until` that is cancelled. Nothing is read, and it
    /// closes when its peer has ended.
    Waiting { lane: usize, number: u64, until: Option<Instant> },
    /// Nothing more is handled; closes once the replies are sent.
    Closing,
}

impl<S> Connection<S> {
    pub(super) fn new(
        transport: Transport,
        kind: ListenerKind,
        session: S,
        now: Instant,
        unsent_allowed: usize,
    ) -> Connection<S> {
        Connection {
            transport,
            kind,
            session,
            input: Input::default(),
            out: Outbox::default(),
            state: State::Open,
            is_readable: false,
            is_writable: true,
            has_ended: false,
            is_at_end: false,
            needs_input: true,
            was_woken: false,
            is_queued: false,
            is_dirty: false,
            active_at: now,
            unsent_allowed,
            held_back_at: None,
            unsent_counted: 0,
            bytes_counted: 0,
            job_bytes: 0,
            output_bytes_max: usize::MAX,
            may_be_closed: true,
            has_idle_timeout: true,
            timer_at: None,
        }
    }
}
