//! Commands that run a script: how it is named, and when it can run beside the writer.

use crate::kv::table::args;

/// How a command names what it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// Its first argument is the source.
    Source,
    /// The SHA-1 of a source that is known.
    Sha,
    /// The name of a function of a library.
    Function,
}

/// What a command that runs a script says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Script {
    pub named: Named,
    /// The script may change nothing.
    pub is_read_only: bool,
}

impl Script {
    /// True for a call that changes nothing, as far as its arguments tell: it need not run in the writer.
    #[must_use]
    pub fn only_reads(&self, args: &[&[u8]]) -> bool {
        self.is_read_only || self.named == Named::Source && args.get(1).is_some_and(|source| says_no_writes(source))
    }

    /// Which arguments are the keys. The others behind them are the script's arguments.
    ///
    /// # Errors
    /// The number of keys is none, or too large.
    pub fn keys(args: &[&[u8]]) -> Result<std::ops::Range<usize>, BadKeyCount> {
        let Ok(count) = args::integer(args[2]) else { return Err(BadKeyCount::NotAnInteger) };
        let most = args.len() - FIRST_KEY;
        match usize::try_from(count) {
            Err(_) => Err(BadKeyCount::Negative),
            Ok(count) if count > most => Err(BadKeyCount::TooMany),
            Ok(count) => Ok(FIRST_KEY..FIRST_KEY + count),
        }
    }
}

/// What is wrong with a number of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadKeyCount {
    NotAnInteger,
    TooMany,
    Negative,
}

/// Name, what runs, number of keys.
const FIRST_KEY: usize = 3;

/// Whether the first line of a source has the flag `no-writes`. One that is wrong is found where the script is compiled.
fn says_no_writes(source: &[u8]) -> bool {
    let Some(line) = source.strip_prefix(b"#!").and_then(|rest| rest.split(|byte| *byte == b'\n').next()) else {
        return false;
    };
    let options = line.split(u8::is_ascii_whitespace).filter_map(|option| option.strip_prefix(b"flags="));
    options.flat_map(|flags| flags.split(|byte| *byte == b',')).any(|flag| flag == b"no-writes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_says_in_its_first_line_that_it_writes_nothing() {
        let eval = Script { named: Named::Source, is_read_only: false };
        let only_reads = |source: &str| eval.only_reads(&[b"eval", source.as_bytes(), b"0"]);
        assert!(only_reads("#!lua flags=no-writes\nreturn 1"));
        assert!(only_reads("#!lua flags=allow-stale,no-writes\n"));
        for source in ["return 1", "#!lua\nflags=no-writes", "#!lua flags=no-writesx\n", "#! lua", "", "#!"] {
            assert!(!only_reads(source), "{source}");
        }
        let sha = Script { named: Named::Sha, is_read_only: false };
        assert!(!sha.only_reads(&[b"evalsha", b"#!lua flags=no-writes\n", b"0"]));
        assert!(Script { is_read_only: true, ..sha }.only_reads(&[b"evalsha_ro", b"", b"0"]));
    }

    #[test]
    fn keys_are_counted_by_an_argument() {
        let keys = |count: &str| Script::keys(&[b"eval", b"", count.as_bytes(), b"a", b"b"]);
        assert_eq!(keys("2"), Ok(3..5));
        assert_eq!(keys("0"), Ok(3..3));
        assert_eq!(keys("3"), Err(BadKeyCount::TooMany));
        assert_eq!(keys("-1"), Err(BadKeyCount::Negative));
        assert_eq!(keys("x"), Err(BadKeyCount::NotAnInteger));
        assert_eq!(keys("9223372036854775807"), Err(BadKeyCount::TooMany));
    }
}
