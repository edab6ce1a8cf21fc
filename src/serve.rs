//! The seam between the settings and the service.

use std::error::Error;
use std::process::ExitCode;

use emptyserver::config::Settings;
use emptyserver::server::sys::container::Container;

/// Runs the service until it is told to end.
pub(crate) fn serve(settings: &Settings, container: &Container) -> Result<ExitCode, Box<dyn Error>> {
    Err(format!("the service is not built yet ({} on {} cores)", settings.server.listen, container.cores).into())
}

/// Opens the data, verifies it and prints what it found.
pub(crate) fn check(settings: &Settings) -> Result<ExitCode, Box<dyn Error>> {
    Err(format!("check is not built yet ({})", settings.storage.data.display()).into())
}
