//! Texts that anybody may ask for as often as he likes: each is made anew at most once a tick, so that asking costs little.

use std::sync::{Mutex, PoisonError};

use axum::body::Bytes;

use crate::sys::clock;

/// What the loops say of themselves is as old as that anyway.
const FRESH_MS: u64 = 50;

#[derive(Default)]
pub(super) struct Recent(Mutex<Option<(u64, Bytes)>>);

impl Recent {
    /// The text, not older than a tick.
    pub(super) fn text(&self, make: impl FnOnce() -> String) -> Bytes {
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now_ms = clock::uptime_ms();
        if let Some((_, text)) = made.as_ref().filter(|(at_ms, _)| now_ms < at_ms.saturating_add(FRESH_MS)) {
            return text.clone();
        }
        let text = Bytes::from(make());
        *made = Some((now_ms, text.clone()));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_made_anew_once_it_is_old() {
        let recent = Recent::default();
        assert_eq!(recent.text(|| "first".to_owned()), "first");
        // Unless this machine stood still for so long in between.
        let second = recent.text(|| "second".to_owned());
        assert!(second == "first" || second == "second");
        recent.0.lock().unwrap().as_mut().unwrap().0 -= FRESH_MS;
        assert_eq!(recent.text(|| "third".to_owned()), "third");
    }
}
