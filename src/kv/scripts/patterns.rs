//! Lua's patterns, matched with a count of the steps that it takes: a pattern can need more of them than there is time. Knows no Lua.
//!
//! They are those of Lua 5.1: a zero byte ends a pattern, `%z` is one, and `%f[…]` looks at a frontier.

/// How many captures a pattern may have.
const CAPTURES_MAX: usize = 32;

/// How deep a match may be within matches: one for each repetition, option or capture of the pattern. Lua 5.1 has no bound but its stack.
const DEPTH_MAX: usize = 250;

/// How many steps pass between two questions whether to go on.
const STEPS_A_QUESTION: u32 = 10_000;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure<E> {
    /// The pattern is wrong, and why.
    Pattern(&'static str),
    /// Whoever was asked said no.
    Stopped(E),
}

pub(super) type Matched<T, E> = Result<T, Failure<E>>;

/// What a capture holds: a part of the text, or its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Capture {
    Part {
        begin: usize,
        end: usize,
    },
    /// Counted from 1.
    Position(usize),
}

#[derive(Clone, Copy)]
enum Extent {
    Unfinished,
    Position,
    Length(usize),
}

#[derive(Clone, Copy)]
struct Slot {
    begin: usize,
    extent: Extent,
}

/// One text and one pattern. `ask` is called every so many steps with their number, and fails where matching is to end.
pub(super) struct Matcher<'a, A> {
    text: &'a [u8],
    pattern: &'a [u8],
    slots: Vec<Slot>,
    depth: usize,
    steps: u32,
    ask: A,
}

