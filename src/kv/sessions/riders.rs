//! Replies of a run that no lane makes: those of calls whose answer follows from the session alone. They wait here while the run is on
//! its lane, and go between the lane's replies, in the order of the calls.

use crate::server::{Block, Outbox};

/// The riding replies of one run.
#[derive(Default)]
pub struct Riders {
    pieces: Vec<Piece>,
    /// The bytes of all pieces, one behind the other.
    bytes: Vec<u8>,
    /// The first piece that is not sent, and how many calls of the run are answered.
    next: usize,
    answered: usize,
}

/// Replies that lie side by side.
struct Piece {
    kind: PieceKind,
    /// So many calls of the run come before it.
    place: usize,
    /// Where it ends in `bytes`; it begins where the one before it ends.
    end: usize,
}

/// What a riding reply belongs to: of a transaction that was refused only the refusal is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PieceKind {
    /// It is a reply by itself.
    Alone,
    /// The header of EXEC's reply, and what stands before the replies of a lane.
    BeginsTransaction,
    /// A part of EXEC's reply, behind one of a lane's.
    InTransaction,
}

impl Riders {
    /// Adds a reply behind so many calls of the run.
    pub fn add(&mut self, place: usize, kind: PieceKind, reply: &[u8]) {
        if reply.is_empty() {
            return;
        }
        self.bytes.extend_from_slice(reply);
        let end = self.bytes.len();
        match self.pieces.last_mut() {
            Some(last) if last.place == place && last.kind == kind => last.end = end,
            _ => self.pieces.push(Piece { kind, place, end }),
        }
    }

    /// True while something is to be put between the lane's replies, or behind them.
    #[must_use]
    pub fn are_waiting(&self) -> bool {
        self.next < self.pieces.len()
    }

    /// The memory that they take.
    #[must_use]
    pub fn bytes_kept(&self) -> usize {
        self.bytes.capacity() + self.pieces.capacity() * size_of::<Piece>()
    }

    /// The lane has answered the next calls of the run, or refused all of them; `ends` says where each reply ends, unless no reply rides.
    pub fn merge(&mut self, replies: Block, ends: &[u64], is_refused: bool, out: &mut Outbox) {
        if !self.are_waiting() {
            return out.append(replies);
        }
        let mut begin = 0;
        while let Some(piece) = self.pieces.get(self.next) {
            let before = piece.place - self.answered;
            let is_in_refused = is_refused && piece.kind == PieceKind::InTransaction && before == ends.len();
            // What stands before a call that was not run yet waits for it.
            if before >= ends.len() && !is_in_refused {
                break;
            }
            if is_refused && piece.kind != PieceKind::Alone {
                self.next += 1;
                continue;
            }
            let end = before.checked_sub(1).map_or(0, |last| ends[last] as usize);
            out.buffer().extend_from_slice(&replies[begin..end]);
            begin = end;
            self.send_next(out);
        }
        out.buffer().extend_from_slice(&replies[begin..]);
        self.answered += ends.len();
    }

    /// All calls of the run are answered: what stands behind the last one follows.
    pub fn finish(mut self, out: &mut Outbox) {
        while self.are_waiting() {
            self.send_next(out);
        }
    }

    fn send_next(&mut self, out: &mut Outbox) {
        let begin = self.next.checked_sub(1).map_or(0, |before| self.pieces[before].end);
        out.buffer().extend_from_slice(&self.bytes[begin..self.pieces[self.next].end]);
        self.next += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn of_a_transaction_that_was_refused_only_the_refusal_is_sent() {
        use PieceKind::{Alone, BeginsTransaction, InTransaction};
        let mut riders = Riders::default();
        // A call, a transaction of two calls with replies around them, one without any, and one behind that is refused later on.
        let pieces = [
            (1, Alone, "a"),
            (1, BeginsTransaction, "*4"),
            (2, InTransaction, "b"),
            (3, InTransaction, "c"),
            (3, Alone, "*1d"),
            (3, BeginsTransaction, "*1"),
            (4, Alone, "e"),
        ];
        pieces.into_iter().for_each(|(place, kind, reply)| riders.add(place, kind, reply.as_bytes()));
        let mut out = Outbox::default();
        riders.merge(b"-1-2".to_vec().into(), &[2, 4, 4], true, &mut out);
        assert_eq!(out.take(), b"-1a-2");
        riders.merge(b"+3".to_vec().into(), &[2], false, &mut out);
        riders.finish(&mut out);
        assert_eq!(out.take(), b"*1d*1+3e");
    }

    proptest! {
        /// Calls of the lane and replies that ride, in any order, and answers that cut the run anywhere.
        #[test]
        fn replies_come_in_the_order_of_their_calls(calls in prop::collection::vec(any::<bool>(), 0..40), cuts in prop::collection::vec(1..6_usize, 0..40)) {
            let (mut riders, mut lane, mut expected) = (Riders::default(), Vec::new(), Vec::new());
            for (number, is_riding) in calls.into_iter().enumerate() {
                let reply = format!("{number};").into_bytes();
                expected.extend_from_slice(&reply);
                match is_riding {
                    true => riders.add(lane.len(), PieceKind::Alone, &reply),
                    false => lane.push(reply),
                }
            }
            let (mut out, mut cuts) = (Outbox::default(), cuts.into_iter());
            while !lane.is_empty() {
                let answered: Vec<Vec<u8>> = lane.drain(..cuts.next().unwrap_or(9).min(lane.len())).collect();
                let mut ends = Vec::new();
                answered.iter().fold(0, |end, reply| { ends.push(end + reply.len() as u64); end + reply.len() as u64 });
                riders.merge(answered.concat().into(), &ends, false, &mut out);
            }
            riders.finish(&mut out);
            prop_assert_eq!(out.take(), expected);
        }
    }
}
