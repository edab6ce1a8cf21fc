//! JSON as values of Lua, as lua-cjson reads it: with its texts, and with the numbers that C reads and JSON does not know.

use std::rc::Rc;

use mlua::{Lua, LuaString, Value};

use super::arguments::Arguments;
use super::json::{DEPTH_MAX, JsonSettings};
use super::raise;
use super::reading::null;
use super::session::Session;
use crate::kv::formats::number::parse_double_loosely;

pub(super) fn decode(session: &Rc<Session>, args: &Arguments<'_>, settings: &JsonSettings) -> mlua::Result<Value> {
    if args.count() != 1 {
        return Err(args.error(1, "expected 1 argument"));
    }
    let text: LuaString = args.string(1)?;
    let text = text.as_bytes();
    if text.len() >= 2 && (text[0] == 0 || text[1] == 0) {
        return Err(raise::error(args.lua, "JSON parser does not support UTF-16 or UTF-32"));
    }
    let mut decoder = Decoder { lua: args.lua, session, settings, text: &text, at: 0, depth: 0 };
    let (token, place) = decoder.token()?;
    let value = decoder.value(token, place)?;
    match decoder.token()? {
        (Token::End, _) => Ok(value),
        (token, place) => Err(decoder.unexpected("the end", &token, place)),
    }
}

enum Token {
    ObjectBegin,
    ObjectEnd,
    ArrayBegin,
    ArrayEnd,
    Text(Vec<u8>),
    Number(f64),
    Boolean(bool),
    Null,
    Colon,
    Comma,
    End,
    Wrong(&'static str),
}

impl Token {
    fn name(&self) -> &'static str {
        match self {
            Token::ObjectBegin => "T_OBJ_BEGIN",
            Token::ObjectEnd => "T_OBJ_END",
            Token::ArrayBegin => "T_ARR_BEGIN",
            Token::ArrayEnd => "T_ARR_END",
            Token::Text(_) => "T_STRING",
            Token::Number(_) => "T_NUMBER",
            Token::Boolean(_) => "T_BOOLEAN",
            Token::Null => "T_NULL",
            Token::Colon => "T_COLON",
            Token::Comma => "T_COMMA",
            Token::End => "T_END",
            Token::Wrong(what) => what,
        }
    }
}

struct Decoder<'a> {
    lua: &'a Lua,
    session: &'a Rc<Session>,
    settings: &'a JsonSettings,
    text: &'a [u8],
    at: usize,
    depth: i32,
}

