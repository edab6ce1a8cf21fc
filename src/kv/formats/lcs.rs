//! The longest common subsequence of two strings, as LCS computes it: the same choice among equally long ones as Redis.
//! Pure; the replies are made elsewhere.

/// Strings from this length on are refused.
const LENGTH_MAX: usize = u32::MAX as usize - 1;

/// Why no subsequence is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LcsError {
    /// "String too long for LCS"
    TooLong,
    /// "Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len"
    TooMuchMemory,
}

/// A run of bytes that both strings have; the ends are inclusive positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match {
    pub first: (u32, u32),
    pub second: (u32, u32),
}

impl Match {
    pub fn length(&self) -> u32 {
        self.first.1 - self.first.0 + 1
    }
}

/// The subsequence, and the runs that it is made of, the last one first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subsequence {
    pub bytes: Vec<u8>,
    pub matches: Vec<Match>,
}

/// Refuses what Redis refuses: its table of four bytes a cell would take more than `memory_bytes_max`. We take less.
pub fn check_lengths(first: u64, second: u64, memory_bytes_max: u64) -> Result<(), LcsError> {
    if first.max(second) >= LENGTH_MAX as u64 {
        return Err(LcsError::TooLong);
    }
    let cells = u128::from(first + 1) * u128::from(second + 1);
    if cells * 4 > u128::from(memory_bytes_max) { Err(LcsError::TooMuchMemory) } else { Ok(()) }
}

/// Pairs of bytes between two calls of `go_on`.
const CELLS_BETWEEN_LOOKS: usize = 1 << 20;

/// The length alone, in memory for two rows. `go_on` is asked now and then, and its error ends the work.
pub fn length<E>(first: &[u8], second: &[u8], go_on: impl FnMut() -> Result<(), E>) -> Result<u32, E> {
    fill_rows(first, second, |_, _| {}, go_on)
}

/// The subsequence itself, in one bit for each pair of bytes. `go_on` as for `length`.
pub fn subsequence<E>(first: &[u8], second: &[u8], go_on: impl FnMut() -> Result<(), E>) -> Result<Subsequence, E> {
    let width = second.len();
    let mut ups = BitTable::new(first.len() * width);
    let length = fill_rows(first, second, |i, j| ups.set(i * width + j), go_on)?;
    Ok(walk_back(first, second, length, &ups))
}

/// Calls `up` for each pair of unequal bytes where leaving out the byte of `first` keeps a longer subsequence than leaving
/// out that of `second`. Gives the length of the longest one.
fn fill_rows<E>(
    first: &[u8],
    second: &[u8],
    mut up: impl FnMut(usize, usize),
    mut go_on: impl FnMut() -> Result<(), E>,
) -> Result<u32, E> {
    let mut row = vec![0u32; second.len() + 1];
    let mut cells = 0;
    for (i, a) in first.iter().enumerate() {
        cells += second.len() + 1;
        if cells >= CELLS_BETWEEN_LOOKS {
            cells = 0;
            go_on()?;
        }
        let mut diagonal = 0;
        for (j, b) in second.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = if a == b {
                diagonal + 1
            } else {
                let left = row[j];
                if above > left {
                    up(i, j);
                }
                above.max(left)
            };
            diagonal = above;
        }
    }
    Ok(row[second.len()])
}

fn walk_back(first: &[u8], second: &[u8], length: u32, ups: &BitTable) -> Subsequence {
    let mut bytes = Vec::with_capacity(length as usize);
    let mut matches = Vec::new();
    let mut open: Option<Match> = None;
    let (mut i, mut j) = (first.len(), second.len());
    while i > 0 && j > 0 {
        if first[i - 1] == second[j - 1] {
            bytes.push(first[i - 1]);
            i -= 1;
            j -= 1;
            // Lengths are below 2^32: checked before.
            let (a, b) = (i as u32, j as u32);
            let run = open.get_or_insert(Match { first: (a, a), second: (b, b) });
            run.first.0 = a;
            run.second.0 = b;
        } else {
            matches.extend(open.take());
            if ups.is_set((i - 1) * second.len() + j - 1) {
                i -= 1;
            } else {
                j -= 1;
            }
        }
    }
    matches.extend(open.take());
    bytes.reverse();
    Subsequence { bytes, matches }
}

