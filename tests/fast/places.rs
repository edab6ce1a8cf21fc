//! Places and areas (src/kv/formats/geohash), compared with a redis-server where one is installed: scores, coordinates, geohashes, distances,
//! and what lies within random areas, in its order and with its distance.

use emptyserver::kv::formats::geohash::{
    Area, LATITUDE_MAX, LONGITUDE_MAX, Position, Shape, Unit, coordinate_text, distance_m, distance_text, geohash_text,
    position_of, score_of,
};

use crate::support::Redis;

const PLACES: usize = 600;
const AREAS: usize = 1500;

/// A sequence that is the same in every run.
struct Random(u64);

impl Random {
    /// From 0 to 1.
    fn fraction(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[(self.fraction() * choices.len() as f64) as usize]
    }

    /// Anywhere, or near a place where something ends.
    fn position(&mut self) -> Position {
        let near = (self.fraction() - 0.5) * self.one_of(&[1e-6, 0.01, 1.0, 30.0]);
        let (longitude, latitude) = match self.one_of(&[0, 1, 2, 3, 4]) {
            0 => (LONGITUDE_MAX, near),
            1 => (-LONGITUDE_MAX, LATITUDE_MAX),
            2 => (near, -LATITUDE_MAX),
            3 => (near, near),
            _ => ((self.fraction() - 0.5) * 360.0, (self.fraction() - 0.5) * 170.0),
        };
        Position {
            longitude: (longitude + near).clamp(-LONGITUDE_MAX, LONGITUDE_MAX),
            latitude: (latitude + near / 2.0).clamp(-LATITUDE_MAX, LATITUDE_MAX),
        }
    }
}

#[test]
fn places_and_areas_are_those_of_redis() {
    let Some(redis) = Redis::start(&[]) else { return };
    let mut redis = redis.connect();
    let mut random = Random(1);
    let mut places: Vec<(f64, String)> = Vec::new();
    for number in 0..PLACES {
        let (position, member) = (random.position(), format!("m{number}"));
        let Position { longitude, latitude } = position;
        redis.call(&["GEOADD", "g", &longitude.to_string(), &latitude.to_string(), &member]);
        let score = score_of(position);
        assert_eq!(redis.call(&["ZSCORE", "g", &member]).text(), (score as u64).to_string(), "{position:?}");
        let decoded = position_of(score);
        let shown = redis.call(&["GEOPOS", "g", &member]);
        let [shown] = shown.items() else { panic!("{shown}") };
        let texts = [coordinate_text(decoded.longitude), coordinate_text(decoded.latitude)];
        assert_eq!(shown.items().iter().map(|text| text.text()).collect::<Vec<_>>(), texts, "{position:?}");
        let hash = String::from_utf8(geohash_text(decoded).to_vec()).unwrap();
        assert_eq!(redis.call(&["GEOHASH", "g", &member]).items()[0].text(), hash, "{position:?}");
        if let Some((other, name)) = places.last() {
            let distance = distance_text(distance_m(position_of(*other), decoded) / 1000.0);
            assert_eq!(redis.call(&["GEODIST", "g", name, &member, "km"]).text(), distance);
        }
        places.push((score, member));
    }
    places.sort_by(|a, b| a.partial_cmp(b).unwrap());
    for _ in 0..AREAS {
        let unit = random.one_of(&["m", "km", "ft", "mi"]);
        let size = random.fraction() * random.one_of(&[0.0, 1.0, 1e3, 1e5, 1e6, 1e7, 3e7])
            / Unit::named(unit.as_bytes()).unwrap().meters;
        let other = size * random.one_of(&[0.01, 1.0, 3.0]);
        let center = random.position();
        let (shape, words) = match random.one_of(&[false, true]) {
            false => (Shape::Circle { radius: size }, vec!["BYRADIUS".to_owned(), size.to_string()]),
            true => (
                Shape::Box { width: size, height: other },
                vec!["BYBOX".to_owned(), size.to_string(), other.to_string()],
            ),
        };
        let mut call = ["GEOSEARCH", "g", "FROMLONLAT"].map(str::to_owned).to_vec();
        call.extend([center.longitude.to_string(), center.latitude.to_string()]);
        call.extend(words);
        call.extend([unit, "WITHDIST"].map(str::to_owned));
        let area = Area { center, shape, unit: Unit::named(unit.as_bytes()).unwrap() };
        let mut expected = Vec::new();
        for range in area.scores() {
            for (score, member) in places.iter().filter(|(score, _)| range.contains(score)) {
                if let Some(distance) = area.distance_within(position_of(*score)) {
                    expected.push(format!("[\"{member}\" \"{}\"]", distance_text(distance / area.unit.meters)));
                }
            }
        }
        assert_eq!(redis.call(&call).to_string(), format!("[{}]", expected.join(" ")), "{call:?}");
    }
}
