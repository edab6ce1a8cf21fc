//! Sparse registers: runs of equal ones, from the first register to the last.
//!
//! ```text
//! 00nnnnnn               n + 1 zeros, up to 64
//! 01nnnnnn nnnnnnnn      n + 1 zeros, up to 16,384
//! 1vvvvvnn               n + 1 registers, up to 4, of value v + 1, up to 32
//! ```

use super::estimate::Histogram;
use super::registers::REGISTERS;
use super::sketch::Corrupted;

/// The highest value that a run can have.
const VALUE_MAX: u8 = 32;
const VALUES_MAX: usize = 4;
const SHORT_ZEROS_MAX: usize = 64;
/// No valid form is longer: one register in two bytes each.
pub(super) const SPARSE_BYTES_MAX: usize = 2 * REGISTERS;
/// Runs that are looked at for a merge after a change, from the one before it on.
const MERGED_RUNS: usize = 5;

/// Registers of equal value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// 0: they are zeros.
    pub(super) value: u8,
    pub(super) registers: usize,
    bytes: usize,
}

impl Run {
    /// True for zeros that take two bytes, however many there are.
    pub(super) fn is_long(self) -> bool {
        self.bytes == 2
    }
}

/// What became of a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Raised {
    /// It had this value or a higher one.
    Not,
    Done,
    /// The value, or the bytes that it takes, are too much for this encoding: nothing has changed.
    TooMuch,
}

pub(super) fn empty() -> [u8; 2] {
    let run = REGISTERS - 1;
    [0x40 | (run >> 8) as u8, run as u8]
}

/// All runs, whatever they come to. A second byte that is missing is zero.
pub(super) fn runs(mut bytes: &[u8]) -> impl Iterator<Item = Run> {
    std::iter::from_fn(move || {
        let run = run_at(bytes, 0)?;
        bytes = bytes.get(run.bytes..).unwrap_or_default();
        Some(run)
    })
}

fn run_at(bytes: &[u8], at: usize) -> Option<Run> {
    let first = *bytes.get(at)?;
    let short = usize::from(first & 0x3f);
    Some(match first >> 6 {
        0 => Run { value: 0, registers: short + 1, bytes: 1 },
        1 => {
            let low = bytes.get(at + 1).map_or(0, |low| usize::from(*low));
            Run { value: 0, registers: (short << 8 | low) + 1, bytes: 2 }
        }
        _ => Run { value: (first >> 2 & 0x1f) + 1, registers: usize::from(first & 0x03) + 1, bytes: 1 },
    })
}

/// Shows every register that is not zero. As in Redis runs of values beyond the last register are left out.
pub(super) fn each_value(bytes: &[u8], mut show: impl FnMut(usize, u8)) -> Result<(), Corrupted> {
    let mut index = 0;
    for run in runs(bytes) {
        if run.value > 0 {
            if index + run.registers > REGISTERS {
                break;
            }
            (index..index + run.registers).for_each(|index| show(index, run.value));
        }
        index += run.registers;
    }
    if index == REGISTERS { Ok(()) } else { Err(Corrupted) }
}

pub(super) fn histogram(bytes: &[u8]) -> Result<Histogram, Corrupted> {
    let (mut histogram, mut index) = (Histogram::empty(), 0);
    for run in runs(bytes) {
        histogram.count(run.value, run.registers as u32);
        index += run.registers;
    }
    if index == REGISTERS { Ok(histogram) } else { Err(Corrupted) }
}

/// Raises a register of the runs that begin at `begin` in `bytes`, which must not have more than `bytes_max` bytes then.
pub(super) fn raise(
    bytes: &mut Vec<u8>,
    begin: usize,
    index: usize,
    value: u8,
    bytes_max: usize,
) -> Result<Raised, Corrupted> {
    if value > VALUE_MAX {
        return Ok(Raised::TooMuch);
    }
    let (mut at, mut previous, mut first) = (begin, begin, 0);
    let run = loop {
        let run = run_at(bytes, at).ok_or(Corrupted)?;
        if index < first + run.registers {
            break run;
        }
        previous = at;
        (at, first) = (at + run.bytes, first + run.registers);
    };
    if run.value >= value {
        return Ok(Raised::Not);
    }
    let mut split = Vec::with_capacity(5);
    push_run(&mut split, run.value, index - first);
    push_run(&mut split, value, 1);
    push_run(&mut split, run.value, first + run.registers - 1 - index);
    if split.len() > run.bytes && bytes.len() + split.len() - run.bytes > bytes_max {
        return Ok(Raised::TooMuch);
    }
    let end = bytes.len().min(at + run.bytes);
    bytes.splice(at..end, split);
    merge_from(bytes, previous);
    Ok(Raised::Done)
}

fn push_run(bytes: &mut Vec<u8>, value: u8, registers: usize) {
    match registers.checked_sub(1) {
        None => {}
        Some(less) if value > 0 => bytes.push(0x80 | (value - 1) << 2 | less as u8),
        Some(less) if registers <= SHORT_ZEROS_MAX => bytes.push(less as u8),
        Some(less) => bytes.extend_from_slice(&[0x40 | (less >> 8) as u8, less as u8]),
    }
}

/// Puts runs of the same value together, as far as Redis looks for them.
fn merge_from(bytes: &mut Vec<u8>, mut at: usize) {
    for _ in 0..MERGED_RUNS {
        let Some(run) = run_at(bytes, at) else { return };
        let next = run_at(bytes, at + run.bytes);
        match next {
            Some(next) if run.value > 0 && next.value == run.value && run.registers + next.registers <= VALUES_MAX => {
                bytes[at + 1] += run.registers as u8;
                bytes.remove(at);
            }
            _ => at += run.bytes,
        }
    }
}
