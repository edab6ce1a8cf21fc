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
    /// Already encoded bytes of whole replies, copied as they are.
    Raw(Vec<u8>),
}

/// The protocol version that a connection has negotiated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    #[default]
    Resp2,
    Resp3,
}
