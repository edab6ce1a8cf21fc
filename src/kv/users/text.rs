//! Rules as text: words, selectors that are spread over several of them, files of lines.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::kv::errors;
use crate::kv::users::list::{Known, Users};
use crate::kv::users::rule_error::RuleError;
use crate::kv::users::user::{DEFAULT_ID, DEFAULT_NAME, Defaults, User};
use crate::kv::users::vocabulary::Vocabulary;

/// `isspace` of the C locale.
const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// Whether it can stand in a line of rules: without blanks and NUL bytes.
#[must_use]
pub(super) fn is_one_word(text: &[u8]) -> bool {
    !text.iter().any(|byte| is_blank(*byte) || *byte == 0)
}

pub fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| is_blank(*byte)).filter(|word| !word.is_empty())
}

/// The rules, each selector as one, also where its words came one by one (Redis: ACLMergeSelectorArguments). The error is the index of a
/// parenthesis that is not closed.
pub fn merged_rules(rules: &[&[u8]]) -> Result<Vec<Vec<u8>>, usize> {
    let (mut merged, mut open): (Vec<Vec<u8>>, Option<usize>) = (Vec::with_capacity(rules.len()), None);
    for (index, rule) in rules.iter().enumerate() {
        let closes = rule.last() == Some(&b')');
        if open.is_some() {
            let selector = merged.last_mut().expect("an open one is the last");
            selector.push(b' ');
            selector.extend_from_slice(rule);
            if closes {
                open = None;
            }
            continue;
        }
        if rule.first() == Some(&b'(') && !closes {
            open = Some(index);
        }
        merged.push(rule.to_vec());
    }
    open.map_or(Ok(merged), Err)
}

/// What a file of users has: each line is empty, or `user name rules…`. The error says all that is wrong, as ACL LOAD of Redis does. A user
/// that was there before keeps its number.
pub fn parse_file(
    name: &str,
    text: &[u8],
    before: &Users,
    defaults: Defaults,
    vocabulary: &Vocabulary,
) -> Result<Users, String> {
    let (mut users, mut wrong) = (BTreeMap::new(), String::new());
    for (number, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let words: Vec<&[u8]> = words(line).collect();
        let number = number + 1;
        match words[..] {
            [] => {}
            [b"user", user, ref rules @ ..] => {
                if users.contains_key(user) {
                    wrong += &errors::duplicate_user_in_file(user, number);
                    continue;
                }
                match user_of_file(name, number, user, rules, before, defaults, vocabulary) {
                    Ok(made) => _ = users.insert(user.to_vec(), Arc::new(made)),
                    Err(what) => wrong += &what,
                }
            }
            _ => wrong += &errors::no_user_in_line(name, number),
        }
    }
    if !wrong.is_empty() {
        return Err(wrong + errors::USERS_FILE_HAS_ERRORS);
    }
    Ok(Users::new(users.into_values()))
}

fn user_of_file(
    file: &str,
    line: usize,
    name: &[u8],
    rules: &[&[u8]],
    before: &Users,
    defaults: Defaults,
    vocabulary: &Vocabulary,
) -> Result<User, String> {
    if !is_one_word(name) {
        return Err(errors::bad_user_in_file(file, line, name));
    }
    let id = match before.named(name) {
        Some(known) => known.id,
        None if name == DEFAULT_NAME => DEFAULT_ID,
        None => super::random_number().ok_or_else(|| errors::NO_RANDOM_BYTES.to_owned())?,
    };
    let mut user = User::new(id, name, defaults);
    let rules = merged_rules(rules).map_err(|_| errors::open_parenthesis_in_file(file, line))?;
    let (mut wrong, mut has_error) = (String::new(), false);
    for rule in &rules {
        match user.apply(rule, defaults, vocabulary) {
            Ok(()) => {}
            // The name of a command is no secret.
            Err(RuleError::Unknown) => wrong += &errors::bad_rule_in_file(file, line, rule, RuleError::Unknown.text()),
            Err(error) if !std::mem::replace(&mut has_error, true) => {
                wrong += &errors::bad_line_in_file(file, line, error.text());
            }
            Err(_) => {}
        }
    }
    if wrong.is_empty() { Ok(user) } else { Err(wrong) }
}

/// What `Users::lines` wrote; of `before` is taken what has not changed. A user with a rule that this program does not know can't log in; its
/// name is returned, too.
#[must_use]
pub fn parse_list(text: &[u8], before: &Users, defaults: Defaults, vocabulary: &Vocabulary) -> (Users, Vec<Vec<u8>>) {
    let (mut users, mut unknown) = (Users::default(), Vec::new());
    for line in text.split(|byte| *byte == b'\n') {
        let mut parts = line.splitn(3, |byte| *byte == b' ');
        let (Some(id), Some(name), Some(rules)) = (parts.next(), parts.next(), parts.next()) else { continue };
        // A number that can't be read is nobody's: that user can't log in.
        let Some(id) = std::str::from_utf8(id).ok().and_then(|id| id.parse().ok()) else {
            unknown.push(name.to_vec());
            continue;
        };
        let same = before.named(name).filter(|user| user.id == id && before.rules_of(name) == Some(rules));
        let user = same.cloned().unwrap_or_else(|| {
            let user = User::parse(id, name, &words(rules).collect::<Vec<_>>(), defaults, vocabulary);
            Arc::new(user.unwrap_or_else(|_| {
                unknown.push(name.to_vec());
                User::new(id, name, defaults)
            }))
        });
        users.put(Known { user, rules: rules.to_vec() });
    }
    (users, unknown)
}
