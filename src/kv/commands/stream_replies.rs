//! Entries of streams as they are replied: an id, and the fields with their values in turns.

use std::ops::ControlFlow;

use crate::kv::call::{ELEMENT_WEIGHT, ReadCall, ReadResult, WriteCall};
use crate::kv::errors::{self, CommandError};
use crate::resp::{Reply, ReplyWriter};
use crate::storage::{Direction, Fields, Stream, StreamId};

/// What an entry takes in a reply beside its fields, at least.
const ENTRY_BYTES: usize = 20;
/// What a name or a value takes more in a reply than in its row, at least.
const PART_BYTES: usize = 4;

#[must_use]
pub fn id_reply(id: StreamId) -> Reply {
    Reply::Bulk(id.to_string().into_bytes())
}

pub fn write_id(reply: &mut ReplyWriter<'_>, id: StreamId) -> ReadResult {
    Ok(reply.bulk(id.to_string().as_bytes())?)
}

pub fn write_entry(reply: &mut ReplyWriter<'_>, id: StreamId, fields: Fields<'_>) -> ReadResult {
    reply.array(2)?;
    write_id(reply, id)?;
    let parts = fields.all()?;
    reply.array(parts.len())?;
    parts.iter().try_for_each(|part| Ok(reply.bulk(part)?))
}

/// Writes an array of so many entries of a range at most.
pub fn write_range(
    call: &mut ReadCall<'_>,
    stream: &Stream<'_>,
    range: (StreamId, StreamId),
    direction: Direction,
    count: u64,
) -> ReadResult {
    let entries_max = call.weight.map_or(u64::MAX, |weight| weight / ELEMENT_WEIGHT);
    let gap = call.reply.gap();
    let mut written = 0;
    if count > 0 {
        stream.range::<CommandError>(range, direction, &mut |id, fields| {
            if written >= entries_max {
                return Err(CommandError::TooHeavy);
            }
            write_entry(&mut call.reply, id, fields)?;
            written += 1;
            Ok(if written < count { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
    }
    Ok(call.reply.fill(gap, |reply| reply.array(written as usize))?)
}

/// Entries for the reply to a write, which has so many bytes.
pub struct Entries {
    entries: Vec<Reply>,
    bytes_left: usize,
}

impl Entries {
    #[must_use]
    pub fn of(call: &WriteCall<'_>) -> Entries {
        Entries { entries: Vec::new(), bytes_left: call.reply_bytes_max }
    }

    /// `None`: there are no fields any more.
    pub fn push(&mut self, id: StreamId, fields: Option<Fields<'_>>) -> Result<(), CommandError> {
        let fields = match fields {
            None => Reply::NullArray,
            Some(fields) => {
                let parts = fields.all()?;
                self.take(fields.bytes_len() + PART_BYTES * parts.len())?;
                Reply::Array(parts.into_iter().map(|part| Reply::Bulk(part.to_vec())).collect())
            }
        };
        self.take(ENTRY_BYTES)?;
        self.entries.push(Reply::Array(vec![id_reply(id), fields]));
        Ok(())
    }

    pub fn push_id(&mut self, id: StreamId) -> Result<(), CommandError> {
        self.take(ENTRY_BYTES)?;
        self.entries.push(id_reply(id));
        Ok(())
    }

    /// Those since the last time.
    pub fn take_all(&mut self) -> Reply {
        Reply::Array(std::mem::take(&mut self.entries))
    }

    fn take(&mut self, bytes: usize) -> Result<(), CommandError> {
        self.bytes_left = self.bytes_left.checked_sub(bytes).ok_or(CommandError::from(errors::REPLY_TOO_LARGE))?;
        Ok(())
    }
}
