//! A block of lines that is drawn over itself at a terminal, and printed once elsewhere.

use std::io::{self, IsTerminal, Write};

use crate::client::failure::Failure;

pub(super) struct Live {
    is_terminal: bool,
    /// How many lines of the last drawing are above the cursor.
    drawn: usize,
}

impl Live {
    pub(super) fn new() -> Self {
        Self { is_terminal: io::stdout().is_terminal(), drawn: 0 }
    }

    pub(super) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Draws the block in the place of the last one. `block` ends with a line end.
    pub(super) fn draw(&mut self, block: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        let up = if self.drawn > 0 { format!("\x1b[{}A\x1b[J", self.drawn) } else { String::new() };
        self.drawn = if self.is_terminal { block.lines().count() } else { 0 };
        let text = up + block;
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| Failure::of_output(&error))
    }

    /// What is drawn stays; the next block comes below it.
    pub(super) fn keep(&mut self) {
        self.drawn = 0;
    }
}
