//! A user: who may log in as it, and what it may do.

use std::sync::{Arc, LazyLock};

use crate::kv::users::password::Digest;
use crate::kv::users::request::{Denied, Reason, Request};
use crate::kv::users::rule_error::RuleError;
use crate::kv::users::selector::Selector;
use crate::kv::users::text::{is_one_word, merged_rules, words};
use crate::kv::users::vocabulary::Vocabulary;

/// The user of a connection that has not logged in.
pub const DEFAULT_NAME: &[u8] = b"default";
/// It is always there, so its number is always the same.
pub const DEFAULT_ID: u64 = 0;

/// What `acl-pubsub-default` says of new users and selectors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Defaults {
    pub all_channels: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Tells a user from one of the same name that was removed before it.
    pub id: u64,
    pub name: Vec<u8>,
    /// Only then anybody can log in as it.
    pub is_on: bool,
    /// Any password will do.
    pub is_open: bool,
    /// Taken and shown, without effect: a payload is always checked.
    skips_sanitizing: bool,
    passwords: Vec<Digest>,
    /// The root first.
    selectors: Vec<Selector>,
}

impl User {
    /// As ACL SETUSER makes it: it can do nothing.
    #[must_use]
    pub fn new(id: u64, name: &[u8], defaults: Defaults) -> User {
        User {
            id,
            name: name.to_vec(),
            is_on: false,
            is_open: false,
            skips_sanitizing: false,
            passwords: Vec::new(),
            selectors: vec![Selector::new(defaults.all_channels)],
        }
    }

    /// The user `default` where nobody has said anything else: it can do everything, without a password.
    #[must_use]
    pub fn default_user(vocabulary: &Vocabulary) -> User {
        let mut user = User::new(DEFAULT_ID, DEFAULT_NAME, Defaults::default());
        for rule in ["+@all", "~*", "&*", "on", "nopass"] {
            user.apply(rule.as_bytes(), Defaults::default(), vocabulary).expect("it is a rule");
        }
        user
    }

    /// Whose client is to be closed: it can do nothing, and nobody can log in as it.
    #[must_use]
    pub fn nobody() -> Arc<User> {
        static NOBODY: LazyLock<Arc<User>> = LazyLock::new(|| Arc::new(User::new(u64::MAX, b"", Defaults::default())));
        Arc::clone(&NOBODY)
    }

    /// Of the rules that `describe` gave.
    pub fn parse(
        id: u64,
        name: &[u8],
        rules: &[&[u8]],
        defaults: Defaults,
        vocabulary: &Vocabulary,
    ) -> Result<User, RuleError> {
        let mut user = User::new(id, name, defaults);
        let rules = merged_rules(rules).map_err(|_| RuleError::Syntax)?;
        rules.iter().try_for_each(|rule| user.apply(rule, defaults, vocabulary))?;
        Ok(user)
    }

    /// Whether a user may be called so.
    #[must_use]
    pub fn is_name(name: &[u8]) -> bool {
        is_one_word(name)
    }

    /// Changes it as one rule says (Redis: ACLSetUser). A rule that can't be applied changes nothing.
    pub fn apply(&mut self, rule: &[u8], defaults: Defaults, vocabulary: &Vocabulary) -> Result<(), RuleError> {
        let is = |word: &str| rule.eq_ignore_ascii_case(word.as_bytes());
        match rule {
            [] => {}
            _ if is("on") => self.is_on = true,
            _ if is("off") => self.is_on = false,
            _ if is("skip-sanitize-payload") => self.skips_sanitizing = true,
            _ if is("sanitize-payload") => self.skips_sanitizing = false,
            _ if is("nopass") => (self.is_open, self.passwords) = (true, Vec::new()),
            _ if is("resetpass") => (self.is_open, self.passwords) = (false, Vec::new()),
            _ if is("clearselectors") => self.selectors.truncate(1),
            _ if is("reset") => *self = User::new(self.id, &self.name, defaults),
            [b'>', password @ ..] => self.add_password(Digest::of(password)),
            [b'#', hash @ ..] => self.add_password(Digest::parse(hash).ok_or(RuleError::BadHash)?),
            [b'<', password @ ..] => self.remove_password(&Digest::of(password))?,
            [b'!', hash @ ..] => self.remove_password(&Digest::parse(hash).ok_or(RuleError::BadHash)?)?,
            [b'(', inner @ .., b')'] => {
                let mut selector = Selector::new(defaults.all_channels);
                // As text the selector would end there.
                if words(inner).any(|rule| rule.ends_with(b")")) {
                    return Err(RuleError::Syntax);
                }
                words(inner).try_for_each(|rule| selector.apply(rule, vocabulary))?;
                self.selectors.push(selector);
            }
            _ => self.selectors[0].apply(rule, vocabulary)?,
        }
        Ok(())
    }

