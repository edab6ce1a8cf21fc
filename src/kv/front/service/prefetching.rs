//! Reads ahead in a pipeline, so that the memory which its reads will touch is on its way before it is needed. What a search in a
//! large cache waits for is memory, several times as long as everything else takes; a pipeline lets these waits overlap.
//!
//! What was read ahead is not read again: a request's arguments and its key's hash are kept until it is its turn.

use crate::kv::cache::Cache;
use crate::kv::commands::table::{self, Handler};
use crate::resp::request::{Args, Limits, Parsed, RequestParser};

/// Requests that are read before the first of them is handled: what they touch has to stay in the processor's first cache.
const AHEAD_MAX: usize = 16;

#[derive(Default)]
pub(super) struct Prefetch {
    /// Behind the request at hand, in order; those from `next` up to `end` are still to be handled.
    ahead: Vec<Ahead>,
    next: usize,
    end: usize,
    /// What they were read as: requests of this database, of a client that has yet to log in or not.
    database: u8,
    is_unauthenticated: bool,
    /// Of the request at hand.
    hash: Option<u64>,
}

/// A request that is whole in its parser.
#[derive(Default)]
struct Ahead {
    parser: RequestParser,
    length: usize,
    /// Of its first key, where the cache may answer it.
    hash: Option<u64>,
}

impl Prefetch {
    /// New bytes: nothing of them was read.
    pub(super) fn begin(&mut self) {
        self.ahead[self.next..self.end].iter_mut().for_each(|ahead| ahead.parser.tidy());
        (self.next, self.end, self.hash) = (0, 0, None);
    }

    /// Puts the next request, if it was read ahead, into the client's `parser`. Returns its length.
    pub(super) fn take(&mut self, parser: &mut RequestParser, limits: &Limits) -> Option<usize> {
        if self.next < self.end && self.is_unauthenticated != limits.unauthenticated {
            // It has logged in, or out, in between: other limits hold.
            self.begin();
        }
        self.hash = None;
        let ahead = self.ahead[..self.end].get_mut(self.next)?;
        self.next += 1;
        std::mem::swap(parser, &mut ahead.parser);
        ahead.parser.tidy();
        self.hash = ahead.hash;
        Some(ahead.length)
    }

    /// The hash of the first key of the request at hand, if it is known.
    pub(super) fn hash(&self, database: u8) -> Option<u64> {
        self.hash.filter(|_| database == self.database)
    }

    /// The request at hand is in the client's `parser`, the first of `bytes`, and so many bytes long.
    pub(super) fn read_ahead(
        &mut self,
        parser: &RequestParser,
        bytes: &[u8],
        length: usize,
        database: u8,
        cache: &mut Cache,
        limits: &Limits,
    ) {
        if self.next < self.end || bytes.len() == length || !cache.is_on() {
            return;
        }
        self.ahead.resize_with(AHEAD_MAX, Ahead::default);
        (self.next, self.end) = (0, 0);
        (self.database, self.is_unauthenticated) = (database, limits.unauthenticated);
        self.hash = fetch(parser.args(bytes), self.database, cache);
        let mut rest = &bytes[length..];
        for ahead in &mut self.ahead {
            let Ok(Parsed::Complete(length)) = ahead.parser.parse(rest, limits) else {
                ahead.parser.restart();
                break;
            };
            ahead.length = length;
            ahead.hash = fetch(ahead.parser.args(rest), self.database, cache);
            self.end += 1;
            rest = &rest[length..];
        }
        let hashes = self.ahead[..self.end].iter().filter_map(|ahead| ahead.hash);
        self.hash.into_iter().chain(hashes).for_each(|hash| cache.prefetch_records(hash));
        cache.prefetch_unmerged(database, self.keys(parser, bytes, length));
    }

