//! When what runs at a stretch has had its turn. Tests of the loop and the lanes that count jobs leave the time out of it, each thread for
//! itself: a machine under load holds anything up for longer than a turn lasts. In every other build time alone decides.

use std::time::Duration;

/// True once what may take so long has taken so long.
#[cfg(not(test))]
#[inline]
#[must_use]
pub fn is_over(taken: Duration, limit: Duration) -> bool {
    taken >= limit
}

#[cfg(test)]
thread_local! {
    static IS_TIMELESS: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// True once what may take so long has taken so long, where time counts in this thread.
#[cfg(test)]
#[must_use]
pub fn is_over(taken: Duration, limit: Duration) -> bool {
    taken >= limit && !IS_TIMELESS.get()
}

/// From here on no turn of this thread ends because of the time that it takes.
#[cfg(test)]
pub fn without_time() {
    IS_TIMELESS.set(true);
}
