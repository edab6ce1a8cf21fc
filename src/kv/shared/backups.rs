//! What all processes know of the service's backups: who asked for one, how far it is, how the last one ended. Atomic words
//! in shared memory; whoever asks sets one, and the writer, who makes them, the others.

use std::fmt;
use std::io;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use crate::sys::atomic::{AtomicU64, Ordering};
use crate::sys::{clock, shared};

/// So long without progress in the directory of backups, and it is said.
pub const STALL_SAID: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub struct Backups {
    words: &'static [AtomicU64],
}

/// The name of a backup is when it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BackupName {
    /// Milliseconds since 1970.
    pub at_ms: u64,
    pub kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Stays until newer ones take its place.
    Kept,
    /// For the one who asked, who takes it away. It takes nobody's place.
    Once,
}

/// What the present backup is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Asked for, not begun.
    Waiting = 1,
    /// The directory is looked at.
    Preparing,
    Copying,
    /// All pages are there; they are synced and checked.
    Checking,
    /// On its way from beside the data to a directory on a network.
    Moving,
}

/// Why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    Directory = 1,
    NoRoom,
    Copying,
    Finishing,
    Interrupted,
    NoRoomHere,
    Moving,
    Stalled,
}

/// What a backup needs where it takes room from the data, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    pub backup_bytes: u64,
    pub reserve_bytes: u64,
    pub available_bytes: u64,
}

/// Why none is begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// That one is being made.
    Running(BackupName),
    NoRoom(Room),
}

/// The present backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Running {
    pub name: BackupName,
    pub phase: Phase,
    pub pages: u64,
    /// Follows the data: it may grow.
    pub pages_total: u64,
}

/// The last backup that was finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    pub name: BackupName,
    /// When the last page was copied, in milliseconds since 1970: it holds everything up to then.
    pub at_ms: u64,
    pub duration_ms: u64,
    pub bytes: u64,
}

/// The last attempt that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed {
    pub name: BackupName,
    pub at_ms: u64,
    pub failure: Failure,
}

enum Word {
    Asked,
    Name,
    Phase,
    Pages,
    PagesTotal,
    LastName,
    LastMs,
    LastDurationMs,
    LastBytes,
    FailedName,
    FailedMs,
    Failure,
    FinishedTotal,
    FailedTotal,
    /// When the last one was asked for, by its name.
    NamedMs,
    /// When the thread that makes one last moved on; milliseconds since the machine started.
    MovedOnMs,
    /// 0: nobody knows.
    RoomNeeded,
    RoomReserved,
    RoomAvailable,
}
const WORDS: usize = Word::RoomAvailable as usize + 1;

impl Backups {
    /// Before the first fork.
    pub fn new() -> io::Result<Backups> {
        Ok(Backups { words: shared::words(WORDS)? })
    }

    /// Asks the writer for a backup. The result is its name.
    ///
    /// # Errors
    /// One is being made, or there is no room for another.
    pub fn ask(&self, kind: Kind, now_ms: u64) -> Result<BackupName, Refusal> {
        if let Some(running) = self.running() {
            return Err(Refusal::Running(running.name));
        }
        if let Some(room) = self.room().filter(|room| room.available_bytes < room.backup_bytes + room.reserve_bytes) {
            return Err(Refusal::NoRoom(room));
        }
        let name = BackupName { at_ms: self.fresh_ms(now_ms), kind };
        self.move_on();
        let word = &self.words[Word::Asked as usize];
        match word.compare_exchange(0, name.to_word(), Ordering::SeqCst, Ordering::SeqCst) {
            Ok(_) => Ok(name),
            Err(asked) => Err(Refusal::Running(BackupName::from_word(asked))),
        }
    }

