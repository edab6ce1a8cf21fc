//! Lua: one state with its sandbox, its limits and the libraries that Redis gives to scripts. It asks a [`Host`] to run commands, and knows
//! no keyspace, no lane and no row of the command table.

mod api;
mod arguments;
mod bits;
mod interpreter;
mod json;
mod json_decode;
mod json_encode;
mod libraries;
mod loading;
mod msgpack;
mod patterns;
mod raise;
mod random;
mod reading;
mod sandbox;
mod seam;
mod session;
mod shebang;
mod strings;
mod structs;
mod tables;
mod writing;

pub mod fuzz;

#[cfg(test)]
mod api_tests;
#[cfg(test)]
mod comparison_tests;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod libraries_tests;
#[cfg(test)]
mod limits_tests;
#[cfg(test)]
mod sandbox_tests;

pub use interpreter::Interpreter;
pub use seam::{Function, Host, Library, Limits, LogLevel, Over, ScriptError, ScriptFlags, Sha1};
pub use shebang::library_name;
