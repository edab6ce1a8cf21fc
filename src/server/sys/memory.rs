//! How the C library's allocator gives memory back.

/// From this size on a buffer is a mapping of its own, which goes back to the kernel when it is freed.
#[cfg(target_env = "gnu")]
const LARGE_BYTES: libc::c_int = 1 << 20;

/// Large buffers are given back when they are freed, in this process and those that it forks.
///
/// By default glibc raises its threshold to the largest buffer that was ever freed (up to 32 MiB): from then on the buffers
/// of big values lie in the heaps of many threads, whose ends are seldom free, and a process that served some big values
/// keeps several times their size (measured: 120 MB instead of 5 MB).
pub fn give_back_large_buffers() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt(3) takes plain integers. What it refuses stays as it was.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_BYTES);
        libc::mallopt(libc::M_TRIM_THRESHOLD, LARGE_BYTES);
    }
}
