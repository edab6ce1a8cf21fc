//! Settings: one table, the environment read once, each layer given its own. Only `main` and this module see every
//! layer, and only this module reads the environment.
//!
//! ```text
//! table    what settings there are          units    one text -> the form that its layer reads
//! values   environment, files -> values     layers   values -> one struct for each layer
//! report   table and values for people and programs      person   home and pager of who sits at a terminal
//! ```

mod layers;
mod person;
mod report;
mod table;
mod units;
mod values;

pub use layers::{
    AdminSettings, AuthClients, ClientSettings, CpuAffinity, Durability, KvSettings, Secret, ServerSettings, Settings,
    StorageSettings, TlsVersionMin,
};
pub use person::Person;
pub use report::{json, markdown, reference, text};
pub use table::{DefaultValue, Layer, SETTINGS, Setting};
pub use units::Unit;
pub use values::{Problem, SettingsError, Source, Value, Values};
