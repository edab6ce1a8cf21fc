//! The arguments of GEOSEARCH, GEORADIUS and their relatives, read in the order of Redis, which looks at the key meanwhile: the center may be
//! one of its members.

use crate::kv::commands::args;
use crate::kv::commands::geo::{position, unit};
use crate::kv::errors::{self, CommandError};
use crate::kv::formats::geohash::{Area, Position, Shape, Unit, position_of};
use crate::kv::formats::number::parse_double;
use crate::storage::SortedSet;

/// How the arguments of a command stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// GEORADIUS
    Around,
    /// GEORADIUSBYMEMBER
    AroundMember,
    /// GEOSEARCH
    Search,
    /// GEOSEARCHSTORE: the destination comes first.
    SearchStore,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sorting {
    Ascending,
    Descending,
}

/// Where what is found goes, and by what it is scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Store<'a> {
    pub key: &'a [u8],
    pub is_by_distance: bool,
}

#[derive(Debug)]
pub struct Search<'a> {
    /// `None`: there is no sorted set that could have been asked for its center.
    pub area: Option<Area>,
    pub sorting: Option<Sorting>,
    /// 0: all.
    pub count: u64,
    /// The first that are found, not the nearest.
    pub takes_any: bool,
    pub with_distance: bool,
    pub with_hash: bool,
    pub with_position: bool,
    pub store: Option<Store<'a>>,
}

impl Form {
    #[must_use]
    pub fn source<'a>(self, args: &[&'a [u8]]) -> &'a [u8] {
        args[if self == Form::SearchStore { 2 } else { 1 }]
    }

    fn is_search(self) -> bool {
        matches!(self, Form::Search | Form::SearchStore)
    }
}

/// What the options have said so far.
struct Reading<'a, 's> {
    form: Form,
    set: Option<&'s SortedSet<'s>>,
    may_store: bool,
    search: Search<'a>,
    center: Center,
    shape: Option<(Shape, Unit)>,
}

#[derive(Clone, Copy, PartialEq)]
enum Center {
    Unknown,
    /// Of a member, where the set is there.
    Member(Option<Position>),
    At(Position),
}

impl<'a> Search<'a> {
    /// `set` is what is at the source; `may_store`: there may be a STORE.
    pub fn parse(
        form: Form,
        args: &[&'a [u8]],
        may_store: bool,
        set: Option<&SortedSet<'_>>,
    ) -> Result<Search<'a>, CommandError> {
        let search = Search {
            area: None,
            sorting: None,
            count: 0,
            takes_any: false,
            with_distance: false,
            with_hash: false,
            with_position: false,
            store: None,
        };
        let mut reading = Reading { form, set, may_store, search, center: Center::Unknown, shape: None };
        let mut rest = reading.begin(args)?;
        while let [option, after @ ..] = rest {
            rest = reading.option(option, after)?;
        }
        reading.end(args[0])
    }
}

