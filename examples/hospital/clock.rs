//! The time of day at the hospital.

/// As forms have it: 2026-11-30.
pub(crate) fn today() -> String {
    jiff::Zoned::now().date().to_string()
}

/// Milliseconds since 1970, for what is kept.
pub(crate) fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// A kept time for people: 2026-11-30 19:24.
pub(crate) fn shown(ms: &str) -> String {
    let time = ms.parse().ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    time.map_or_else(String::new, |time| {
        let time = time.to_zoned(jiff::tz::TimeZone::system()).datetime();
        format!("{} {:02}:{:02}", time.date(), time.hour(), time.minute())
    })
}

/// Monday is 1.
pub(crate) fn weekday(date: &str) -> Option<i8> {
    date.parse::<jiff::civil::Date>().ok().map(|date| date.weekday().to_monday_one_offset())
}

/// `days` later.
pub(crate) fn later(date: &str, days: i64) -> String {
    let date = date.parse::<jiff::civil::Date>().unwrap_or_else(|_| jiff::Zoned::now().date());
    date.saturating_add(jiff::Span::new().days(days)).to_string()
}
