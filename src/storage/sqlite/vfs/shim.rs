//! The shim itself: the usual file system of Unix under another name, with some methods of some files replaced
//! (<https://www.sqlite.org/vfs.html>, "shims"). A file stays the usual one; its table of methods is a copy of the usual table in
//! which some entries are ours, and these call the usual ones.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, Ordering};

use rusqlite::Connection;
use rusqlite::ffi::{
    self, SQLITE_IOERR_FSYNC, SQLITE_OK, SQLITE_OPEN_MAIN_DB, SQLITE_OPEN_WAL, sqlite3_file, sqlite3_io_methods,
    sqlite3_vfs,
};

use super::frames::{Code, Frames, Storage};
use super::observer::observed;
use super::page_cache;
use crate::storage::error::{Result, StorageError};
use crate::storage::points::{self, Point};

const NAME: &CStr = c"emptyserver";

/// What the shim stands on; made once in a process, before the first connection.
struct Usual {
    vfs: AtomicPtr<sqlite3_vfs>,
    /// What a file of the usual kind takes. Behind it our own begins.
    file_bytes: usize,
}

static USUAL: OnceLock<std::result::Result<Usual, Code>> = OnceLock::new();

/// Both tables of one kind of file.
struct Methods {
    usual: &'static sqlite3_io_methods,
    ours: sqlite3_io_methods,
}

static WAL: OnceLock<Methods> = OnceLock::new();
static DATA: OnceLock<Methods> = OnceLock::new();

/// The name under which connections find it.
///
/// # Errors
/// SQLite has no file system, or no memory.
pub(in crate::storage) fn name() -> Result<&'static CStr> {
    match USUAL.get_or_init(register) {
        Ok(_) => Ok(NAME),
        Err(code) => Err(StorageError::Internal(format!("SQLite's file system (code {code})"))),
    }
}

/// See `Keyspace::keep_side_files`.
///
/// # Errors
/// SQLite knows no such file.
pub(in crate::storage) fn keep_side_files(connection: &Connection) -> Result<()> {
    let mut keep: c_int = 1;
    // SAFETY: the handle is open as long as the connection is; this code takes a pointer to an int
    // (<https://www.sqlite.org/c3ref/c_fcntl_begin_atomic_write.html>, SQLITE_FCNTL_PERSIST_WAL).
    let code = unsafe {
        ffi::sqlite3_file_control(
            connection.handle(),
            c"main".as_ptr(),
            ffi::SQLITE_FCNTL_PERSIST_WAL,
            (&raw mut keep).cast(),
        )
    };
    outcome(code).map_err(|code| StorageError::Internal(format!("keeping the -wal (code {code})")))
}

fn register() -> std::result::Result<Usual, Code> {
    // Before anything that sets SQLite up.
    page_cache::install();
    // SAFETY: sqlite3_vfs_find with NULL gives the default, which SQLite keeps for ever, or NULL
    // (<https://www.sqlite.org/c3ref/vfs_find.html>).
    let usual = unsafe { ffi::sqlite3_vfs_find(ptr::null()) };
    // SAFETY: as above; all of it may be copied, for its methods use nothing of what we change.
    let Some(mut ours) = (unsafe { usual.as_ref() }).copied() else { return Err(ffi::SQLITE_ERROR) };
    let file_bytes = usize::try_from(ours.szOsFile).map_err(|_| ffi::SQLITE_ERROR)?;
    let file_bytes = file_bytes.next_multiple_of(align_of::<*mut Frames>());
    ours.szOsFile = (file_bytes + size_of::<*mut Frames>()) as c_int;
    ours.zName = NAME.as_ptr();
    ours.pNext = ptr::null_mut();
    ours.xOpen = Some(open);
    // SAFETY: it is never freed, as sqlite3_vfs_register asks, and not the default: only who asks for it by name gets it.
    match unsafe { ffi::sqlite3_vfs_register(Box::into_raw(Box::new(ours)), 0) } {
        SQLITE_OK => Ok(Usual { vfs: AtomicPtr::new(usual), file_bytes }),
        code => Err(code),
    }
}

fn usual() -> &'static Usual {
    // Files are opened only by connections that asked for our name.
    USUAL.get().and_then(|usual| usual.as_ref().ok()).expect("the file system is registered before it is used")
}

