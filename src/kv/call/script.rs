//! What a script's call may ask of the place where the script runs, instead of a session.

use crate::kv::errors::CommandError;
use crate::resp::Version;

/// The session of a script, as commands see it that run beside a client's otherwise.
pub trait ScriptSession {
    /// Of the replies, as the script has chosen it.
    fn version(&self) -> Version;
    /// When the script began, in microseconds since 1970: its time stands still.
    fn now_us(&self) -> i64;
    /// The calls behind this one are about this database.
    fn select(&mut self, database: u8);
    /// Gives a message to all who are subscribed, once what the script has done is committed. How many that are now.
    ///
    /// # Errors
    /// The script may change nothing.
    fn publish(&mut self, is_shard: bool, channel: &[u8], message: &[u8]) -> Result<u64, CommandError>;
}