impl Decoder<'_> {
    /// A zero byte ends a text, as in C.
    fn byte(&self, at: usize) -> u8 {
        self.text.get(at).copied().unwrap_or(0)
    }

    fn rest(&self) -> &[u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn unexpected(&self, expected: &str, token: &Token, place: usize) -> mlua::Error {
        let text = format!("Expected {expected} but found {} at character {}", token.name(), place + 1);
        raise::error(self.lua, text)
    }

    fn value(&mut self, token: Token, place: usize) -> mlua::Result<Value> {
        match token {
            Token::Text(text) => self.lua.create_string(text).map(Value::String),
            Token::Number(number) => Ok(Value::Number(number)),
            Token::Boolean(boolean) => Ok(Value::Boolean(boolean)),
            Token::Null => Ok(null()),
            Token::ObjectBegin => self.object(),
            Token::ArrayBegin => self.array(),
            token => Err(self.unexpected("value", &token, place)),
        }
    }

    fn descend(&mut self) -> mlua::Result<()> {
        self.depth += 1;
        if self.depth <= self.settings.decode_depth_max.min(DEPTH_MAX) {
            return Ok(());
        }
        let text = format!("Found too many nested data structures ({}) at character {}", self.depth, self.at);
        Err(raise::error(self.lua, text))
    }

    fn object(&mut self) -> mlua::Result<Value> {
        self.descend()?;
        let table = self.lua.create_table()?;
        let (mut token, mut place) = self.token()?;
        if !matches!(token, Token::ObjectEnd) {
            loop {
                let Token::Text(key) = token else {
                    return Err(self.unexpected("object key string", &token, place));
                };
                let key = self.lua.create_string(key)?;
                (token, place) = self.token()?;
                if !matches!(token, Token::Colon) {
                    return Err(self.unexpected("colon", &token, place));
                }
                (token, place) = self.token()?;
                let value = self.value(token, place)?;
                table.raw_set(key, value)?;
                (token, place) = self.token()?;
                match token {
                    Token::ObjectEnd => break,
                    Token::Comma => (token, place) = self.token()?,
                    token => return Err(self.unexpected("comma or object end", &token, place)),
                }
            }
        }
        self.depth -= 1;
        Ok(Value::Table(table))
    }

    fn array(&mut self) -> mlua::Result<Value> {
        self.descend()?;
        let table = self.lua.create_table()?;
        let (mut token, mut place) = self.token()?;
        if !matches!(token, Token::ArrayEnd) {
            for number in 1.. {
                let value = self.value(token, place)?;
                table.raw_set(number, value)?;
                (token, place) = self.token()?;
                match token {
                    Token::ArrayEnd => break,
                    Token::Comma => (token, place) = self.token()?,
                    token => return Err(self.unexpected("comma or array end", &token, place)),
                }
            }
        }
        self.depth -= 1;
        Ok(Value::Table(table))
    }

    /// The next token, and where it stands.
    fn token(&mut self) -> mlua::Result<(Token, usize)> {
        self.session.charge(self.lua, 1)?;
        while matches!(self.byte(self.at), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
        let place = self.at;
        let token = match self.byte(place) {
            b'{' => self.taken(1, Token::ObjectBegin),
            b'}' => self.taken(1, Token::ObjectEnd),
            b'[' => self.taken(1, Token::ArrayBegin),
            b']' => self.taken(1, Token::ArrayEnd),
            b',' => self.taken(1, Token::Comma),
            b':' => self.taken(1, Token::Colon),
            0 => Token::End,
            b'"' => return self.string(),
            b'-' | b'0'..=b'9' if !self.settings.is_invalid_decoded && self.is_invalid_number() => {
                Token::Wrong("invalid number")
            }
            b'-' | b'0'..=b'9' => self.number(),
            _ if self.rest().starts_with(b"true") => self.taken(4, Token::Boolean(true)),
            _ if self.rest().starts_with(b"false") => self.taken(5, Token::Boolean(false)),
            _ if self.rest().starts_with(b"null") => self.taken(4, Token::Null),
            b'i' | b'I' | b'n' | b'N' | b'+' | b'f' | b't'
                if self.settings.is_invalid_decoded && self.is_invalid_number() =>
            {
                self.number()
            }
            _ => Token::Wrong("invalid token"),
        };
        Ok((token, place))
    }

    fn taken(&mut self, bytes: usize, token: Token) -> Token {
        self.at += bytes;
        token
    }

    /// True of numbers that C reads and JSON does not know. Others may still be none.
    fn is_invalid_number(&self) -> bool {
        let first = self.byte(self.at);
        if first == b'+' {
            return true;
        }
        let at = self.at + usize::from(first == b'-');
        match self.byte(at) {
            b'0' => matches!(self.byte(at + 1), b'x' | b'X' | b'0'..=b'9'),
            byte if byte <= b'9' => false,
            _ => {
                let word: Vec<u8> = (at..at + 3).map(|at| self.byte(at).to_ascii_lowercase()).collect();
                word == b"inf" || word == b"nan"
            }
        }
    }

    fn number(&mut self) -> Token {
        let length = number_length(self.rest());
        let text = &self.rest()[..length];
        let unsigned = text.strip_prefix(b"-").or_else(|| text.strip_prefix(b"+")).unwrap_or(text);
        let number = if unsigned.len() >= 3 && unsigned[..3].eq_ignore_ascii_case(b"nan") {
            Some(f64::NAN)
        } else {
            parse_double_loosely(text).filter(|_| length > 0)
        };
        match number {
            Some(number) => self.taken(length, Token::Number(number)),
            None => Token::Wrong("invalid number"),
        }
    }

    /// An error's place is where it is found.
    fn string(&mut self) -> mlua::Result<(Token, usize)> {
        let place = self.at;
        self.at += 1;
        let mut text = Vec::new();
        loop {
            let plain = self.rest().iter().take_while(|byte| !matches!(byte, b'"' | b'\\' | 0)).count();
            text.extend_from_slice(&self.rest()[..plain]);
            self.session.charge(self.lua, plain / 16)?;
            self.at += plain;
            match self.byte(self.at) {
                b'"' => {
                    self.at += 1;
                    return Ok((Token::Text(text), place));
                }
                b'\\' => {
                    if let Err(what) = self.escape(&mut text) {
                        return Ok((Token::Wrong(what), self.at));
                    }
                }
                _ => return Ok((Token::Wrong("unexpected end of string"), self.at)),
            }
        }
    }

    fn escape(&mut self, text: &mut Vec<u8>) -> Result<(), &'static str> {
        let byte = match self.byte(self.at + 1) {
            byte @ (b'"' | b'\\' | b'/') => byte,
            b'b' => 8,
            b't' => b'\t',
            b'n' => b'\n',
            b'f' => 12,
            b'r' => b'\r',
            b'u' => {
                let (codepoint, length) = self.unicode().ok_or("invalid unicode escape code")?;
                push_utf8(codepoint, text);
                self.at += length;
                return Ok(());
            }
            _ => return Err("invalid escape code"),
        };
        text.push(byte);
        self.at += 2;
        Ok(())
    }

    /// A code point, and how many bytes its escape has: two of them make one above 0xFFFF.
    fn unicode(&self) -> Option<(u32, usize)> {
        let unit = self.hexadecimal(self.at + 2)?;
        if unit & 0xF800 != 0xD800 {
            return Some((unit, 6));
        }
        if unit & 0x400 != 0 || self.byte(self.at + 6) != b'\\' || self.byte(self.at + 7) != b'u' {
            return None;
        }
        let low = self.hexadecimal(self.at + 8)?;
        (low & 0xFC00 == 0xDC00).then(|| ((((unit & 0x3FF) << 10) | (low & 0x3FF)) + 0x1_0000, 12))
    }

    fn hexadecimal(&self, at: usize) -> Option<u32> {
        (at..at + 4).try_fold(0, |number, at| Some((number << 4) | char::from(self.byte(at)).to_digit(16)?))
    }
}

