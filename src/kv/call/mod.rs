//! A call as its handler sees it: what it may know and change, where its reply goes, whom it tells. Knows no command and no lane.

mod event;
mod read;
mod user;
mod write;

pub use event::{Class, Classes, Event, Events};
pub use read::{ReadCall, ReadResult};
pub use user::User;
pub use write::{Waited, WriteCall};
