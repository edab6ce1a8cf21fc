//! A reply that is built as bytes, up to a limit: no value is held beside them. Knows no command and no limit of its own.

use super::encode;
use super::reply::Version;

/// Appends one reply to a buffer, in the form of the client's version. What would lead past the limit is not written: the caller stops
/// there and takes back what the reply has so far.
pub struct ReplyWriter<'a> {
    out: &'a mut Vec<u8>,
    /// Where this reply begins in `out`.
    begin: usize,
    bytes_max: usize,
    version: Version,
    /// Gaps that were left and not filled yet.
    gaps: usize,
}

/// The reply is larger than it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge;

pub type Written = Result<(), TooLarge>;

/// A place in a reply where something is missing: a length that is known when all behind it is written.
#[must_use = "a reply with a gap is not whole"]
pub struct Gap {
    at: usize,
    depth: usize,
}

impl<'a> ReplyWriter<'a> {
    /// Of one reply behind what `out` holds already, of `bytes_max` bytes at most.
    #[must_use]
    pub fn new(out: &'a mut Vec<u8>, version: Version, bytes_max: usize) -> ReplyWriter<'a> {
        ReplyWriter { begin: out.len(), out, bytes_max, version, gaps: 0 }
    }

    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// What was written of this reply.
    #[must_use]
    pub fn written(&self) -> &[u8] {
        &self.out[self.begin..]
    }

    /// True exactly when every gap is filled.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.gaps == 0
    }

    /// Whether so many bytes more have room: for who would have to fetch them first.
    ///
    /// # Errors
    /// `TooLarge`
    pub fn check(&self, bytes: u64) -> Written {
        let left = self.bytes_max.checked_sub(self.written().len()).ok_or(TooLarge)?;
        if bytes <= left as u64 { Ok(()) } else { Err(TooLarge) }
    }

    /// How many bytes more have room.
    #[must_use]
    pub fn room(&self) -> usize {
        self.bytes_max.saturating_sub(self.written().len())
    }

    pub fn ok(&mut self) -> Written {
        self.simple("OK")
    }

    /// A short text without CR and LF.
    pub fn simple(&mut self, text: &str) -> Written {
        self.write(text.len(), |out, _| encode::simple(text, out))
    }

    pub fn integer(&mut self, value: i64) -> Written {
        self.write(0, |out, _| encode::integer(value, out))
    }

    /// A count or a length.
    pub fn count(&mut self, value: u64) -> Written {
        self.integer(i64::try_from(value).unwrap_or(i64::MAX))
    }

    pub fn bulk(&mut self, bytes: &[u8]) -> Written {
        self.write(bytes.len(), |out, _| encode::bulk(bytes, out))
    }

    /// A bulk string of so many bytes that comes in parts: `append` appends exactly as many.
    pub fn bulk_of_parts<E: From<TooLarge>>(
        &mut self,
        bytes: usize,
        append: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.check(bytes as u64)?;
        self.out.reserve(bytes);
        encode::bulk_header(bytes, self.out);
        let begin = self.out.len();
        append(self.out)?;
        assert_eq!(self.out.len() - begin, bytes, "the parts are as long as the whole");
        self.out.extend_from_slice(b"\r\n");
        Ok(self.check(0)?)
    }

    /// A bulk string whose length is known when it is there: `append` appends it, and may ask how much has room. It is moved once, so this is
    /// for long ones.
    pub fn bulk_of_unknown_length<E: From<TooLarge>>(
        &mut self,
        append: impl FnOnce(&mut Vec<u8>, u64) -> Result<(), E>,
    ) -> Result<(), E> {
        let (begin, left) = (self.out.len(), self.bytes_max.saturating_sub(self.written().len()));
        append(self.out, left as u64)?;
        let end = self.out.len();
        encode::bulk_header(end - begin, self.out);
        let added = self.out.len() - end;
        self.out[begin..].rotate_right(added);
        self.out.extend_from_slice(b"\r\n");
        Ok(self.check(0)?)
    }

    /// The absent bulk string.
    pub fn null(&mut self) -> Written {
        self.write(0, |out, version| encode::null(version, out))
    }

