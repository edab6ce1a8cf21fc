//! A reply as a value, before it has a version and bytes.

use std::borrow::Cow;

/// What a command answers. [`encode`](crate::resp::encode::encode) gives it the shape that the client's version has.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// `+OK`.
    Ok,
    /// A short text without CR and LF.
    Simple(Cow<'static, str>),
    /// `CODE text`, without the leading `-`.
    Error(Cow<'static, str>),
    Integer(i64),
    Bulk(Vec<u8>),
    /// The absent bulk string.
    Null,
    /// The absent array: differs from [`Reply::Null`] in RESP2 only.
    NullArray,
    Array(Vec<Reply>),
    Map(Vec<(Reply, Reply)>),
    Set(Vec<Reply>),
    /// Out of band: not the answer to a request.
    Push(Vec<Reply>),
    Double(f64),
    Bool(bool),
    /// Decimal digits with an optional sign.
    BigNumber(String),
    /// Text for people; `format` is `txt` or `mkd`.
    Verbatim {
        format: [u8; 3],
        text: Vec<u8>,
    },
}

impl Reply {
    /// About the memory that it takes, which is more than the bytes that it will have.
    #[must_use]
    pub fn bytes_len(&self) -> usize {
        size_of::<Reply>()
            + match self {
                Reply::Bulk(bytes) | Reply::Verbatim { text: bytes, .. } => bytes.len(),
                Reply::Simple(text) | Reply::Error(text) => text.len(),
                Reply::BigNumber(digits) => digits.len(),
                Reply::Array(replies) | Reply::Set(replies) | Reply::Push(replies) => {
                    replies.iter().map(Reply::bytes_len).sum()
                }
                Reply::Map(pairs) => pairs.iter().map(|(key, value)| key.bytes_len() + value.bytes_len()).sum(),
                Reply::Ok | Reply::Integer(_) | Reply::Null | Reply::NullArray | Reply::Double(_) | Reply::Bool(_) => 0,
            }
    }
}

/// The protocol version that a connection has negotiated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    #[default]
    Resp2,
    Resp3,
}
