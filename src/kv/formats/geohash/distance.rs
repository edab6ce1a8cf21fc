//! Distances on a sphere, by the haversine formula.

use super::cell::Position;

/// The quadratic mean radius of the earth (WGS-84).
pub(super) const EARTH_RADIUS_M: f64 = 6_372_797.560_856;

const RADIANS_PER_DEGREE: f64 = std::f64::consts::PI / 180.0;

/// What a distance is given and told in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unit {
    pub meters: f64,
}

impl Unit {
    pub const METER: Unit = Unit { meters: 1.0 };

    /// The unit of this name, whatever its case.
    #[must_use]
    pub fn named(name: &[u8]) -> Option<Unit> {
        const UNITS: [(&str, f64); 4] = [("m", 1.0), ("km", 1000.0), ("ft", 0.3048), ("mi", 1609.34)];
        let (_, meters) = *UNITS.iter().find(|(unit, _)| name.eq_ignore_ascii_case(unit.as_bytes()))?;
        Some(Unit { meters })
    }
}

pub(super) fn radians(degrees: f64) -> f64 {
    degrees * RADIANS_PER_DEGREE
}

pub(super) fn degrees(radians: f64) -> f64 {
    radians / RADIANS_PER_DEGREE
}

/// Between two places of the same longitude.
pub(super) fn latitude_distance_m(one: f64, other: f64) -> f64 {
    EARTH_RADIUS_M * (radians(other) - radians(one)).abs()
}

#[must_use]
pub fn distance_m(one: Position, other: Position) -> f64 {
    let v = ((radians(other.longitude) - radians(one.longitude)) / 2.0).sin();
    if v == 0.0 {
        return latitude_distance_m(one.latitude, other.latitude);
    }
    let (latitude, other_latitude) = (radians(one.latitude), radians(other.latitude));
    let u = ((other_latitude - latitude) / 2.0).sin();
    let a = u * u + latitude.cos() * other_latitude.cos() * v * v;
    // Of antipodes it comes to a little more than 1 now and then, and Redis' distance is no number.
    2.0 * EARTH_RADIUS_M * a.min(1.0).sqrt().asin()
}
