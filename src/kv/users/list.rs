//! All users of the service at one moment.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::kv::users::user::{DEFAULT_ID, DEFAULT_NAME, User};
use crate::kv::users::vocabulary::Vocabulary;

/// By name, in its order, and by number. `default` is among them, unless nobody knows the users yet.
#[derive(Debug, Default)]
pub struct Users {
    by_name: BTreeMap<Vec<u8>, Known>,
    by_id: HashMap<u64, Arc<User>>,
}

/// A user, and its rules as text: what has not changed is not read again.
#[derive(Clone, Debug)]
pub struct Known {
    pub user: Arc<User>,
    pub rules: Vec<u8>,
}

/// By whose rights something runs, and as of which version of the users that was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    pub user: u64,
    pub version: u64,
}

impl Users {
    #[must_use]
    pub fn new(users: impl IntoIterator<Item = Arc<User>>) -> Users {
        let mut all = Users::default();
        users.into_iter().for_each(|user| all.insert(user));
        all
    }

    /// The same with `default`, if it is not there.
    #[must_use]
    pub fn with_default(mut self, vocabulary: &Vocabulary) -> Users {
        if self.named(DEFAULT_NAME).is_none() {
            self.insert(Arc::new(User::default_user(vocabulary)));
        }
        self
    }

    pub fn insert(&mut self, user: Arc<User>) {
        let rules = user.describe();
        self.put(Known { user, rules });
    }

    /// Returns the one before it of the same name.
    pub fn put(&mut self, known: Known) -> Option<Known> {
        let user = Arc::clone(&known.user);
        let before = self.by_name.insert(user.name.clone(), known);
        if let Some(before) = &before {
            self.by_id.remove(&before.user.id);
        }
        self.by_id.insert(user.id, user);
        before
    }

    pub fn remove(&mut self, name: &[u8]) -> Option<Known> {
        let known = self.by_name.remove(name)?;
        self.by_id.remove(&known.user.id);
        Some(known)
    }

    /// The same, but `default` has this password alone, or none where it is empty.
    #[must_use]
    pub fn with_password(mut self, password: &[u8]) -> Users {
        if let Some(user) = self.default_user() {
            let mut user = User::clone(user);
            user.set_only_password(password);
            self.insert(Arc::new(user));
        }
        self
    }

    #[must_use]
    pub fn named(&self, name: &[u8]) -> Option<&Arc<User>> {
        self.by_name.get(name).map(|known| &known.user)
    }

    #[must_use]
    pub fn rules_of(&self, name: &[u8]) -> Option<&[u8]> {
        self.by_name.get(name).map(|known| &known.rules[..])
    }

    #[must_use]
    pub fn of_id(&self, id: u64) -> Option<&Arc<User>> {
        self.by_id.get(&id)
    }

    #[must_use]
    pub fn default_user(&self) -> Option<&Arc<User>> {
        self.of_id(DEFAULT_ID)
    }

    /// In the order of their names.
    pub fn all(&self) -> impl ExactSizeIterator<Item = &Known> {
        self.by_name.values()
    }

    /// How many bytes `lines` has at most.
    #[must_use]
    pub fn lines_len(&self) -> usize {
        self.all().map(|known| NUMBER_LETTERS_MAX + known.user.name.len() + known.rules.len() + 3).sum()
    }

    /// A line each: number, name, rules. For `parse_list`.
    #[must_use]
    pub fn lines(&self) -> Vec<u8> {
        let mut text = Vec::new();
        for Known { user, rules } in self.all() {
            put_line(&mut text, user.id, &user.name, rules);
        }
        text
    }
}

/// A line of what `parse_list` reads.
pub fn put_line(text: &mut Vec<u8>, id: u64, name: &[u8], rules: &[u8]) {
    text.extend_from_slice(format!("{id} ").as_bytes());
    for part in [name, b" ", rules, b"\n"] {
        text.extend_from_slice(part);
    }
}

/// Digits of the longest number.
const NUMBER_LETTERS_MAX: usize = 20;
