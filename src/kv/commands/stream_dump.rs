//! DUMP and RESTORE of streams.

use crate::kv::call::{ReadCall, ReadResult};
use crate::kv::commands::elements;
use crate::kv::errors::CommandError;
use crate::kv::formats::rdb::{Payload, RestoreError, StreamDump};
use crate::kv::stream_parts::{self, Restoring};
use crate::resp::TooLarge;
use crate::storage::{Keyspace, Stream, StreamBuilding};

/// The payload of a stream.
pub fn dump(call: &mut ReadCall<'_>, stream: &Stream<'_>) -> ReadResult {
    let keyspace = call.keyspace;
    call.reply.bulk_of_unknown_length(|out, bytes_max| {
        let mut dump = StreamDump::new(out, stream.head().nodes);
        let mut count = 0_u64;
        stream_parts::dump(stream, &mut dump, &mut |dump| {
            count += 1;
            elements::check_time(keyspace, count)?;
            if dump.bytes() as u64 > bytes_max { Err(CommandError::from(TooLarge)) } else { Ok(()) }
        })?;
        dump.finish();
        Ok::<_, CommandError>(())
    })
}

/// The stream of a payload, on its way to a key. Of a bad one nothing stays: the call is undone.
pub fn restore(keyspace: &mut Keyspace, payload: &Payload<'_>) -> Result<StreamBuilding, CommandError> {
    let mut restoring = Restoring::begin(keyspace)?;
    payload.each_part(|part| match restoring.add(keyspace, part)? {
        true => Ok(()),
        false => Err(CommandError::from(RestoreError::Format)),
    })?;
    Ok(restoring.into_building())
}
