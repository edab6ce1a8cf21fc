//! Libraries of functions as they are loaded, and what changes them: in the interpreter, and in their rows. A change that fails has changed
//! nothing.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use crate::kv::errors::{self, CommandError};
use crate::kv::scripts::{Function, Host, LogLevel, Over, ScriptError, ScriptFlags, library_name};
use crate::kv::sources::store::Sources;
use crate::resp::{Version, encode};
use crate::storage::{Keyspace, LibraryRow, StorageError};
use crate::sys::clock;

/// A library, by whose name it is kept.
#[derive(Clone)]
pub struct KnownLibrary {
    /// With its first line.
    pub code: Vec<u8>,
    pub functions: Vec<Function>,
}

/// What a function belongs to.
#[derive(Clone)]
pub struct KnownFunction {
    pub library: String,
    /// As it was registered.
    pub name: Vec<u8>,
    pub flags: ScriptFlags,
}

/// What becomes of the libraries that are there when others are restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// They stay, and those that are restored have other names.
    Append,
    /// They stay where none that is restored has their name.
    Replace,
    Flush,
}

#[derive(Default)]
pub(super) struct Libraries {
    by_name: BTreeMap<String, KnownLibrary>,
    /// By their names in lower case: FCALL does not tell cases apart.
    functions: HashMap<Vec<u8>, KnownFunction>,
    /// Of all code.
    bytes: usize,
}

/// As Redis names the one that there is.
pub const ENGINE: &str = "LUA";
/// More libraries are no accident: each process that runs scripts has all of them.
const LIBRARIES_MAX: usize = 1024;
/// As long as Redis lets a library register its functions.
const LOAD_TIME_MAX: Duration = Duration::from_millis(500);

impl Libraries {
    fn add(&mut self, name: String, library: KnownLibrary) {
        for Function { name: function, flags, .. } in &library.functions {
            let known = KnownFunction { library: name.clone(), name: function.clone(), flags: *flags };
            self.functions.insert(function.to_ascii_lowercase(), known);
        }
        self.bytes += library.code.len();
        self.by_name.insert(name, library);
    }

    fn remove(&mut self, name: &str) -> Option<KnownLibrary> {
        let library = self.by_name.remove(name)?;
        self.bytes -= library.code.len();
        self.functions.retain(|_, function| function.library != name);
        Some(library)
    }

    /// The name of a function that another library has.
    fn collision(&self, functions: &[Function]) -> Option<Vec<u8>> {
        let is_there = |function: &&Function| self.functions.contains_key(&function.name.to_ascii_lowercase());
        functions.iter().find(is_there).map(|function| function.name.clone())
    }

    pub(super) fn size(&self) -> (usize, usize, usize) {
        (self.by_name.len(), self.functions.len(), self.bytes)
    }
}

impl Sources {
    /// All libraries, by name.
    pub fn libraries(&mut self, keyspace: &Keyspace) -> Result<&BTreeMap<String, KnownLibrary>, StorageError> {
        self.load_all(keyspace)?;
        Ok(&self.libraries.by_name)
    }

    /// The function of this name, whatever its case.
    pub fn function(&mut self, keyspace: &Keyspace, name: &[u8]) -> Result<Option<KnownFunction>, StorageError> {
        self.load_all(keyspace)?;
        Ok(self.libraries.functions.get(&name.to_ascii_lowercase()).cloned())
    }

    /// Keeps a library: its name.
    ///
    /// # Errors
    /// Its code fails, or has another library's name or function, or there are too many.
    pub fn load_library(
        &mut self,
        keyspace: &mut Keyspace,
        code: &[u8],
        may_replace: bool,
    ) -> Result<String, CommandError> {
        self.load_all(keyspace)?;
        let name = self.load_code(code, may_replace, errors::library_exists)?;
        keyspace.keep_library(row_of(name.clone(), code))?;
        self.is_changed = true;
        Ok(name)
    }

    /// # Errors
    /// There is no such library.
    pub fn delete_library(&mut self, keyspace: &mut Keyspace, name: &[u8]) -> Result<(), CommandError> {
        self.load_all(keyspace)?;
        let name = std::str::from_utf8(name).map_err(|_| CommandError::from(errors::LIBRARY_NOT_FOUND))?;
        if self.libraries.remove(name).is_none() {
            return Err(errors::LIBRARY_NOT_FOUND.into());
        }
        self.interpreter().unload_library(name.as_bytes());
        keyspace.forget_library(name)?;
        self.is_changed = true;
        Ok(())
    }

    pub fn flush_libraries(&mut self, keyspace: &mut Keyspace) -> Result<(), StorageError> {
        self.load_all(keyspace)?;
        keyspace.forget_libraries()?;
        self.unload_all();
        self.is_changed = true;
        Ok(())
    }

