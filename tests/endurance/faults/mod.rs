//! Bad times, made for the real program: syncs and writes that fail, a disk that is full, processes that stand still,
//! files that are not ours, a second service.

mod disk;
mod files;
mod kernels;
mod network;
mod restores;
mod stopped;
mod syncs;