impl<'a> Reading<'a, '_> {
    /// What comes before the options. Returns these.
    fn begin<'b>(&mut self, args: &'b [&'a [u8]]) -> Result<&'b [&'a [u8]], CommandError> {
        match self.form {
            Form::Around => {
                self.center = Center::At(position(args[2], args[3])?);
                self.circle(args[4], args[5])?;
                Ok(&args[6..])
            }
            Form::AroundMember => {
                self.center_at(args[2])?;
                // Without the set nobody looks at the radius.
                if self.set.is_some() {
                    self.circle(args[3], args[4])?;
                }
                Ok(&args[5..])
            }
            Form::Search => Ok(&args[2..]),
            Form::SearchStore => {
                self.search.store = Some(Store { key: args[1], is_by_distance: false });
                Ok(&args[3..])
            }
        }
    }

    /// An option, and what is left behind it.
    fn option<'b>(&mut self, option: &[u8], rest: &'b [&'a [u8]]) -> Result<&'b [&'a [u8]], CommandError> {
        let is = |word| args::is_word(option, word);
        let (is_search, may_store) = (self.form.is_search(), self.may_store && !self.form.is_search());
        match rest {
            _ if is("withdist") => self.search.with_distance = true,
            _ if is("withhash") => self.search.with_hash = true,
            _ if is("withcoord") => self.search.with_position = true,
            _ if is("any") => self.search.takes_any = true,
            _ if is("asc") => self.search.sorting = Some(Sorting::Ascending),
            _ if is("desc") => self.search.sorting = Some(Sorting::Descending),
            [count, rest @ ..] if is("count") => {
                let count = args::integer(count)?;
                self.search.count =
                    u64::try_from(count).ok().filter(|count| *count > 0).ok_or(errors::PLACES_NOT_POSITIVE)?;
                return Ok(rest);
            }
            [key, rest @ ..] if may_store && (is("store") || is("storedist")) => {
                self.search.store = Some(Store { key, is_by_distance: is("storedist") });
                return Ok(rest);
            }
            _ if is("storedist") && self.form == Form::SearchStore => {
                if let Some(store) = &mut self.search.store {
                    store.is_by_distance = true;
                }
            }
            [member, rest @ ..] if is_search && is("frommember") && !matches!(self.center, Center::At(_)) => {
                self.center_at(member)?;
                return Ok(rest);
            }
            [longitude, latitude, rest @ ..]
                if is_search && is("fromlonlat") && !matches!(self.center, Center::Member(_)) =>
            {
                self.center = Center::At(position(longitude, latitude)?);
                return Ok(rest);
            }
            [radius, unit, rest @ ..]
                if is_search && is("byradius") && !matches!(self.shape, Some((Shape::Box { .. }, _))) =>
            {
                self.circle(radius, unit)?;
                return Ok(rest);
            }
            [width, height, unit, rest @ ..]
                if is_search && is("bybox") && !matches!(self.shape, Some((Shape::Circle { .. }, _))) =>
            {
                self.rectangle(width, height, unit)?;
                return Ok(rest);
            }
            _ => return Err(errors::SYNTAX.into()),
        }
        Ok(rest)
    }

    fn center_at(&mut self, member: &[u8]) -> Result<(), CommandError> {
        let position = match self.set {
            None => None,
            Some(set) => Some(position_of(set.score(member)?.ok_or(errors::NO_PLACE)?)),
        };
        self.center = Center::Member(position);
        Ok(())
    }

    fn circle(&mut self, radius: &[u8], unit_name: &[u8]) -> Result<(), CommandError> {
        let radius = parse_double(radius).ok_or(errors::RADIUS_NOT_NUMERIC)?;
        if radius < 0.0 {
            return Err(errors::RADIUS_NEGATIVE.into());
        }
        self.shape = Some((Shape::Circle { radius }, unit(unit_name)?));
        Ok(())
    }

    fn rectangle(&mut self, width: &[u8], height: &[u8], unit_name: &[u8]) -> Result<(), CommandError> {
        let width = parse_double(width).ok_or(errors::WIDTH_NOT_NUMERIC)?;
        let height = parse_double(height).ok_or(errors::HEIGHT_NOT_NUMERIC)?;
        if width < 0.0 || height < 0.0 {
            return Err(errors::BOX_NEGATIVE.into());
        }
        self.shape = Some((Shape::Box { width, height }, unit(unit_name)?));
        Ok(())
    }

    /// What the options come to. `command` is the name as it was sent.
    fn end(self, command: &[u8]) -> Result<Search<'a>, CommandError> {
        let Reading { form, center, shape, search, .. } = self;
        if search.store.is_some() && (search.with_distance || search.with_hash || search.with_position) {
            let is_search = form.is_search();
            return Err(if is_search { errors::GEOSEARCH_STORES } else { errors::GEORADIUS_STORES }.into());
        }
        if form.is_search() && center == Center::Unknown {
            return Err(errors::no_center(command));
        }
        if form.is_search() && shape.is_none() {
            return Err(errors::no_shape(command));
        }
        if search.takes_any && search.count == 0 {
            return Err(errors::ANY_WITHOUT_COUNT.into());
        }
        let center = match center {
            Center::At(position) | Center::Member(Some(position)) => Some(position),
            Center::Member(None) | Center::Unknown => None,
        };
        let area = center.zip(shape).map(|(center, (shape, unit))| Area { center, shape, unit });
        Ok(Search { area, ..search })
    }
}
