//! Notices to all who work here. The dashboard shows those whose last day has not passed.

use crate::clock;
use crate::fields::{Field, Input, Kind};
use crate::store::{Record, Store};
use crate::web::Problem;

pub(crate) static NOTICE: Kind = Kind { title: &["title"], ..Kind::new("notice", "notices", FIELDS) };

const FIELDS: &[Field] = &[
    Field::new("title", Input::Line).required().listed().searched(),
    Field::new("text", Input::Text).required(),
    Field::new("until", Input::Date).required().listed(),
];

/// How many of the newest are looked at.
const LOOKED_AT: usize = 20;

pub(crate) async fn present(store: &Store) -> Result<Vec<Record>, Problem> {
    let (ids, _) = store.newest("notice:all", 0, LOOKED_AT).await?;
    let today = clock::today();
    let mut notices = store.records(&NOTICE, &ids).await?;
    notices.retain(|notice| notice.value("until") >= today.as_str());
    Ok(notices)
}
