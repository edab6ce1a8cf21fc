//! What all processes of the service share, put together before the first fork.

use std::io;

use crate::kv::shared::backups::Backups;
use crate::kv::shared::channel_counts::ChannelCounts;
use crate::kv::shared::hand_offs::HandOffs;
use crate::kv::shared::host::Host;
use crate::kv::shared::latency::LatencyMonitor;
use crate::kv::shared::message_numbers::MessageNumbers;
use crate::kv::shared::pattern_lists::PatternLists;
use crate::kv::shared::running_scripts::RunningScripts;
use crate::kv::shared::runtime::Runtime;
use crate::kv::shared::settings::Settings;
use crate::kv::shared::time::ServiceClock;
use crate::kv::shared::user_list::UserList;
use crate::kv::shared::versions::Versions;
use crate::server::Scoreboard;
use crate::storage::memtable::{Memory, Shape};

/// What all processes of the service share. Made before the first fork.
pub struct Shared {
    pub settings: Settings,
    pub versions: Versions,
    /// What is committed and not yet in the tables.
    pub memory: Memory,
    pub clock: ServiceClock,
    pub runtime: Runtime,
    pub user_list: UserList,
    pub hand_offs: HandOffs,
    pub backups: Backups,
    pub latency: LatencyMonitor,
    pub host: Host,
    /// Who listens to what on which worker, and what workers have sent one another.
    pub channels: ChannelCounts,
    pub patterns: PatternLists,
    pub message_numbers: MessageNumbers,
    /// Which scripts run now.
    pub running_scripts: RunningScripts,
    pub scoreboard: Scoreboard,
}

impl Shared {
    /// `counters`: how many each process has.
    pub fn new(settings: Settings, counters: usize) -> io::Result<Shared> {
        let versions = Versions::new()?;
        let runtime = Runtime::new(&settings)?;
        let workers = settings.workers.max(1);
        Ok(Shared {
            clock: ServiceClock::new(versions.clone())?,
            versions,
            memory: memory(&settings)?,
            latency: LatencyMonitor::new(runtime.clone())?,
            runtime,
            user_list: UserList::new()?,
            hand_offs: HandOffs::new()?,
            backups: Backups::new()?,
            host: Host::look(&settings),
            channels: ChannelCounts::new(workers)?,
            patterns: PatternLists::new(workers)?,
            message_numbers: MessageNumbers::new(workers)?,
            running_scripts: RunningScripts::new(workers)?,
            scoreboard: Scoreboard::new(workers, counters)?,
            settings,
        })
    }
}

/// What is committed and not in the tables yet, for all processes; with no journal there is none.
fn memory(settings: &Settings) -> io::Result<Memory> {
    let bytes = usize::try_from(settings.storage.journal_bytes_max).unwrap_or(usize::MAX);
    if bytes == 0 {
        return Ok(Memory::off());
    }
    // A reader's successor may come before its place is free again.
    let readers = 2 * settings.workers.max(1) * (settings.readers + 1);
    Memory::new(Shape::of(bytes, readers + OTHER_PINS))
}

/// For the writer and whoever else looks now and then.
const OTHER_PINS: usize = 8;
