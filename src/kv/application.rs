//! The key-value service as an application of the core: its lanes, and what its processes share.

use std::io;
use std::sync::Arc;

use crate::kv::errors;
use crate::kv::front::service::KvService;
use crate::kv::front::worker_state::WorkerState;
use crate::kv::lanes::job::{Done, Job};
use crate::kv::lanes::lane_executor::LaneExecutor;
use crate::kv::metrics::latency::LatencyMonitor;
use crate::kv::metrics::statistics;
use crate::kv::shared::backups::Backups;
use crate::kv::shared::runtime::Runtime;
use crate::kv::shared::settings::Settings;
use crate::kv::shared::time::ServiceClock;
use crate::kv::shared::versions::Versions;
use crate::server::{Application, ExecutorContext, LaneId, LaneSpec, Runs, Scoreboard, StartError, WorkerContext};

/// Point reads.
pub const READ: LaneId = LaneId(0);
/// Reads that take long: a point read never waits behind them.
pub const HEAVY: LaneId = LaneId(1);
/// All changes, in the one process that writes.
pub const WRITE: LaneId = LaneId(2);

/// The names of the lanes, in the order of their numbers.
pub const LANES: [&str; 3] = ["read", "heavy", "write"];

/// What a pool thread takes at once; also what one snapshot serves.
const READ_BATCH_MAX: usize = 64;
/// What one commit carries at most.
const GROUP_JOBS_MAX: usize = 4096;
/// Long reads give way to everything that somebody waits for.
const HEAVY_NICENESS: i32 = 10;

/// What all processes of the service share. Made before the first fork.
pub struct Shared {
    pub settings: Settings,
    pub versions: Versions,
    pub clock: ServiceClock,
    pub runtime: Runtime,
    pub backups: Backups,
    pub latency: LatencyMonitor,
    pub host: Host,
    pub scoreboard: Scoreboard,
}

impl Shared {
    pub fn new(settings: Settings) -> io::Result<Shared> {
        let versions = Versions::new()?;
        let runtime = Runtime::new(&settings)?;
        Ok(Shared {
            clock: ServiceClock::new(versions.clone())?,
            versions,
            latency: LatencyMonitor::new(runtime.clone())?,
            runtime,
            backups: Backups::new()?,
            host: Host::look(&settings),
            scoreboard: Scoreboard::new(settings.workers.max(1), statistics::counters())?,
            settings,
        })
    }
}

/// What INFO says of the machine and the program: read once at the start, for a loop reads no files.
pub struct Host {
    pub operating_system: String,
    pub executable: String,
    pub data_directory: String,
}

impl Host {
    fn look(settings: &Settings) -> Host {
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

pub struct KeyValue {
    pub shared: Arc<Shared>,
}

impl Application for KeyValue {
    type Service = KvService;
    type Executor = LaneExecutor;
    type Job = Job;
    type Done = Done;

    fn lanes(&self) -> Vec<LaneSpec> {
        let settings = &self.shared.settings;
        let lane = |LaneId(number), runs, batch_max, niceness| LaneSpec {
            name: LANES[number],
            runs,
            jobs_max: settings.lane_jobs_max,
            batch_max,
            niceness,
        };
        vec![
            lane(READ, Runs::Threads(settings.readers), READ_BATCH_MAX, 0),
            lane(HEAVY, Runs::Threads(1), 1, HEAVY_NICENESS),
            lane(WRITE, Runs::Process, GROUP_JOBS_MAX, 0),
        ]
    }

    fn service(&self, context: &WorkerContext) -> Result<KvService, StartError> {
        Ok(KvService::new(WorkerState::new(context, Arc::clone(&self.shared))))
    }

    fn executor(&self, lane: LaneId, context: &ExecutorContext) -> Result<LaneExecutor, StartError> {
        let built = match lane {
            WRITE => LaneExecutor::writer(&self.shared, context),
            _ => LaneExecutor::reader(Arc::clone(&self.shared), context, lane == READ),
        };
        built.map_err(|error| StartError::new(error.to_string()))
    }

    fn turned_away(&self) -> &'static [u8] {
        errors::TOO_MANY_CLIENTS_LINE
    }
}
