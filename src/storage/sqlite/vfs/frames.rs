//! What lies between SQLite and its `-wal`, as arithmetic over offsets: which writes may wait for the next one, and what is read
//! ahead. Knows the layout of the file (<https://www.sqlite.org/fileformat2.html#the_write_ahead_log>), and neither SQLite's
//! interface nor the operating system.
//!
//! SQLite writes a frame with two calls and reads one with one, whoever asks: a group of 800 small values is 1,600 writes, and a
//! start after a kill reads the `-wal` 2 KiB at a time. Here 64 KiB of a group are one write, and recovery reads as much at a time.

use std::ffi::c_int;

/// One of SQLite's result codes that says what went wrong (<https://www.sqlite.org/rescode.html>).
pub(super) type Code = c_int;

/// The file itself.
pub(super) trait Storage {
    /// Fills `into`. What is behind the end of the file is an error, as SQLite wants it.
    fn read(&mut self, into: &mut [u8], offset: u64) -> Result<(), Code>;
    fn write(&mut self, bytes: &[u8], offset: u64) -> Result<(), Code>;
    fn len(&mut self) -> Result<u64, Code>;
}

const FILE_HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;
/// SQLite's own functions pass no more than 128 KiB to the system at once, and take more for a full disk.
const PENDING_MAX: usize = 64 << 10;
const AHEAD_BYTES: u64 = 64 << 10;

/// What one connection knows of its `-wal`.
#[derive(Default)]
pub(super) struct Frames {
    pending: Pending,
    ahead: Ahead,
}

impl Frames {
    /// Writes, or keeps for the write to come. Nothing of a committed transaction is kept: SQLite publishes it after this.
    ///
    /// # Errors
    /// Those of this write, or of earlier ones that had waited for it; SQLite undoes the transaction of all of them.
    pub(super) fn write(&mut self, storage: &mut impl Storage, bytes: &[u8], offset: u64) -> Result<(), Code> {
        self.ahead.forget();
        self.pending.write(storage, bytes, offset)
    }

    pub(super) fn read(&mut self, storage: &mut impl Storage, into: &mut [u8], offset: u64) -> Result<(), Code> {
        self.pending.flush(storage)?;
        self.ahead.read(storage, into, offset)
    }

    /// Before anything else is done with the file.
    pub(super) fn settle(&mut self, storage: &mut impl Storage) -> Result<(), Code> {
        self.ahead.forget();
        self.pending.flush(storage)
    }
}

/// Frames of the running transaction that are not in the file yet. Only the transaction's own connection may look for them
/// there, and `Frames` sees that.
#[derive(Default)]
struct Pending {
    bytes: Vec<u8>,
    /// Where `bytes` begin; without any: where the last write ended.
    offset: u64,
    /// The last header that is kept is that of a transaction's last frame.
    is_last: bool,
}

impl Pending {
    fn end(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }

    fn write(&mut self, storage: &mut impl Storage, bytes: &[u8], offset: u64) -> Result<(), Code> {
        let is_header = bytes.len() == FRAME_HEADER_BYTES;
        // A header where the last write ended is a new frame's, and its page comes next. Any other write changes what is there,
        // and nothing may follow it.
        if offset != self.end() || (self.bytes.is_empty() && !is_header) {
            self.flush(storage)?;
            storage.write(bytes, offset)?;
            self.offset = offset + bytes.len() as u64;
            return Ok(());
        }
        self.bytes.extend_from_slice(bytes);
        if is_header {
            // "Size of the database file in pages", for the last frame of a transaction; else zero.
            self.is_last = bytes[4..8] != [0; 4];
        } else if self.is_last || self.bytes.len() >= PENDING_MAX {
            self.flush(storage)?;
        }
        Ok(())
    }

    fn flush(&mut self, storage: &mut impl Storage) -> Result<(), Code> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        let written = storage.write(&self.bytes, self.offset);
        // After a failure nobody knows where the file ends, and nothing is kept that begins there.
        self.offset = if written.is_ok() { self.end() } else { 0 };
        self.bytes.clear();
        self.is_last = false;
        written
    }
}

/// Recovery: the header of the file, then one frame after the other, while its locks keep every writer out. Whole frames are
/// read at no other time.
#[derive(Default)]
struct Ahead {
    /// Where the next frame of a recovery begins.
    next: Option<u64>,
    bytes: Vec<u8>,
    offset: u64,
}

impl Ahead {
    fn forget(&mut self) {
        if self.next.is_some() {
            *self = Self::default();
        }
    }

