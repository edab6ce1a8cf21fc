//! The computer art of LOLWUT: a sea of characters, drawn by a few sines and dots of Braille. Ends with the version, which
//! clients look for.

use crate::kv::shared::program::REDIS_VERSION;

const COLUMNS: i64 = 66;
const ROWS: i64 = 12;
const COLUMNS_MAX: i64 = 1000;
const ROWS_MAX: i64 = 200;

/// `Redis ver. 7.2.0`: what Redis says in versions that have no piece of their own.
#[must_use]
pub(super) fn version_line() -> String {
    format!("Redis ver. {REDIS_VERSION}\n")
}

/// A new sea for each seed.
#[must_use]
pub(super) fn piece(columns: Option<i64>, rows: Option<i64>, seed: u64) -> String {
    let columns = columns.unwrap_or(COLUMNS).clamp(1, COLUMNS_MAX) as usize;
    let rows = rows.unwrap_or(ROWS).clamp(1, ROWS_MAX) as usize;
    // Four waves, each with a length, a height and a phase of its own.
    let waves: Vec<[f64; 3]> = (0..4).map(|wave| [0, 1, 2].map(|part| fraction(seed, 3 * wave + part))).collect();
    let level = |x: f64| {
        let sum: f64 = waves
            .iter()
            .map(|[length, height, phase]| (x / (3.0 + 12.0 * length) + phase * std::f64::consts::TAU).sin() * height)
            .sum();
        0.5 + sum / (2.0 * waves.len() as f64)
    };
    let surface: Vec<usize> = (0..2 * columns).map(|x| (level(x as f64) * 4.0 * rows as f64) as usize).collect();
    let mut piece = String::with_capacity(rows * (3 * columns + 1));
    for row in 0..rows {
        piece.extend((0..columns).map(|column| cell(&surface, column, row)));
        piece.push('\n');
    }
    piece.push_str("\nA sea, drawn by four waves that meet only now. ");
    piece + &version_line()
}

/// Eight dots, two wide and four high; a dot is there at the surface, and at every third one below it.
fn cell(surface: &[usize], column: usize, row: usize) -> char {
    // The bits of U+2800 and those that follow, by column and row of the dot.
    const DOTS: [[u32; 4]; 2] = [[0x01, 0x02, 0x04, 0x40], [0x08, 0x10, 0x20, 0x80]];
    let mut bits = 0;
    for (x, dots) in DOTS.iter().enumerate() {
        for (y, dot) in dots.iter().enumerate() {
            let depth = (4 * row + y).checked_sub(surface[2 * column + x]);
            if depth.is_some_and(|depth| depth == 0 || depth % 3 == 0 && (column + x).is_multiple_of(2)) {
                bits |= dot;
            }
        }
    }
    char::from_u32(0x2800 + bits).unwrap_or(' ')
}

/// From 0 to 1, another one for each place (SplitMix64).
fn fraction(seed: u64, place: u64) -> f64 {
    let mut mixed = seed.wrapping_add(place.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_has_the_size_that_was_asked_for_and_ends_with_the_version() {
        for (columns, rows, seed) in [(1, 1, 0), (40, 5, 7), (0, -3, u64::MAX)] {
            let piece = piece(Some(columns), Some(rows), seed);
            assert!(piece.ends_with(&version_line()));
            let lines: Vec<&str> = piece.lines().collect();
            assert_eq!(lines.len() as i64, rows.max(1) + 2);
            assert_eq!(lines[0].chars().count() as i64, columns.max(1));
        }
        assert_ne!(piece(None, None, 1), piece(None, None, 2));
    }
}
