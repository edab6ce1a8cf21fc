//! Places that are known, and areas beside what a look at every place finds. What Redis says of random ones: tests/fast/places.rs.

use proptest::prelude::*;

use super::*;

const PALERMO: Position = Position { longitude: 13.361_389, latitude: 38.115_556 };
const CATANIA: Position = Position { longitude: 15.087_269, latitude: 37.502_669 };

fn at(longitude: f64, latitude: f64) -> Position {
    Position { longitude, latitude }
}

#[test]
fn known_places_have_known_scores_and_texts() {
    assert_eq!(score_of(PALERMO), 3_479_099_956_230_698.0);
    assert_eq!(score_of(CATANIA), 3_479_447_370_796_909.0);
    let palermo = position_of(score_of(PALERMO));
    assert_eq!(coordinate_text(palermo.longitude), "13.36138933897018433");
    assert_eq!(coordinate_text(palermo.latitude), "38.11555639549629859");
    assert_eq!(&geohash_text(palermo), b"sqc8b49rny0");
    assert_eq!(&geohash_text(position_of(score_of(CATANIA))), b"sqdtr74hyu0");
    assert_eq!(distance_text(distance_m(palermo, position_of(score_of(CATANIA)))), "166274.1516");
    assert_eq!(
        [0.0, 0.000_04, 0.000_05, 0.000_16, 12.3456].map(distance_text),
        ["0.0000", "0.0000", "0.0000", "0.0002", "12.3456"]
    );
    assert_eq!([0.0, -0.0, -1e-20, -0.5, 180.0].map(coordinate_text), ["0", "0", "0", "-0.5", "180"]);
}

#[test]
fn every_score_names_a_place() {
    for score in [0.0, -0.0, -1.0, 1e18, 1e19, 1e300, -1e300, f64::INFINITY, f64::NEG_INFINITY, 0.5, 4.5e15, f64::NAN] {
        let Position { longitude, latitude } = position_of(score);
        assert!((-LONGITUDE_MAX..=LONGITUDE_MAX).contains(&longitude), "{score}");
        assert!((-LATITUDE_MAX..=LATITUDE_MAX).contains(&latitude), "{score}");
    }
}

#[test]
fn units_have_names_in_any_case() {
    let meters = |name: &str| Unit::named(name.as_bytes()).map(|unit| unit.meters);
    assert_eq!([meters("m"), meters("KM"), meters("Ft"), meters("mi")], [1.0, 1000.0, 0.3048, 1609.34].map(Some));
    assert_eq!([meters(""), meters("mm"), meters("yd")], [None; 3]);
}

#[test]
fn areas_of_any_size_have_at_most_nine_ranges() {
    let sizes = [0.0, 5e-324, 1e-9, 1.0, 1e5, 1e7, 3e7, 1e300, f64::MAX, f64::INFINITY];
    for center in [at(0.0, 0.0), at(180.0, LATITUDE_MAX), at(-180.0, -LATITUDE_MAX), at(10.0, 67.0), at(10.0, -81.0)] {
        for unit in [Unit::METER, Unit { meters: 1609.34 }] {
            for size in sizes {
                for shape in [Shape::Circle { radius: size }, Shape::Box { width: size, height: 1.0 }] {
                    let area = Area { center, shape, unit };
                    let scores = area.scores();
                    assert!((1..=9).contains(&scores.len()) && scores.iter().all(|range| range.start < range.end));
                    assert!(area.distance_within(center) == Some(0.0));
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn a_place_comes_back_to_its_score(longitude in -180.0..180.0f64, latitude in -85.05..85.05f64) {
        let score = score_of(at(longitude, latitude));
        let position = position_of(score);
        prop_assert_eq!(score_of(position), score);
        prop_assert!((position.longitude - longitude).abs() < 1e-5 && (position.latitude - latitude).abs() < 1e-5);
    }

    #[test]
    fn what_lies_near_is_in_the_ranges(
        longitude in -170.0..170.0f64,
        latitude in -60.0..60.0f64,
        size in 1.0..500_000.0f64,
        is_box: bool,
        places in proptest::collection::vec((-1.0..1.0f64, -1.0..1.0f64), 1..50),
    ) {
        let center = at(longitude, latitude);
        let shape = if is_box { Shape::Box { width: size, height: size / 2.0 } } else { Shape::Circle { radius: size } };
        let area = Area { center, shape, unit: Unit::METER };
        let scores = area.scores();
        let degrees = size / 100_000.0;
        for (east, north) in places {
            let place = at(longitude + east * degrees, latitude + north * degrees);
            let score = score_of(place);
            let found = scores.iter().filter(|range| range.contains(&score)).count();
            prop_assert!(found <= 1, "it would be found twice");
            if area.distance_within(position_of(score)).is_some() {
                prop_assert!(found == 1, "{place:?}");
            }
        }
    }
}
