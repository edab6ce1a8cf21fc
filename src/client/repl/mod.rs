//! The prompt of `emptyserver cli` at a terminal.
//!
//! ```text
//! prompt       the loop: a line, what it asks for, what comes of it        line         one line, understood
//! session      the connection that comes back as it was                    editor       rustyline's side
//! dictionary   the commands that are known, with their syntax              help         `help <command>`
//! grammar      a half-typed command and its syntax: what may follow        colours      a line in colours
//! completion   commands, options, live keys                                display      replies, tables, the pager
//! ```

mod colours;
mod completion;
mod dictionary;
mod display;
mod editor;
mod grammar;
mod help;
mod line;
mod prompt;
mod session;

pub(crate) use prompt::{Preferences, run};
