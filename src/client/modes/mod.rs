//! What `emptyserver cli` does instead of single commands: mass insertion, walks over all keys, and watching a service.

mod latency;
mod live;
mod pipe;
mod scan;
mod stat;
mod survey;
mod walk;
mod watch;

pub(crate) use latency::{Sampling, latency, latency_history};
pub(crate) use pipe::pipe;
pub(crate) use scan::scan;
pub(crate) use stat::stat;
pub(crate) use survey::{SurveyKind, survey};
pub(crate) use walk::Selection;
pub(crate) use watch::watch;