    /// No two have one name, also when the clock is put back while the service runs.
    fn fresh_ms(&self, now_ms: u64) -> u64 {
        let fresh = |last: u64| now_ms.max(last + 1);
        let word = &self.words[Word::NamedMs as usize];
        let known = word.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |last| Some(fresh(last)));
        known.map_or(now_ms, fresh)
    }

    fn room(&self) -> Option<Room> {
        let backup_bytes = Some(self.read(Word::RoomNeeded)).filter(|&bytes| bytes != 0)?;
        Some(Room {
            backup_bytes,
            reserve_bytes: self.read(Word::RoomReserved),
            available_bytes: self.read(Word::RoomAvailable),
        })
    }

    /// For how long the present one's directory has not answered; zero: it does.
    #[must_use]
    pub fn stalled_for(&self) -> Duration {
        let is_elsewhere = |phase| matches!(phase, Phase::Waiting | Phase::Preparing | Phase::Moving);
        let is_watched = self.running().is_some_and(|running| is_elsewhere(running.phase));
        let still = if is_watched { self.still_for() } else { Duration::ZERO };
        if still >= STALL_SAID { still } else { Duration::ZERO }
    }

    /// Since the thread that makes one has moved on.
    pub fn still_for(&self) -> Duration {
        Duration::from_millis(clock::uptime_ms().saturating_sub(self.read(Word::MovedOnMs)))
    }

    /// The one that was asked for and is not begun.
    #[must_use]
    pub fn asked(&self) -> Option<BackupName> {
        Some(self.read(Word::Asked)).filter(|&word| word != 0).map(BackupName::from_word)
    }

    /// The present one. Whoever has asked sees it from then on until its end is told.
    #[must_use]
    pub fn running(&self) -> Option<Running> {
        let phase = match self.read(Word::Phase) {
            2 => Phase::Preparing,
            3 => Phase::Copying,
            4 => Phase::Checking,
            5 => Phase::Moving,
            _ => return self.asked().map(Running::waiting),
        };
        Some(Running {
            name: BackupName::from_word(self.read(Word::Name)),
            phase,
            pages: self.read(Word::Pages),
            pages_total: self.read(Word::PagesTotal),
        })
    }

    #[must_use]
    pub fn last_finished(&self) -> Option<Finished> {
        let at_ms = Some(self.read(Word::LastMs)).filter(|&at_ms| at_ms != 0)?;
        Some(Finished {
            name: BackupName::from_word(self.read(Word::LastName)),
            at_ms,
            duration_ms: self.read(Word::LastDurationMs),
            bytes: self.read(Word::LastBytes),
        })
    }

    #[must_use]
    pub fn last_failed(&self) -> Option<Failed> {
        let failure = Failure::from_number(self.read(Word::Failure))?;
        Some(Failed {
            name: BackupName::from_word(self.read(Word::FailedName)),
            at_ms: self.read(Word::FailedMs),
            failure,
        })
    }

    /// True when the last attempt failed.
    #[must_use]
    pub fn is_last_failed(&self) -> bool {
        self.last_failed().is_some_and(|failed| self.last_finished().is_none_or(|last| last.at_ms < failed.at_ms))
    }

    /// (finished, failed) since the start of the service.
    #[must_use]
    pub fn totals(&self) -> (u64, u64) {
        (self.read(Word::FinishedTotal), self.read(Word::FailedTotal))
    }

    // The writer's:

    pub fn begin(&self, name: BackupName) {
        self.set(Word::Name, name.to_word());
        self.copied(0, 0);
        self.set(Word::Phase, Phase::Preparing as u64);
        self.answered(name);
    }

    /// Another one may have been asked for meanwhile. Nobody takes back a question but the writer.
    fn answered(&self, name: BackupName) {
        let word = &self.words[Word::Asked as usize];
        if word.load(Ordering::SeqCst) == name.to_word() {
            word.store(0, Ordering::SeqCst);
        }
    }

    pub fn copied(&self, pages: u64, pages_total: u64) {
        self.set(Word::Pages, pages);
        self.set(Word::PagesTotal, pages_total);
    }

    pub fn enter(&self, phase: Phase) {
        self.set(Word::Phase, phase as u64);
    }

    pub fn move_on(&self) {
        self.set(Word::MovedOnMs, clock::uptime_ms());
    }

    /// `None` where a backup takes no room from the data.
    pub fn know_room(&self, room: Option<Room>) {
        self.set(Word::RoomAvailable, room.map_or(0, |room| room.available_bytes));
        self.set(Word::RoomReserved, room.map_or(0, |room| room.reserve_bytes));
        self.set(Word::RoomNeeded, room.map_or(0, |room| room.backup_bytes));
    }

    pub fn finish(&self, last: Finished) {
        self.know(last);
        self.words[Word::FinishedTotal as usize].fetch_add(1, Ordering::SeqCst);
        self.set(Word::Phase, 0);
    }

    /// One that an earlier run of the service has made.
    pub fn know(&self, last: Finished) {
        self.set(Word::LastName, last.name.to_word());
        self.set(Word::LastDurationMs, last.duration_ms);
        self.set(Word::LastBytes, last.bytes);
        self.set(Word::LastMs, last.at_ms);
    }

    pub fn fail(&self, name: BackupName, failure: Failure, now_ms: u64) {
        self.set(Word::FailedName, name.to_word());
        self.set(Word::FailedMs, now_ms);
        self.set(Word::Failure, failure as u64);
        self.words[Word::FailedTotal as usize].fetch_add(1, Ordering::SeqCst);
        self.answered(name);
        self.set(Word::Phase, 0);
    }

    fn read(&self, word: Word) -> u64 {
        self.words[word as usize].load(Ordering::SeqCst)
    }

    fn set(&self, word: Word, value: u64) {
        self.words[word as usize].store(value, Ordering::SeqCst);
    }
}

