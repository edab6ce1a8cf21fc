//! Memory that is large, or needed soon; and how the C library's allocator gives it back.

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

/// Zeroed bytes, taken from the kernel page by page as they are written to, in huge pages where it has them: of a large table
/// that is read at random, most reads would look up the page first.
#[must_use]
pub fn large_zeroed(bytes: usize) -> Box<[u8]> {
    let block = vec![0; bytes].into_boxed_slice();
    let page = PAGE_BYTES;
    let begin = block.as_ptr().addr().next_multiple_of(page);
    let end = (block.as_ptr().addr() + block.len()) / page * page;
    if begin < end {
        // SAFETY: madvise(2) with MADV_HUGEPAGE changes no content; the whole pages from `begin` to `end` lie within the block.
        // A kernel that refuses goes on with small pages.
        unsafe { libc::madvise(block.as_ptr().with_addr(begin).cast_mut().cast(), end - begin, libc::MADV_HUGEPAGE) };
    }
    block
}

const PAGE_BYTES: usize = 4096;

/// Asks the processor for the cache line of `value`, without waiting for it.
#[inline]
pub fn prefetch<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch of any address changes nothing and never faults (Intel SDM, PREFETCHh).
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast());
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: a prefetch of any address changes nothing and never faults (Arm ARM, PRFM).
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{0}]", in(reg) std::ptr::from_ref(value), options(nostack, readonly, preserves_flags));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    std::hint::black_box(value);
}
