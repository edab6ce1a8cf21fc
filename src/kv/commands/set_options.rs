//! The options of SET and GETEX, and what their times mean. Arguments only: the keyspace is not asked.

use crate::kv::commands::args::{self, is_word};
use crate::kv::errors::{self, CommandError};

/// When SET sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// NX
    Absent,
    /// XX
    Present,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetOptions<'a> {
    pub condition: Option<Condition>,
    /// GET
    pub returns_old: bool,
    pub time: TimeOption<'a>,
}

/// What becomes of the time when the key ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeOption<'a> {
    None,
    /// KEEPTTL
    Keep,
    /// PERSIST
    Persist,
    Time(Time<'a>),
}

/// A time as it was given: the number is read when it is needed, for its errors come in Redis' order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time<'a> {
    unit: Unit,
    text: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    AfterSeconds,
    AfterMilliseconds,
    AtSeconds,
    AtMilliseconds,
}

impl<'a> Time<'a> {
    pub fn after_seconds(text: &'a [u8]) -> Self {
        Time { unit: Unit::AfterSeconds, text }
    }

    pub fn after_milliseconds(text: &'a [u8]) -> Self {
        Time { unit: Unit::AfterMilliseconds, text }
    }

    /// Milliseconds since 1970. `command` is named by the error.
    pub fn resolve(self, command: &str, now_ms: i64) -> Result<i64, CommandError> {
        let given = args::integer(self.text)?;
        let scaled = match self.unit {
            Unit::AfterSeconds | Unit::AtSeconds => given.checked_mul(1_000),
            Unit::AfterMilliseconds | Unit::AtMilliseconds => Some(given),
        };
        let since = match self.unit {
            Unit::AfterSeconds | Unit::AfterMilliseconds => now_ms,
            Unit::AtSeconds | Unit::AtMilliseconds => 0,
        };
        scaled
            .filter(|_| given > 0)
            .and_then(|scaled| scaled.checked_add(since))
            .ok_or_else(|| errors::invalid_expire_time(command))
    }
}

/// What follows the value of SET. The same option may come twice, and the last one counts; options that exclude one
/// another are a syntax error.
pub fn parse_set<'a>(options: &[&'a [u8]]) -> Result<SetOptions<'a>, CommandError> {
    let mut parsed = SetOptions { condition: None, returns_old: false, time: TimeOption::None };
    let mut rest = options;
    while let [option, after @ ..] = rest {
        rest = after;
        if is_word(option, "nx") && parsed.condition != Some(Condition::Present) {
            parsed.condition = Some(Condition::Absent);
        } else if is_word(option, "xx") && parsed.condition != Some(Condition::Absent) {
            parsed.condition = Some(Condition::Present);
        } else if is_word(option, "get") {
            parsed.returns_old = true;
        } else if is_word(option, "keepttl") && matches!(parsed.time, TimeOption::None | TimeOption::Keep) {
            parsed.time = TimeOption::Keep;
        } else {
            (parsed.time, rest) = take_time(option, after, parsed.time)?;
        }
    }
    Ok(parsed)
}

/// What follows the key of GETEX.
pub fn parse_getex<'a>(options: &[&'a [u8]]) -> Result<TimeOption<'a>, CommandError> {
    let mut parsed = TimeOption::None;
    let mut rest = options;
    while let [option, after @ ..] = rest {
        rest = after;
        if is_word(option, "persist") && matches!(parsed, TimeOption::None | TimeOption::Persist) {
            parsed = TimeOption::Persist;
        } else {
            (parsed, rest) = take_time(option, after, parsed)?;
        }
    }
    Ok(parsed)
}