    fn add_password(&mut self, digest: Digest) {
        if !self.passwords.contains(&digest) {
            self.passwords.push(digest);
        }
        self.is_open = false;
    }

    fn remove_password(&mut self, digest: &Digest) -> Result<(), RuleError> {
        let place = self.passwords.iter().position(|known| known == digest).ok_or(RuleError::NoSuchPassword)?;
        self.passwords.remove(place);
        Ok(())
    }

    /// What CONFIG SET requirepass does to `default`: this password alone, or none where it is empty.
    pub fn set_only_password(&mut self, password: &[u8]) {
        (self.is_open, self.passwords) = (password.is_empty(), Vec::new());
        if !password.is_empty() {
            self.passwords.push(Digest::of(password));
        }
    }

    // ---- what it may do

    /// Whether somebody with this password may log in as it.
    #[must_use]
    pub fn admits(&self, password: &[u8]) -> bool {
        self.is_on && (self.is_open || Digest::of(password).is_among(&self.passwords))
    }

    /// Of `default`: whether a connection acts as it without having logged in.
    #[must_use]
    pub const fn needs_login(&self) -> bool {
        !self.is_open || !self.is_on
    }

    /// True exactly when it may do everything: nothing needs to be looked at.
    #[must_use]
    pub fn is_unrestricted(&self) -> bool {
        self.selectors[0].is_unrestricted()
    }

    /// Whether it may run a call (Redis: ACLCheckAllUserCommandPerm).
    ///
    /// # Errors
    /// What it lacks: that no selector allows the command, or the last key or channel that none allows.
    pub fn permits(&self, request: &Request<'_>) -> Result<(), Denied> {
        let (mut keys, mut worst) = (None, Denied { reason: Reason::Command, index: 0 });
        for selector in &self.selectors {
            match selector.check(request, &mut keys) {
                Ok(()) => return Ok(()),
                Err(denied) => worst = worst.max(denied),
            }
        }
        Err(worst)
    }

    /// Whether it may run a call and, by the same selector, use all keys there may be in this way: what SORT looks up has names that
    /// nobody knows before.
    #[must_use]
    pub fn permits_with_all_keys(&self, request: &Request<'_>, reads: bool, writes: bool) -> bool {
        let mut keys = None;
        let mut selectors = self.selectors.iter();
        selectors.any(|selector| selector.check(request, &mut keys).is_ok() && selector.allows_all_keys(reads, writes))
    }

    /// Whether a client that was subscribed to these as `before` may stay so (Redis: ACLKillPubsubClientsIfNeeded). What
    /// it was allowed and still is, is not looked at.
    #[must_use]
    pub fn lets_stay<'c>(
        &self,
        before: &User,
        mut channels: impl Iterator<Item = &'c [u8]>,
        mut patterns: impl Iterator<Item = &'c [u8]>,
    ) -> bool {
        if self.selectors.iter().any(Selector::allows_all_channels) {
            return true;
        }
        let is_kept = |pattern: &Vec<u8>| self.selectors.iter().any(|own| own.channel_patterns().contains(pattern));
        let keeps = |other: &Selector| !other.allows_all_channels() && other.channel_patterns().iter().all(is_kept);
        if before.selectors.iter().all(keeps) {
            return true;
        }
        let names =
            |channel: &[u8], is_pattern| self.selectors.iter().any(|own| own.names_channel(channel, is_pattern));
        patterns.all(|pattern| names(pattern, true)) && channels.all(|channel| names(channel, false))
    }

    // ---- how it is shown

    /// Its flags in the order of Redis.
    pub fn flags(&self) -> impl Iterator<Item = &'static str> {
        let on = if self.is_on { "on" } else { "off" };
        let sanitizing = if self.skips_sanitizing { "skip-sanitize-payload" } else { "sanitize-payload" };
        [Some(on), self.is_open.then_some("nopass"), Some(sanitizing)].into_iter().flatten()
    }

    #[must_use]
    pub fn passwords(&self) -> &[Digest] {
        &self.passwords
    }

    #[must_use]
    pub fn selectors(&self) -> &[Selector] {
        &self.selectors
    }

    /// The rules that make it, in the order of Redis (ACLDescribeUser).
    #[must_use]
    pub fn describe(&self) -> Vec<u8> {
        let mut text = Vec::new();
        for flag in self.flags() {
            text.extend_from_slice(flag.as_bytes());
            text.push(b' ');
        }
        for password in &self.passwords {
            text.extend_from_slice(format!("#{} ", password.hex()).as_bytes());
        }
        self.selectors[0].describe(&mut text);
        for selector in &self.selectors[1..] {
            text.extend_from_slice(b" (");
            selector.describe(&mut text);
            text.push(b')');
        }
        text
    }
}
