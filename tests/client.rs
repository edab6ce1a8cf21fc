//! The command line of the client, as the real program, against the service and against redis-server: formats, exit codes,
//! connections, modes, and the prompt on a terminal.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "client/connections.rs"]
mod connections;
#[path = "client/document.rs"]
mod document;
#[path = "client/formats.rs"]
mod formats;
#[path = "client/keys.rs"]
mod keys;
#[path = "client/library.rs"]
mod library;
#[path = "client/pipe.rs"]
mod pipe;
#[path = "client/program.rs"]
mod program;
#[path = "client/prompt.rs"]
mod prompt;
mod support;
#[path = "client/terminal.rs"]
mod terminal;
#[path = "client/watching.rs"]
mod watching;
