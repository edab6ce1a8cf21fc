//! The executors' half: jobs run on a reader's snapshot or in the writer's group, and what the writer does between groups.

mod backup_carrier;
pub mod backup_files;
pub mod backup_taker;
pub mod calls;
pub mod file_watch;
pub mod lane_executor;
pub mod left_out;
pub mod reader;
pub mod upkeep;
pub mod writer;
