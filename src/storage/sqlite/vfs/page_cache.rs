//! SQLite's page cache as it is but for one thing. At the end of each transaction it is asked to forget what lies beyond the file's end, and where
//! it may have something of that, it looks through all that it has. It thinks so after pages of a tree were put in their order, since one of
//! them has a number beyond all others for a moment. Here this number does not count (docs/decisions/page-cache.md).
//!
//! The interface is <https://www.sqlite.org/c3ref/pcache_methods2.html>: ours calls the usual methods, and remembers the highest number of each
//! cache itself.

use std::ffi::{c_int, c_uint};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::Once;
use std::sync::atomic::{AtomicPtr, Ordering};

use rusqlite::ffi::{
    self, SQLITE_CONFIG_GETPCACHE2, SQLITE_CONFIG_PCACHE2, SQLITE_OK, sqlite3_pcache, sqlite3_pcache_methods2,
    sqlite3_pcache_page,
};

/// No page of a database begins there (<https://www.sqlite.org/fileformat2.html#the_lock_byte_page>), so pages that change places pass by its
/// number.
const LOCK_BYTE: c_uint = 0x4000_0000;

/// A cache of ours.
struct Cache {
    usual: *mut sqlite3_pcache,
    /// No page has a higher number.
    highest: c_uint,
    /// The number of the page that no database has.
    passing: c_uint,
}

/// The usual methods, for ever.
static USUAL: AtomicPtr<sqlite3_pcache_methods2> = AtomicPtr::new(ptr::null_mut());

/// Has all connections that this process opens from now on use it. Where SQLite was used before, everything stays as it is.
pub(super) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let mut usual = MaybeUninit::<sqlite3_pcache_methods2>::zeroed();
        // SAFETY: this option takes a pointer to such a table, and fills it (<https://www.sqlite.org/c3ref/c_config_covering_index_scan.html>).
        if unsafe { ffi::sqlite3_config(SQLITE_CONFIG_GETPCACHE2, usual.as_mut_ptr()) } != SQLITE_OK {
            return;
        }
        // SAFETY: it is filled; a table of zeros would be one too.
        let usual = unsafe { usual.assume_init() };
        let ours = sqlite3_pcache_methods2 {
            xCreate: Some(create),
            xCachesize: Some(set_size),
            xPagecount: Some(page_count),
            xFetch: Some(fetch),
            xUnpin: Some(unpin),
            xRekey: Some(rekey),
            xTruncate: Some(truncate),
            xDestroy: Some(destroy),
            xShrink: Some(shrink),
            ..usual
        };
        USUAL.store(Box::into_raw(Box::new(usual)), Ordering::Release);
        // SAFETY: this option takes a pointer to such a table, and copies it. If it is refused, nobody calls ours.
        unsafe { ffi::sqlite3_config(SQLITE_CONFIG_PCACHE2, &raw const ours) };
    });
}

fn usual() -> &'static sqlite3_pcache_methods2 {
    // SAFETY: caches are made by our methods alone, which SQLite has after it was stored; it is never freed.
    unsafe { &*USUAL.load(Ordering::Acquire) }
}

/// Calls a method of the usual cache; SQLite's own tables have all of them.
macro_rules! call {
    ($method:ident($($argument:expr),*)) => {
        match usual().$method {
            // SAFETY: the arguments are SQLite's own, passed on to the method that they are meant for.
            Some(method) => unsafe { method($($argument),*) },
            None => unreachable!("SQLite's page cache has all methods"),
        }
    };
}

/// # Safety
/// `cache` comes from `create`, and nobody else uses it: SQLite calls for one cache on one thread at a time.
unsafe fn own<'a>(cache: *mut sqlite3_pcache) -> &'a mut Cache {
    // SAFETY: as the caller says.
    unsafe { &mut *cache.cast() }
}

unsafe extern "C" fn create(page_bytes: c_int, extra_bytes: c_int, is_purgeable: c_int) -> *mut sqlite3_pcache {
    let usual = call!(xCreate(page_bytes, extra_bytes, is_purgeable));
    if usual.is_null() {
        return usual;
    }
    let passing = LOCK_BYTE / page_bytes.cast_unsigned().max(1) + 1;
    Box::into_raw(Box::new(Cache { usual, highest: 0, passing })).cast()
}

