//! A selector: commands, keys and channels that go together. A user has one, the root, and perhaps further ones; a call may run when one of
//! them allows all of it (Redis: aclSelector).

use std::collections::BTreeMap;

use crate::kv::formats::glob;
use crate::kv::users::request::{Channels, Denied, KeyUse, Reason, Request};
use crate::kv::users::rule_error::RuleError;
use crate::kv::users::text::is_one_word;
use crate::kv::users::vocabulary::Vocabulary;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// Whatever the patterns are.
    all_keys: bool,
    all_channels: bool,
    /// No command was taken away since all were given: nothing is looked up.
    all_commands: bool,
    /// All were given once, so that what a later version brings is allowed as well.
    begins_with_all: bool,
    /// A bit for each word of the vocabulary.
    allowed: Vec<u64>,
    /// Of a command that is not allowed itself: the first arguments with which it is.
    first_arguments: BTreeMap<u16, Vec<Vec<u8>>>,
    keys: Vec<KeyPattern>,
    channels: Vec<Vec<u8>>,
    /// Which commands and categories were given and taken since all were, or none, in order: to be shown.
    command_rules: Vec<(bool, Vec<u8>)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct KeyPattern {
    reads: bool,
    writes: bool,
    pattern: Vec<u8>,
}

impl Selector {
    /// Nothing, or nothing but all channels.
    #[must_use]
    pub fn new(all_channels: bool) -> Selector {
        Selector { all_channels, ..Selector::default() }
    }

    /// Changes it as one rule says (Redis: ACLSetSelector). A rule that can't be applied changes nothing.
    pub fn apply(&mut self, rule: &[u8], vocabulary: &Vocabulary) -> Result<(), RuleError> {
        let is = |word: &str| rule.eq_ignore_ascii_case(word.as_bytes());
        if is("allkeys") || is("~*") {
            (self.all_keys, self.keys) = (true, Vec::new());
        } else if is("resetkeys") {
            (self.all_keys, self.keys) = (false, Vec::new());
        } else if is("allchannels") || is("&*") {
            (self.all_channels, self.channels) = (true, Vec::new());
        } else if is("resetchannels") {
            (self.all_channels, self.channels) = (false, Vec::new());
        } else if is("allcommands") || is("+@all") {
            self.set_all(true, vocabulary);
        } else if is("nocommands") || is("-@all") {
            self.set_all(false, vocabulary);
        } else {
            match rule {
                [b'~', pattern @ ..] => self.add_keys(true, true, pattern)?,
                [b'%', rest @ ..] => {
                    let (reads, writes, pattern) = access(rest)?;
                    self.add_keys(reads, writes, pattern)?;
                }
                [b'&', pattern @ ..] => self.add_channels(pattern)?,
                [sign @ (b'+' | b'-'), b'@', category @ ..] => {
                    self.set_category(*sign == b'+', category, vocabulary)?;
                }
                [b'+', name @ ..] => self.allow(name, vocabulary)?,
                [b'-', name @ ..] => {
                    let command = vocabulary.find(name).ok_or(RuleError::Unknown)?;
                    self.set(command, false, vocabulary);
                    self.note(false, vocabulary.word(command).name.as_bytes());
                }
                _ => return Err(RuleError::Syntax),
            }
        }
        Ok(())
    }

    fn set_all(&mut self, is_allowed: bool, vocabulary: &Vocabulary) {
        self.allowed = vec![if is_allowed { u64::MAX } else { 0 }; vocabulary.len().div_ceil(64)];
        (self.all_commands, self.begins_with_all) = (is_allowed, is_allowed);
        self.command_rules.clear();
        self.first_arguments.clear();
    }

    fn add_keys(&mut self, reads: bool, writes: bool, pattern: &[u8]) -> Result<(), RuleError> {
        if self.all_keys {
            return Err(RuleError::KeysAfterAll);
        }
        if !is_pattern(pattern) {
            return Err(RuleError::Syntax);
        }
        match self.keys.iter_mut().find(|known| known.pattern == pattern) {
            Some(known) => (known.reads, known.writes) = (known.reads | reads, known.writes | writes),
            None => self.keys.push(KeyPattern { reads, writes, pattern: pattern.to_vec() }),
        }
        Ok(())
    }

    fn add_channels(&mut self, pattern: &[u8]) -> Result<(), RuleError> {
        if self.all_channels {
            return Err(RuleError::ChannelsAfterAll);
        }
        if !is_pattern(pattern) {
            return Err(RuleError::Syntax);
        }
        if !self.channels.iter().any(|known| known == pattern) {
            self.channels.push(pattern.to_vec());
        }
        Ok(())
    }

