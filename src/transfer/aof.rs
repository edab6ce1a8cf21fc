//! An append-only directory, or a single file of before Redis 7: what it begins with (an RDB file, or commands), then commands.
//!
//! ```text
//! manifest       file NAME seq NUMBER type LETTER, a line for each file: b the base, i what follows, h what is history
//! ```

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::bytes::Bytes;
use super::command_log::{CommandLog, Next};
use super::fault::{Fault, Result};
use super::rdb_file::{FileKey, RdbFile, Visitor};
use crate::kv::formats::rdb::Element;

const MANIFEST: &str = ".manifest";
const DIRECTORY: &str = "appendonlydir";
const SINGLE: &str = "appendonly.aof";
const SNAPSHOT: &str = "dump.rdb";

/// Files in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aof {
    pub files: Vec<PathBuf>,
}

/// What a path is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    Rdb(PathBuf),
    Aof(Aof),
}

/// Takes what a log has, in its order.
pub trait Log: Visitor {
    fn command(&mut self, command: Vec<Vec<u8>>) -> Result<()>;
}

/// What the first reading of an append-only directory has found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    pub commands: u64,
    /// Commands of the last file that count: what is behind them is cut, or a transaction without its end.
    last_commands: u64,
    /// Bytes behind the last command that counts.
    pub bytes_cut: u64,
}

/// What there is at a path: a file, or the directory of a Redis.
///
/// # Errors
/// Nothing that can be moved.
pub fn find(path: &Path) -> Result<Found> {
    if !path.is_dir() {
        let name = |name: &str| path.to_string_lossy().ends_with(name);
        if name(MANIFEST) {
            return Ok(Found::Aof(read_manifest(path)?));
        }
        return if is_log(path)? {
            Ok(Found::Aof(Aof { files: vec![path.to_owned()] }))
        } else {
            Ok(Found::Rdb(path.to_owned()))
        };
    }
    for directory in [path, &path.join(DIRECTORY)] {
        if let Some(manifest) = manifest_in(directory)? {
            return Ok(Found::Aof(read_manifest(&manifest)?));
        }
    }
    if path.join(SINGLE).exists() {
        return Ok(Found::Aof(Aof { files: vec![path.join(SINGLE)] }));
    }
    if path.join(SNAPSHOT).exists() {
        return Ok(Found::Rdb(path.join(SNAPSHOT)));
    }
    Err(Fault::Input(format!("has no {SINGLE}{MANIFEST}, no {SINGLE} and no {SNAPSHOT}; name the file")))
}

/// An RDB file with commands behind it is a log as well.
fn is_log(path: &Path) -> Result<bool> {
    let mut first = [0; 5];
    let read = File::open(path)?.read(&mut first)?;
    Ok(matches!(&first[..read], [b'*' | b'#', ..]))
}

fn manifest_in(directory: &Path) -> Result<Option<PathBuf>> {
    if !directory.is_dir() {
        return Ok(None);
    }
    let mut found = None;
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(MANIFEST) && found.replace(path).is_some() {
            return Err(Fault::Input(format!("has several manifests in {}; name one", directory.display())));
        }
    }
    Ok(found)
}

fn read_manifest(path: &Path) -> Result<Aof> {
    let text = fs::read_to_string(path)?;
    let directory = path.parent().unwrap_or(Path::new("."));
    let (mut base, mut increments) = (Vec::new(), Vec::new());
    let unreadable = |line: &str| Fault::Input(format!("{}: a line that can't be understood: {line}", path.display()));
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let Some((file, number, kind)) = manifest_line(line) else { return Err(unreadable(line)) };
        match kind {
            "b" => base.push((number, directory.join(file))),
            "i" => increments.push((number, directory.join(file))),
            "h" => {}
            _ => return Err(unreadable(line)),
        }
    }
    increments.sort();
    let files: Vec<PathBuf> = base.into_iter().chain(increments).map(|(_, file)| file).collect();
    if files.is_empty() { Err(Fault::Input(format!("{} names no file", path.display()))) } else { Ok(Aof { files }) }
}

/// Name, number and type. A name is quoted when it has something strange; it never leads out of its directory.
fn manifest_line(line: &str) -> Option<(&str, u64, &str)> {
    let rest = line.strip_prefix("file ")?;
    let (file, rest) = match rest.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"')?,
        None => rest.split_once(' ')?,
    };
    let words: Vec<&str> = rest.split_whitespace().collect();
    let value = |name: &str| words.iter().position(|word| *word == name).and_then(|at| words.get(at + 1)).copied();
    let is_plain = !file.is_empty() && !file.contains(['/', '\\']);
    is_plain.then_some((file, value("seq")?.parse().ok()?, value("type")?))
}

impl Aof {
    /// Bytes of all files.
    ///
    /// # Errors
    /// One is missing.
    pub fn bytes(&self) -> Result<u64> {
        self.files.iter().map(|file| Ok(fs::metadata(file).map_err(|error| Fault::from(error).of(file))?.len())).sum()
    }