    /// The first keys, with their hashes, of the request at hand and those behind it, as far as the cache may answer them.
    fn keys<'k>(
        &'k self,
        parser: &'k RequestParser,
        bytes: &'k [u8],
        length: usize,
    ) -> impl Iterator<Item = (u64, &'k [u8])> {
        let ahead = self.ahead[..self.end].iter().map(|ahead| (&ahead.parser, ahead.length, ahead.hash));
        let mut begin = 0;
        std::iter::once((parser, length, self.hash)).chain(ahead).filter_map(move |(parser, length, hash)| {
            let bytes = &bytes[begin..];
            begin += length;
            Some((hash?, parser.args(bytes).get(1)?))
        })
    }
}

/// Fetches what the cache will touch first, if it may answer the request. Returns the first key's hash then.
fn fetch(args: Args<'_>, database: u8, cache: &Cache) -> Option<u64> {
    let key = args.get(1)?;
    let Handler::Look(_) = table::lookup(&args[0])?.handler else { return None };
    let hash = cache.hash_of(database, key);
    cache.prefetch(hash);
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::shared::versions::Versions;
    use crate::storage::memtable::Memory;

    const STREAM: &[u8] =
        b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n*3\r\n$3\r\nset\r\n$1\r\nb\r\n$1\r\n1\r\nget 'c d'\r\nping\r\n*2\r\n$3\r\nGET\r\n$1\r\n";

    /// Takes what was read ahead as a service does; what each request is, and whether its key's hash is known in database 2.
    fn taken(prefetch: &mut Prefetch, parser: &mut RequestParser, bytes: &mut &[u8], cache: &mut Cache) -> Vec<String> {
        let mut seen = Vec::new();
        let mut length = match parser.parse(bytes, &Limits::default()) {
            Ok(Parsed::Complete(length)) => Some(length),
            _ => return seen,
        };
        while let Some(bytes_of_request) = length {
            prefetch.read_ahead(parser, bytes, bytes_of_request, 2, cache, &Limits::default());
            let args = parser.args(bytes);
            let is_hashed = prefetch.hash(2).inspect(|hash| assert_eq!(*hash, cache.hash_of(2, &args[1]))).is_some();
            assert_eq!(prefetch.hash(3), None, "of another database");
            let words: Vec<_> = args.iter().map(String::from_utf8_lossy).collect();
            seen.push(format!("{}{}", words.join(" "), if is_hashed { " #" } else { "" }));
            *bytes = &bytes[bytes_of_request..];
            length = prefetch.take(parser, &Limits::default());
        }
        seen
    }

    #[test]
    fn what_was_read_ahead_comes_in_order_with_its_hash_and_is_not_parsed_again() {
        let mut cache = Cache::new(1 << 20, Versions::new().unwrap(), Memory::off());
        let (mut prefetch, mut parser, mut bytes) = (Prefetch::default(), RequestParser::new(), STREAM);
        let seen = taken(&mut prefetch, &mut parser, &mut bytes, &mut cache);
        assert_eq!(seen, ["GET a #", "set b 1", "get c d #", "ping"]);
        assert_eq!(bytes, b"*2\r\n$3\r\nGET\r\n$1\r\n", "half a request stays");
        assert!(taken(&mut prefetch, &mut parser, &mut bytes, &mut cache).is_empty());
        let whole = [bytes, b"e\r\n"].concat();
        assert_eq!(parser.parse(&whole, &Limits::default()), Ok(Parsed::Complete(whole.len())));
        assert_eq!(prefetch.take(&mut parser, &Limits::default()), None);
    }

    #[test]
    fn a_client_that_has_logged_out_is_read_anew_under_its_new_limits() {
        let mut cache = Cache::new(1 << 20, Versions::new().unwrap(), Memory::off());
        let (mut prefetch, mut parser) = (Prefetch::default(), RequestParser::new());
        let Ok(Parsed::Complete(length)) = parser.parse(STREAM, &Limits::default()) else { panic!("it is whole") };
        prefetch.read_ahead(&parser, STREAM, length, 0, &mut cache, &Limits::default());
        let strict = Limits { unauthenticated: true, ..Limits::default() };
        assert_eq!(prefetch.take(&mut parser, &strict), None);
        assert_eq!(prefetch.take(&mut parser, &Limits::default()), None);
        assert_eq!(&parser.args(STREAM)[1], b"a", "the request at hand is still there");
    }
}