impl<'a, E, A: FnMut(u32) -> Result<(), E>> Matcher<'a, A> {
    pub(super) fn new(text: &'a [u8], pattern: &'a [u8], ask: A) -> Matcher<'a, A> {
        let end = memchr::memchr(0, pattern).unwrap_or(pattern.len());
        Matcher { text, pattern: &pattern[..end], slots: Vec::new(), depth: 0, steps: 0, ask }
    }

    /// Where a match that begins at `begin` ends; `skip`: how many bytes of the pattern are not part of it (an anchor). None: there is none.
    pub(super) fn match_at(&mut self, begin: usize, skip: usize) -> Matched<Option<usize>, E> {
        self.slots.clear();
        self.depth = 0;
        self.matching(begin, skip)
    }

    /// What the last match captured; `whole`: where it stood, which is what a pattern without captures has.
    pub(super) fn captures(&self, whole: Option<(usize, usize)>) -> Matched<Vec<Capture>, E> {
        match whole {
            Some((begin, end)) if self.slots.is_empty() => Ok(vec![Capture::Part { begin, end }]),
            _ => (0..self.slots.len()).map(|number| self.capture(number, (0, 0))).collect(),
        }
    }

    /// A capture by its number from 0; without captures, number 0 is the whole match.
    pub(super) fn capture(&self, number: usize, whole: (usize, usize)) -> Matched<Capture, E> {
        match self.slots.get(number) {
            None if number == 0 => Ok(Capture::Part { begin: whole.0, end: whole.1 }),
            None => Err(Failure::Pattern("invalid capture index")),
            Some(Slot { extent: Extent::Unfinished, .. }) => Err(Failure::Pattern("unfinished capture")),
            Some(Slot { begin, extent: Extent::Position }) => Ok(Capture::Position(begin + 1)),
            Some(Slot { begin, extent: Extent::Length(length) }) => {
                Ok(Capture::Part { begin: *begin, end: begin + length })
            }
        }
    }

    fn step(&mut self) -> Matched<(), E> {
        self.steps += 1;
        if self.steps < STEPS_A_QUESTION {
            return Ok(());
        }
        let steps = std::mem::take(&mut self.steps);
        (self.ask)(steps).map_err(Failure::Stopped)
    }

    /// A byte of the pattern; zero is its end.
    fn sign(&self, at: usize) -> u8 {
        self.pattern.get(at).copied().unwrap_or(0)
    }

    fn matching(&mut self, at: usize, sign: usize) -> Matched<Option<usize>, E> {
        if self.depth == DEPTH_MAX {
            return Err(Failure::Pattern("pattern too complex"));
        }
        self.depth += 1;
        let end = self.matching_within(at, sign);
        self.depth -= 1;
        end
    }

    fn matching_within(&mut self, mut at: usize, mut sign: usize) -> Matched<Option<usize>, E> {
        loop {
            self.step()?;
            match self.sign(sign) {
                0 => return Ok(Some(at)),
                b'(' if self.sign(sign + 1) == b')' => return self.open(at, sign + 2, Extent::Position),
                b'(' => return self.open(at, sign + 1, Extent::Unfinished),
                b')' => return self.close(at, sign + 1),
                b'$' if self.sign(sign + 1) == 0 => return Ok((at == self.text.len()).then_some(at)),
                b'%' if self.sign(sign + 1) == b'b' => {
                    let Some(end) = self.balance(at, sign + 2)? else { return Ok(None) };
                    (at, sign) = (end, sign + 4);
                    continue;
                }
                b'%' if self.sign(sign + 1) == b'f' => {
                    let Some(behind) = self.frontier(at, sign + 2)? else { return Ok(None) };
                    sign = behind;
                    continue;
                }
                b'%' if self.sign(sign + 1).is_ascii_digit() => {
                    let Some(end) = self.back_reference(at, self.sign(sign + 1))? else { return Ok(None) };
                    (at, sign) = (end, sign + 2);
                    continue;
                }
                _ => {}
            }
            let behind = self.item_end(sign)?;
            let is_match = self.is_single(at, sign, behind)?;
            match self.sign(behind) {
                b'?' => {
                    if is_match && let Some(end) = self.matching(at + 1, behind + 1)? {
                        return Ok(Some(end));
                    }
                    sign = behind + 1;
                }
                b'*' => return self.expand_most(at, sign, behind),
                b'+' if is_match => return self.expand_most(at + 1, sign, behind),
                b'+' => return Ok(None),
                b'-' => return self.expand_least(at, sign, behind),
                _ if is_match => (at, sign) = (at + 1, behind),
                _ => return Ok(None),
            }
        }
    }

    fn open(&mut self, at: usize, sign: usize, extent: Extent) -> Matched<Option<usize>, E> {
        if self.slots.len() == CAPTURES_MAX {
            return Err(Failure::Pattern("too many captures"));
        }
        self.slots.push(Slot { begin: at, extent });
        let end = self.matching(at, sign)?;
        if end.is_none() {
            self.slots.pop();
        }
        Ok(end)
    }

    fn close(&mut self, at: usize, sign: usize) -> Matched<Option<usize>, E> {
        let open = self.slots.iter().rposition(|slot| matches!(slot.extent, Extent::Unfinished));
        let open = open.ok_or(Failure::Pattern("invalid pattern capture"))?;
        self.slots[open].extent = Extent::Length(at - self.slots[open].begin);
        let end = self.matching(at, sign)?;
        if end.is_none() {
            self.slots[open].extent = Extent::Unfinished;
        }
        Ok(end)
    }

    fn back_reference(&mut self, at: usize, digit: u8) -> Matched<Option<usize>, E> {
        let slot = usize::from(digit).checked_sub(usize::from(b'1')).and_then(|number| self.slots.get(number));
        match slot {
            Some(Slot { begin, extent: Extent::Length(length) }) => {
                let is_equal = self.text[at..].starts_with(&self.text[*begin..begin + length]);
                let end = at + length;
                self.charge(end - at)?;
                Ok(is_equal.then_some(end))
            }
            // What holds a position is longer than any text.
            Some(Slot { extent: Extent::Position, .. }) => Ok(None),
            _ => Err(Failure::Pattern("invalid capture index")),
        }
    }

    fn charge(&mut self, bytes: usize) -> Matched<(), E> {
        self.steps = self.steps.saturating_add(u32::try_from(bytes / 16).unwrap_or(u32::MAX)).min(u32::MAX - 1);
        self.step()
    }

    fn balance(&mut self, at: usize, sign: usize) -> Matched<Option<usize>, E> {
        let (open, close) = (self.sign(sign), self.sign(sign + 1));
        if open == 0 || close == 0 {
            return Err(Failure::Pattern("unbalanced pattern"));
        }
        if self.text.get(at) != Some(&open) {
            return Ok(None);
        }
        let mut depth = 1;
        for next in at + 1..self.text.len() {
            self.step()?;
            if self.text[next] == close {
                depth -= 1;
                if depth == 0 {
                    return Ok(Some(next + 1));
                }
            } else if self.text[next] == open {
                depth += 1;
            }
        }
        Ok(None)
    }

    fn frontier(&mut self, at: usize, sign: usize) -> Matched<Option<usize>, E> {
        if self.sign(sign) != b'[' {
            return Err(Failure::Pattern("missing '[' after '%f' in pattern"));
        }
        let behind = self.item_end(sign)?;
        let before = at.checked_sub(1).map_or(0, |before| self.text[before]);
        let here = self.text.get(at).copied().unwrap_or(0);
        let is_frontier = !self.is_in_set(before, sign, behind - 1) && self.is_in_set(here, sign, behind - 1);
        Ok(is_frontier.then_some(behind))
    }

    /// Behind a single character, a class or a set.
    fn item_end(&self, sign: usize) -> Matched<usize, E> {
        match self.sign(sign) {
            b'%' if self.sign(sign + 1) == 0 => Err(Failure::Pattern("malformed pattern (ends with '%')")),
            b'%' => Ok(sign + 2),
            b'[' => {
                let mut at = sign + 1 + usize::from(self.sign(sign + 1) == b'^');
                loop {
                    match self.sign(at) {
                        0 => return Err(Failure::Pattern("malformed pattern (missing ']')")),
                        b'%' if self.sign(at + 1) != 0 => at += 2,
                        _ => at += 1,
                    }
                    if self.sign(at) == b']' {
                        return Ok(at + 1);
                    }
                }
            }
            _ => Ok(sign + 1),
        }
    }

    /// Sets are looked through byte by byte, so they count.
    fn is_single(&mut self, at: usize, sign: usize, behind: usize) -> Matched<bool, E> {
        let Some(byte) = self.text.get(at).copied() else { return Ok(false) };
        Ok(match self.sign(sign) {
            b'.' => true,
            b'%' => is_in_class(byte, self.sign(sign + 1)),
            b'[' => {
                self.charge(behind - sign)?;
                self.is_in_set(byte, sign, behind - 1)
            }
            plain => plain == byte,
        })
    }

    /// `close`: where the set's `]` stands.
    fn is_in_set(&self, byte: u8, sign: usize, close: usize) -> bool {
        let is_complement = self.sign(sign + 1) == b'^';
        let mut at = sign + 1 + usize::from(is_complement);
        while at < close {
            if self.sign(at) == b'%' {
                at += 1;
                if is_in_class(byte, self.sign(at)) {
                    return !is_complement;
                }
            } else if self.sign(at + 1) == b'-' && at + 2 < close {
                if (self.sign(at)..=self.sign(at + 2)).contains(&byte) {
                    return !is_complement;
                }
                at += 2;
            } else if self.sign(at) == byte {
                return !is_complement;
            }
            at += 1;
        }
        is_complement
    }

    fn expand_most(&mut self, at: usize, sign: usize, behind: usize) -> Matched<Option<usize>, E> {
        let mut end = at;
        while self.is_single(end, sign, behind)? {
            self.step()?;
            end += 1;
        }
        loop {
            if let Some(found) = self.matching(end, behind + 1)? {
                return Ok(Some(found));
            }
            if end == at {
                return Ok(None);
            }
            end -= 1;
        }
    }

    fn expand_least(&mut self, mut at: usize, sign: usize, behind: usize) -> Matched<Option<usize>, E> {
        loop {
            if let Some(found) = self.matching(at, behind + 1)? {
                return Ok(Some(found));
            }
            if !self.is_single(at, sign, behind)? {
                return Ok(None);
            }
            at += 1;
        }
    }
}

