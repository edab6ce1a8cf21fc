//! What the machine and the program are, as INFO says it.

use crate::kv::shared::settings::Settings;

/// What INFO says of the machine and the program: read once at the start, for a loop reads no files.
pub struct Host {
    pub operating_system: String,
    pub executable: String,
    pub data_directory: String,
}

impl Host {
    pub(super) fn look(settings: &Settings) -> Host {
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let directory = &settings.storage.directory;
        let absolute = std::path::absolute(directory).unwrap_or_else(|_| directory.clone());
        let executable = std::env::current_exe().unwrap_or_default();
        Host {
            operating_system: format!("Linux {} {}", release.trim_end(), std::env::consts::ARCH),
            executable: executable.display().to_string(),
            data_directory: absolute.display().to_string(),
        }
    }
}