    /// The absent array: differs from `null` in RESP2 only.
    pub fn null_array(&mut self) -> Written {
        self.write(0, |out, version| encode::null_array(version, out))
    }

    pub fn boolean(&mut self, value: bool) -> Written {
        self.write(0, |out, version| encode::boolean(value, version, out))
    }

    pub fn double(&mut self, value: f64) -> Written {
        self.write(0, |out, version| encode::double(value, version, out))
    }

    /// A double that has a text of its own.
    pub fn double_text(&mut self, text: &str) -> Written {
        self.write(text.len(), |out, version| encode::double_text(text, version, out))
    }

    /// Decimal digits with an optional sign.
    pub fn big_number(&mut self, digits: &str) -> Written {
        self.write(digits.len(), |out, version| encode::big_number(digits, version, out))
    }

    /// Text for people; `format` is `txt` or `mkd`.
    pub fn verbatim(&mut self, format: [u8; 3], text: &[u8]) -> Written {
        self.write(text.len(), |out, version| encode::verbatim(format, text, version, out))
    }

    /// An error as an element of a reply. A call that fails returns its error instead.
    pub fn error(&mut self, text: &str) -> Written {
        self.write(text.len(), |out, _| encode::error(text, out))
    }

    /// So many elements follow.
    pub fn array(&mut self, length: usize) -> Written {
        self.write(0, |out, _| encode::array_header(length, out))
    }

    /// So many keys follow, each with its value behind it.
    pub fn map(&mut self, pairs: usize) -> Written {
        self.write(0, |out, version| encode::map_header(pairs, version, out))
    }

    pub fn set(&mut self, length: usize) -> Written {
        self.write(0, |out, version| encode::set_header(length, version, out))
    }

    /// Out of band: not the answer to a request.
    pub fn push(&mut self, length: usize) -> Written {
        self.write(0, |out, version| encode::push_header(length, version, out))
    }

    /// Leaves a place for what is not known yet; `fill` writes it there. Gaps within one another are filled from the innermost on.
    pub fn gap(&mut self) -> Gap {
        self.gaps += 1;
        Gap { at: self.out.len(), depth: self.gaps }
    }

    /// Writes into the gap what `write` writes, most of the time the header of an array. What stands behind it is moved, so this is for
    /// long replies once or twice.
    #[expect(clippy::needless_pass_by_value, reason = "a gap is filled once")]
    pub fn fill(&mut self, gap: Gap, write: impl FnOnce(&mut Self) -> Written) -> Written {
        debug_assert_eq!(gap.depth, self.gaps, "the innermost gap is filled first");
        self.gaps -= 1;
        let end = self.out.len();
        write(self)?;
        let added = self.out.len() - end;
        self.out[gap.at..].rotate_right(added);
        Ok(())
    }

