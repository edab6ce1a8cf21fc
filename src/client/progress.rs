//! A bar, or a spinner where the end is not known, on standard error; nothing where that is no terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::client::clock;

const REDRAW_EVERY: Duration = Duration::from_millis(100);

pub struct Progress {
    bar: ProgressBar,
    noted: std::time::Instant,
}

impl Progress {
    /// Of keys, about so many.
    #[must_use]
    pub fn of_keys(total: u64) -> Self {
        Self::new(Some(total), "{bar:30.cyan/dim} {human_pos}/{human_len} keys  {per_sec:.0}  {eta}  {msg}")
    }

    /// Of bytes; `None`: nobody knows how many.
    #[must_use]
    pub fn of_bytes(total: Option<u64>) -> Self {
        match total {
            Some(_) => Self::new(total, "{bar:30.cyan/dim} {bytes}/{total_bytes}  {eta}  {msg}"),
            None => Self::new(None, "{spinner} {bytes}  {msg}"),
        }
    }

    fn new(total: Option<u64>, template: &str) -> Self {
        let style = ProgressStyle::with_template(template).expect("a template of ours is one");
        let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
        bar.set_style(style);
        Self { bar, noted: clock::monotonic() }
    }

    /// Without a bar.
    #[must_use]
    pub fn hidden() -> Self {
        Self { bar: ProgressBar::hidden(), noted: clock::monotonic() }
    }

    /// The end has moved.
    pub fn grow(&self, total: u64) {
        self.bar.set_length(total);
    }

    pub fn at(&mut self, position: u64, message: impl FnOnce() -> String) {
        let now = clock::monotonic();
        if now - self.noted >= REDRAW_EVERY {
            self.noted = now;
            self.bar.set_message(message());
            self.bar.set_position(position);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
