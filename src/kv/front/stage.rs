//! One worker's service without sockets, stepped by hand: inline requests go in, replies come out as words, and each test decides
//! when a lane runs.

use std::sync::Arc;

use tempfile::TempDir;

use crate::kv::application::{KeyValue, share};
use crate::kv::fixture;
use crate::kv::shared::Shared;
use crate::kv::shared::settings::Settings;
use crate::server::pump::Pump;

pub(crate) struct Stage {
    pub(crate) pump: Pump<KeyValue>,
    pub(crate) shared: Arc<Shared>,
    _data: TempDir,
}

impl Stage {
    /// With the settings of `fixture`, changed by `change`.
    pub(crate) fn with(change: impl FnOnce(&mut Settings)) -> Stage {
        let data = tempfile::tempdir().unwrap();
        let mut settings = fixture::settings(data.path());
        change(&mut settings);
        let shared = share(settings).unwrap();
        let pump = Pump::new(&KeyValue { shared: Arc::clone(&shared) }, shared.scoreboard).unwrap();
        Stage { pump, shared, _data: data }
    }

    /// Sends inline requests, runs no lane, and gives what came back so far.
    pub(crate) fn send(&mut self, client: usize, requests: &str) -> String {
        self.pump.receive(client, format!("{}\r\n", requests.replace(" / ", "\r\n")).as_bytes());
        self.replies(client)
    }

    pub(crate) fn replies(&mut self, client: usize) -> String {
        String::from_utf8(self.pump.sent_to(client)).unwrap().replace("\r\n", " ").trim_end().to_owned()
    }

    /// Sends, runs all lanes, and gives what came back.
    pub(crate) fn call(&mut self, client: usize, requests: &str) -> String {
        let begun = self.send(client, requests);
        self.pump.settle();
        format!("{begun} {}", self.replies(client)).trim().to_owned()
    }
}
