//! The sources that a lane's thread knows, and its interpreter, which is made when the first script comes.

use std::rc::Rc;

use crate::kv::errors::{self, CommandError};
use crate::kv::scripts::{Interpreter, Limits, ScriptFlags, Sha1};
use crate::kv::sources::known::{KnownSource, KnownSources};
use crate::kv::sources::libraries::Libraries;
use crate::storage::{Keyspace, StorageError};

/// Scripts that have rows: each is looked up by its SHA-1, so they cost room in the file and nothing else.
const SCRIPTS_MAX: u64 = 100_000;

pub struct Sources {
    pub(super) limits: Limits,
    interpreter: Option<Box<Interpreter>>,
    known: KnownSources,
    /// How many scripts have rows, once somebody has counted.
    rows: Option<u64>,
    /// Those that the file has, once somebody has asked.
    pub(super) libraries: Libraries,
    pub(super) are_libraries_loaded: bool,
    /// Of the group at hand: what is known here is not what the file has, and what others know is not what it will have.
    pub(super) is_changed: bool,
    /// Of the group at hand: scripts are to have rows. Others look for those in the file anyway.
    has_new_rows: bool,
    /// The version of the file's sources that is known here.
    version: u64,
}

/// Numbers of scripts and functions, and what they take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceFigures {
    pub scripts: u64,
    pub libraries: u64,
    pub functions: u64,
    pub source_bytes: u64,
    pub interpreter_bytes: u64,
}

/// What a call runs.
pub struct Runnable {
    pub sha: Sha1,
    pub source: Rc<[u8]>,
    pub flags: ScriptFlags,
}

impl Sources {
    #[must_use]
    pub fn new(limits: Limits) -> Sources {
        let known = KnownSources::default();
        Sources {
            limits,
            interpreter: None,
            known,
            rows: None,
            libraries: Libraries::default(),
            are_libraries_loaded: false,
            is_changed: false,
            has_new_rows: false,
            version: 0,
        }
    }

    pub fn interpreter(&mut self) -> &mut Interpreter {
        let limits = self.limits;
        self.interpreter.get_or_insert_with(|| Box::new(Interpreter::new(limits)))
    }

    /// The source that EVAL brings.
    ///
    /// # Errors
    /// It does not compile.
    pub fn given(&mut self, source: &[u8]) -> Result<Runnable, CommandError> {
        let sha = Sha1::of(source);
        Ok(runnable(sha, self.known_or_learned(sha, source)?))
    }

    /// The source that EVALSHA asks for.
    ///
    /// # Errors
    /// It is not known.
    pub fn named(&mut self, keyspace: &Keyspace, sha: &[u8]) -> Result<Runnable, CommandError> {
        let sha = Sha1::parse(sha).ok_or(CommandError::from(errors::NO_SCRIPT))?;
        let known = match self.known.get(&sha) {
            Some(known) => known,
            None => {
                let source = keyspace.script(&sha.to_string())?.ok_or(CommandError::from(errors::NO_SCRIPT))?;
                self.learn(sha, &source, true)?
            }
        };
        Ok(runnable(sha, known))
    }

    /// Keeps a source: it has a row from now on. Its SHA-1.
    ///
    /// # Errors
    /// It does not compile, or there are too many.
    pub fn load(&mut self, keyspace: &mut Keyspace, source: &[u8]) -> Result<String, CommandError> {
        let sha = Sha1::of(source);
        let hex = sha.to_string();
        let known = self.known_or_learned(sha, source)?;
        if !known.has_row && !keyspace.has_script(&hex)? {
            let rows = self.rows(keyspace)?;
            if rows >= SCRIPTS_MAX {
                return Err(errors::TOO_MANY_SCRIPTS.into());
            }
            keyspace.keep_script(&hex, source)?;
            self.has_new_rows = true;
            self.rows = Some(rows + 1);
        }
        self.known.is_kept(&sha);
        Ok(hex)
    }

    pub fn has(&self, keyspace: &Keyspace, sha: &[u8]) -> Result<bool, StorageError> {
        let Some(sha) = Sha1::parse(sha) else { return Ok(false) };
        Ok(self.known.has(&sha) || keyspace.has_script(&sha.to_string())?)
    }

    pub fn flush(&mut self, keyspace: &mut Keyspace) -> Result<(), StorageError> {
        keyspace.forget_scripts()?;
        self.known.clear();
        self.interpreter().forget_scripts();
        self.is_changed = true;
        self.rows = Some(0);
        Ok(())
    }

    fn known_or_learned(&mut self, sha: Sha1, source: &[u8]) -> Result<KnownSource, CommandError> {
        self.known.get(&sha).map_or_else(|| self.learn(sha, source, false), Ok)
    }

