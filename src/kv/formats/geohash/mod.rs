//! Places on the earth as scores of a sorted set, as Redis makes them: 52 bits of interleaved latitude and longitude, the cells that cover an area,
//! distances. Pure, and the same floating-point operations in the same order, so that scores, texts and what lies within an area agree.

mod area;
mod cell;
mod distance;
#[cfg(test)]
mod tests;
mod text;

pub use area::{Area, Shape};
pub use cell::{LATITUDE_MAX, LONGITUDE_MAX, Position, position_of, score_of};
pub use distance::{Unit, distance_m};
pub use text::{coordinate_text, distance_text, geohash_text};
