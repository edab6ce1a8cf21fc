//! RESP2 and RESP3 as pure functions: bytes to requests, replies to bytes, and the way back for a client.
//!
//! It knows no socket, no command and no limit of its own choosing. Serves server and client.
//!
//! ```text
//! a request       *2\r\n $3\r\n GET\r\n $4\r\n user\r\n          an array of bulk strings …
//!                  │      │               └ the next argument
//!                  │      └ 3 bytes follow, whatever they are, then two more that close them
//!                  └ 2 arguments
//!                 GET "user"\n                                   … or a line of text, quoted as in a shell
//!
//! a reply         RESP2           RESP3              either: one type byte, a line, perhaps a body
//!   simple, error +OK\r\n         -ERR text\r\n      integer  :42\r\n
//!   bulk, array   $3\r\n abc\r\n  *2\r\n item item
//!   null          $-1\r\n *-1\r\n _\r\n
//!   map           *4\r\n k v k v  %2\r\n k v k v
//!   set, push     *2\r\n item …   ~2\r\n item …      >2\r\n item …
//!   boolean       :1\r\n          #t\r\n
//!   double        $3\r\n 1.5\r\n  ,1.5\r\n
//!   big number    $2\r\n 42\r\n   (42\r\n
//!   verbatim      $4\r\n text\r\n =8\r\n txt:text\r\n
//!   only read     !4\r\n ERR …    |1\r\n k v         (an error with a body; attributes, which are skipped)
//! ```

pub mod encode;
pub mod fuzz;
pub mod inline;
pub mod number;
pub mod protocol_error;
pub mod reply;
pub mod request;
pub mod response;
pub mod skip;
pub mod writer;

#[cfg(test)]
mod properties;

pub use encode::{encode, encode_command};
pub use protocol_error::ProtocolError;
pub use reply::{Reply, Version};
pub use request::{Args, Limits, Parsed, RequestParser};
pub use response::{ResponseError, ResponseLimits, ResponseParser};
pub use skip::{ReplySkipper, Skipped};
pub use writer::{Gap, ReplyWriter, TooLarge, Written};
