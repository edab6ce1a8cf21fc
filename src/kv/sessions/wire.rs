//! What workers ask and tell each other, as bytes: seldom, and between processes of one program, so that its form is nobody's concern.

use serde::Serialize;
use serde::de::DeserializeOwned;

#[must_use]
pub fn encode(message: &impl Serialize) -> Vec<u8> {
    postcard::to_allocvec(message).expect("what is in memory has a form")
}

/// `None` when the bytes were not made of such a message.
#[must_use]
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    postcard::from_bytes(bytes).ok()
}

/// The first of several messages; `rest` is what comes behind it.
pub fn decode_first<T: DeserializeOwned>(rest: &mut &[u8]) -> Option<T> {
    let (message, behind) = postcard::take_from_bytes(rest).ok()?;
    *rest = behind;
    Some(message)
}