    fn read(&mut self, storage: &mut impl Storage, into: &mut [u8], offset: u64) -> Result<(), Code> {
        let end = offset + into.len() as u64;
        if self.next == Some(offset) && self.has_fetched(storage, offset, into.len())? {
            let from = (offset - self.offset) as usize;
            into.copy_from_slice(&self.bytes[from..from + into.len()]);
            self.next = Some(end);
            return Ok(());
        }
        self.forget();
        storage.read(into, offset)?;
        if offset == 0 && into.len() == FILE_HEADER_BYTES {
            self.next = Some(end);
        }
        Ok(())
    }

    /// Sees to it that so much is there. False where the file has less.
    fn has_fetched(&mut self, storage: &mut impl Storage, offset: u64, length: usize) -> Result<bool, Code> {
        if offset + length as u64 <= self.offset + self.bytes.len() as u64 {
            return Ok(true);
        }
        let available = storage.len()?.saturating_sub(offset).min(AHEAD_BYTES);
        if available < length as u64 {
            return Ok(false);
        }
        self.bytes.resize(available as usize, 0);
        self.offset = offset;
        storage.read(&mut self.bytes, offset).map(|()| true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: Code = 13;
    const SHORT: Code = 522;
    const PAGE: usize = 2048;
    const FRAME: u64 = (FRAME_HEADER_BYTES + PAGE) as u64;

    /// A file in memory that counts, and fails where it is told to.
    #[derive(Default)]
    struct Memory {
        bytes: Vec<u8>,
        writes: usize,
        reads: usize,
        is_full: bool,
    }

    impl Storage for Memory {
        fn read(&mut self, into: &mut [u8], offset: u64) -> Result<(), Code> {
            self.reads += 1;
            let there = self.bytes.get(offset as usize..offset as usize + into.len()).ok_or(SHORT)?;
            into.copy_from_slice(there);
            Ok(())
        }

        fn write(&mut self, bytes: &[u8], offset: u64) -> Result<(), Code> {
            if self.is_full {
                return Err(FULL);
            }
            self.writes += 1;
            let end = offset as usize + bytes.len();
            self.bytes.resize(self.bytes.len().max(end), 0);
            self.bytes[offset as usize..end].copy_from_slice(bytes);
            Ok(())
        }

        fn len(&mut self) -> Result<u64, Code> {
            Ok(self.bytes.len() as u64)
        }
    }

    fn at(frame: u64) -> u64 {
        FILE_HEADER_BYTES as u64 + frame * FRAME
    }

    fn header(size_after: u32) -> [u8; FRAME_HEADER_BYTES] {
        let mut header = [7; FRAME_HEADER_BYTES];
        header[4..8].copy_from_slice(&size_after.to_be_bytes());
        header
    }

    fn frame(frames: &mut Frames, memory: &mut Memory, number: u64, fill: u8, size_after: u32) -> Result<(), Code> {
        frames.write(memory, &header(size_after), at(number))?;
        frames.write(memory, &[fill; PAGE], at(number) + FRAME_HEADER_BYTES as u64)
    }

    /// A transaction of a page for each byte, from frame `first` on.
    fn commit(frames: &mut Frames, memory: &mut Memory, first: u64, pages: &[u8]) -> Result<(), Code> {
        let (last, others) = pages.split_last().unwrap();
        for (number, fill) in (first..).zip(others) {
            frame(frames, memory, number, *fill, 0)?;
        }
        frame(frames, memory, first + others.len() as u64, *last, 99)
    }

    /// A `-wal` with its header, and frames of these pages.
    fn begun(pages: &[u8]) -> (Frames, Memory) {
        let (mut frames, mut memory) = (Frames::default(), Memory::default());
        frames.write(&mut memory, &[1; FILE_HEADER_BYTES], 0).unwrap();
        commit(&mut frames, &mut memory, 0, pages).unwrap();
        (frames, memory)
    }

    fn page(memory: &Memory, number: u64) -> u8 {
        memory.bytes[at(number) as usize + FRAME_HEADER_BYTES]
    }

    #[test]
    fn a_transaction_is_one_write_and_in_the_file_when_its_last_page_was_written() {
        let (mut frames, mut memory) = begun(&[1, 2, 3]);
        assert_eq!((memory.writes, memory.bytes.len() as u64), (2, at(3)));
        commit(&mut frames, &mut memory, 3, &[4]).unwrap();
        commit(&mut frames, &mut memory, 4, &[5; 30]).unwrap();
        assert_eq!((memory.writes, memory.bytes.len() as u64), (4, at(34)));
        assert_eq!([0, 2, 3, 4, 33].map(|number| page(&memory, number)), [1, 3, 4, 5, 5]);
        // After a start nothing is known of the file's end: the first frame goes straight through.
        let mut frames = Frames::default();
        commit(&mut frames, &mut memory, 34, &[6, 7, 8]).unwrap();
        assert_eq!((memory.writes, memory.bytes.len() as u64), (7, at(37)));
    }

    #[test]
    fn what_waits_is_bounded() {
        let (mut frames, mut memory) = begun(&[1]);
        for number in 0..1000 {
            frame(&mut frames, &mut memory, 1 + number, 2, 0).unwrap();
            assert!(frames.pending.bytes.len() < PENDING_MAX);
        }
        assert_eq!(memory.writes, 2 + 1000 / PENDING_MAX.div_ceil(FRAME as usize));
    }

    #[test]
    fn the_transaction_that_wrote_them_finds_its_own_frames() {
        let (mut frames, mut memory) = begun(&[1]);
        frame(&mut frames, &mut memory, 1, 2, 0).unwrap();
        let mut bytes = [0; PAGE];
        frames.read(&mut memory, &mut bytes, at(1) + FRAME_HEADER_BYTES as u64).unwrap();
        assert_eq!(bytes, [2; PAGE]);
        frame(&mut frames, &mut memory, 2, 3, 0).unwrap();
        frames.settle(&mut memory).unwrap();
        assert_eq!(memory.bytes.len() as u64, at(3));
    }

    #[test]
    fn what_overwrites_goes_straight_through() {
        let (mut frames, mut memory) = begun(&[1, 2, 3]);
        // A page of this transaction that changed again, and the checksums of all that stand behind it.
        frame(&mut frames, &mut memory, 3, 4, 0).unwrap();
        frames.write(&mut memory, &[9; PAGE], at(3) + FRAME_HEADER_BYTES as u64).unwrap();
        commit(&mut frames, &mut memory, 4, &[5, 6]).unwrap();
        for number in 3..6 {
            let size_after = if number == 5 { 99 } else { 0 };
            frames.write(&mut memory, &header(size_after), at(number)).unwrap();
            assert!(frames.pending.bytes.is_empty());
        }
        assert_eq!([3, 4, 5].map(|number| page(&memory, number)), [9, 5, 6]);
        // A rollback, or a -wal that begins anew.
        for first in [2, 0] {
            commit(&mut frames, &mut memory, first, &[7, 8]).unwrap();
            assert_eq!([first, first + 1].map(|number| page(&memory, number)), [7, 8]);
        }
    }

    #[test]
    fn a_disk_that_is_full_is_heard_of_before_the_transaction_is_done_and_leaves_nothing() {
        let (mut frames, mut memory) = begun(&[1]);
        memory.is_full = true;
        assert_eq!(commit(&mut frames, &mut memory, 1, &[2, 3]), Err(FULL));
        assert!(frames.pending.bytes.is_empty());
        frame(&mut frames, &mut memory, 1, 2, 0).unwrap_err();
        memory.is_full = false;
        commit(&mut frames, &mut memory, 1, &[4, 5]).unwrap();
        assert_eq!([1, 2].map(|number| page(&memory, number)), [4, 5]);
    }

    fn recover(frames: &mut Frames, memory: &mut Memory) -> Vec<u8> {
        frames.read(memory, &mut [0; FILE_HEADER_BYTES], 0).unwrap();
        let mut pages = Vec::new();
        let mut whole = [0; FRAME as usize];
        while frames.read(memory, &mut whole, at(pages.len() as u64)).is_ok() {
            pages.push(whole[FRAME_HEADER_BYTES]);
        }
        pages
    }

    #[test]
    fn recovery_reads_ahead_and_finds_every_frame_each_time() {
        let pages: Vec<u8> = (0..1000).map(|number| number as u8).collect();
        let (mut frames, mut memory) = begun(&pages);
        assert_eq!(recover(&mut frames, &mut memory), pages);
        // The header, 2 MB in pieces, and what is behind the end.
        assert!(memory.reads < 40, "{}", memory.reads);
        // Another process wrote since.
        memory.bytes[at(500) as usize + FRAME_HEADER_BYTES] = 77;
        assert_eq!(recover(&mut frames, &mut memory)[500], 77);
        frames.settle(&mut memory).unwrap();
        assert_eq!(frames.ahead.bytes.capacity(), 0);
    }

    #[test]
    fn a_page_that_is_read_after_a_recovery_comes_from_the_file() {
        let (mut frames, mut memory) = begun(&[1, 2, 3]);
        frames.read(&mut memory, &mut [0; FILE_HEADER_BYTES], 0).unwrap();
        frames.read(&mut memory, &mut [0; FRAME as usize], at(0)).unwrap();
        memory.bytes[at(1) as usize + FRAME_HEADER_BYTES] = 77;
        let mut bytes = [0; PAGE];
        frames.read(&mut memory, &mut bytes, at(1) + FRAME_HEADER_BYTES as u64).unwrap();
        assert_eq!(bytes[0], 77);
    }
}
