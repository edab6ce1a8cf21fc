//! The executors' half: jobs run on a reader's snapshot or in the writer's group, and what the writer does between groups.

pub mod accounts;
mod adopting;
mod backup_carrier;
pub mod backup_files;
pub mod backup_taker;
pub mod calls;
pub mod file_watch;
pub mod lane_executor;
pub mod left_out;
mod long_calls;
pub mod marking;
mod preparing;
pub mod queues;
pub mod reader;
mod script_hosts;
mod scripts;
mod serving;
pub mod telling;
pub mod upkeep;
pub mod waiters;
pub mod waiting_variants;
pub mod writer;
