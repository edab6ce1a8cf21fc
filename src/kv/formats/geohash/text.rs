//! Places and distances as texts.

use super::cell::{Position, STEPS_MAX, bits_at};

const ALPHABET: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
const LETTERS: usize = 11;
/// Latitudes of the geohash that others know.
const STANDARD_LATITUDE_MAX: f64 = 90.0;

/// The geohash as geohash.org has it. Its last letter is always 0: 52 bits are ten letters.
#[must_use]
pub fn geohash_text(position: Position) -> [u8; LETTERS] {
    let bits = bits_at(position, STANDARD_LATITUDE_MAX, STEPS_MAX);
    let mut text = [ALPHABET[0]; LETTERS];
    for (number, letter) in text[..LETTERS - 1].iter_mut().enumerate() {
        let shift = 2 * STEPS_MAX as usize - 5 * (number + 1);
        *letter = ALPHABET[(bits >> shift) as usize % ALPHABET.len()];
    }
    text
}

/// With 4 digits behind the point.
#[must_use]
pub fn distance_text(distance: f64) -> String {
    let scaled = (distance * 10_000.0).round_ties_even() as u64;
    format!("{}.{:04}", scaled / 10_000, scaled % 10_000)
}

/// As `%.17Lf` writes it, without zeros at the end.
#[must_use]
pub fn coordinate_text(degrees: f64) -> String {
    let text = format!("{degrees:.17}");
    match text.trim_end_matches('0').trim_end_matches('.') {
        "-0" => "0".to_owned(),
        text => text.to_owned(),
    }
}