    fn learn(&mut self, sha: Sha1, source: &[u8], has_row: bool) -> Result<KnownSource, CommandError> {
        let flags = self.interpreter().check(source).map_err(|error| CommandError::Reply(error.text()))?;
        Ok(self.known.add(sha, source, flags, has_row))
    }

    fn rows(&self, keyspace: &Keyspace) -> Result<u64, StorageError> {
        self.rows.map_or_else(|| keyspace.scripts_count(), Ok)
    }

    /// What there is, as the figures tell it.
    #[must_use]
    pub fn figures(&self) -> SourceFigures {
        let (without_row, bytes) = self.known.size();
        let (libraries, functions, library_bytes) = self.libraries.size();
        SourceFigures {
            scripts: self.rows.unwrap_or(0) + without_row as u64,
            libraries: libraries as u64,
            functions: functions as u64,
            source_bytes: (bytes + library_bytes) as u64,
            interpreter_bytes: self.interpreter.as_ref().map_or(0, |interpreter| interpreter.used_bytes() as u64),
        }
    }

    /// How many scripts without rows had to go since the last time that somebody asked.
    pub fn take_evicted(&mut self) -> u64 {
        std::mem::take(&mut self.known.evicted)
    }

    /// At the writer's start: how many there are, and the libraries, so that the first call need not wait for them.
    pub fn begin(&mut self, keyspace: &Keyspace) -> Result<(), StorageError> {
        self.rows = Some(self.rows(keyspace)?);
        self.load_all(keyspace)
    }

    // ---- the group, and other threads

    /// True when the group that was committed has changed something that other threads have to hear of.
    pub fn committed(&mut self) -> bool {
        self.has_new_rows = false;
        std::mem::take(&mut self.is_changed)
    }

    /// The group is undone, and what it has changed here with it.
    pub fn rolled_back(&mut self) {
        if self.is_changed || self.has_new_rows {
            self.forget();
        }
        (self.is_changed, self.has_new_rows) = (false, false);
    }

    /// Before a script: the file's sources have this version now.
    pub fn look(&mut self, version: u64) {
        if std::mem::replace(&mut self.version, version) != version {
            self.forget();
        }
    }

    /// Nothing that was learned holds any more. Also after a panic, which leaves an interpreter as nobody knows it.
    pub fn forget(&mut self) {
        self.interpreter = None;
        self.known.clear();
        self.rows = None;
        self.libraries = Libraries::default();
        self.are_libraries_loaded = false;
    }
}

fn runnable(sha: Sha1, KnownSource { source, flags, .. }: KnownSource) -> Runnable {
    Runnable { sha, source, flags }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::fixture::Fixture;

    /// A library of about so many bytes.
    fn library(name: &str, bytes: usize) -> Vec<u8> {
        let filling = " ".repeat(bytes);
        format!("#!lua name={name}\n{filling}redis.register_function('{name}', function() return 1 end)").into_bytes()
    }

    #[test]
    fn others_hear_of_what_they_know_otherwise_and_not_of_new_scripts() {
        let (mut fixture, mut sources) = (Fixture::new(), Sources::new(Limits::default()));
        let sha = fixture.write(|keyspace| sources.load(keyspace, b"return 1").unwrap());
        assert!(!sources.committed(), "whoever wants it looks for it in the file");
        fixture.write(|keyspace| sources.load_library(keyspace, &library("one", 0), false).unwrap());
        assert!(sources.committed() && !sources.committed());
        // A group that is undone.
        fixture.writer.begin_write(fixture.now_ms).unwrap();
        let undone = sources.load(&mut fixture.writer, b"return 2").unwrap();
        fixture.writer.rollback().unwrap();
        sources.rolled_back();
        fixture.write(|keyspace| {
            assert!(
                sources.has(keyspace, sha.as_bytes()).unwrap() && !sources.has(keyspace, undone.as_bytes()).unwrap()
            );
            assert!(sources.function(keyspace, b"ONE").unwrap().is_some());
            sources.flush(keyspace).unwrap();
        });
        assert!(sources.committed());
        fixture.write(|keyspace| assert!(!sources.has(keyspace, sha.as_bytes()).unwrap()));
    }

    #[test]
    fn a_library_that_is_replaced_makes_room_for_the_one_in_its_place() {
        let (mut fixture, limits) = (Fixture::new(), Limits { memory_max: 4 << 20, ..Limits::default() });
        let mut sources = Sources::new(limits);
        let large = library("one", limits.memory_max / 4 * 2 / 3);
        fixture.write(|keyspace| {
            sources.load_library(keyspace, &large, false).unwrap();
            sources.load_library(keyspace, &large, true).unwrap();
            let beside = sources.load_library(keyspace, &library("two", limits.memory_max / 8), false);
            assert_eq!(beside.unwrap_err().text(), errors::TOO_MANY_LIBRARIES);
        });
        assert_eq!(sources.figures().source_bytes, large.len() as u64);
    }
}