/// EX, PX, EXAT or PXAT with its number, unless another kind of time came before.
fn take_time<'a, 'b>(
    option: &[u8],
    after: &'b [&'a [u8]],
    before: TimeOption<'a>,
) -> Result<(TimeOption<'a>, &'b [&'a [u8]]), CommandError> {
    const UNITS: [(&str, Unit); 4] = [
        ("ex", Unit::AfterSeconds),
        ("px", Unit::AfterMilliseconds),
        ("exat", Unit::AtSeconds),
        ("pxat", Unit::AtMilliseconds),
    ];
    let unit = UNITS.iter().find(|(word, _)| is_word(option, word)).map(|(_, unit)| *unit);
    match (unit, after) {
        (Some(unit), [text, after @ ..]) if is_free_for(unit, before) => {
            Ok((TimeOption::Time(Time { unit, text }), after))
        }
        _ => Err(errors::SYNTAX.into()),
    }
}

fn is_free_for(unit: Unit, before: TimeOption<'_>) -> bool {
    match before {
        TimeOption::None => true,
        TimeOption::Keep | TimeOption::Persist => false,
        TimeOption::Time(time) => time.unit == unit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(options: &str) -> Result<SetOptions<'static>, String> {
        let options: Vec<&'static [u8]> = options.to_owned().leak().split_whitespace().map(str::as_bytes).collect();
        parse_set(&options).map_err(|error| error.text().into_owned())
    }

    fn getex(options: &str) -> Result<TimeOption<'static>, String> {
        let options: Vec<&'static [u8]> = options.to_owned().leak().split_whitespace().map(str::as_bytes).collect();
        parse_getex(&options).map_err(|error| error.text().into_owned())
    }

    #[test]
    fn options_that_go_together_are_taken_in_any_order_and_case() {
        let all = set("get EX 10 nx").unwrap();
        assert_eq!(all.condition, Some(Condition::Absent));
        assert!(all.returns_old);
        assert_eq!(all.time, TimeOption::Time(Time::after_seconds(b"10")));
        assert_eq!(set("xx XX get GET keepttl KEEPTTL").unwrap().time, TimeOption::Keep);
        assert_eq!(set("ex 1 EX 2").unwrap().time, TimeOption::Time(Time::after_seconds(b"2")));
        assert_eq!(getex("persist PERSIST").unwrap(), TimeOption::Persist);
    }

    #[test]
    fn options_that_exclude_one_another_are_a_syntax_error() {
        for options in [
            "nx xx",
            "xx nx",
            "ex 1 px 1",
            "exat 1 ex 1",
            "keepttl ex 1",
            "ex 1 keepttl",
            "ex",
            "px 1 ex",
            "persist",
            "foo",
            "nxx",
        ] {
            assert_eq!(set(options).unwrap_err(), errors::SYNTAX, "{options}");
        }
        for options in ["persist ex 1", "ex 1 persist", "keepttl", "get", "nx", "pxat", "ex 1 pxat 1"] {
            assert_eq!(getex(options).unwrap_err(), errors::SYNTAX, "{options}");
        }
    }

    #[test]
    fn times_become_milliseconds_since_1970() {
        let resolve = |options: &str| match set(options).unwrap().time {
            TimeOption::Time(time) => time.resolve("set", 1_000).map_err(|error| error.text().into_owned()),
            _ => panic!("a time"),
        };
        assert_eq!(resolve("ex 5"), Ok(6_000));
        assert_eq!(resolve("px 5"), Ok(1_005));
        assert_eq!(resolve("exat 5"), Ok(5_000));
        assert_eq!(resolve("pxat 5"), Ok(5));
        assert_eq!(resolve("pxat 9223372036854775807"), Ok(i64::MAX));
        assert_eq!(resolve("ex ten"), Err(errors::NOT_AN_INTEGER.to_owned()));
        for options in
            ["ex 0", "px -1", "exat 0", "ex 9223372036854775807", "px 9223372036854775807", "ex 9223372036854775"]
        {
            assert_eq!(resolve(options), Err("ERR invalid expire time in 'set' command".to_owned()), "{options}");
        }
    }
}