    /// The first reading: shows the keys that it begins with, and counts the commands behind.
    ///
    /// # Errors
    /// A file is damaged, or one but the last is cut.
    pub fn check(&self, bytes_max: u64, visitor: &mut impl Visitor) -> Result<Checked> {
        let mut checked = Checked::default();
        let mut before = 0;
        for (number, file) in self.files.iter().enumerate() {
            let read = (|| {
                if number > 0 && !has_only_commands(file)? {
                    return Err(Fault::Input("begins with an RDB file, and is not the first".to_owned()));
                }
                let mut log = begin(file, bytes_max, visitor)?;
                let mut commands = 0;
                let (mut whole, mut end, mut depth) = (0, log.bytes().position(), 0_u32);
                let ended = loop {
                    match log.next()? {
                        Next::Command(command) => {
                            commands += 1;
                            depth = depth_behind(depth, &command);
                            if depth == 0 {
                                (whole, end) = (commands, log.bytes().position());
                            }
                            visitor.at(before + log.bytes().position())?;
                        }
                        ended => break ended,
                    }
                };
                if number + 1 < self.files.len() && (ended == Next::Cut || whole < commands) {
                    return Err(Fault::Input("is cut, and another file follows it".to_owned()));
                }
                checked.commands += whole;
                checked.last_commands = whole;
                let length = fs::metadata(file)?.len();
                // Behind the last command there may be an annotation.
                checked.bytes_cut =
                    if ended == Next::End && whole == commands { 0 } else { length.saturating_sub(end) };
                before += length;
                Ok(())
            })();
            read.map_err(|fault| fault.of(file))?;
        }
        Ok(checked)
    }

    /// The RDB file that it begins with, if it does.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn base(&self) -> Result<Option<&Path>> {
        let Some(first) = self.files.first() else { return Ok(None) };
        Ok(if has_only_commands(first).map_err(|fault| fault.of(first))? { None } else { Some(first) })
    }

    /// The second reading: shows all that counts, but for what `base` has.
    ///
    /// # Errors
    /// What the log says, or files that have changed since.
    pub fn read(&self, bytes_max: u64, checked: &Checked, log: &mut impl Log) -> Result<()> {
        let mut before = 0;
        for (number, file) in self.files.iter().enumerate() {
            let is_last = number + 1 == self.files.len();
            let mut commands = begin(file, bytes_max, &mut Unseen).map_err(|fault| fault.of(file))?;
            let mut left = if is_last { checked.last_commands } else { u64::MAX };
            while left > 0
                && let Next::Command(command) = commands.next().map_err(|fault| fault.of(file))?
            {
                log.command(command)?;
                log.at(before + commands.bytes().position())?;
                left -= 1;
            }
            if is_last && left > 0 {
                return Err(Fault::Input("has changed while it was read".to_owned()).of(file));
            }
            before += fs::metadata(file)?.len();
        }
        Ok(())
    }
}

/// Looks at nothing: what is read over.
struct Unseen;

impl Visitor for Unseen {
    fn begin(&mut self, _: &FileKey<'_>) -> Result<()> {
        Ok(())
    }

    fn element(&mut self, _: Element<'_>) -> Result<()> {
        Ok(())
    }

    fn end(&mut self, _: u64, _: Option<&[u8]>) -> Result<()> {
        Ok(())
    }

    fn library(&mut self, _: &[u8]) -> Result<()> {
        Ok(())
    }

    fn unmoved(&mut self, _: &str, _: &[u8]) {}

    fn at(&mut self, _: u64) -> Result<()> {
        Ok(())
    }
}

/// Or nothing at all.
fn has_only_commands(file: &Path) -> Result<bool> {
    Ok(is_log(file)? || fs::metadata(file)?.len() == 0)
}

/// Shows the keys that a file begins with, if it begins so.
fn begin(file: &Path, bytes_max: u64, visitor: &mut impl Visitor) -> Result<CommandLog<File>> {
    let input = File::open(file)?;
    let bytes = if has_only_commands(file)? {
        Bytes::new(input)
    } else {
        let mut rdb = RdbFile::open(input, bytes_max)?;
        rdb.read(visitor)?;
        rdb.into_bytes()
    };
    Ok(CommandLog::new(bytes, bytes_max))
}

/// How many transactions are open behind this command.
fn depth_behind(depth: u32, command: &[Vec<u8>]) -> u32 {
    match command {
        [name] if name.eq_ignore_ascii_case(b"multi") => 1,
        [name] if name.eq_ignore_ascii_case(b"exec") || name.eq_ignore_ascii_case(b"discard") => 0,
        _ => depth,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_names_files_in_their_order() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("appendonly.aof.manifest");
        let read = |text: &str| {
            fs::write(&path, text).unwrap();
            let names =
                |aof: Aof| aof.files.iter().map(|file| file.file_name().unwrap().to_owned()).collect::<Vec<_>>();
            read_manifest(&path).map(names).map_err(|fault| fault.to_string())
        };
        let text = "# by hand\nfile a.aof.2.incr.aof seq 2 type i\nfile a.aof.1.base.rdb seq 1 type b\n\
                    file old.aof seq 1 type h\nfile \"b c.aof\" seq 10 type i startoffset 7\n";
        assert_eq!(read(text).unwrap(), ["a.aof.1.base.rdb", "a.aof.2.incr.aof", "b c.aof"]);
        for wrong in [
            "file ../x seq 1 type b\n",
            "file \"a\\x00\" seq 1 type b\n",
            "file a seq x type b\n",
            "file a seq 1 type q\n",
            "file a seq 1\n",
            "a seq 1 type b\n",
            "",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
