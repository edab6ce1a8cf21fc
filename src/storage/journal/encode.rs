//! Writes a group. The format is drawn in `group.rs`.

use super::group::{
    HAS_EXPIRES_AT, HAS_ID, HEAD_BYTES, Head, MAGIC, ORIGIN_ABSENT, ORIGIN_BLIND, ORIGIN_PRESENT, PUT, table_number,
};
use crate::storage::rows::{Batch, Origin, Row, RowKey};

/// A group behind what `out` has already. Only after `finish` it is one.
#[derive(Debug)]
pub struct Encoder<'a> {
    out: &'a mut Vec<u8>,
    begin: usize,
    changes: u64,
}

/// All changes of a batch, in no order, as one group. `tickets` are (incarnation, number).
pub fn encode(out: &mut Vec<u8>, head: &Head, tickets: &[(u64, u64)], batch: &Batch) {
    let mut encoder = Encoder::new(out, head, tickets);
    let done: Result<(), std::convert::Infallible> = batch.each(|changed| {
        encoder.change(changed.key, changed.row, changed.origin);
        Ok(())
    });
    match done {
        Ok(()) => encoder.finish(),
        Err(never) => match never {},
    }
}

/// What a group of so many tickets and rows can take, whose names and rows have so many bytes together.
#[must_use]
pub fn bytes_max(tickets: usize, rows: usize, bytes: usize) -> u64 {
    /// Table, flags, fields with their size, an origin, two lengths.
    const AROUND_ROW: usize = 2 + 17 + 16 + 10;
    (HEAD_BYTES + 16 * tickets + AROUND_ROW * rows + bytes) as u64
}

impl<'a> Encoder<'a> {
    pub fn new(out: &'a mut Vec<u8>, head: &Head, tickets: &[(u64, u64)]) -> Self {
        let begin = out.len();
        out.extend_from_slice(&MAGIC);
        let count = u32::try_from(tickets.len()).expect("there are far fewer workers");
        out.extend_from_slice(&count.to_be_bytes());
        // Length and number of changes are known at the end.
        for word in [0, head.generation, head.seq, head.boot, 0] {
            out.extend_from_slice(&word.to_be_bytes());
        }
        for (incarnation, number) in tickets {
            out.extend_from_slice(&incarnation.to_le_bytes());
            out.extend_from_slice(&number.to_le_bytes());
        }
        Self { out, begin, changes: 0 }
    }

    /// `row`: None where it is deleted.
    pub fn change(&mut self, key: RowKey<'_>, row: Option<Row<'_>>, origin: Origin) {
        let (origin, id, expires_at_ms) = match origin {
            Origin::Blind => (ORIGIN_BLIND, None, None),
            Origin::Absent => (ORIGIN_ABSENT, None, None),
            Origin::Present { id, expires_at_ms } => (ORIGIN_PRESENT, id, expires_at_ms),
        };
        let mut flags = origin;
        for (is_set, flag) in [(row.is_some(), PUT), (id.is_some(), HAS_ID), (expires_at_ms.is_some(), HAS_EXPIRES_AT)]
        {
            flags |= if is_set { flag } else { 0 };
        }
        let fields = key.fields().to_le_bytes();
        let fields_bytes = fields.len() - key.fields().leading_zeros() as usize / 8;
        self.out.extend_from_slice(&[table_number(key.table()), flags, fields_bytes as u8]);
        self.out.extend_from_slice(&fields[..fields_bytes]);
        for number in [id, expires_at_ms].into_iter().flatten() {
            self.out.extend_from_slice(&number.to_le_bytes());
        }
        self.length(key.tail().len());
        self.out.extend_from_slice(key.tail());
        if let Some(row) = row {
            self.length(row.bytes_len());
            row.write(self.out);
        }
        self.changes += 1;
    }

    pub fn finish(self) {
        let length = (self.out.len() - self.begin) as u64;
        let head = &mut self.out[self.begin..self.begin + HEAD_BYTES];
        head[8..16].copy_from_slice(&length.to_be_bytes());
        head[40..48].copy_from_slice(&self.changes.to_be_bytes());
    }

    /// Seven bits a byte, the lowest first; all but the last have the highest bit.
    fn length(&mut self, length: usize) {
        let mut rest = length;
        while rest >= 0x80 {
            self.out.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        self.out.push(rest as u8);
    }
}
