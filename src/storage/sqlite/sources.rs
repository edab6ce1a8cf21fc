//! The sources of scripts, and libraries of functions: rows that no key leads to. A group's changes of them wait beside its batch, and go
//! into the tables with its commit.

use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{OptionalExtension, params};

use super::base::Base;
use crate::storage::error::Result;

/// A library as it lies in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LibraryRow {
    pub name: String,
    pub engine: String,
    /// With its first line.
    pub code: Vec<u8>,
}

/// A change of the group at hand.
#[derive(Debug)]
pub(super) enum SourceChange {
    Script { sha: String, source: Vec<u8> },
    NoScripts,
    Library(LibraryRow),
    NoLibrary(String),
    NoLibraries,
}

impl Base {
    /// The source of a script, as the present transaction sees it.
    pub fn script(&self, sha: &str) -> Result<Option<Vec<u8>>> {
        if let Some(changed) = self.changed_script(sha) {
            return Ok(changed.map(<[u8]>::to_vec));
        }
        let mut statement = self.connection.prepare_cached("SELECT source FROM script WHERE sha = ?1")?;
        Ok(statement.query_row([sha], |row| bytes(row.get_ref(0)?)).optional()?)
    }

    /// Whether `script` finds one, without reading it.
    pub fn has_script(&self, sha: &str) -> Result<bool> {
        if let Some(changed) = self.changed_script(sha) {
            return Ok(changed.is_some());
        }
        Ok(self.connection.prepare_cached("SELECT 1 FROM script WHERE sha = ?1")?.exists([sha])?)
    }

    /// What the present transaction has made of a script; `None`: nothing.
    fn changed_script(&self, sha: &str) -> Option<Option<&[u8]>> {
        self.sources.iter().rev().find_map(|change| match change {
            SourceChange::Script { sha: changed, source } if changed == sha => Some(Some(&source[..])),
            SourceChange::NoScripts => Some(None),
            _ => None,
        })
    }

    /// How many scripts have rows; of the committed ones.
    pub fn scripts_count(&self) -> Result<u64> {
        Ok(self.connection.query_row("SELECT count(*) FROM script", [], |row| row.get(0))?)
    }

    /// All libraries that are committed, by name.
    pub fn libraries(&self) -> Result<Vec<LibraryRow>> {
        let mut statement = self.connection.prepare_cached("SELECT name, engine, code FROM library ORDER BY name")?;
        let rows = statement.query_map([], |row| {
            Ok(LibraryRow { name: row.get(0)?, engine: row.get(1)?, code: bytes(row.get_ref(2)?)? })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// True exactly when the present transaction changes sources.
    #[must_use]
    pub fn changes_sources(&self) -> bool {
        !self.sources.is_empty()
    }

    pub fn keep_script(&mut self, sha: &str, source: &[u8]) -> Result<()> {
        self.change_sources(SourceChange::Script { sha: sha.to_owned(), source: source.to_vec() })
    }

    pub fn forget_scripts(&mut self) -> Result<()> {
        self.change_sources(SourceChange::NoScripts)
    }

    /// Keeps a library, in the place of one of the same name.
    pub fn keep_library(&mut self, library: LibraryRow) -> Result<()> {
        self.change_sources(SourceChange::Library(library))
    }

    pub fn forget_library(&mut self, name: &str) -> Result<()> {
        self.change_sources(SourceChange::NoLibrary(name.to_owned()))
    }

    pub fn forget_libraries(&mut self) -> Result<()> {
        self.change_sources(SourceChange::NoLibraries)
    }

    fn change_sources(&mut self, change: SourceChange) -> Result<()> {
        self.check_writing()?;
        self.sources.push(change);
        Ok(())
    }

    /// Before COMMIT. They stay until it has returned: a group may be committed by another transaction than the one that it began with.
    pub(super) fn store_sources(&self) -> Result<()> {
        for change in &self.sources {
            let connection = &self.connection;
            match change {
                SourceChange::Script { sha, source } => connection
                    .prepare_cached("REPLACE INTO script (sha, source) VALUES (?1, ?2)")?
                    .execute(params![sha, TextOrBlob(source)])?,
                SourceChange::NoScripts => connection.execute("DELETE FROM script", [])?,
                SourceChange::Library(LibraryRow { name, engine, code }) => connection
                    .prepare_cached("REPLACE INTO library (name, engine, code) VALUES (?1, ?2, ?3)")?
                    .execute(params![name, engine, TextOrBlob(code)])?,
                SourceChange::NoLibrary(name) => {
                    connection.prepare_cached("DELETE FROM library WHERE name = ?1")?.execute([name])?
                }
                SourceChange::NoLibraries => connection.execute("DELETE FROM library", [])?,
            };
        }
        Ok(())
    }
}

/// Readable with `sqlite3` where it can be.
struct TextOrBlob<'a>(&'a [u8]);

impl ToSql for TextOrBlob<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        // A NUL would end the text for most who read it.
        let is_text = !self.0.contains(&0) && std::str::from_utf8(self.0).is_ok();
        Ok(ToSqlOutput::Borrowed(if is_text { ValueRef::Text(self.0) } else { ValueRef::Blob(self.0) }))
    }
}

