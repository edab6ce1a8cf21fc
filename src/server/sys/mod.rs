//! The operating system: the only place with `unsafe`. It hands out owned descriptors and `io::Result`.

pub mod container;
