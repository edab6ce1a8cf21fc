//! The simulator of the write path: the real keyspace, memtable, journal and merge over the real SQLite, in a directory that lies in
//! memory. Every process of the service is a thread here, of which exactly one runs at a time: at each named point
//! (`storage::points`) a seed decides who goes on, who stands still for long, and who dies. What is read is compared with a model of
//! Redis; so is what is left after a death, a kill of everything, and a power cut.
//!
//! ```text
//! schedule   whose turn it is; deaths
//! redis      the model: what a state is, what a change makes of it, what of it may be seen
//! history    the committed states, and which of them a read may have seen
//! versions   the version slots in small
//! disk       the directory, and what of it a power cut leaves
//! world      what they share
//! writer     groups, merges, sweeps, checkpoints, deaths
//! worker     loops and readers: looks into memory, remembered values, views
//! run        a seed from its start to its end, and the tests
//! ```
//! A failure prints its seed: `SIM_SEED=17 cargo test --lib storage::sim:: -- --nocapture` plays it again and shows every step.

mod disk;
mod history;
mod redis;
mod run;
mod schedule;
mod versions;
mod worker;
mod world;
mod writer;
