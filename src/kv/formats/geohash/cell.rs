//! Cells of a grid that halves the earth again and again, by turns in latitude and longitude.
//!
//! ```text
//! bit    51 50 49 48 … 3 2 1 0
//! of     lo la lo la … lo la lo la       lo, la: longitude and latitude, a fraction of their range, highest bits first
//! ```

use std::ops::Range;

/// Web Mercator (EPSG:900913, EPSG:3785) ends before the poles.
pub const LATITUDE_MAX: f64 = 85.051_128_78;
pub const LONGITUDE_MAX: f64 = 180.0;
/// Halvings of each coordinate in a score.
pub(super) const STEPS_MAX: u32 = 26;

const LATITUDE_BITS: u64 = 0x5555_5555_5555_5555;
const LONGITUDE_BITS: u64 = !LATITUDE_BITS;

/// In degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Position {
    pub longitude: f64,
    pub latitude: f64,
}

/// A cell after so many halvings of each coordinate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) bits: u64,
    pub(super) steps: u32,
}

/// What a cell covers, in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bounds {
    pub(super) west: f64,
    pub(super) east: f64,
    pub(super) south: f64,
    pub(super) north: f64,
}

/// The score of a place within the limits: a whole number.
#[must_use]
pub fn score_of(position: Position) -> f64 {
    Cell::at(position, STEPS_MAX).bits as f64
}

/// The middle of the cell that a score names. Every score names one.
#[must_use]
pub fn position_of(score: f64) -> Position {
    let bounds = Cell { bits: bits_of(score), steps: STEPS_MAX }.bounds();
    let middle = |low: f64, high: f64, limit: f64| ((low + high) / 2.0).clamp(-limit, limit);
    Position {
        longitude: middle(bounds.west, bounds.east, LONGITUDE_MAX),
        latitude: middle(bounds.south, bounds.north, LATITUDE_MAX),
    }
}

/// As x86-64 turns a double into 64 bits without a sign.
fn bits_of(score: f64) -> u64 {
    const HALF: f64 = 9_223_372_036_854_775_808.0;
    const NO_INTEGER: u64 = 1 << 63;
    if score < HALF {
        // Beyond the range it is the lowest, which has the bits of `NO_INTEGER`.
        (score as i64).cast_unsigned()
    } else if score < 2.0 * HALF {
        (score - HALF) as u64 ^ NO_INTEGER
    } else {
        0
    }
}

impl Cell {
    pub(super) fn at(position: Position, steps: u32) -> Cell {
        Cell { bits: bits_at(position, LATITUDE_MAX, steps), steps }
    }

    pub(super) fn bounds(self) -> Bounds {
        let cells = (1u64 << self.steps) as f64;
        let edges = |number: u32, limit: f64| {
            let edge = |number: u32| -limit + (f64::from(number) / cells) * (limit - -limit);
            (edge(number), edge(number.wrapping_add(1)))
        };
        let (south, north) = edges(gathered(self.bits), LATITUDE_MAX);
        let (west, east) = edges(gathered(self.bits >> 1), LONGITUDE_MAX);
        Bounds { west, east, south, north }
    }

    /// The cell so many cells to the east and to the north (-1, 0 or 1), around the earth where it ends.
    pub(super) fn neighbour(self, east: i8, north: i8) -> Cell {
        let bits = moved(self.bits, LONGITUDE_BITS, east, self.steps);
        Cell { bits: moved(bits, LATITUDE_BITS, north, self.steps), ..self }
    }

    /// The scores of the places in it.
    pub(super) fn scores(self) -> Range<f64> {
        let shift = 2 * (STEPS_MAX - self.steps);
        (self.bits << shift) as f64..((self.bits + 1) << shift) as f64
    }
}

/// The bits of the cell that a place lies in; at the upper limits one more than there are.
pub(super) fn bits_at(position: Position, latitude_max: f64, steps: u32) -> u64 {
    let number = |value: f64, limit: f64| {
        let fraction = (value - -limit) / (limit - -limit);
        (fraction * (1u64 << steps) as f64) as u32
    };
    spread(number(position.latitude, latitude_max)) | spread(number(position.longitude, LONGITUDE_MAX)) << 1
}

/// One coordinate of a cell moved: `mask` has its bits.
fn moved(bits: u64, mask: u64, by: i8, steps: u32) -> u64 {
    if by == 0 {
        return bits;
    }
    let within = u64::MAX >> (64 - 2 * steps);
    let (coordinate, others) = (bits & mask, !mask & within);
    // The other coordinate's bits carry over, or are borrowed from.
    let coordinate = match by {
        1.. => coordinate.wrapping_add(others + 1),
        _ => (coordinate | others).wrapping_sub(others + 1),
    };
    coordinate & mask & within | bits & !mask
}

/// Each bit with a zero before it.
fn spread(number: u32) -> u64 {
    let mut bits = u64::from(number);
    bits = (bits | bits << 16) & 0x0000_ffff_0000_ffff;
    bits = (bits | bits << 8) & 0x00ff_00ff_00ff_00ff;
    bits = (bits | bits << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    bits = (bits | bits << 2) & 0x3333_3333_3333_3333;
    (bits | bits << 1) & LATITUDE_BITS
}

/// Every other bit, from the lowest on.
fn gathered(bits: u64) -> u32 {
    let mut bits = bits & LATITUDE_BITS;
    bits = (bits | bits >> 1) & 0x3333_3333_3333_3333;
    bits = (bits | bits >> 2) & 0x0f0f_0f0f_0f0f_0f0f;
    bits = (bits | bits >> 4) & 0x00ff_00ff_00ff_00ff;
    bits = (bits | bits >> 8) & 0x0000_ffff_0000_ffff;
    (bits | bits >> 16) as u32
}
