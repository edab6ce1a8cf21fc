//! The users in the writer: changed within a group, undone with a call or with all of it, committed with it, and then there for every process
//! to see, before anybody is answered. Where a file of users rules, that is read here, too.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use crate::kv::call::UserRows;
use crate::kv::commands::permissions::vocabulary;
use crate::kv::errors::{self, CommandError};
use crate::kv::shared::Shared;
use crate::kv::shared::hand_offs::HandOff;
use crate::kv::shared::runtime::Knob;
use crate::kv::shared::user_list::USER_LIST_BYTES_MAX;
use crate::kv::users::{self, DEFAULT_NAME, Defaults, Known, User, Users};
use crate::storage::{Keyspace, StorageError, UserChange, UserRow};

pub struct Accounts {
    shared: Arc<Shared>,
    /// With what the group at hand has changed. Of `default` what its row says: CONFIG SET may have given it another password since.
    users: Users,
    /// So many changes of that password are in it.
    password_changes: u64,
    /// How to undo the group at hand, the last change last.
    undo: Vec<Undo>,
    /// Where the call at hand begins in it.
    begun: usize,
}

enum Undo {
    One(Vec<u8>, Option<Known>),
    All(Users),
    PasswordChanges(u64),
}

impl Accounts {
    /// Reads the file of users, if there is to be one, before anybody is served.
    pub fn load_file(shared: &Arc<Shared>) -> Result<(), String> {
        if shared.settings.acl_file.is_some() {
            let mut accounts = Accounts::of(shared);
            let users = accounts.file()?;
            accounts.adopt(users);
        }
        Ok(())
    }

    fn of(shared: &Arc<Shared>) -> Accounts {
        Accounts {
            shared: Arc::clone(shared),
            users: Users::default(),
            password_changes: 0,
            undo: Vec::new(),
            begun: 0,
        }
    }

    /// The users as the writer finds them, which all processes see from here on.
    ///
    /// # Errors
    /// The rows can't be read.
    pub fn open(shared: &Arc<Shared>, keyspace: &Keyspace) -> Result<Accounts, StorageError> {
        let mut accounts = Accounts::of(shared);
        let listed = shared.user_list.read().ok_or_else(|| StorageError::Internal("the users can't be read".into()))?;
        let (before, _) = users::parse_list(&listed.lines, &Users::default(), Defaults::default(), vocabulary());
        if shared.settings.acl_file.is_some() {
            (accounts.users, accounts.password_changes) = (before, listed.password_changes);
            return Ok(accounts);
        }
        let mut text = Vec::new();
        for row in keyspace.user_rows()? {
            users::put_line(&mut text, row.id, &row.name, &row.rules);
        }
        let (users, unknown) = users::parse_list(&text, &before, Defaults::default(), vocabulary());
        for name in unknown {
            tracing::error!(user = %name.escape_ascii(), "a user has rules that this version does not know: nobody can log in as it");
        }
        let users = users.with_default(vocabulary());
        // A predecessor may have committed what it could not tell any more. What CONFIG SET did to the password of `default` came before that.
        let has_same_default = users.rules_of(DEFAULT_NAME) == before.rules_of(DEFAULT_NAME);
        accounts.password_changes = match listed.version {
            0 => 0,
            _ if has_same_default => listed.password_changes,
            _ => shared.runtime.password_changes(),
        };
        let is_same = listed.version > 0 && users.lines() == listed.lines;
        accounts.users = users;
        if !is_same {
            accounts.publish();
        }
        Ok(accounts)
    }

    /// A call begins.
    pub fn begin_call(&mut self) {
        self.begun = self.undo.len();
    }

    pub fn undo_call(&mut self) {
        self.undo_to(self.begun);
    }

    #[must_use]
    pub fn has_changes(&self) -> bool {
        !self.undo.is_empty()
    }

    /// Right before the commit of the group: what of it is to be durable.
    pub fn record(&self, keyspace: &mut Keyspace) -> Result<(), StorageError> {
        let changed = self.undo.iter().filter_map(|undo| if let Undo::One(name, _) = undo { Some(name) } else { None });
        let names: BTreeSet<&Vec<u8>> = changed.collect();
        names.into_iter().try_for_each(|name| {
            keyspace.record_user(match self.users.named(name) {
                Some(user) => UserChange::Put(UserRow {
                    name: name.clone(),
                    id: user.id,
                    rules: self.users.rules_of(name).unwrap_or_default().to_vec(),
                }),
                None => UserChange::Remove(name.clone()),
            })
        })
    }

    /// The group is committed: every process sees it before anybody is answered.
    pub fn committed(&mut self) {
        if self.has_changes() {
            self.undo.clear();
            self.begun = 0;
            self.publish();
        }
    }

    pub fn rolled_back(&mut self) {
        self.undo_to(0);
        self.begun = 0;
    }