fn bytes(value: ValueRef<'_>) -> rusqlite::Result<Vec<u8>> {
    Ok(value.as_bytes().map_err(rusqlite::Error::from)?.to_vec())
}

#[cfg(test)]
mod tests {
    use super::LibraryRow;
    use crate::storage::fixture::{Fixture, NOW_MS};

    fn library(name: &str, code: &[u8]) -> LibraryRow {
        LibraryRow { name: name.to_owned(), engine: "LUA".to_owned(), code: code.to_vec() }
    }

    #[test]
    fn sources_are_kept_with_their_group_and_undone_with_it() {
        let mut fixture = Fixture::new();
        fixture.write(|keyspace| {
            keyspace.keep_script("a", b"return 1").unwrap();
            keyspace.keep_script("b", b"return '\xff\0'").unwrap();
            assert_eq!(keyspace.script("a").unwrap().as_deref(), Some(&b"return 1"[..]), "in its own group");
            assert!(keyspace.has_script("a").unwrap() && !keyspace.has_script("c").unwrap());
            keyspace.keep_library(library("one", b"#!lua name=one\n")).unwrap();
            keyspace.keep_library(library("two", b"#!lua name=two\n\xff")).unwrap();
        });
        fixture.write(|keyspace| {
            assert_eq!(keyspace.script("b").unwrap().as_deref(), Some(&b"return '\xff\0'"[..]));
            assert!(keyspace.has_script("b").unwrap());
            assert_eq!(keyspace.scripts_count().unwrap(), 2);
            let both = [library("one", b"#!lua name=one\n"), library("two", b"#!lua name=two\n\xff")];
            assert_eq!(keyspace.libraries().unwrap(), both);
        });
        fixture.writer.begin_write(NOW_MS).unwrap();
        fixture.writer.forget_scripts().unwrap();
        fixture.writer.forget_libraries().unwrap();
        fixture.writer.keep_script("c", b"").unwrap();
        assert_eq!((fixture.writer.script("a").unwrap(), fixture.writer.has_script("a").unwrap()), (None, false));
        fixture.writer.rollback().unwrap();
        fixture.write(|keyspace| {
            assert!(keyspace.script("a").unwrap().is_some() && keyspace.script("c").unwrap().is_none());
            keyspace.forget_library("one").unwrap();
            keyspace.forget_scripts().unwrap();
            keyspace.keep_script("c", b"return 2").unwrap();
        });
        fixture.write(|keyspace| {
            assert_eq!((keyspace.script("a").unwrap(), keyspace.scripts_count().unwrap()), (None, 1));
            assert_eq!(keyspace.libraries().unwrap().len(), 1);
        });
    }

    #[test]
    fn sources_survive_a_transaction_that_is_begun_again() {
        let mut fixture = Fixture::new();
        fixture.write(|keyspace| {
            keyspace.keep_script("a", b"return 1").unwrap();
            assert!(keyspace.recover().unwrap());
        });
        fixture.write(|keyspace| assert!(keyspace.script("a").unwrap().is_some()));
    }
}