/// `%a` and the like, in the locale "C"; what is no class is itself.
fn is_in_class(byte: u8, class: u8) -> bool {
    let is_member = match class.to_ascii_lowercase() {
        b'a' => byte.is_ascii_alphabetic(),
        b'c' => byte.is_ascii_control(),
        b'd' => byte.is_ascii_digit(),
        b'l' => byte.is_ascii_lowercase(),
        b'p' => byte.is_ascii_punctuation(),
        b's' => matches!(byte, b' ' | b'\t'..=b'\r'),
        b'u' => byte.is_ascii_uppercase(),
        b'w' => byte.is_ascii_alphanumeric(),
        b'x' => byte.is_ascii_hexdigit(),
        b'z' => byte == 0,
        _ => return class == byte,
    };
    is_member == class.is_ascii_lowercase()
}

/// True exactly when `string.find` would look for the text as it stands.
pub(super) fn is_plain(pattern: &[u8]) -> bool {
    pattern.iter().take_while(|byte| **byte != 0).all(|byte| !b"^$*+?.([%-".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, pattern: &str) -> Option<(usize, usize)> {
        let mut matcher = Matcher::new(text.as_bytes(), pattern.as_bytes(), |_| Ok::<_, ()>(()));
        (0..=text.len()).find_map(|begin| matcher.match_at(begin, 0).unwrap().map(|end| (begin, end)))
    }

    #[test]
    fn patterns_find_what_they_mean() {
        for (text, pattern, expected) in [
            ("hello world", "o w", Some((4, 7))),
            ("hello", "l+", Some((2, 4))),
            ("hello", "l-o", Some((2, 5))),
            ("key = 12", "%d+$", Some((6, 8))),
            ("f(a(b)c)d", "%b()", Some((1, 8))),
            ("THE (quick) fox", "%f[%a]%a+%f[%A]", Some((0, 3))),
            ("a-b", "[a%-]+", Some((0, 2))),
            ("x]y", "[]]", Some((1, 2))),
            ("abc", "[^a]", Some((1, 2))),
            ("abab", "(ab)%1", Some((0, 4))),
            ("", ".", None),
            ("", "a*", Some((0, 0))),
        ] {
            assert_eq!(found(text, pattern), expected, "{pattern}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for (pattern, text) in [
            ("%", "malformed pattern (ends with '%')"),
            ("[a", "malformed pattern (missing ']')"),
            ("[a%", "malformed pattern (missing ']')"),
            ("%b(", "unbalanced pattern"),
            ("%f", "missing '[' after '%f' in pattern"),
            (")", "invalid pattern capture"),
            ("%1", "invalid capture index"),
        ] {
            let mut matcher = Matcher::new(b"aaa", pattern.as_bytes(), |_| Ok::<_, ()>(()));
            assert_eq!(matcher.match_at(0, 0), Err(Failure::Pattern(text)), "{pattern}");
        }
        let many = "(a)".repeat(33);
        let text = "a".repeat(40);
        let mut matcher = Matcher::new(text.as_bytes(), many.as_bytes(), |_| Ok::<_, ()>(()));
        assert_eq!(matcher.match_at(0, 0), Err(Failure::Pattern("too many captures")));
        let deep = "a?".repeat(DEPTH_MAX + 10);
        let text = "a".repeat(DEPTH_MAX + 10);
        let mut matcher = Matcher::new(text.as_bytes(), deep.as_bytes(), |_| Ok::<_, ()>(()));
        assert_eq!(matcher.match_at(0, 0), Err(Failure::Pattern("pattern too complex")));
    }

    #[test]
    fn a_catastrophic_pattern_ends_when_it_is_told_to() {
        let text = "a".repeat(30_000);
        let mut asked = 0;
        let mut matcher = Matcher::new(text.as_bytes(), b".-.-.-b$", |_| {
            asked += 1;
            if asked < 20 { Ok(()) } else { Err("over") }
        });
        assert_eq!(matcher.match_at(0, 0), Err(Failure::Stopped("over")));
        assert_eq!(asked, 20);
    }
}
