//! The payload of FUNCTION DUMP: the code of each library, one behind the other, with the footer of a value.
//!
//! ```text
//! f5                     a library of Redis 7.0 (f6: of a version before it, which is refused)
//! code                   a string
//! ```

use super::payload::{RestoreError, VERSION_WRITTEN, seal, unsealed};
use super::strings::{Slice, put_string, read_string};
use super::values::Source;
use crate::kv::formats::lzf;

const LIBRARY: u8 = 0xf5;
const LIBRARY_BEFORE_7_0: u8 = 0xf6;

/// Why the libraries of a payload are not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadFunctions {
    VersionOrChecksum,
    /// Of a version before 7.0.
    Old,
    /// It holds something else.
    NoFunction,
    Format,
}

/// The payload of these libraries.
#[must_use]
pub fn dump_functions<'a>(codes: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let (mut payload, mut compressor) = (Vec::new(), lzf::Compressor::default());
    for code in codes {
        payload.push(LIBRARY);
        put_string(code, &mut compressor, &mut payload);
    }
    seal(&mut payload, 0, VERSION_WRITTEN);
    payload
}

/// The codes of the libraries of a payload, none of them longer than `bytes_max`.
pub fn restore_functions(payload: &[u8], bytes_max: u64) -> Result<Vec<Vec<u8>>, BadFunctions> {
    let (body, _) = unsealed(payload).map_err(|_| BadFunctions::VersionOrChecksum)?;
    let mut source = Slice::<RestoreError>::new(body);
    let mut codes = Vec::new();
    while !source.is_at_end() {
        match source.array().map_err(|_| BadFunctions::Format)? {
            [LIBRARY] => {}
            [LIBRARY_BEFORE_7_0] => return Err(BadFunctions::Old),
            [_] => return Err(BadFunctions::NoFunction),
        }
        let mut code = Vec::new();
        read_string(&mut source, bytes_max, &mut code).map_err(|_| BadFunctions::Format)?;
        codes.push(code);
    }
    Ok(codes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn restored(payload: &[u8]) -> Result<Vec<Vec<u8>>, BadFunctions> {
        restore_functions(payload, 1 << 20)
    }

    #[test]
    fn libraries_come_back() {
        let long = [b"#!lua name=long\n".to_vec(), b"-- again\n".repeat(1000)].concat();
        for codes in [vec![], vec![&b"#!lua name=a\n"[..]], vec![&long, b"#!lua name=b\n\xff\0"]] {
            let payload = dump_functions(codes.iter().copied());
            assert_eq!(restored(&payload).unwrap(), codes);
        }
        assert_eq!(restore_functions(&dump_functions([&long[..]].into_iter()), 1000), Err(BadFunctions::Format));
    }

    #[test]
    fn what_is_no_payload_of_functions_is_refused() {
        let mut payload = dump_functions([&b"#!lua name=a\n"[..]].into_iter());
        payload[3] ^= 1;
        assert_eq!(restored(&payload), Err(BadFunctions::VersionOrChecksum));
        assert_eq!(restored(b""), Err(BadFunctions::VersionOrChecksum));
        let sealed = |body: &[u8]| super::super::sealed(VERSION_WRITTEN, body);
        assert_eq!(restored(&sealed(&[LIBRARY_BEFORE_7_0, 1, b'x'])), Err(BadFunctions::Old));
        assert_eq!(restored(&sealed(&[0, 1, b'x'])), Err(BadFunctions::NoFunction));
        assert_eq!(restored(&sealed(&[LIBRARY, 9, b'x'])), Err(BadFunctions::Format));
        assert_eq!(restored(&sealed(&[LIBRARY])), Err(BadFunctions::Format));
    }
}