struct BitTable {
    words: Vec<u64>,
}

impl BitTable {
    fn new(bits: usize) -> Self {
        Self { words: vec![0; bits.div_ceil(64)] }
    }

    fn set(&mut self, bit: usize) {
        self.words[bit / 64] |= 1 << (bit % 64);
    }

    fn is_set(&self, bit: usize) -> bool {
        self.words[bit / 64] >> (bit % 64) & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn length(first: &[u8], second: &[u8]) -> u32 {
        super::length(first, second, || Ok::<_, ()>(())).unwrap()
    }

    fn subsequence(first: &[u8], second: &[u8]) -> Subsequence {
        super::subsequence(first, second, || Ok::<_, ()>(())).unwrap()
    }

    #[test]
    fn long_work_can_be_ended() {
        let (a, b) = (vec![b'a'; 3000], vec![b'b'; 3000]);
        let mut looks = 0;
        let counted = || {
            looks += 1;
            if looks < 3 { Ok(()) } else { Err("enough") }
        };
        assert_eq!(super::length(&a, &b, counted), Err("enough"));
        assert_eq!(super::subsequence(&a, &b, || Err("at once")), Err("at once"));
    }

    #[test]
    fn the_documented_example_is_found() {
        let found = subsequence(b"ohmytext", b"mynewtext");
        assert_eq!(found.bytes, b"mytext");
        assert_eq!(found.matches, [Match { first: (4, 7), second: (5, 8) }, Match { first: (2, 3), second: (0, 1) }]);
        assert_eq!(found.matches[0].length(), 4);
        assert_eq!(length(b"ohmytext", b"mynewtext"), 6);
    }

    #[test]
    fn an_empty_string_has_nothing_in_common() {
        for (first, second) in [(&b""[..], &b""[..]), (b"", b"abc"), (b"abc", b""), (b"abc", b"xyz")] {
            assert_eq!(subsequence(first, second), Subsequence { bytes: Vec::new(), matches: Vec::new() });
            assert_eq!(length(first, second), 0);
        }
    }

    #[test]
    fn equal_strings_are_one_match() {
        let found = subsequence(b"abcabc", b"abcabc");
        assert_eq!(found.matches, [Match { first: (0, 5), second: (0, 5) }]);
    }

    #[test]
    fn the_limits_are_those_of_redis() {
        assert_eq!(check_lengths(u64::from(u32::MAX) - 1, 0, u64::MAX), Err(LcsError::TooLong));
        assert_eq!(check_lengths(u64::from(u32::MAX) - 2, 0, u64::MAX), Ok(()));
        assert_eq!(check_lengths(11_584, 11_584, 512 << 20), Ok(()));
        assert_eq!(check_lengths(11_585, 11_585, 512 << 20), Err(LcsError::TooMuchMemory));
    }

    proptest::proptest! {
        #[test]
        fn what_is_found_is_common_and_as_long_as_can_be(first in "[abc]{0,30}", second in "[abc]{0,30}") {
            let found = subsequence(first.as_bytes(), second.as_bytes());
            proptest::prop_assert_eq!(found.bytes.len(), length(second.as_bytes(), first.as_bytes()) as usize);
            for text in [&first, &second] {
                let mut rest = text.bytes();
                proptest::prop_assert!(found.bytes.iter().all(|byte| rest.any(|other| other == *byte)));
            }
            let covered: u32 = found.matches.iter().map(Match::length).sum();
            proptest::prop_assert_eq!(covered as usize, found.bytes.len());
            for run in &found.matches {
                let (a, b) = (run.first, run.second);
                proptest::prop_assert_eq!(&first[a.0 as usize..=a.1 as usize], &second[b.0 as usize..=b.1 as usize]);
            }
        }
    }
}