/// xOpen: the usual file, with our methods where it is one of the two kinds.
unsafe extern "C" fn open(
    _: *mut sqlite3_vfs,
    name: *const c_char,
    file: *mut sqlite3_file,
    flags: c_int,
    flags_out: *mut c_int,
) -> c_int {
    let vfs = usual().vfs.load(Ordering::Relaxed);
    // SAFETY: the arguments are SQLite's own, passed on to the method that they are meant for; the place of the file is larger
    // than that method needs.
    let code = unsafe { (*vfs).xOpen.map_or(ffi::SQLITE_ERROR, |open| open(vfs, name, file, flags, flags_out)) };
    if code == SQLITE_OK && flags & SQLITE_OPEN_WAL != 0 {
        // SAFETY: `file` is open, and its place has the end that `own` writes to.
        unsafe {
            if take_over(file, &WAL, wal_methods) {
                own(file).write(Box::into_raw(Box::default()));
            }
        }
    } else if code == SQLITE_OK && flags & SQLITE_OPEN_MAIN_DB != 0 {
        // SAFETY: `file` is open, and its place has the end that `mapped_length` writes to.
        unsafe {
            if take_over(file, &DATA, data_methods) {
                mapped_length(file).write(UNKNOWN);
            }
        }
    }
    code
}