    /// # Errors
    /// As of `load_library`: then all is as it was.
    pub fn restore_libraries(
        &mut self,
        keyspace: &mut Keyspace,
        codes: &[Vec<u8>],
        policy: Policy,
    ) -> Result<(), CommandError> {
        self.load_all(keyspace)?;
        let before = self.libraries.by_name.clone();
        let exists = errors::restored_library_exists;
        if policy == Policy::Flush {
            self.unload_all();
        }
        let loaded: Result<Vec<String>, CommandError> =
            codes.iter().map(|code| self.load_code(code, policy == Policy::Replace, exists)).collect();
        let names = match loaded {
            Ok(names) => names,
            Err(error) => {
                self.unload_all();
                before.into_iter().for_each(|(name, library)| self.load_again(name, &library.code));
                return Err(error);
            }
        };
        if policy == Policy::Flush {
            keyspace.forget_libraries()?;
        }
        for (name, code) in names.into_iter().zip(codes) {
            keyspace.keep_library(row_of(name, code))?;
        }
        self.is_changed = true;
        Ok(())
    }

    /// Loads a library beside the others, or in the place of one of its name. Its row is the caller's affair.
    fn load_code(
        &mut self,
        code: &[u8],
        may_replace: bool,
        exists: fn(&[u8]) -> CommandError,
    ) -> Result<String, CommandError> {
        let said = library_name(code).map_err(|error| CommandError::Reply(error.text()))?;
        let name = String::from_utf8_lossy(&said).into_owned();
        let replaced = self.libraries.by_name.get(&name);
        if replaced.is_some() && !may_replace {
            return Err(exists(&said));
        }
        let count = self.libraries.by_name.len() + usize::from(replaced.is_none());
        let bytes = self.libraries.bytes - replaced.map_or(0, |library| library.code.len()) + code.len();
        if count > LIBRARIES_MAX || bytes > self.limits.memory_max / 4 {
            return Err(errors::TOO_MANY_LIBRARIES.into());
        }
        let loaded = self.interpreter().load_library(code, &mut Loading::begin()).map_err(refused)?;
        let before = self.libraries.remove(&name);
        if let Some(function) = self.libraries.collision(&loaded.functions) {
            self.interpreter().unload_library(&said);
            if let Some(before) = before {
                self.load_again(name, &before.code);
            }
            return Err(errors::function_exists(&function));
        }
        self.libraries.add(name.clone(), KnownLibrary { code: code.to_vec(), functions: loaded.functions });
        Ok(name)
    }

    fn unload_all(&mut self) {
        for name in std::mem::take(&mut self.libraries).by_name.keys() {
            self.interpreter().unload_library(name.as_bytes());
        }
    }

    /// Those of the file, once.
    pub(super) fn load_all(&mut self, keyspace: &Keyspace) -> Result<(), StorageError> {
        if self.are_libraries_loaded {
            return Ok(());
        }
        for LibraryRow { name, code, .. } in keyspace.libraries()? {
            self.load_again(name, &code);
        }
        self.are_libraries_loaded = true;
        Ok(())
    }

    /// One that was loaded before, here or by another process.
    fn load_again(&mut self, name: String, code: &[u8]) {
        match self.interpreter().load_library(code, &mut Loading::again()) {
            Ok(library) => {
                self.libraries.add(name, KnownLibrary { code: code.to_vec(), functions: library.functions });
            }
            Err(error) => {
                tracing::error!(error = %error.text(), "a library of functions can't be loaded any more");
            }
        }
    }
}

fn row_of(name: String, code: &[u8]) -> LibraryRow {
    LibraryRow { name, engine: ENGINE.to_owned(), code: code.to_vec() }
}

fn refused(error: ScriptError) -> CommandError {
    match error {
        ScriptError::Ended(Over::OutOfTime) => errors::FUNCTION_LOAD_TIMEOUT.into(),
        error => CommandError::Reply(error.text()),
    }
}

/// What a library may do while it registers its functions: nothing but that, and not for long.
struct Loading {
    until: Instant,
}

impl Loading {
    fn begin() -> Loading {
        Loading { until: clock::monotonic() + LOAD_TIME_MAX }
    }

    /// Of code that was in time before. On a slower machine it is still there.
    fn again() -> Loading {
        Loading { until: clock::monotonic() + 20 * LOAD_TIME_MAX }
    }
}

impl Host for Loading {
    fn call(&mut self, _args: &[&[u8]], _version: Version, reply: &mut Vec<u8>) {
        encode::error(errors::NOT_FROM_SCRIPT, reply);
    }

    fn may_call(&mut self, _args: &[&[u8]]) -> Result<bool, Cow<'static, str>> {
        Ok(false)
    }

    fn log(&mut self, _level: LogLevel, message: &[u8]) {
        tracing::debug!(bytes = message.len(), "a library says something while it is loaded");
    }

    fn is_over(&mut self) -> Option<Over> {
        (clock::monotonic() >= self.until).then_some(Over::OutOfTime)
    }
}
