//! The command line of the client, as the real program, against the service and against redis-server: formats, exit codes,
//! connections, modes, and the prompt on a terminal.

mod connections;
mod document;
mod formats;
mod keys;
mod library;
mod pipe;
mod program;
mod prompt;
mod terminal;
mod watching;
