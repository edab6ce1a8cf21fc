//! LZF, the compression of strings in Redis' value format: runs of literals and references up to 8 KiB back.
//! The compressor makes the same choices as Redis' build of liblzf, so that both write the same bytes.
//!
//! ```text
//! 000LLLLL                     then L+1 literal bytes
//! LLLooooo oooooooo            L+2 bytes (L 1..6) from o+1 bytes back
//! 111ooooo LLLLLLLL oooooooo   L+9 bytes from o+1 bytes back
//! ```

const HASH_BITS: u32 = 16;
const LITERALS_MAX: usize = 1 << 5;
const OFFSET_MAX: usize = 1 << 13;
const REFERENCE_BYTES_MAX: usize = (1 << 8) + (1 << 3);
/// The most bytes that one compressed byte stands for: three bytes make the longest reference.
const EXPANSION_MAX: u64 = REFERENCE_BYTES_MAX as u64 / 3;

/// Compresses one input after the other with the memory of the first.
#[derive(Debug, Default)]
pub struct Compressor {
    /// By hash: where three bytes were last seen, counted from `base`. What is not above it is of an earlier input.
    seen: Vec<u32>,
    base: u32,
}

/// The compressed form; None when it would have more than `compressed_bytes_max` bytes.
#[must_use]
pub fn compress(input: &[u8], compressed_bytes_max: usize) -> Option<Vec<u8>> {
    Compressor::default().compress(input, compressed_bytes_max)
}

impl Compressor {
    /// The compressed form; None when it would have more than `compressed_bytes_max` bytes.
    pub fn compress(&mut self, input: &[u8], compressed_bytes_max: usize) -> Option<Vec<u8>> {
        if input.is_empty() || compressed_bytes_max == 0 {
            return None;
        }
        let length = u32::try_from(input.len()).ok()?;
        if self.seen.is_empty() || self.base.checked_add(length).is_none() {
            self.seen.clear();
            self.seen.resize(1 << HASH_BITS, 0);
            self.base = 0;
        }
        let compressed = self.compress_from_base(input, compressed_bytes_max);
        self.base += length;
        compressed
    }

    fn compress_from_base(&mut self, input: &[u8], compressed_bytes_max: usize) -> Option<Vec<u8>> {
        let mut output = Output { bytes: vec![0], literals: 0, bytes_max: compressed_bytes_max };
        let last = input.len().saturating_sub(2);
        let mut at = 0;
        while at < last {
            // Position 0 stands for "never seen", and therefore is never referred to: as in liblzf.
            let candidate = self.see(input, at).saturating_sub(self.base) as usize;
            if candidate == 0 || at - candidate > OFFSET_MAX || input[candidate..candidate + 3] != input[at..at + 3] {
                output.literal(input[at])?;
                at += 1;
                continue;
            }
            let length = matching(input, candidate, at);
            output.reference(length, at - candidate - 1)?;
            at += length;
            if at >= last {
                break;
            }
            for position in at - 2..at {
                self.see(input, position);
            }
        }
        if output.bytes.len() + 3 > compressed_bytes_max {
            return None;
        }
        for byte in &input[at..] {
            output.literal(*byte)?;
        }
        Some(output.finish())
    }

    /// Remembers the place of the three bytes there, and returns the one before it.
    fn see(&mut self, input: &[u8], at: usize) -> u32 {
        std::mem::replace(&mut self.seen[hash(&input[at..])], self.base + at as u32)
    }
}

fn hash(bytes: &[u8]) -> usize {
    let value = u32::from(bytes[0]) << 16 | u32::from(bytes[1]) << 8 | u32::from(bytes[2]);
    let mixed = (value >> (24 - HASH_BITS)).wrapping_sub(value.wrapping_mul(5));
    (mixed & ((1 << HASH_BITS) - 1)) as usize
}

/// How many bytes at `at` repeat those at `candidate`: three or more, never more than a reference holds. The last two
/// bytes of the input are left to literals, except where liblzf's unrolled comparison of 16 bytes looks past that.
fn matching(input: &[u8], candidate: usize, at: usize) -> usize {
    let bound = (input.len() - at - 2).min(REFERENCE_BYTES_MAX);
    let longest = bound.max(if bound > 16 { 19 } else { 3 });
    let (from, to) = (&input[candidate..], &input[at..]);
    (3..longest).find(|&length| from[length] != to[length]).unwrap_or(longest)
}

/// The compressed bytes; the last run of literals is open, its length byte reserved.
struct Output {
    bytes: Vec<u8>,
    literals: usize,
    bytes_max: usize,
}

impl Output {
    fn literal(&mut self, byte: u8) -> Option<()> {
        if self.bytes.len() >= self.bytes_max {
            return None;
        }
        self.bytes.push(byte);
        self.literals += 1;
        if self.literals == LITERALS_MAX {
            self.close_run();
            self.bytes.push(0);
        }
        Some(())
    }

