//! Hostile clients beside innocent ones, against the real program: while somebody does the worst that we know of, eight others
//! GET and SET as usual. Their calls stay quick, nobody is refused, no process dies, and memory stays within its bound.
//!
//! `tests/hostile.sh` runs it with a release build, since times of another say nothing. Each hostile thing lasts for at least
//! `HOSTILE_SECONDS`, where it is not done once. `EMPTYSERVER_UNDER_TEST` names another program.

mod arena;
mod container;
mod errors;
mod handshakes;
mod innocents;
mod known;
mod loops;
mod memory;
#[allow(dead_code, reason = "the measurements use all of it")]
#[path = "../../../benches/versus/memory_limit.rs"]
mod memory_limit;
mod replies;
mod scripts;
mod siblings;
mod strangers;
mod witness;
