//! A new data file that is filled from nothing, for imports: keys are sorted before they are written, so that the file grows at its end.
//! Nobody may have the file open, and what is interrupted is thrown away.

mod file;
mod sorter;

pub use file::{Filled, Filling, bring_expiries_forward};