    fn reference(&mut self, length: usize, offset: usize) -> Option<()> {
        if self.bytes.len() - usize::from(self.literals == 0) + 4 >= self.bytes_max {
            return None;
        }
        self.close_run();
        let [high, low] = u16::try_from(offset).ok()?.to_be_bytes();
        let length = length - 2;
        if length < 7 {
            self.bytes.push(high + (u8::try_from(length).ok()? << 5));
        } else {
            self.bytes.extend_from_slice(&[high + (7 << 5), u8::try_from(length - 7).ok()?]);
        }
        self.bytes.extend_from_slice(&[low, 0]);
        Some(())
    }

    /// Writes the open run's length byte, or takes it back when the run is empty.
    fn close_run(&mut self) {
        if self.literals == 0 {
            self.bytes.pop();
        } else {
            let start = self.bytes.len() - self.literals - 1;
            self.bytes[start] = (self.literals - 1) as u8;
        }
        self.literals = 0;
    }

    fn finish(mut self) -> Vec<u8> {
        self.close_run();
        self.bytes
    }
}

/// The original bytes; None unless the input is well formed and stands for exactly `length` bytes. A length that the input
/// cannot reach is refused before memory is taken.
pub fn decompress(input: &[u8], length: u64) -> Option<Vec<u8>> {
    if length > (input.len() as u64).saturating_mul(EXPANSION_MAX) {
        return None;
    }
    let length = usize::try_from(length).ok()?;
    let mut output = Vec::with_capacity(length);
    let mut rest = input;
    while let [control, after @ ..] = rest {
        if *control < LITERALS_MAX as u8 {
            let (literals, after) = after.split_at_checked(usize::from(*control) + 1)?;
            output.extend_from_slice(literals);
            rest = after;
        } else {
            let (count, after) = match (control >> 5, after) {
                (7, [more, after @ ..]) => (usize::from(*more) + 9, after),
                (7, []) => return None,
                (short, after) => (usize::from(short) + 2, after),
            };
            let [low, after @ ..] = after else { return None };
            let back = (usize::from(control & 31) << 8) + usize::from(*low) + 1;
            let start = output.len().checked_sub(back)?;
            // A reference may overlap what it writes: byte by byte then, in one piece otherwise.
            if back >= count {
                output.extend_from_within(start..start + count);
            } else {
                for position in start..start + count {
                    output.push(output[position]);
                }
            }
            rest = after;
        }
        if output.len() > length {
            return None;
        }
    }
    (output.len() == length).then_some(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_bytes_become_references() {
        let input = b"abc".repeat(100);
        let compressed = compress(&input, input.len() - 4).unwrap();
        assert!(compressed.len() < 20);
        assert_eq!(decompress(&compressed, 300), Some(input));
    }

    #[test]
    fn what_was_compressed_before_changes_nothing() {
        let inputs =
            [b"abcabcabcabcabcabcabcabc".repeat(9), b"xyzabcabcxyzabcabcabcabcabcxyz".repeat(2), vec![b'a'; 100]];
        let mut compressor = Compressor::default();
        for base in [0, 5, u32::MAX - 300, u32::MAX - 40] {
            compressor.base = compressor.base.max(base);
            for input in &inputs {
                assert_eq!(compressor.compress(input, input.len()), compress(input, input.len()));
            }
        }
    }

    #[test]
    fn what_does_not_shrink_is_refused() {
        let input: Vec<u8> = (0..=255).collect();
        assert_eq!(compress(&input, input.len() - 4), None);
        assert_eq!(compress(b"", 10), None);
    }

    #[test]
    fn malformed_input_gives_nothing() {
        assert_eq!(decompress(b"\x05abc", 6), None, "literals missing");
        assert_eq!(decompress(b"\x00a\x20\x05", 4), None, "a reference before the start");
        assert_eq!(decompress(b"\x00a\xe0", 4), None, "a reference cut short");
        assert_eq!(decompress(b"\x00a\x20", 4), None);
        assert_eq!(decompress(b"\x02abc", 4), None, "too short");
        assert_eq!(decompress(b"\x02abc", 2), None, "too long");
        assert_eq!(decompress(b"\x02abc", u64::MAX), None, "no memory is taken for a length out of reach");
        assert_eq!(decompress(b"\x00a\x20\x00", 4).as_deref(), Some(&b"aaaa"[..]));
    }

    proptest::proptest! {
        #[test]
        fn what_is_compressed_comes_back(words in proptest::collection::vec("[ab]{1,9}", 1..400)) {
            let input = words.concat().into_bytes();
            if let Some(compressed) = compress(&input, input.len()) {
                proptest::prop_assert!(compressed.len() <= input.len());
                proptest::prop_assert_eq!(decompress(&compressed, input.len() as u64), Some(input));
            }
        }

        #[test]
        fn no_input_panics(input in proptest::collection::vec(proptest::num::u8::ANY, 0..200), length in 0u64..400) {
            if let Some(output) = decompress(&input, length) {
                proptest::prop_assert_eq!(output.len() as u64, length);
            }
        }
    }
}
