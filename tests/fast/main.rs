//! What takes seconds: the style and the walls of the code, the transcripts, the documents' tables, the command line.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic, and says what it saw")]

mod command_line;
mod events;
mod foreign_client;
mod places;
mod security;
mod settings;
mod sketches;
#[path = "../support/mod.rs"]
mod support;
mod tidy;
mod transcripts;
mod versus_figures;