    /// `bytes` of what comes may be many and are looked at before; what else it has is looked at when it is there.
    fn write(&mut self, bytes: usize, write: impl FnOnce(&mut Vec<u8>, Version)) -> Written {
        self.check(bytes as u64)?;
        write(self.out, self.version);
        self.check(0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::encode;
    use super::super::reply::{Reply, Version};
    use super::{ReplyWriter, TooLarge, Written};

    fn written(
        version: Version,
        bytes_max: usize,
        write: impl FnOnce(&mut ReplyWriter<'_>) -> Written,
    ) -> (Written, String) {
        let mut out = b":0\r\n".to_vec();
        let mut reply = ReplyWriter::new(&mut out, version, bytes_max);
        let result = write(&mut reply);
        let text = reply.written().escape_ascii().to_string().replace("\\r\\n", "|");
        assert!(out.starts_with(b":0\r\n"), "what was there stays");
        (result, text)
    }

    /// A writer, and the reply as a value.
    type Case = (fn(&mut ReplyWriter<'_>) -> Written, Reply);

    #[test]
    fn every_type_is_written_as_the_value_is_encoded() {
        let one = || Reply::Integer(1);
        let cases: &[Case] = &[
            (|reply| reply.ok(), Reply::Ok),
            (|reply| reply.simple("PONG"), Reply::Simple("PONG".into())),
            (|reply| reply.error("ERR a\r\nb"), Reply::Error("ERR a\r\nb".into())),
            (|reply| reply.integer(i64::MIN), Reply::Integer(i64::MIN)),
            (|reply| reply.count(u64::MAX), Reply::Integer(i64::MAX)),
            (|reply| reply.bulk(b"a\r\nb"), Reply::Bulk(b"a\r\nb".to_vec())),
            (
                |reply| {
                    reply.bulk_of_parts(3, |out| {
                        out.extend_from_slice(b"a");
                        out.extend_from_slice(b"bc");
                        Ok(())
                    })
                },
                Reply::Bulk(b"abc".to_vec()),
            ),
            (|reply| reply.null(), Reply::Null),
            (|reply| reply.null_array(), Reply::NullArray),
            (|reply| reply.boolean(true), Reply::Bool(true)),
            (|reply| reply.double(1.5), Reply::Double(1.5)),
            (|reply| reply.double_text("1.5"), Reply::Double(1.5)),
            (|reply| reply.big_number("-12"), Reply::BigNumber("-12".into())),
            (|reply| reply.verbatim(*b"txt", b"hi"), Reply::Verbatim { format: *b"txt", text: b"hi".to_vec() }),
            (|reply| reply.array(1).and_then(|()| reply.integer(1)), Reply::Array(vec![one()])),
            (|reply| reply.set(1).and_then(|()| reply.integer(1)), Reply::Set(vec![one()])),
            (|reply| reply.push(1).and_then(|()| reply.integer(1)), Reply::Push(vec![one()])),
            (
                |reply| reply.map(1).and_then(|()| reply.integer(1)).and_then(|()| reply.ok()),
                Reply::Map(vec![(one(), Reply::Ok)]),
            ),
        ];
        for version in [Version::Resp2, Version::Resp3] {
            for (write, value) in cases {
                let mut expected = Vec::new();
                encode(value, version, &mut expected);
                let expected = expected.escape_ascii().to_string().replace("\\r\\n", "|");
                assert_eq!(written(version, 100, write), (Ok(()), expected), "{value:?}");
            }
        }
    }

    #[test]
    fn what_is_behind_a_gap_is_moved_when_it_is_filled() {
        let (result, text) = written(Version::Resp3, 100, |reply| {
            let whole = reply.gap();
            let inner = reply.gap();
            reply.bulk(b"a")?;
            reply.bulk(b"b")?;
            reply.fill(inner, |reply| reply.array(2))?;
            reply.null()?;
            assert!(!reply.is_whole());
            reply.fill(whole, |reply| reply.array(3).and_then(|()| reply.bulk(b"17")))?;
            assert!(reply.is_whole());
            Ok(())
        });
        assert_eq!((result, text.as_str()), (Ok(()), "*3|$2|17|*2|$1|a|$1|b|_|"));
    }

    #[test]
    fn a_reply_ends_at_its_limit_and_not_before() {
        let two = |reply: &mut ReplyWriter<'_>| reply.array(1).and_then(|()| reply.bulk(b"0123456789"));
        let (result, text) = written(Version::Resp2, 21, two);
        assert_eq!((result, text.as_str()), (Ok(()), "*1|$10|0123456789|"));
        assert_eq!(written(Version::Resp2, 20, two).0, Err(TooLarge));
        // What is long is not copied first.
        let (result, text) = written(Version::Resp2, 200, |reply| reply.bulk(&[0; 1 << 20]));
        assert_eq!((result, text.as_str()), (Err(TooLarge), ""));
        let parts = |reply: &mut ReplyWriter<'_>| reply.bulk_of_parts(1 << 20, |_| panic!("nothing is fetched"));
        assert_eq!(written(Version::Resp2, 200, parts), (Err(TooLarge), String::new()));
        let check = |bytes| written(Version::Resp2, 20, |reply| reply.array(0).and_then(|()| reply.check(bytes))).0;
        assert_eq!((check(16), check(17), check(u64::MAX)), (Ok(()), Err(TooLarge), Err(TooLarge)));
    }
}