impl Running {
    fn waiting(name: BackupName) -> Running {
        Running { name, phase: Phase::Waiting, pages: 0, pages_total: 0 }
    }
}

impl BackupName {
    #[must_use]
    pub fn kept(at_ms: u64) -> BackupName {
        BackupName { at_ms, kind: Kind::Kept }
    }

    /// `None` for what is no finished backup's file.
    #[must_use]
    pub fn of_file(path: &Path) -> Option<BackupName> {
        let name = path.file_name()?.to_str()?.strip_suffix(".db")?;
        let (kind, time) = [Kind::Kept, Kind::Once]
            .into_iter()
            .find_map(|kind| Some((kind, name.strip_prefix(kind.name())?.strip_prefix('-')?)))?;
        let (date, clock) = time.split_once('T')?;
        let at = humantime::parse_rfc3339(&format!("{date}T{}", clock.replace('-', ":"))).ok()?;
        let at_ms = u64::try_from(at.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok()?;
        Some(BackupName { at_ms, kind }).filter(|parsed| path.ends_with(parsed.to_string()))
    }

    fn to_word(self) -> u64 {
        self.at_ms << 1 | u64::from(self.kind == Kind::Once)
    }

    fn from_word(word: u64) -> BackupName {
        BackupName { at_ms: word >> 1, kind: if word & 1 == 1 { Kind::Once } else { Kind::Kept } }
    }
}

/// The file's name: `backup-2026-11-26T16-05-00.000Z.db`, without the colons that command lines and other systems take for something else.
impl fmt::Display for BackupName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = UNIX_EPOCH + Duration::from_millis(self.at_ms);
        let time = humantime::format_rfc3339_millis(at).to_string().replace(':', "-");
        write!(out, "{}-{time}.db", self.kind.name())
    }
}

impl Refusal {
    pub fn is_for_room(&self) -> bool {
        matches!(self, Refusal::NoRoom(_))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Running(name) => write!(out, "Backup already in progress: {name}"),
            Refusal::NoRoom(Room { backup_bytes, reserve_bytes, available_bytes }) => write!(
                out,
                "Not enough room for a backup: it takes {backup_bytes} bytes, {reserve_bytes} have to stay free, and \
                 {available_bytes} are. Remove old backups, or name another disk with EMPTYSERVER_BACKUP_DIR"
            ),
        }
    }
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Kind::Kept => "backup",
            Kind::Once => "once",
        }
    }
}

impl Phase {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Phase::Waiting => "waiting",
            Phase::Preparing => "preparing",
            Phase::Copying => "copying",
            Phase::Checking => "checking",
            Phase::Moving => "moving",
        }
    }
}

