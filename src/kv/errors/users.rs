//! The texts about users, what they may do, and the rules that say so, as Redis words them.

use super::{CommandError, lossy, reply, shown};

// ---- what a user may not do

pub const NO_PERMISSION_OF_KEY: &str = "NOPERM No permissions to access a key";
pub const NO_PERMISSION_OF_CHANNEL: &str = "NOPERM No permissions to access a channel";
pub const NO_LONGER_ALLOWED_TO_RUN: &str = "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This command is no longer allowed for the following reason: no permission to execute the command or subcommand";
pub const NO_LONGER_ALLOWED_KEY: &str = "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This command is no longer allowed for the following reason: no permission to touch the specified keys";
pub const NO_LONGER_ALLOWED_CHANNEL: &str = "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This command is no longer allowed for the following reason: no permission to access one of the channels used as arguments to the command";
pub const SORT_BY_DENIED: &str = "ERR BY option of SORT denied due to insufficient ACL permissions.";
pub const SORT_GET_DENIED: &str = "ERR GET option of SORT denied due to insufficient ACL permissions.";

/// `command` is the full name.
#[must_use]
pub fn no_permission_to_run(user: &[u8], command: &str) -> String {
    format!("NOPERM User {} has no permissions to run the '{command}' command", shown(user))
}

/// Of a call that a script asked for; `text`: what a client would get.
#[must_use]
pub fn denied_in_script(text: &str) -> String {
    format!("ERR ACL failure in script: {}", text.trim_start_matches("NOPERM "))
}

/// For ACL DRYRUN, which answers it as a text.
#[must_use]
pub fn cannot_run(user: &[u8], command: &str) -> Vec<u8> {
    no_permission_to_run(user, command).replacen("NOPERM ", "", 1).into_bytes()
}

/// The same. `what`: "key" or "channel".
#[must_use]
pub fn cannot_access(user: &[u8], object: &[u8], what: &str) -> Vec<u8> {
    let mut text = format!("User {} has no permissions to access the '", shown(user)).into_bytes();
    text.extend_from_slice(object);
    text.extend_from_slice(format!("' {what}").as_bytes());
    text
}

// ---- rules

pub const RULE_UNKNOWN: &str = "Unknown command or category name in ACL";
pub const RULE_SYNTAX: &str = "Syntax error";
pub const RULE_KEYS_AFTER_ALL: &str = "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any effect. Try 'resetkeys' to start with an empty list of patterns";
pub const RULE_CHANNELS_AFTER_ALL: &str = "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any effect. Try 'resetchannels' to start with an empty list of channels";
pub const RULE_NO_SUCH_PASSWORD: &str = "The password you are trying to remove from the user does not exist";
pub const RULE_BAD_HASH: &str =
    "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters";
pub const RULE_FIRST_ARGUMENT: &str = "Allowing first-arg of a subcommand is not supported";

/// As much of a rule as an error repeats: a rule may be a long pattern.
const RULE_BYTES_MAX: usize = 256;

#[must_use]
pub fn bad_rule(rule: &[u8], why: &str) -> CommandError {
    reply(format!("ERR Error in ACL SETUSER modifier '{}': {why}", lossy(rule, RULE_BYTES_MAX)))
}

#[must_use]
pub fn open_parenthesis(rule: &[u8]) -> CommandError {
    reply(format!("ERR Unmatched parenthesis in acl selector starting at '{}'.", lossy(rule, RULE_BYTES_MAX)))
}

// ---- ACL

pub const USER_NAME: &str = "ERR Usernames can't contain spaces or null characters";
pub const DEFAULT_USER_STAYS: &str = "ERR The 'default' user cannot be removed";
pub const GENPASS_BITS: &str =
    "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to 4096";
pub const NO_RANDOM_BYTES: &str = "ERR the system gives no random bytes";
pub const USERS_ARE_ROWS: &str = "ERR There is no ACL file: users are rows of the data file. Each change of ACL SETUSER and ACL DELUSER is durable before it is answered, so there is nothing to save and nothing to load. EMPTYSERVER_ACL_FILE names a file for those who want one";
pub const USERS_ARE_A_FILE: &str = "ERR The users are those of the file that EMPTYSERVER_ACL_FILE names, and it alone rules: change that file, then send ACL LOAD, or SIGHUP to the service";
pub const USERS_TOO_MANY: &str =
    "ERR There is no room for more users and rules: all together may have 1 MiB as ACL LIST shows them";

#[must_use]
pub fn user_not_found(name: &[u8]) -> CommandError {
    reply(format!("ERR User '{}' not found", shown(name)))
}

/// `name` as it was sent.
#[must_use]
pub fn command_not_found(name: &[u8]) -> CommandError {
    reply(format!("ERR Command '{}' not found", shown(name)))
}

#[must_use]
pub fn unknown_category(name: &[u8]) -> CommandError {
    reply(format!("ERR Unknown category '{}'", shown(name)))
}

// ---- a file of users: parts of one line, each with a blank behind it

pub const USERS_FILE_HAS_ERRORS: &str =
    "WARNING: ACL errors detected, no change to the previously active ACL rules was performed";

#[must_use]
pub fn no_user_in_line(file: &str, line: usize) -> String {
    format!("{file}:{line} should start with user keyword followed by the username. ")
}

#[must_use]
pub fn bad_user_in_file(file: &str, line: usize, user: &[u8]) -> String {
    format!("'{file}:{line}: username '{}' contains invalid characters. ", shown(user))
}

#[must_use]
pub fn duplicate_user_in_file(user: &[u8], line: usize) -> String {
    format!("WARNING: Duplicate user '{}' found on line {line}. ", shown(user))
}

#[must_use]
pub fn open_parenthesis_in_file(file: &str, line: usize) -> String {
    format!("{file}:{line}: Unmatched parenthesis in selector definition. ")
}

#[must_use]
pub fn bad_rule_in_file(file: &str, line: usize, rule: &[u8], why: &str) -> String {
    format!("{file}:{line}: Error in applying operation '{}': {why}. ", lossy(rule, RULE_BYTES_MAX))
}

#[must_use]
pub fn bad_line_in_file(file: &str, line: usize, why: &str) -> String {
    format!("{file}:{line}: {why}. ")
}

#[must_use]
pub fn users_file_unreadable(file: &str, why: &str) -> String {
    format!("Error loading ACLs, opening file '{file}': {why}")
}

#[must_use]
pub fn users_file_too_large(file: &str) -> String {
    format!("Error loading ACLs: file '{file}' has more than 1 MiB")
}

/// Why ACL LOAD has changed nothing.
#[must_use]
pub fn users_not_loaded(what: &str) -> CommandError {
    reply(format!("ERR {what}"))
}
