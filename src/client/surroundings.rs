//! What the environment says to the client: its caller has read it.

use std::path::PathBuf;

use super::target::Target;

/// Where to connect to, and how the person at the terminal likes it.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    pub url: Option<String>,
    pub password: Option<String>,
    /// The service that this environment configures, with its password: where to go if nothing else is said.
    pub local: Target,
    /// Where the prompt keeps its history; `None`: nowhere.
    pub history: Option<PathBuf>,
    /// The program that shows long replies.
    pub pager: Option<String>,
    pub is_colourless: bool,
}