    fn set_category(&mut self, is_allowed: bool, name: &[u8], vocabulary: &Vocabulary) -> Result<(), RuleError> {
        let category = vocabulary.category(name).ok_or(RuleError::Unknown)?;
        self.note(is_allowed, &[b"@", name].concat());
        let words: Vec<u16> = vocabulary.of_category(category).collect();
        words.into_iter().for_each(|word| self.set(word, is_allowed, vocabulary));
        Ok(())
    }

    /// `+command`, `+container|subcommand`, `+command|first-argument`.
    fn allow(&mut self, name: &[u8], vocabulary: &Vocabulary) -> Result<(), RuleError> {
        let Some(bar) = name.iter().rposition(|byte| *byte == b'|') else {
            let command = vocabulary.find(name).ok_or(RuleError::Unknown)?;
            self.set(command, true, vocabulary);
            self.note(true, vocabulary.word(command).name.as_bytes());
            return Ok(());
        };
        let (command, argument) = (vocabulary.find(&name[..bar]).ok_or(RuleError::Unknown)?, &name[bar + 1..]);
        if vocabulary.word(command).parent.is_some() {
            return Err(RuleError::FirstArgumentOfSubcommand);
        }
        // What has a blank in it could not be read again.
        if argument.is_empty() || !is_one_word(argument) {
            return Err(RuleError::Syntax);
        }
        if vocabulary.word(command).children.is_empty() {
            let arguments = self.first_arguments.entry(command).or_default();
            if !arguments.iter().any(|known| known.eq_ignore_ascii_case(argument)) {
                arguments.push(argument.to_vec());
            }
        } else {
            let subcommand = vocabulary.find(name).ok_or(RuleError::Unknown)?;
            self.set(subcommand, true, vocabulary);
        }
        self.note(true, name);
        Ok(())
    }

    /// A container goes with its subcommands (Redis: ACLChangeSelectorPerm).
    fn set(&mut self, command: u16, is_allowed: bool, vocabulary: &Vocabulary) {
        self.set_bit(command, is_allowed, vocabulary);
        self.first_arguments.remove(&command);
        vocabulary.word(command).children.clone().for_each(|child| self.set_bit(child, is_allowed, vocabulary));
    }

    fn set_bit(&mut self, command: u16, is_allowed: bool, vocabulary: &Vocabulary) {
        let (word, bit) = (usize::from(command) / 64, 1 << (command % 64));
        self.allowed.resize(vocabulary.len().div_ceil(64), 0);
        if is_allowed {
            self.allowed[word] |= bit;
        } else {
            self.allowed[word] &= !bit;
            self.all_commands = false;
        }
    }

    /// A rule makes those without effect that said the same name, or one of its subcommands (Redis: ACLSelectorRemoveCommandRule).
    fn note(&mut self, is_allowed: bool, name: &[u8]) {
        let name = name.to_ascii_lowercase();
        self.command_rules.retain(|(_, known)| {
            let is_of_it = known.strip_prefix(&name[..]).is_some_and(|rest| rest.is_empty() || rest[0] == b'|');
            !is_of_it
        });
        self.command_rules.push((is_allowed, name));
    }

    // ---- what it allows

    /// True exactly when nothing needs to be looked at.
    #[must_use]
    pub const fn is_unrestricted(&self) -> bool {
        self.all_keys && self.all_channels && self.all_commands
    }

    /// Redis: ACLSelectorCheckCmd. `keys` are looked for once for all selectors.
    pub fn check(&self, request: &Request<'_>, keys: &mut Option<Vec<KeyUse>>) -> Result<(), Denied> {
        if !self.all_commands && !request.is_for_strangers && !self.allows_command(request) {
            return Err(Denied { reason: Reason::Command, index: 0 });
        }
        if !self.all_keys {
            let keys = keys.get_or_insert_with(request.keys);
            let denied = keys.iter().find(|key| !self.allows_key(request.args[key.index], key.reads, key.writes));
            if let Some(key) = denied {
                return Err(Denied { reason: Reason::Key, index: key.index });
            }
        }
        if !self.all_channels {
            let (last, is_pattern) = match request.channels {
                Channels::None => return Ok(()),
                Channels::First => (2, false),
                Channels::All => (request.args.len(), false),
                Channels::Patterns => (request.args.len(), true),
            };
            for index in 1..last.min(request.args.len()) {
                if !self.names_channel(request.args[index], is_pattern) {
                    return Err(Denied { reason: Reason::Channel, index });
                }
            }
        }
        Ok(())
    }

