//! What the prompt shows of a reply: tables where it is one, errors in red, the pager where it is long.

use std::io::{self, Write};
use std::process::{Command, Stdio};

use super::colours::{DIM, RED, RESET};
use crate::client::print::{Style, print, shape_of, tabulate};
use crate::client::script::style_for;
use crate::client::terminal;
use crate::resp::Reply;

/// Shows the end of a text at once, the beginning with its colours, and leaves no trace.
const PAGER: &str = "less -R";

#[derive(Clone, Debug)]
pub(super) struct Display {
    /// `None`: tables where a reply is one, quoted otherwise.
    pub(super) style: Option<Style>,
    pub(super) is_coloured: bool,
    pub(super) is_paged: bool,
    /// `$PAGER`.
    pub(super) pager: Option<String>,
}

impl Display {
    /// The reply of this command.
    pub(super) fn reply(&self, command: &[Vec<u8>], reply: &Reply) -> io::Result<()> {
        let text = self.text(command, reply);
        match terminal::size() {
            Some((_, lines)) if self.is_paged && text.iter().filter(|byte| **byte == b'\n').count() >= lines => {
                self.page(&text)
            }
            _ => write(&text),
        }
    }

    /// A reply that came by itself: never paged.
    pub(super) fn message(&self, reply: &Reply) -> io::Result<()> {
        write(&print(reply, self.style.unwrap_or(Style::Quoted)))
    }

    /// A line about what happens, apart from the replies.
    pub(super) fn remark(&self, text: &str) -> io::Result<()> {
        write(&if self.is_coloured { format!("{DIM}{text}{RESET}\n") } else { format!("{text}\n") }.into_bytes())
    }

    pub(super) fn complaint(&self, text: &str) -> io::Result<()> {
        write(&if self.is_coloured { format!("{RED}{text}{RESET}\n") } else { format!("{text}\n") }.into_bytes())
    }

    fn text(&self, command: &[Vec<u8>], reply: &Reply) -> Vec<u8> {
        match (self.style, reply) {
            (Some(style), _) => print(reply, style_for(command, style)),
            (None, Reply::Error(_)) if self.is_coloured => {
                let text = print(reply, Style::Quoted);
                [RED.as_bytes(), text.trim_ascii_end(), RESET.as_bytes(), b"\n"].concat()
            }
            (None, _) => match tabulate(reply, shape_of(command)) {
                Some(table) => table.into_bytes(),
                None => print(reply, style_for(command, Style::Quoted)),
            },
        }
    }

    /// Where the pager cannot be run the text is simply shown.
    fn page(&self, text: &[u8]) -> io::Result<()> {
        let line = self.pager.as_deref().unwrap_or(PAGER);
        let mut words = line.split_whitespace();
        let mut command = Command::new(words.next().unwrap_or_default());
        let Ok(mut child) = command.args(words).stdin(Stdio::piped()).spawn() else { return write(text) };
        if let Some(mut stdin) = child.stdin.take() {
            #[expect(clippy::let_underscore_must_use, reason = "who has seen enough leaves the pager")]
            let _ = stdin.write_all(text);
        }
        child.wait().map(|_| ())
    }
}

fn write(text: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text)?;
    out.flush()
}
