//! Memory that a process and all of its later children share.

use std::io;

use super::atomic::AtomicU64;

/// Maps `count` zeroed 64-bit words that are shared over every later fork, for the life of the processes.
/// Atomic words are all that processes share: no lock can be held by one that died.
#[cfg(not(feature = "models"))]
pub fn words(count: usize) -> io::Result<&'static [AtomicU64]> {
    use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};

    let bytes = std::num::NonZeroUsize::new(count * size_of::<AtomicU64>()).ok_or(io::ErrorKind::InvalidInput)?;
    // SAFETY: mmap(2): an anonymous mapping at an address of the kernel's choice overlaps nothing that exists, and is zeroed.
    let address =
        unsafe { mmap_anonymous(None, bytes, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED)? };
    // SAFETY: the mapping is page-aligned, `count` words long, zeroed (0 is a valid AtomicU64), and never unmapped.
    Ok(unsafe { std::slice::from_raw_parts(address.as_ptr().cast::<AtomicU64>(), count) })
}

/// In a model test threads stand for the processes, and loom's words are more than 64 bits each.
#[cfg(feature = "models")]
pub fn words(count: usize) -> io::Result<&'static [AtomicU64]> {
    Ok(Box::leak((0..count).map(|_| AtomicU64::new(0)).collect()))
}
