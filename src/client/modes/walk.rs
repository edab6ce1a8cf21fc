//! A walk over the keys of the database by SCAN, a batch at a time; the service does other things in between.

use crate::client::connection::Connection;
use crate::client::failure::Failure;
use crate::resp::Reply;

/// Which keys, and how many the service looks at in one step.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    pub(crate) pattern: Option<String>,
    pub(crate) kind: Option<String>,
    pub(crate) count: u32,
}

pub(super) struct Walk {
    selection: Selection,
    /// `None` at the end.
    cursor: Option<Vec<u8>>,
}

impl Walk {
    pub(super) fn over(selection: Selection) -> Self {
        Self { selection, cursor: Some(b"0".to_vec()) }
    }

    /// The next keys, perhaps none; `None` at the end. A key that is changed meanwhile may come twice, as SCAN has it.
    pub(super) fn next(&mut self, connection: &mut Connection) -> Result<Option<Vec<Vec<u8>>>, Failure> {
        let Some(cursor) = self.cursor.take() else { return Ok(None) };
        let mut command: Vec<Vec<u8>> =
            vec![b"SCAN".to_vec(), cursor, b"COUNT".to_vec(), self.selection.count.to_string().into_bytes()];
        for (option, value) in [("MATCH", &self.selection.pattern), ("TYPE", &self.selection.kind)] {
            if let Some(value) = value {
                command.extend([option.as_bytes().to_vec(), value.clone().into_bytes()]);
            }
        }
        let (cursor, keys) = step_of(connection.call(&command)?)?;
        self.cursor = Some(cursor).filter(|cursor| cursor != b"0");
        Ok(Some(keys))
    }
}

fn step_of(reply: Reply) -> Result<(Vec<u8>, Vec<Vec<u8>>), Failure> {
    let unexpected = || Failure::Server("SCAN answers something else than a cursor and keys".to_owned());
    let items = match reply {
        Reply::Array(items) => items,
        Reply::Error(text) => return Err(Failure::Server(text.into_owned())),
        _ => return Err(unexpected()),
    };
    let [Reply::Bulk(cursor), Reply::Array(keys)] = <[Reply; 2]>::try_from(items).map_err(|_| unexpected())? else {
        return Err(unexpected());
    };
    let keys = keys.into_iter().map(|key| match key {
        Reply::Bulk(key) => Ok(key),
        _ => Err(unexpected()),
    });
    Ok((cursor, keys.collect::<Result<_, _>>()?))
}

/// About how many keys there are; 0 where the service does not say.
pub(super) fn key_count(connection: &mut Connection) -> Result<u64, Failure> {
    match connection.call(&["DBSIZE"])? {
        Reply::Integer(count) => Ok(u64::try_from(count).unwrap_or(0)),
        _ => Ok(0),
    }
}
