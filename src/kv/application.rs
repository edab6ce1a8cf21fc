//! The key-value service as an application of the core: its lanes, and what its processes share.

use std::io;
use std::sync::Arc;

use crate::kv::commands::permissions::vocabulary;
use crate::kv::commands::table;
use crate::kv::errors;
use crate::kv::front::service::KvService;
use crate::kv::jobs::job::{Done, Job};
use crate::kv::jobs::{HEAVY, LANES, READ, WRITE};
use crate::kv::lanes::accounts::Accounts;
use crate::kv::lanes::lane_executor::LaneExecutor;
use crate::kv::metrics::statistics;
use crate::kv::sessions::worker_state::WorkerState;
use crate::kv::shared::Shared;
use crate::kv::shared::hand_offs::HandOff;
use crate::kv::shared::settings::Settings;
use crate::server::{Application, ExecutorContext, LaneId, LaneSpec, Runs, StartError, WorkerContext};

/// What a pool thread takes at once; also what one snapshot serves.
const READ_BATCH_MAX: usize = 64;
/// What one commit carries at most.
const GROUP_JOBS_MAX: usize = 4096;
/// Long reads give way to everything that somebody waits for.
const HEAVY_NICENESS: i32 = 10;

pub struct KeyValue {
    pub shared: Arc<Shared>,
}

/// What all processes of the service share, with room for what is counted of each command. Made before the first fork.
pub fn share(settings: Settings) -> io::Result<Arc<Shared>> {
    Ok(Arc::new(Shared::new(settings, statistics::counters(table::rows().len()))?))
}

/// Where a file of users rules: reads it, before any process is started. The error names it.
pub fn load_users(shared: &Arc<Shared>) -> Result<(), String> {
    Accounts::load_file(shared)
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
        Ok(KvService::new(WorkerState::new(context, Arc::clone(&self.shared), vocabulary())))
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

    /// The writer reads the file of users.
    fn hangup(&self) -> bool {
        let has_file = self.shared.settings.acl_file.is_some();
        if has_file {
            let asked = self.shared.hand_offs.next(HandOff::UsersFileAsked);
            tracing::info!(asked, "SIGHUP: the file of users is to be read again");
        }
        has_file
    }
}
