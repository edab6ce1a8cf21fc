//! Session tickets: a client that comes again shakes hands without a signature, at whichever worker it arrives.
//!
//! A ticket is the session's secrets, sealed with a key that all workers have. Two keys hold: what the newer one sealed is given out, what
//! the older one sealed is taken. Who watches the files draws them, and draws both anew with new certificates.

use std::fmt;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::server::ProducesTickets;
use serde::{Deserialize, Serialize};

/// The newer and the older key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TicketKeys {
    newer: [u8; 32],
    older: [u8; 32],
}

/// A key seals for so long, and opens for so long again.
pub(super) const TURN_SECONDS: u64 = 6 * 60 * 60;
/// A session with a client's certificate is more; a longer ticket is nobody's.
const TICKET_BYTES_MAX: usize = 4 << 10;

impl TicketKeys {
    /// `None` where the machine gives no random bytes.
    pub(super) fn drawn() -> Option<TicketKeys> {
        Some(TicketKeys { newer: random()?, older: random()? })
    }

    /// The next ones: what was sealed before the last turn opens no more.
    pub(super) fn turned(&self) -> Option<TicketKeys> {
        Some(TicketKeys { newer: random()?, older: self.newer })
    }
}

fn random<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).ok()?;
    Some(bytes)
}

pub(super) struct Tickets {
    newer: LessSafeKey,
    older: LessSafeKey,
}

impl Tickets {
    pub(super) fn new(keys: &TicketKeys) -> Tickets {
        let key = |bytes: &[u8; 32]| {
            LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, bytes).expect("this cipher has keys of 32 bytes"))
        };
        Tickets { newer: key(&keys.newer), older: key(&keys.older) }
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        TURN_SECONDS as u32
    }

    /// Nonce, sealed bytes, tag.
    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let nonce: [u8; NONCE_LEN] = random()?;
        let mut ticket = nonce.to_vec();
        ticket.extend_from_slice(plain);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self.newer.seal_in_place_separate_tag(nonce, Aad::empty(), &mut ticket[NONCE_LEN..]).ok()?;
        ticket.extend_from_slice(tag.as_ref());
        (ticket.len() <= TICKET_BYTES_MAX).then_some(ticket)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = ticket.split_first_chunk::<NONCE_LEN>()?;
        if ticket.len() > TICKET_BYTES_MAX {
            return None;
        }
        [&self.newer, &self.older].into_iter().find_map(|key| {
            let mut opened = sealed.to_vec();
            let length = key.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::empty(), &mut opened).ok()?.len();
            opened.truncate(length);
            Some(opened)
        })
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_opens_until_the_second_turn_and_nothing_else_does() {
        let keys = TicketKeys::drawn().unwrap();
        let tickets = Tickets::new(&keys);
        let ticket = tickets.encrypt(b"secrets").unwrap();
        assert_ne!(ticket, tickets.encrypt(b"secrets").unwrap());
        let (once, twice) = (keys.turned().unwrap(), keys.turned().unwrap().turned().unwrap());
        for (keys, opens) in [(&keys, true), (&once, true), (&twice, false)] {
            assert_eq!(Tickets::new(keys).decrypt(&ticket), opens.then(|| b"secrets".to_vec()));
        }
        for place in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[place] ^= 1;
            assert_eq!(tickets.decrypt(&changed), None);
            assert_eq!(tickets.decrypt(&ticket[..place]), None);
        }
        assert_eq!(tickets.encrypt(&[0; TICKET_BYTES_MAX]), None);
    }
}
