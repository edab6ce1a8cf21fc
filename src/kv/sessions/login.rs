//! Who may come in: a user that is there and on, with one of its passwords. Who tries many passwords on one connection waits longer and
//! longer for each answer.

use std::time::Duration;

use crate::kv::errors;
use crate::kv::sessions::acl_log;
use crate::kv::sessions::session::{Outcome, Session};
use crate::kv::sessions::worker_state::WorkerState;
use crate::kv::users::{Context, Denial};
use crate::resp::reply::Reply;
use crate::server::LogLimit;
use crate::sys::clock;

/// The answer to the first wrong password of a connection comes after so long, to each further one after twice the time, up to a bound.
const FIRST_DELAY: Duration = Duration::from_millis(1);
const LONGEST_DELAY: Duration = Duration::from_secs(1);

/// Lets the session in as this user, if the password is one of its. A failure leaves a session that was let in as it is; the error is what comes
/// of the command (`args`), and comes late.
pub fn log_in(
    session: &mut Session,
    worker: &mut WorkerState,
    args: &[&[u8]],
    user: &[u8],
    password: &[u8],
) -> Result<(), Box<Outcome>> {
    static WRONG: LogLimit = LogLimit::new();
    // The answer to a failure waits from here on: what is compared meanwhile tells nobody which users there are.
    let asked = clock::monotonic();
    let known = worker.users.users().named(user).cloned();
    if let Some(known) = known.filter(|known| known.admits(password)) {
        session.client.act_as(&known, worker.users.version());
        session.is_authenticated = true;
        session.login_failures = 0;
        return Ok(());
    }
    session.login_failures = session.login_failures.saturating_add(1);
    let context = if session.transaction.is_open() { Context::Multi } else { Context::TopLevel };
    acl_log::remember(worker, &session.client, Denial::of_login(user, args[0], context));
    if let Some(left_out) = WRONG.admit() {
        let (peer, failures) = (&session.client.address, session.login_failures);
        tracing::warn!(%peer, failures, left_out, "a client gave a wrong user or password");
    }
    let until = asked + delay(session.login_failures);
    Err(Box::new(Outcome::ReplyAt(until, Reply::Error(errors::WRONG_PASSWORD.into()))))
}

/// How long the answer to so many failures in a row waits.
fn delay(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(31);
    FIRST_DELAY.saturating_mul(1 << doublings).min(LONGEST_DELAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_waits_twice_as_long_up_to_a_bound() {
        let waits = [1, 2, 3, 10, 11, 12, u32::MAX].map(|failures| delay(failures).as_millis());
        assert_eq!(waits, [1, 2, 4, 512, 1000, 1000, 1000]);
    }
}