/// Gives an open file our methods. False when it does not have those that ours stand on.
///
/// # Safety
/// `file` was opened by the usual file system.
unsafe fn take_over(
    file: *mut sqlite3_file,
    methods: &'static OnceLock<Methods>,
    ours: fn(&sqlite3_io_methods) -> sqlite3_io_methods,
) -> bool {
    // SAFETY: an open file points to its methods, which are constants of SQLite's.
    let Some(usual) = (unsafe { (*file).pMethods.as_ref::<'static>() }) else { return false };
    let methods = methods.get_or_init(|| Methods { usual, ours: ours(usual) });
    let is_known = ptr::eq(methods.usual, usual);
    if is_known {
        // SAFETY: the table is static; SQLite reads this pointer for each call (<https://www.sqlite.org/c3ref/file.html>).
        unsafe { (*file).pMethods = &raw const methods.ours };
    }
    is_known
}

/// Where a `-wal` that is open keeps its `Frames`.
///
/// # Safety
/// `file` lies in a place of as many bytes as our VFS asks for.
unsafe fn own(file: *mut sqlite3_file) -> *mut *mut Frames {
    // SAFETY: behind the usual file's bytes there is room for one pointer, aligned like SQLite's own allocations.
    unsafe { file.cast::<u8>().add(usual().file_bytes).cast() }
}

/// Where a data file that is open keeps how long it was when it was last to be mapped anew.
///
/// # Safety
/// As `own`.
unsafe fn mapped_length(file: *mut sqlite3_file) -> *mut i64 {
    const { assert!(size_of::<i64>() <= size_of::<*mut Frames>() && align_of::<i64>() <= align_of::<*mut Frames>()) };
    // SAFETY: the place of the pointer, which only a `-wal` has.
    unsafe { own(file).cast() }
}

/// No file is so long.
const UNKNOWN: i64 = -1;

fn wal_methods(usual: &sqlite3_io_methods) -> sqlite3_io_methods {
    sqlite3_io_methods {
        xClose: Some(wal_close),
        xRead: Some(wal_read),
        xWrite: Some(wal_write),
        xTruncate: Some(wal_truncate),
        xSync: Some(wal_sync),
        xFileSize: Some(wal_file_size),
        ..*usual
    }
}

fn data_methods(usual: &sqlite3_io_methods) -> sqlite3_io_methods {
    sqlite3_io_methods { xWrite: Some(data_write), xUnfetch: Some(data_unfetch), ..*usual }
}

fn usual_of(methods: &'static OnceLock<Methods>) -> &'static sqlite3_io_methods {
    methods.get().expect("a file has our methods after they were made").usual
}

fn outcome(code: c_int) -> std::result::Result<(), Code> {
    if code == SQLITE_OK { Ok(()) } else { Err(code) }
}

fn code(outcome: std::result::Result<(), Code>) -> c_int {
    outcome.err().unwrap_or(SQLITE_OK)
}

/// The `-wal` that is open, as `Frames` wants it: the usual methods.
struct Wal(*mut sqlite3_file);

impl Storage for Wal {
    fn read(&mut self, into: &mut [u8], offset: u64) -> std::result::Result<(), Code> {
        let Some(read) = usual_of(&WAL).xRead else { return Err(ffi::SQLITE_IOERR_READ) };
        // SAFETY: the file is open during the call in which this value lives; xRead fills at most so many bytes.
        outcome(unsafe { read(self.0, into.as_mut_ptr().cast(), into.len() as c_int, offset.cast_signed()) })
    }

    fn write(&mut self, bytes: &[u8], offset: u64) -> std::result::Result<(), Code> {
        let Some(write) = usual_of(&WAL).xWrite else { return Err(ffi::SQLITE_IOERR_WRITE) };
        // SAFETY: as above; xWrite reads so many bytes.
        outcome(unsafe { write(self.0, bytes.as_ptr().cast(), bytes.len() as c_int, offset.cast_signed()) })
    }

    fn len(&mut self) -> std::result::Result<u64, Code> {
        let Some(file_size) = usual_of(&WAL).xFileSize else { return Err(ffi::SQLITE_IOERR_FSTAT) };
        let mut bytes = 0;
        // SAFETY: as above; xFileSize writes one number.
        outcome(unsafe { file_size(self.0, &raw mut bytes) }).map(|()| bytes.cast_unsigned())
    }
}

/// # Safety
/// `file` is a `-wal` that `open` opened, and this is the only call for it now: a connection has its own, and is with one
/// thread at a time.
unsafe fn with_frames(
    file: *mut sqlite3_file,
    run: impl FnOnce(&mut Frames, &mut Wal) -> std::result::Result<(), Code>,
) -> c_int {
    // SAFETY: `open` put it there, and `wal_close` has not taken it yet.
    let frames = unsafe { &mut **own(file) };
    code(run(frames, &mut Wal(file)))
}

unsafe extern "C" fn wal_read(file: *mut sqlite3_file, into: *mut c_void, length: c_int, offset: i64) -> c_int {
    // SAFETY: SQLite gives a buffer of so many bytes, and calls this for files of ours only.
    unsafe {
        let into = std::slice::from_raw_parts_mut(into.cast::<u8>(), length.max(0) as usize);
        with_frames(file, |frames, wal| frames.read(wal, into, offset.cast_unsigned()))
    }
}

unsafe extern "C" fn wal_write(file: *mut sqlite3_file, bytes: *const c_void, length: c_int, offset: i64) -> c_int {
    // SAFETY: as for `wal_read`.
    unsafe {
        let bytes = std::slice::from_raw_parts(bytes.cast::<u8>(), length.max(0) as usize);
        with_frames(file, |frames, wal| frames.write(wal, bytes, offset.cast_unsigned()))
    }
}

/// A method that is not ours, after what waits was written.
///
/// # Safety
/// As `with_frames`.
unsafe fn settled(file: *mut sqlite3_file, then: impl FnOnce(&sqlite3_io_methods) -> Option<c_int>) -> c_int {
    // SAFETY: the caller's.
    unsafe {
        with_frames(file, |frames, wal| {
            frames.settle(wal)?;
            outcome(then(usual_of(&WAL)).unwrap_or(ffi::SQLITE_IOERR))
        })
    }
}

unsafe extern "C" fn wal_truncate(file: *mut sqlite3_file, length: i64) -> c_int {
    // SAFETY: SQLite's arguments, passed on.
    unsafe { settled(file, |usual| usual.xTruncate.map(|truncate| truncate(file, length))) }
}

unsafe extern "C" fn wal_sync(file: *mut sqlite3_file, flags: c_int) -> c_int {
    // SAFETY: SQLite's arguments, passed on.
    let code = unsafe { settled(file, |usual| usual.xSync.map(|sync| sync(file, flags))) };
    if code == SQLITE_OK {
        points::pass(Point::WalSynced);
    }
    code
}

unsafe extern "C" fn wal_file_size(file: *mut sqlite3_file, bytes: *mut i64) -> c_int {
    // SAFETY: SQLite's arguments, passed on.
    unsafe { settled(file, |usual| usual.xFileSize.map(|file_size| file_size(file, bytes))) }
}

/// What still waits belongs to a transaction that never ended, and goes with it.
unsafe extern "C" fn wal_close(file: *mut sqlite3_file) -> c_int {
    // SAFETY: SQLite closes a file once, and calls nothing of it afterwards.
    unsafe {
        drop(Box::from_raw(*own(file)));
        usual_of(&WAL).xClose.map_or(ffi::SQLITE_IOERR_CLOSE, |close| close(file))
    }
}

unsafe extern "C" fn data_write(file: *mut sqlite3_file, bytes: *const c_void, length: c_int, offset: i64) -> c_int {
    // SAFETY: SQLite's arguments, passed on.
    let written =
        unsafe { usual_of(&DATA).xWrite.map_or(ffi::SQLITE_IOERR_WRITE, |write| write(file, bytes, length, offset)) };
    if written != SQLITE_OK {
        return written;
    }
    observed(offset.cast_unsigned(), length.max(0) as u64).map_or(SQLITE_IOERR_FSYNC, |()| SQLITE_OK)
}

/// Gives back a page of the map, or, without a page, all of it. The latter is what SQLite does at the first snapshot after each commit of
/// somebody else, in case the file was cut and made longer again meanwhile: some systems leave such a map as it was. Linux does not: the map
/// stays what the file is (mmap(2)). So it stays, and with it all pages that were touched, until the file has another length.
unsafe extern "C" fn data_unfetch(file: *mut sqlite3_file, offset: i64, page: *mut c_void) -> c_int {
    let usual = usual_of(&DATA);
    // SAFETY: SQLite's arguments, passed on.
    let unfetch = || unsafe { usual.xUnfetch.map_or(ffi::SQLITE_IOERR, |unfetch| unfetch(file, offset, page)) };
    if !page.is_null() {
        return unfetch();
    }
    let mut length = UNKNOWN;
    // SAFETY: the file is open; xFileSize writes one number.
    let found = unsafe { usual.xFileSize.map_or(ffi::SQLITE_IOERR, |file_size| file_size(file, &raw mut length)) };
    // SAFETY: `open` has written there; a connection has its own file, and is with one thread at a time.
    let before = unsafe { mapped_length(file).replace(length) };
    if found == SQLITE_OK && before == length { SQLITE_OK } else { unfetch() }
}

#[cfg(test)]
mod tests {
    use crate::storage::Expiry;
    use crate::storage::fixture::{Fixture, NOW_MS};

    /// How often this thread has called the system to write (proc_pid_io(5)).
    fn writes() -> u64 {
        let counts = std::fs::read_to_string("/proc/thread-self/io").unwrap();
        counts.lines().find_map(|line| line.strip_prefix("syscw: ")).unwrap().parse().unwrap()
    }

    #[test]
    fn a_group_is_written_at_once_and_everybody_sees_it() {
        let mut fixture = Fixture::new();
        let put = |fixture: &mut Fixture, value: u8| {
            fixture.write(|keyspace| {
                for number in 0..200_u32 {
                    keyspace.put_string(&number.to_le_bytes(), &[value; 300], Expiry::Clear).unwrap();
                }
            });
        };
        put(&mut fixture, 1);
        let (frames, before) = (fixture.writer.wal_progress().unwrap().log_frames, writes());
        put(&mut fixture, 2);
        let (added, calls) = (fixture.writer.wal_progress().unwrap().log_frames - frames, writes() - before);
        assert!(added > 30, "{added}");
        assert!(calls <= 3, "{calls} writes for {added} frames");
        let mut reader = fixture.reader();
        reader.begin_read(NOW_MS).unwrap();
        assert_eq!(reader.verify().unwrap().problems, [""; 0]);
        reader.end_read().unwrap();
    }

    /// Pages that this thread has touched for the first time (getrusage(2)).
    fn faults() -> i64 {
        nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_THREAD).unwrap().minor_page_faults()
    }

    #[test]
    fn a_map_outlasts_the_commits_of_others_and_follows_the_files_length() {
        const KEYS: u32 = 2000;
        let mut fixture = Fixture::new();
        let fill = |fixture: &mut Fixture, from: u32, value: u8| {
            fixture.write(|keyspace| {
                for number in from..from + KEYS {
                    keyspace.put_string(&number.to_le_bytes(), &[value; 3000], Expiry::Clear).unwrap();
                }
            });
            assert!(fixture.writer.restart_wal().unwrap());
        };
        fill(&mut fixture, 0, 1);
        let mut reader = fixture.reader();
        let mut read = |value: u8| {
            let before = faults();
            reader.begin_read(NOW_MS).unwrap();
            for number in 0..KEYS {
                let found = reader.string(&number.to_le_bytes()).unwrap();
                assert_eq!(found, crate::storage::Lookup::Found(vec![value; 3000]));
            }
            reader.end_read().unwrap();
            faults() - before
        };
        let first = read(1);
        let commit = |fixture: &mut Fixture| {
            fixture.write(|keyspace| keyspace.put_string(b"other", b"1", Expiry::Clear).unwrap());
        };
        // From the first change on that it hears of, it knows how long the file is.
        commit(&mut fixture);
        read(1);
        commit(&mut fixture);
        let later = read(1);
        assert!(later * 3 < first, "{later} faults after a commit of somebody else, {first} at first");
        // Longer, shorter, and with other pages where it was before.
        fill(&mut fixture, KEYS, 2);
        read(1);
        fixture.write(|keyspace| keyspace.flush_all().unwrap());
        while fixture.write(|keyspace| keyspace.sweep_orphans(1000)).unwrap() > 0 {}
        while fixture.write(|keyspace| keyspace.vacuum(1000, crate::storage::sqlite::Kept::Pages(0))).unwrap() > 0 {}
        assert!(fixture.writer.restart_wal().unwrap());
        fill(&mut fixture, 0, 3);
        read(3);
    }
}