fn push_utf8(codepoint: u32, text: &mut Vec<u8>) {
    if let Some(character) = char::from_u32(codepoint) {
        text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    }
}

/// How much of the text `strtod` reads.
fn number_length(text: &[u8]) -> usize {
    let sign = usize::from(matches!(text.first(), Some(b'+' | b'-')));
    let rest = &text[sign..];
    let begins = |word: &[u8]| rest.len() >= word.len() && rest[..word.len()].eq_ignore_ascii_case(word);
    let digits = |from: usize, is_digit: fn(&u8) -> bool| {
        rest.get(from..).unwrap_or_default().iter().take_while(|byte| is_digit(byte)).count()
    };
    if begins(b"infinity") {
        return sign + 8;
    }
    if begins(b"inf") || begins(b"nan") {
        return sign + 3;
    }
    let is_hexadecimal = begins(b"0x")
        && (rest.get(2).is_some_and(u8::is_ascii_hexdigit)
            || rest.get(2) == Some(&b'.') && rest.get(3).is_some_and(u8::is_ascii_hexdigit));
    let (is_digit, exponent, begin): (fn(&u8) -> bool, _, _) =
        if is_hexadecimal { (u8::is_ascii_hexdigit, b'p', 2) } else { (u8::is_ascii_digit, b'e', 0) };
    let whole = digits(begin, is_digit);
    let mut end = begin + whole;
    if rest.get(end) == Some(&b'.') {
        let fraction = digits(end + 1, is_digit);
        if whole + fraction > 0 {
            end += 1 + fraction;
        }
    }
    if end == begin {
        return 0;
    }
    if rest.get(end).is_some_and(|byte| byte.to_ascii_lowercase() == exponent) {
        let sign = usize::from(matches!(rest.get(end + 1), Some(b'+' | b'-')));
        let power = digits(end + 1 + sign, u8::is_ascii_digit);
        if power > 0 {
            end += 1 + sign + power;
        }
    }
    sign + end
}

#[cfg(test)]
mod tests {
    use super::number_length;

    #[test]
    fn as_much_of_a_number_is_read_as_c_reads() {
        for (text, length) in [
            ("1", 1),
            ("-12.5e3,", 7),
            ("1e", 1),
            ("1e+", 1),
            ("1.e2", 4),
            (".5", 2),
            (".", 0),
            ("-", 0),
            ("0x1F]", 4),
            ("0x", 1),
            ("0x.8p1", 6),
            ("-infinity", 9),
            ("Inf1", 3),
            ("nano", 3),
            ("01", 2),
        ] {
            assert_eq!(number_length(text.as_bytes()), length, "{text}");
        }
    }
}
