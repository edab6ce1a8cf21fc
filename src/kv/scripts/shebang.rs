//! The first line of a script or library: `#!lua name=… flags=…`. Pure functions of its bytes.

use super::seam::{ScriptError, ScriptFlags};
use crate::kv::errors;
use crate::resp::inline;

/// What an EVAL script says of itself, and how many bytes of it are not Lua. The line feed stays, so that lines keep their numbers.
pub(super) fn of_script(source: &[u8]) -> Result<(ScriptFlags, usize), ScriptError> {
    let mut flags = ScriptFlags { is_undeclared: true, ..ScriptFlags::default() };
    if !source.starts_with(b"#!") {
        return Ok((flags, 0));
    }
    let length = line_length(source).ok_or_else(|| ScriptError::reply(errors::INVALID_SHEBANG))?;
    let words = words(&source[..length]).ok_or_else(|| ScriptError::reply(errors::INVALID_SHEBANG_ENGINE))?;
    flags.is_undeclared = false;
    if words[0] != b"#!lua" {
        return Err(with(errors::UNEXPECTED_SHEBANG_ENGINE, &words[0]));
    }
    for word in &words[1..] {
        let names = word.strip_prefix(b"flags=").ok_or_else(|| with(errors::UNKNOWN_SHEBANG_OPTION, word))?;
        // Nothing between two commas is a name too, which no flag has; nothing at all is no name.
        for name in names.split(|byte| *byte == b',').filter(|_| !names.is_empty()) {
            flags.set(name).ok_or_else(|| with(errors::UNEXPECTED_SHEBANG_FLAG, name))?;
        }
    }
    Ok((flags, length))
}

/// The engine, the library's name, and how many bytes are not Lua.
pub(super) struct Metadata {
    pub(super) engine: Vec<u8>,
    pub(super) name: Vec<u8>,
    pub(super) length: usize,
}

pub(super) fn of_library(code: &[u8]) -> Result<Metadata, ScriptError> {
    if !code.starts_with(b"#!") {
        return Err(ScriptError::reply(errors::MISSING_LIBRARY_METADATA));
    }
    let invalid = || ScriptError::reply(errors::INVALID_LIBRARY_METADATA);
    let length = line_length(code).ok_or_else(invalid)?;
    let words = words(&code[..length]).ok_or_else(invalid)?;
    let mut name = None;
    for word in &words[1..] {
        let (key, value) = word.split_at(word.len().min(5));
        if !key.eq_ignore_ascii_case(b"name=") {
            return Err(with(errors::INVALID_METADATA_VALUE, word));
        }
        if name.replace(value.to_vec()).is_some() {
            return Err(ScriptError::reply(errors::LIBRARY_NAMED_TWICE));
        }
    }
    let name = name.ok_or_else(|| ScriptError::reply(errors::LIBRARY_NOT_NAMED))?;
    if !is_name(&name) {
        return Err(ScriptError::reply(errors::INVALID_LIBRARY_NAME));
    }
    let engine = words[0][2..].to_vec();
    if !engine.eq_ignore_ascii_case(b"lua") {
        return Err(ScriptError::reply(errors::engine_not_found(&engine)));
    }
    Ok(Metadata { engine, name, length })
}

/// The name of a library, as its first line says it.
///
/// # Errors
/// `ScriptError::Reply`: it says none.
pub fn library_name(code: &[u8]) -> Result<Vec<u8>, ScriptError> {
    of_library(code).map(|metadata| metadata.name)
}

/// Of libraries and functions.
pub(super) fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

fn line_length(source: &[u8]) -> Option<usize> {
    memchr::memchr2(b'\n', 0, source).filter(|at| source[*at] == b'\n')
}

/// As a line of the protocol is split, with quotes. None: it cannot be split, or has no words.
fn words(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (mut text, mut spans) = (Vec::new(), Vec::new());
    inline::split(line, &mut text, &mut spans).ok()?;
    (!spans.is_empty()).then(|| spans.into_iter().map(|span| text[span].to_vec()).collect())
}

fn with(text: &str, what: &[u8]) -> ScriptError {
    ScriptError::reply(errors::repeating(text, what))
}
