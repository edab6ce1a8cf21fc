//! The core: bytes, sockets, processes, threads. It knows no protocol and no database.
//!
//! ```text
//! supervisor            binds the listeners, starts the others again; one thread
//!  ├─ worker 0..N-1     event loop ── lanes of threads (queue, waker)
//!  │                        └──────── lane of a process (socketpair) ──┐
//!  └─ lane process      one thread runs the jobs of all workers <──────┘
//! ```
//! A connection's bytes come by a `transport`. A lane's answers, notices and news of parked jobs come to the loop in the order in which
//! they were said (`arrived`). What a process that dies owes to others is in `process_lane` and `lane_server`.
//!
//! An application implements the traits of [`service`]; `examples/` has two.

mod accept;
mod arrived;
pub mod block;
mod bus;
pub mod config;
mod connection;
mod control;
pub mod counters;
mod handing_on;
pub mod input;
mod lane_server;
mod lanes;
mod link;
pub mod listener;
pub mod log_limit;
pub mod networks;
pub mod outbox;
mod pool;
mod process;
mod process_lane;
mod proxy;
pub mod pump;
pub mod service;
mod slab;
pub mod supervisor;
mod timers;
pub mod tls;
mod transport;
mod waker;
mod watchdog;
mod worker;

pub use block::Block;
pub use config::{Limits, ServerConfig};
pub use counters::{Counter, Global, Scoreboard, Slot};
pub use input::Input;
pub use listener::{Address, Listener, ListenerKind};
pub use log_limit::LogLimit;
pub use networks::Network;
pub use outbox::Outbox;
pub use service::{
    Account, Application, Audience, ConnectionId, Effects, Excess, Executor, ExecutorContext, Kept, LaneId, LaneSpec,
    Peer, Refusal, Responder, Runs, Service, StartError, Step, Task, TaskId, Tickets, Wire, WorkerContext,
};