    /// Between groups: reads the file, if somebody has asked for that by a signal, maybe while a writer before this one died.
    pub fn look_at_file(&mut self) {
        let hand_offs = &self.shared.hand_offs;
        let asked = hand_offs.read(HandOff::UsersFileAsked);
        if asked == hand_offs.read(HandOff::UsersFileRead) {
            return;
        }
        let read = self.file();
        self.shared.hand_offs.set(HandOff::UsersFileRead, asked);
        match read {
            Ok(users) => {
                self.adopt(users);
                tracing::info!(users = self.users.all().len(), "the file of users was read again");
            }
            Err(error) => tracing::error!(%error, "the file of users can't be used: the users stay as they are"),
        }
    }

    /// What the file says holds, also for the password of `default`.
    fn adopt(&mut self, users: Users) {
        self.users = users;
        self.password_changes = self.shared.runtime.password_changes();
        self.publish();
    }

    fn publish(&self) {
        let is_written = self.shared.user_list.write(self.password_changes, &self.users.lines());
        assert!(is_written, "the users' length was checked");
    }

    fn undo_to(&mut self, count: usize) {
        while self.undo.len() > count {
            match self.undo.pop() {
                Some(Undo::One(name, None)) => drop(self.users.remove(&name)),
                Some(Undo::One(_, Some(known))) => drop(self.users.put(known)),
                Some(Undo::All(users)) => self.users = users,
                Some(Undo::PasswordChanges(changes)) => self.password_changes = changes,
                None => return,
            }
        }
    }

    /// What the file says; `Err`: what is wrong with it.
    fn file(&self) -> Result<Users, String> {
        let path = self.shared.settings.acl_file.as_deref().ok_or(errors::USERS_ARE_ROWS)?;
        let name = path.display().to_string();
        let text = read_file(path, &name)?;
        let users = users::parse_file(&name, &text, &self.users, UserRows::defaults(self), vocabulary())?;
        let users = users.with_default(vocabulary());
        if users.lines_len() > USER_LIST_BYTES_MAX {
            return Err(errors::users_file_too_large(&name));
        }
        Ok(users)
    }

    fn check_rows(&self) -> Result<(), CommandError> {
        if self.shared.settings.acl_file.is_some() { Err(errors::USERS_ARE_A_FILE.into()) } else { Ok(()) }
    }

    fn is_overridden(&self) -> bool {
        self.password_changes != self.shared.runtime.password_changes()
    }
}

impl UserRows for Accounts {
    fn named(&self, name: &[u8]) -> Option<Arc<User>> {
        let user = self.users.named(name)?;
        if name != DEFAULT_NAME || !self.is_overridden() {
            return Some(Arc::clone(user));
        }
        let mut user = User::clone(user);
        user.set_only_password(&self.shared.runtime.password());
        Some(Arc::new(user))
    }

    fn defaults(&self) -> Defaults {
        Defaults { all_channels: self.shared.runtime.read(Knob::UsersHaveAllChannels) != 0 }
    }

    fn put(&mut self, user: User) -> Result<(), CommandError> {
        self.check_rows()?;
        let (name, rules) = (user.name.clone(), user.describe());
        // What CONFIG SET gave was a part of what was changed.
        let changes = self.shared.runtime.password_changes();
        if name == DEFAULT_NAME && self.is_overridden() {
            self.undo.push(Undo::PasswordChanges(std::mem::replace(&mut self.password_changes, changes)));
        }
        let before = self.users.put(Known { user: Arc::new(user), rules });
        self.undo.push(Undo::One(name, before));
        if self.users.lines_len() > USER_LIST_BYTES_MAX { Err(errors::USERS_TOO_MANY.into()) } else { Ok(()) }
    }

    fn remove(&mut self, name: &[u8]) -> Result<bool, CommandError> {
        self.check_rows()?;
        let removed = self.users.remove(name);
        let is_there = removed.is_some();
        if is_there {
            self.undo.push(Undo::One(name.to_vec(), removed));
        }
        Ok(is_there)
    }

    fn load(&mut self) -> Result<(), CommandError> {
        if self.shared.settings.acl_file.is_none() {
            return Err(errors::USERS_ARE_ROWS.into());
        }
        let users = self.file().map_err(|error| errors::users_not_loaded(&error))?;
        let changes = self.shared.runtime.password_changes();
        self.undo.push(Undo::PasswordChanges(std::mem::replace(&mut self.password_changes, changes)));
        self.undo.push(Undo::All(std::mem::replace(&mut self.users, users)));
        Ok(())
    }
}

/// A file as large as all users may be.
fn read_file(path: &Path, name: &str) -> Result<Vec<u8>, String> {
    let read = || {
        let mut text = Vec::new();
        File::open(path)?.take(USER_LIST_BYTES_MAX as u64 + 1).read_to_end(&mut text)?;
        Ok(text)
    };
    let text: Vec<u8> =
        read().map_err(|error: std::io::Error| errors::users_file_unreadable(name, &error.to_string()))?;
    if text.len() > USER_LIST_BYTES_MAX { Err(errors::users_file_too_large(name)) } else { Ok(text) }
}
