//! An area around a place: what lies in it, and the cells to look through for that.

use std::ops::Range;

use super::cell::{Cell, Position, STEPS_MAX};
use super::distance::{EARTH_RADIUS_M, Unit, degrees, distance_m, latitude_distance_m, radians};

/// Half of the way around the earth, as Web Mercator measures it.
const MERCATOR_MAX: f64 = 20_037_726.37;

/// In the unit of the area.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    Circle { radius: f64 },
    Box { width: f64, height: f64 },
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Area {
    pub center: Position,
    pub shape: Shape,
    pub unit: Unit,
}

/// The directions of a cell's neighbours, in the order in which they are looked through: cells to the east and to the north.
const DIRECTIONS: [(i8, i8); 8] = [(0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)];

impl Area {
    /// How far from its center a place lies, in meters; `None`: outside.
    #[must_use]
    pub fn distance_within(&self, position: Position) -> Option<f64> {
        let (center, meters) = (self.center, self.unit.meters);
        match self.shape {
            Shape::Circle { radius } => {
                let distance = distance_m(center, position);
                (distance <= radius * meters).then_some(distance)
            }
            Shape::Box { width, height } => {
                if latitude_distance_m(position.latitude, center.latitude) > height * meters / 2.0 {
                    return None;
                }
                let beside = Position { longitude: center.longitude, ..position };
                (distance_m(position, beside) <= width * meters / 2.0).then(|| distance_m(center, position))
            }
        }
    }

    /// The scores of the places to look at, in the order of Redis: the cell of the center and those of its neighbours that the area may reach
    /// into.
    #[must_use]
    pub fn scores(&self) -> Vec<Range<f64>> {
        let reach = self.reach();
        let mut cell = Cell::at(self.center, self.steps());
        if cell.steps > 1 && reach.exceeds_neighbours_of(cell) {
            cell = Cell::at(self.center, cell.steps - 1);
        }
        let bounds = cell.bounds();
        let is_needed = |(east, north): (i8, i8)| {
            cell.steps < 2
                || !(north < 0 && bounds.south < reach.south
                    || north > 0 && bounds.north > reach.north
                    || east < 0 && bounds.west < reach.west
                    || east > 0 && bounds.east > reach.east)
        };
        let mut scores = vec![cell.scores()];
        let mut last = None;
        for (east, north) in DIRECTIONS.into_iter().filter(|direction| is_needed(*direction)) {
            let neighbour = cell.neighbour(east, north);
            // Few cells around the earth are their own neighbours.
            if last.replace(neighbour) != Some(neighbour) {
                scores.push(neighbour.scores());
            }
        }
        scores
    }

    /// Halvings after which the cell of the center and its neighbours cover it, most of the time.
    fn steps(&self) -> u32 {
        let mut distance_m = match self.shape {
            Shape::Circle { radius } => radius,
            Shape::Box { width, height } => ((width / 2.0) * (width / 2.0) + (height / 2.0) * (height / 2.0)).sqrt(),
        } * self.unit.meters;
        if distance_m == 0.0 {
            return STEPS_MAX;
        }
        let mut steps = 1i32;
        while distance_m < MERCATOR_MAX {
            distance_m *= 2.0;
            steps += 1;
        }
        steps -= 2;
        // Cells get narrow towards the poles.
        let latitude = self.center.latitude.abs();
        steps -= i32::from(latitude > 66.0) + i32::from(latitude > 80.0);
        steps.clamp(1, STEPS_MAX.cast_signed()).unsigned_abs()
    }

    fn reach(&self) -> Reach {
        let Position { longitude, latitude } = self.center;
        let (half_width, half_height) = match self.shape {
            Shape::Circle { radius } => (radius, radius),
            Shape::Box { width, height } => (width / 2.0, height / 2.0),
        };
        let (half_width, half_height) = (self.unit.meters * half_width, self.unit.meters * half_height);
        let north_south = degrees(half_height / EARTH_RADIUS_M);
        // A degree of longitude is the shortest at the edge that is nearer to a pole.
        let edge = if latitude < 0.0 { latitude - north_south } else { latitude + north_south };
        let east_west = degrees(half_width / EARTH_RADIUS_M / radians(edge).cos());
        Reach {
            west: longitude - east_west,
            east: longitude + east_west,
            south: latitude - north_south,
            north: latitude + north_south,
        }
    }
}

/// How far an area reaches, in degrees, also beyond the poles and the antimeridian.
struct Reach {
    west: f64,
    east: f64,
    south: f64,
    north: f64,
}

impl Reach {
    fn exceeds_neighbours_of(&self, cell: Cell) -> bool {
        cell.neighbour(0, 1).bounds().north < self.north
            || cell.neighbour(0, -1).bounds().south > self.south
            || cell.neighbour(1, 0).bounds().east < self.east
            || cell.neighbour(-1, 0).bounds().west > self.west
    }
}
