//! Who may come in: the one user `default`, with the password of the service. Who tries many passwords on one connection waits longer and
//! longer for each answer.

use std::time::Duration;

use subtle::{Choice, ConstantTimeEq};

use crate::kv::call::User;
use crate::kv::errors;
use crate::kv::metrics::statistics::Counted;
use crate::kv::sessions::session::{Outcome, Session};
use crate::kv::sessions::worker_state::WorkerState;
use crate::kv::shared::runtime::PASSWORD_BYTES_MAX;
use crate::resp::reply::Reply;
use crate::server::LogLimit;
use crate::sys::clock;

/// The answer to the first wrong password of a connection comes after so long, to each further one after twice the time, up to a bound.
const FIRST_DELAY: Duration = Duration::from_millis(1);
const LONGEST_DELAY: Duration = Duration::from_secs(1);

/// Lets the session in if user and password are right; without a password anything will do for `default`. A failure leaves
/// a session that was let in as it is; the error is what comes of the command, and comes late.
pub fn log_in(session: &mut Session, worker: &WorkerState, user: &[u8], password: &[u8]) -> Result<(), Box<Outcome>> {
    static WRONG: LogLimit = LogLimit::new();
    let needed = worker.shared.runtime.password();
    let is_right = needed.is_empty() || is_same(password, &needed);
    if user == User::DEFAULT.name.as_bytes() && is_right {
        session.is_authenticated = true;
        session.login_failures = 0;
        return Ok(());
    }
    session.login_failures = session.login_failures.saturating_add(1);
    worker.statistics.add(Counted::AuthFailuresTotal, 1);
    if let Some(left_out) = WRONG.admit() {
        let (peer, failures) = (session.client.address, session.login_failures);
        tracing::warn!(%peer, failures, left_out, "a client gave a wrong user or password");
    }
    let until = clock::monotonic() + delay(session.login_failures);
    Err(Box::new(Outcome::ReplyAt(until, Reply::Error(errors::WRONG_PASSWORD.into()))))
}

/// How long the answer to so many failures in a row waits.
fn delay(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(31);
    FIRST_DELAY.saturating_mul(1 << doublings).min(LONGEST_DELAY)
}

/// Takes the same time whatever the bytes are, and tells of the lengths no more than they are equal or not.
fn is_same(given: &[u8], password: &[u8]) -> bool {
    let is_possible = Choice::from(u8::from(given.len() <= PASSWORD_BYTES_MAX));
    let has_same_length = given.len().ct_eq(&password.len());
    (padded(given).ct_eq(&padded(password)) & has_same_length & is_possible).into()
}

fn padded(bytes: &[u8]) -> [u8; PASSWORD_BYTES_MAX] {
    let mut padded = [0; PASSWORD_BYTES_MAX];
    let length = bytes.len().min(PASSWORD_BYTES_MAX);
    padded[..length].copy_from_slice(&bytes[..length]);
    padded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_waits_twice_as_long_up_to_a_bound() {
        let waits = [1, 2, 3, 10, 11, 12, u32::MAX].map(|failures| delay(failures).as_millis());
        assert_eq!(waits, [1, 2, 4, 512, 1000, 1000, 1000]);
    }

    #[test]
    fn only_the_whole_password_is_the_password() {
        let longest = [b'x'; PASSWORD_BYTES_MAX];
        assert!(is_same(b"secret", b"secret") && is_same(&longest, &longest));
        for wrong in [&b""[..], b"secre", b"secret\0", b"Secret", &longest] {
            assert!(!is_same(wrong, b"secret"), "{wrong:?}");
        }
        // What stands for "can't be read" is too long to be given.
        let unreadable = [0xff; PASSWORD_BYTES_MAX + 1];
        assert!(!is_same(&unreadable, &unreadable));
    }
}
