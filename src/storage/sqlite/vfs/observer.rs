//! Who hears, while a call of SQLite's runs on a thread, of what that call writes into a data file.

use std::cell::Cell;
use std::io;
use std::ptr;

/// Hears of (offset, bytes) that were written into a data file.
type Observer<'a> = dyn FnMut(u64, u64) -> io::Result<()> + 'a;

thread_local! {
    static OBSERVER: Cell<Option<*mut Observer<'static>>> = const { Cell::new(None) };
}

/// Runs `run`; of each write into a data file that this thread makes meanwhile the observer hears after it. If it fails, so does
/// the write, as a failed sync.
pub(in crate::storage) fn observing<T>(observer: &mut Observer<'_>, run: impl FnOnce() -> T) -> T {
    struct Forget;
    impl Drop for Forget {
        fn drop(&mut self) {
            OBSERVER.set(None);
        }
    }
    let observer = ptr::from_mut(observer);
    // SAFETY: only the lifetime changes, and `Forget` removes the pointer before this function, and with it the borrow, ends.
    let observer = unsafe { std::mem::transmute::<*mut Observer<'_>, *mut Observer<'static>>(observer) };
    let _forget = Forget;
    OBSERVER.set(Some(observer));
    run()
}

pub(super) fn observed(offset: u64, length: u64) -> io::Result<()> {
    // Taken out while it runs: it can't be called from within itself.
    let Some(observer) = OBSERVER.take() else { return Ok(()) };
    // SAFETY: `observing` runs, so what it borrowed is there, and nobody else has it.
    let heard = unsafe { (*observer)(offset, length) };
    OBSERVER.set(Some(observer));
    heard
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn observing_ends_with_its_call_and_hears_only_its_own_thread() {
        let mut heard = 0;
        observing(
            &mut |offset, length| {
                heard += offset + length;
                // From within itself it would be borrowed twice: it is not called.
                observed(1000, 1000)
            },
            || {
                observed(1, 2).unwrap();
                std::thread::spawn(|| observed(100, 100).unwrap()).join().unwrap();
            },
        );
        observed(10, 10).unwrap();
        assert_eq!(heard, 3);
        let failed = observing(&mut |_, _| Err(io::Error::other("no")), || observed(0, 0));
        assert!(failed.is_err());
    }
}
