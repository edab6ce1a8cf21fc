//! What TLS is spoken with from now on, on its way to the processes that are there: a process that could not be given it, since its control
//! socket was full, is given it again. Knows no certificate: what it hands on is sealed memory.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::counters::Slot;

/// What was last handed on, and who has not got it.
#[derive(Default)]
pub(super) struct HandingOn {
    handed: Option<OwnedFd>,
    owed: BTreeSet<Slot>,
}

impl HandingOn {
    /// This is new, for all of these processes.
    pub(super) fn begin(&mut self, handed: OwnedFd, to: impl Iterator<Item = Slot>) {
        self.handed = Some(handed);
        self.owed = to.collect();
    }

    /// The process starts with what is new, or is not there.
    pub(super) fn is_over(&mut self, slot: Slot) {
        self.owed.remove(&slot);
    }

    /// Gives it to those who have not got it. Who can't be given it, with the reason, is tried again by the next call.
    pub(super) fn go_on(
        &mut self,
        mut give: impl FnMut(Slot, BorrowedFd<'_>) -> io::Result<()>,
        mut failed: impl FnMut(Slot, io::Error),
    ) {
        let Some(handed) = &self.handed else { return };
        self.owed.retain(|slot| match give(*slot, handed.as_fd()) {
            Ok(()) => false,
            Err(error) => {
                failed(*slot, error);
                true
            }
        });
        if self.owed.is_empty() {
            self.handed = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::control::{Control, Heard, Message};
    use super::*;
    use crate::sys::sealed;

    fn certificates(control: &Control) -> Vec<Vec<u8>> {
        let mut heard = Vec::new();
        loop {
            match control.receive().unwrap() {
                Heard::Message(Message::Certificates, Some(handed)) => {
                    heard.push(sealed::read(handed.as_fd()).unwrap());
                }
                Heard::Message(..) => {}
                Heard::Nothing | Heard::Gone => return heard,
            }
        }
    }

    #[test]
    fn who_could_not_be_given_it_is_given_it_later_and_once() {
        let pairs = [Control::pair().unwrap(), Control::pair().unwrap()];
        // The second process reads nothing for now.
        while pairs[1].0.send(Message::Ready, None).is_ok() {}
        let mut handing_on = HandingOn::default();
        let round = |handing_on: &mut HandingOn| {
            let mut failed = Vec::new();
            let give = |slot: Slot, handed: BorrowedFd<'_>| pairs[slot.0].0.send(Message::Certificates, Some(handed));
            handing_on.go_on(give, |slot, error| failed.push((slot.0, error.kind())));
            failed
        };
        assert!(round(&mut handing_on).is_empty(), "there is nothing yet");
        for text in [b"first", b"newer"] {
            handing_on.begin(sealed::memory("test", text).unwrap(), [0, 1].map(Slot).into_iter());
            for _ in 0..2 {
                assert_eq!(round(&mut handing_on), [(1, io::ErrorKind::WouldBlock)]);
            }
        }
        assert_eq!(certificates(&pairs[0].1), [b"first", b"newer"]);
        assert!(certificates(&pairs[1].1).is_empty());
        assert!(round(&mut handing_on).is_empty());
        assert!(round(&mut handing_on).is_empty());
        assert_eq!(certificates(&pairs[1].1), [b"newer"], "what is older is nobody's any more");
        handing_on.begin(sealed::memory("test", b"third").unwrap(), [1].map(Slot).into_iter());
        handing_on.is_over(Slot(1));
        round(&mut handing_on);
        assert!(certificates(&pairs[1].1).is_empty(), "it has started anew, with that");
    }
}
