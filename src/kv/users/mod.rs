//! Users and what they may do: the rules of ACL as pure functions. Knows no command by name, no session and no file.

mod denial;
mod list;
mod password;
mod request;
mod rule_error;
mod selector;
#[cfg(test)]
mod tests;
mod text;
mod user;
mod vocabulary;

pub use denial::{Context, Denial, Refused};
pub use list::{Known, Rights, Users, put_line};
pub use password::{Digest, PASSWORD_HASH_LETTERS, random_hex, random_number};
pub use request::{Channels, Denied, KeyUse, Reason, Request};
pub use rule_error::RuleError;
pub use selector::Selector;
pub use text::{merged_rules, parse_file, parse_list, words};
pub use user::{DEFAULT_ID, DEFAULT_NAME, Defaults, User};
pub use vocabulary::{Vocabulary, Word};
