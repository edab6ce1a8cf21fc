//! The lines that a program prints, gathered as they come.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use emptyserver::sys::clock;

#[derive(Clone, Debug, Default)]
pub struct Log {
    state: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<String>,
    sources: usize,
    /// Nobody reads the streams.
    is_paused: bool,
}

impl Log {
    /// ScatterGathers the lines of one more stream, up to its end.
    pub fn gather(&self, stream: impl Read + Send + 'static) {
        self.change(|state| state.sources += 1);
        let log = self.clone();
        thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
                log.wait_while_paused();
                log.change(|state| state.lines.push(String::from_utf8_lossy(&line).into_owned()));
            }
            log.change(|state| state.sources -= 1);
        });
    }

    /// The first line from number `from` on that is the one. `None` at the deadline or at the end of all streams.
    pub fn wait_for(&self, from: usize, within: Duration, is_the_one: impl Fn(&str) -> bool) -> Option<String> {
        let deadline = clock::monotonic() + within;
        let (state, changed) = &*self.state;
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut seen = from;
        loop {
            if let Some(line) = state.lines.get(seen..).unwrap_or_default().iter().find(|line| is_the_one(line)) {
                return Some(line.clone());
            }
            seen = state.lines.len().max(from);
            let left = deadline.saturating_duration_since(clock::monotonic());
            if left.is_zero() || state.sources == 0 {
                return None;
            }
            (state, _) = changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// How many lines there are: where to wait from for something new.
    pub fn len(&self) -> usize {
        self.lines().len()
    }

    /// No stream that is gathered is open any more.
    pub fn is_at_end(&self) -> bool {
        self.state.0.lock().unwrap_or_else(PoisonError::into_inner).sources == 0
    }

    pub fn lines(&self) -> Vec<String> {
        self.state.0.lock().unwrap_or_else(PoisonError::into_inner).lines.clone()
    }

    /// The streams are not read any more, or are again: what fits into them waits there.
    pub fn pause(&self, is_paused: bool) {
        self.change(|state| state.is_paused = is_paused);
    }

    fn wait_while_paused(&self) {
        let state = self.state.0.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.state.1.wait_while(state, |state| state.is_paused).unwrap_or_else(PoisonError::into_inner));
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.0.lock().unwrap_or_else(PoisonError::into_inner));
        self.state.1.notify_all();
    }
}
