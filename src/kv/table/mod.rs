//! What a row of the command table says of its command. The rows, and how one is found, are in `commands`.

pub mod args;
pub mod flags;
pub mod key_specs;
pub mod look;
pub mod redaction;
pub mod script;
pub mod syntax;
#[cfg(test)]
mod syntax_tests;
pub mod wait;

pub use flags::{Category, Flags, Group};
pub use key_specs::{Begin, Find, KeyFlags, KeyPosition, KeySpec, Keys};
pub use redaction::is_secret_argument;
pub use script::{Named, Script};
pub use syntax::{Argument, ArgumentKind, SyntaxError, parse as parse_syntax};
pub use wait::{Nil, Wait};
