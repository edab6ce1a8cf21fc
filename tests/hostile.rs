//! Hostile clients beside innocent ones, against the real program: while somebody does the worst that we know of, eight others
//! GET and SET as usual. Their calls stay quick, nobody is refused, no process dies, and memory stays within its bound.
//!
//! `tests/hostile.sh` runs it with a release build, since times of another say nothing. Each hostile thing lasts for at least
//! `HOSTILE_SECONDS`, where it is not done once. `EMPTYSERVER_UNDER_TEST` names another program.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic, and prints what it measured")]

#[path = "hostile/arena.rs"]
mod arena;
#[path = "hostile/container.rs"]
mod container;
#[path = "hostile/errors.rs"]
mod errors;
#[path = "hostile/innocents.rs"]
mod innocents;
#[path = "hostile/known.rs"]
mod known;
#[path = "hostile/loops.rs"]
mod loops;
#[path = "hostile/memory.rs"]
mod memory;
#[allow(dead_code, reason = "the measurements use all of it")]
#[path = "../benches/versus/memory_limit.rs"]
mod memory_limit;
#[path = "hostile/replies.rs"]
mod replies;
#[path = "hostile/siblings.rs"]
mod siblings;
#[path = "hostile/strangers.rs"]
mod strangers;
mod support;
#[path = "hostile/witness.rs"]
mod witness;