impl Failure {
    /// In words for people; the log has the system's.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Failure::Directory => "the directory of backups can't be used",
            Failure::NoRoom => "there is not enough room for it",
            Failure::Copying => "a page could not be copied",
            Failure::Finishing => "the copy could not be synced, or was found damaged",
            Failure::Interrupted => "the process that made it ended",
            Failure::NoRoomHere => {
                "there is not enough room beside the data for the copy that goes to the directory of backups"
            }
            Failure::Moving => "the copy could not be moved to the directory of backups",
            Failure::Stalled => "the directory of backups does not answer",
        }
    }

    const fn from_number(number: u64) -> Option<Failure> {
        match number {
            1 => Some(Failure::Directory),
            2 => Some(Failure::NoRoom),
            3 => Some(Failure::Copying),
            4 => Some(Failure::Finishing),
            5 => Some(Failure::Interrupted),
            6 => Some(Failure::NoRoomHere),
            7 => Some(Failure::Moving),
            8 => Some(Failure::Stalled),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT_MS: u64 = 1_795_709_100_123;

    #[test]
    fn a_name_says_when_and_is_read_back() {
        for kind in [Kind::Kept, Kind::Once] {
            let name = BackupName { at_ms: AT_MS, kind };
            let text = name.to_string();
            assert_eq!(text, format!("{}-2026-11-26T16-05-00.123Z.db", kind.name()));
            assert_eq!(BackupName::of_file(&Path::new("/some/where").join(text)), Some(name));
            assert_eq!(BackupName::from_word(name.to_word()), name);
        }
        for other in [
            "backup.db",
            "backup-x.db",
            "backup-2026-11-26T16-05-00.123Z.db.part",
            "mine.db",
            "backup-2026-11-26T16:05:00.123Z.db",
        ] {
            assert_eq!(BackupName::of_file(Path::new(other)), None, "{other}");
        }
    }

    #[test]
    fn one_at_a_time_from_the_question_to_the_end() {
        let backups = Backups::new().unwrap();
        assert_eq!((backups.running(), backups.asked(), backups.is_last_failed()), (None, None, false));
        let name = backups.ask(Kind::Kept, AT_MS).unwrap();
        assert_eq!(backups.ask(Kind::Once, AT_MS + 1), Err(Refusal::Running(name)));
        assert_eq!(backups.running().unwrap().phase, Phase::Waiting);
        backups.begin(name);
        assert_eq!(backups.asked(), None);
        assert_eq!(backups.running().unwrap().phase, Phase::Preparing);
        backups.enter(Phase::Copying);
        backups.copied(3, 10);
        assert_eq!(backups.ask(Kind::Once, AT_MS + 1), Err(Refusal::Running(name)));
        assert_eq!(backups.running(), Some(Running { name, phase: Phase::Copying, pages: 3, pages_total: 10 }));
        for phase in [Phase::Checking, Phase::Moving] {
            backups.enter(phase);
            assert_eq!(backups.running().unwrap().phase, phase);
        }
        let last = Finished { name, at_ms: AT_MS + 5, duration_ms: 5, bytes: 20_480 };
        backups.finish(last);
        assert_eq!((backups.running(), backups.last_finished(), backups.totals()), (None, Some(last), (1, 0)));
    }

    #[test]
    fn a_failure_lasts_until_a_backup_is_finished() {
        let backups = Backups::new().unwrap();
        let name = backups.ask(Kind::Kept, AT_MS).unwrap();
        backups.fail(name, Failure::NoRoom, AT_MS + 1);
        assert_eq!(backups.last_failed(), Some(Failed { name, at_ms: AT_MS + 1, failure: Failure::NoRoom }));
        assert!(backups.is_last_failed() && backups.running().is_none());
        let name = backups.ask(Kind::Kept, AT_MS + 2).unwrap();
        backups.begin(name);
        backups.finish(Finished { name, at_ms: AT_MS + 9, duration_ms: 7, bytes: 1 });
        assert!(!backups.is_last_failed());
        assert_eq!(backups.totals(), (1, 1));
        let all = [Failure::Directory, Failure::NoRoom, Failure::Copying, Failure::Finishing, Failure::Interrupted];
        for failure in all.into_iter().chain([Failure::NoRoomHere, Failure::Moving, Failure::Stalled]) {
            assert_eq!(Failure::from_number(failure as u64), Some(failure));
        }
    }

    #[test]
    fn no_two_have_one_name_though_the_clock_is_put_back() {
        let backups = Backups::new().unwrap();
        let mut names = Vec::new();
        for now_ms in [AT_MS, AT_MS, AT_MS - 1000, AT_MS + 1, AT_MS + 5] {
            let name = backups.ask(Kind::Kept, now_ms).unwrap();
            backups.fail(name, Failure::Interrupted, now_ms);
            names.push(name.at_ms - AT_MS);
        }
        assert_eq!(names, [0, 1, 2, 3, 5]);
    }

    #[test]
    fn one_that_would_take_the_reserve_is_refused_with_the_figures() {
        let backups = Backups::new().unwrap();
        let room = Room { backup_bytes: 100, reserve_bytes: 10, available_bytes: 109 };
        backups.know_room(Some(room));
        let refusal = backups.ask(Kind::Once, AT_MS).unwrap_err();
        assert_eq!(refusal, Refusal::NoRoom(room));
        assert!(refusal.to_string().contains("takes 100 bytes, 10 have to stay free, and 109 are"));
        backups.know_room(Some(Room { available_bytes: 110, ..room }));
        let name = backups.ask(Kind::Once, AT_MS).unwrap();
        backups.fail(name, Failure::Interrupted, AT_MS);
        backups.know_room(None);
        backups.ask(Kind::Once, AT_MS).unwrap();
    }
}
