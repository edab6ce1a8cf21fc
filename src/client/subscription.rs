//! Messages of channels: the iterator over them, and which replies belong to SUBSCRIBE and its kin. No I/O of its own.

use super::connection::{ClientError, Connection};
use crate::resp::Reply;

/// Yields messages until the service closes the connection. Dropped or left, it subscribes to nothing any more.
pub struct Subscription<'a> {
    connection: &'a mut Connection,
    is_left: bool,
}

/// What somebody has published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub channel: Vec<u8>,
    /// Which subscribed pattern it came by; `None` for a subscribed channel.
    pub pattern: Option<Vec<u8>>,
    pub payload: Vec<u8>,
}

impl<'a> Subscription<'a> {
    pub(super) fn begin<A: AsRef<[u8]>>(
        connection: &'a mut Connection,
        verb: &[u8],
        channels: &[A],
    ) -> Result<Self, ClientError> {
        let command: Vec<&[u8]> = std::iter::once(verb).chain(channels.iter().map(AsRef::as_ref)).collect();
        match connection.call(&command)? {
            Reply::Error(text) => Err(ClientError::Refused(text.into_owned())),
            _ => Ok(Self { connection, is_left: false }),
        }
    }

    /// Ends it, and drops what is still under way.
    ///
    /// # Errors
    /// The connection is of no more use.
    pub fn leave(mut self) -> Result<(), ClientError> {
        self.unsubscribe()
    }

    fn unsubscribe(&mut self) -> Result<(), ClientError> {
        self.is_left = true;
        for verb in ["UNSUBSCRIBE", "PUNSUBSCRIBE"] {
            self.connection.send(&[verb])?;
        }
        // What was under way ends with the answer to something else.
        self.connection.send(&["PING", FAREWELL])?;
        while !is_farewell(&self.connection.receive()?) {}
        Ok(())
    }
}

impl Drop for Subscription<'_> {
    fn drop(&mut self) {
        if !self.is_left {
            #[expect(clippy::let_underscore_must_use, reason = "it fails at its next use as well")]
            let _ = self.unsubscribe();
        }
    }
}

impl Iterator for Subscription<'_> {
    type Item = Result<Message, ClientError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.connection.receive() {
                Ok(reply) => {
                    if let Some(message) = Message::from_reply(reply) {
                        return Some(Ok(message));
                    }
                }
                Err(ClientError::Closed) => {
                    self.is_left = true;
                    return None;
                }
                Err(error) => {
                    self.is_left = true;
                    return Some(Err(error));
                }
            }
        }
    }
}

impl Message {
    /// `None` for what is no message: confirmations, and what is pushed for other reasons.
    #[must_use]
    pub fn from_reply(reply: Reply) -> Option<Self> {
        let (Reply::Array(items) | Reply::Push(items)) = reply else { return None };
        let mut texts = items.into_iter().map(bulk_of).collect::<Option<Vec<_>>>()?.into_iter();
        let kind = texts.next()?;
        let pattern = if kind == b"pmessage" { Some(texts.next()?) } else { None };
        let is_message = pattern.is_some() || kind == b"message" || kind == b"smessage";
        match (texts.next(), texts.next(), texts.next()) {
            (Some(channel), Some(payload), None) if is_message => Some(Self { channel, pattern, payload }),
            _ => None,
        }
    }
}

fn bulk_of(reply: Reply) -> Option<Vec<u8>> {
    match reply {
        Reply::Bulk(bytes) => Some(bytes),
        _ => None,
    }
}

const FAREWELL: &str = "emptyserver-client-leaves";

/// RESP2 answers a subscriber's PING with an array.
fn is_farewell(reply: &Reply) -> bool {
    let is_word = |reply: &Reply| matches!(reply, Reply::Bulk(bytes) if bytes == FAREWELL.as_bytes());
    is_word(reply) || matches!(reply, Reply::Array(items) if items.iter().any(is_word))
}

/// `Some(true)` for a command that subscribes, `Some(false)` for one that ends a subscription.
pub(crate) fn subscribes<A: AsRef<[u8]>>(command: &[A]) -> Option<bool> {
    let name = command.first()?.as_ref();
    let is_one_of = |names: [&str; 3]| names.iter().any(|word| name.eq_ignore_ascii_case(word.as_bytes()));
    if is_one_of(["subscribe", "psubscribe", "ssubscribe"]) {
        Some(true)
    } else if is_one_of(["unsubscribe", "punsubscribe", "sunsubscribe"]) {
        Some(false)
    } else {
        None
    }
}

/// True exactly when a pushed reply is this command's confirmation: it begins with the command's name.
pub(crate) fn is_answer<A: AsRef<[u8]>>(reply: &Reply, command: &[A]) -> bool {
    let (Reply::Push(items) | Reply::Array(items)) = reply else { return false };
    let Some(Reply::Bulk(kind)) = items.first() else { return false };
    command.first().is_some_and(|name| name.as_ref().eq_ignore_ascii_case(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(words: &[&str]) -> Reply {
        Reply::Array(words.iter().map(|word| Reply::Bulk((*word).into())).collect())
    }

    #[test]
    fn messages_are_told_from_confirmations() {
        let plain = Message::from_reply(reply(&["message", "news", "hi"])).unwrap();
        assert_eq!(
            (plain.channel.as_slice(), plain.pattern, plain.payload.as_slice()),
            (&b"news"[..], None, &b"hi"[..])
        );
        let matched = Message::from_reply(reply(&["pmessage", "n*", "news", "hi"])).unwrap();
        assert_eq!((matched.pattern, matched.channel), (Some(b"n*".to_vec()), b"news".to_vec()));
        let confirmation = Reply::Array(vec![Reply::Bulk("subscribe".into()), Reply::Null, Reply::Integer(1)]);
        assert_eq!(Message::from_reply(confirmation), None);
        assert_eq!(Message::from_reply(reply(&["invalidate", "a", "b"])), None);
    }

    #[test]
    fn a_confirmation_names_its_command() {
        assert!(is_answer(&reply(&["subscribe", "a"]), &["SUBSCRIBE", "a"]));
        assert!(!is_answer(&reply(&["message", "a", "b"]), &["SUBSCRIBE", "a"]));
        assert_eq!(subscribes(&["PSubscribe", "a"]), Some(true));
        assert_eq!(subscribes(&["unsubscribe"]), Some(false));
        assert_eq!(subscribes(&["get", "a"]), None);
    }
}
