//! The operating system, behind safe functions: the only place with `libc`, and with `unsafe` but for the database's file system.
//!
//! Descriptors are handed out as `OwnedFd`, failures as `io::Result`. Nothing here knows connections, jobs or lanes.

pub mod atomic;
pub mod clock;
pub mod container;
pub mod descriptors;
pub mod disk;
pub mod epoll;
pub mod lock;
pub mod memory;
pub mod process;
pub mod sealed;
pub mod shared;
pub mod signals;
pub mod socket;
pub mod stderr;
pub mod thread;