unsafe extern "C" fn set_size(cache: *mut sqlite3_pcache, pages: c_int) {
    // SAFETY: see `own`.
    call!(xCachesize(own(cache).usual, pages));
}

unsafe extern "C" fn page_count(cache: *mut sqlite3_pcache) -> c_int {
    // SAFETY: see `own`.
    call!(xPagecount(own(cache).usual))
}

unsafe extern "C" fn fetch(cache: *mut sqlite3_pcache, number: c_uint, create: c_int) -> *mut sqlite3_pcache_page {
    // SAFETY: see `own`.
    let cache = unsafe { own(cache) };
    let page = call!(xFetch(cache.usual, number, create));
    if !page.is_null() {
        cache.highest = cache.highest.max(number);
    }
    page
}

unsafe extern "C" fn unpin(cache: *mut sqlite3_pcache, page: *mut sqlite3_pcache_page, discard: c_int) {
    // SAFETY: see `own`.
    call!(xUnpin(own(cache).usual, page, discard));
}

unsafe extern "C" fn rekey(cache: *mut sqlite3_pcache, page: *mut sqlite3_pcache_page, old: c_uint, new: c_uint) {
    // SAFETY: see `own`.
    let cache = unsafe { own(cache) };
    call!(xRekey(cache.usual, page, old, new));
    if new != cache.passing {
        cache.highest = cache.highest.max(new);
    }
}

/// Forgets all pages from this number on.
unsafe extern "C" fn truncate(cache: *mut sqlite3_pcache, first: c_uint) {
    // SAFETY: see `own`.
    let cache = unsafe { own(cache) };
    if first <= cache.highest {
        call!(xTruncate(cache.usual, first));
        cache.highest = first.saturating_sub(1);
    }
}

unsafe extern "C" fn destroy(cache: *mut sqlite3_pcache) {
    // SAFETY: `create` made it so, and SQLite does not use it any more.
    let cache = unsafe { Box::from_raw(cache.cast::<Cache>()) };
    call!(xDestroy(cache.usual));
}

unsafe extern "C" fn shrink(cache: *mut sqlite3_pcache) {
    // SAFETY: see `own`.
    call!(xShrink(own(cache).usual));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::fixture::Fixture;

    #[test]
    fn pages_beyond_the_end_are_forgotten_and_one_that_passes_by_does_not_count() {
        // With a connection, SQLite is set up.
        let fixture = Fixture::new();
        assert!(!USUAL.load(Ordering::Acquire).is_null(), "nobody used SQLite before it was installed");
        // SAFETY: the methods are called as SQLite calls them: pages are pinned when they come, and are given back.
        unsafe {
            let cache = create(4096, 64, 1);
            set_size(cache, 1000);
            let pages: Vec<_> = (1..=100).map(|number| fetch(cache, number, 2)).collect();
            assert!(pages.iter().all(|page| !page.is_null()) && page_count(cache) == 100);
            // Two change places.
            let passing = own(cache).passing;
            assert_eq!(passing, 262_145);
            for (page, old, new) in [(49, 50, passing), (59, 60, 50), (49, passing, 60)] {
                rekey(cache, pages[page], old, new);
            }
            assert_eq!(own(cache).highest, 100);
            pages.iter().for_each(|page| unpin(cache, *page, 0));
            truncate(cache, 101);
            assert_eq!((page_count(cache), own(cache).highest), (100, 100));
            truncate(cache, 51);
            assert_eq!((page_count(cache), own(cache).highest), (50, 50));
            assert!(fetch(cache, 60, 0).is_null());
            assert_eq!(fetch(cache, 50, 0), pages[59]);
            unpin(cache, pages[59], 1);
            let page = fetch(cache, 70, 2);
            rekey(cache, page, 70, 200);
            assert_eq!((page_count(cache), own(cache).highest), (50, 200));
            unpin(cache, page, 0);
            truncate(cache, 0);
            assert_eq!(page_count(cache), 0);
            shrink(cache);
            destroy(cache);
        }
        drop(fixture);
    }
}
