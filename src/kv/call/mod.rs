//! A call as its handler sees it: what it may know and change, where its reply goes, whom it tells. Knows no command and no lane.

mod event;
mod read;
mod script;
mod write;

pub use event::{Class, Classes, Event, Events, KEY_MISS, Notifications};
pub use read::{ELEMENT_WEIGHT, ReadCall, ReadResult};
pub use script::ScriptSession;
pub use write::{UserRows, Waited, WaitingCalls, WriteCall};
