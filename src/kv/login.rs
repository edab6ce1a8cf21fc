//! Who may come in: the one user `default`, with the password of the service.

use subtle::{Choice, ConstantTimeEq};

use crate::kv::desk::Desk;
use crate::kv::errors::{self, CommandError};
use crate::kv::runtime::PASSWORD_BYTES_MAX;
use crate::kv::session::Session;
use crate::kv::statistics::Counted;

pub const USER: &[u8] = b"default";

/// Lets the session in if user and password are right; without a password anything will do for `default`. A failure leaves
/// a session that was let in as it is.
pub fn log_in(session: &mut Session, desk: &Desk, user: &[u8], password: &[u8]) -> Result<(), CommandError> {
    let runtime = &desk.shared.runtime;
    let is_right = !runtime.has_password() || is_same(password, &runtime.password());
    if user != USER || !is_right {
        desk.statistics.add(Counted::AuthFailuresTotal, 1);
        return Err(errors::WRONG_PASSWORD.into());
    }
    session.is_authenticated = true;
    Ok(())
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