    fn allows_command(&self, request: &Request<'_>) -> bool {
        let command = request.command;
        let bits = self.allowed.get(usize::from(command) / 64).copied().unwrap_or(0);
        if bits & 1 << (command % 64) != 0 {
            return true;
        }
        let (Some(allowed), Some(first)) = (self.first_arguments.get(&command), request.args.get(1)) else {
            return false;
        };
        allowed.iter().any(|argument| argument.eq_ignore_ascii_case(first))
    }

    /// A key that is neither read nor written, only looked at, needs any pattern that fits.
    fn allows_key(&self, key: &[u8], reads: bool, writes: bool) -> bool {
        self.keys.iter().any(|allowed| allowed.gives(reads, writes) && glob::matches(&allowed.pattern, key))
    }

    /// Whether all keys there may be can be used so.
    #[must_use]
    pub fn allows_all_keys(&self, reads: bool, writes: bool) -> bool {
        self.all_keys || self.keys.iter().any(|allowed| allowed.gives(reads, writes) && allowed.pattern == b"*")
    }

    #[must_use]
    pub const fn allows_all_channels(&self) -> bool {
        self.all_channels
    }

    #[must_use]
    pub fn channel_patterns(&self) -> &[Vec<u8>] {
        &self.channels
    }

    /// Whether one of its patterns is, or fits, this channel. A pattern must be named as it is.
    #[must_use]
    pub fn names_channel(&self, channel: &[u8], is_pattern: bool) -> bool {
        self.channels
            .iter()
            .any(|allowed| if is_pattern { allowed == channel } else { glob::matches(allowed, channel) })
    }

    // ---- how it is shown

    /// The rules that give the same commands: what ACL GETUSER calls "commands".
    #[must_use]
    pub fn describe_commands(&self) -> Vec<u8> {
        let mut text = if self.begins_with_all { b"+@all".to_vec() } else { b"-@all".to_vec() };
        for (is_allowed, name) in &self.command_rules {
            text.extend_from_slice(if *is_allowed { b" +" } else { b" -" });
            text.extend_from_slice(name);
        }
        text
    }

    #[must_use]
    pub fn describe_keys(&self) -> Vec<u8> {
        if self.all_keys {
            return b"~*".to_vec();
        }
        let described = self.keys.iter().map(|key| {
            let sign: &[u8] = match (key.reads, key.writes) {
                (true, false) => b"%R~",
                (false, true) => b"%W~",
                // Not as Redis shows it: `~*` would be read as all keys, behind which no other pattern may come.
                _ if key.pattern == b"*" => b"%RW~",
                _ => b"~",
            };
            [sign, &key.pattern].concat()
        });
        described.collect::<Vec<_>>().join(&b' ')
    }

    #[must_use]
    pub fn describe_channels(&self) -> Vec<u8> {
        if self.all_channels {
            return b"&*".to_vec();
        }
        self.channels.iter().map(|channel| [b"&", &channel[..]].concat()).collect::<Vec<_>>().join(&b' ')
    }

    /// The rules that make it, in the order of Redis.
    pub fn describe(&self, out: &mut Vec<u8>) {
        for part in [self.describe_keys(), if self.all_channels { Vec::new() } else { b"resetchannels".to_vec() }] {
            if !part.is_empty() {
                out.extend_from_slice(&part);
                out.push(b' ');
            }
        }
        let channels = self.describe_channels();
        if !channels.is_empty() {
            out.extend_from_slice(&channels);
            out.push(b' ');
        }
        out.extend_from_slice(&self.describe_commands());
    }
}

impl KeyPattern {
    const fn gives(&self, reads: bool, writes: bool) -> bool {
        (self.reads || !reads) && (self.writes || !writes)
    }
}

/// What stands between `%` and `~`, and the pattern behind it.
fn access(rest: &[u8]) -> Result<(bool, bool, &[u8]), RuleError> {
    let (mut reads, mut writes) = (false, false);
    for (at, letter) in rest.iter().enumerate() {
        match letter.to_ascii_uppercase() {
            b'R' if !reads => reads = true,
            b'W' if !writes => writes = true,
            b'~' if reads || writes => return Ok((reads, writes, &rest[at + 1..])),
            _ => return Err(RuleError::Syntax),
        }
    }
    Err(RuleError::Syntax)
}

fn is_pattern(pattern: &[u8]) -> bool {
    is_one_word(pattern) && pattern.len() <= glob::PATTERN_BYTES_MAX
}
