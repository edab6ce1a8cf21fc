//! The one way to the service. Reads are commands in pipelines; whatever changes a record is a function of rules/*.lua.
//!
//! A connection that was lost is made again and the question asked again. That is safe: reads change nothing, and each function
//! knows by its `entry` that it was called before.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use redis::aio::{AsyncPushSender, ConnectionManager, ConnectionManagerConfig};
use redis::{Client, Cmd, FromRedisValue, IntoConnectionInfo, Pipeline, ProtocolVersion, RedisError, cmd, pipe};
use serde_json::Value;

use crate::fields::{Kind, is_number};
use crate::kinds;
use crate::texts::Language;
use crate::web::Problem;

/// One file to the service, whose first line says so.
const RULES: &str = concat!(
    include_str!("rules/records.lua"),
    include_str!("rules/beds.lua"),
    include_str!("rules/bookings.lua"),
    include_str!("rules/drugs.lua"),
    include_str!("rules/accounts.lua"),
);

/// How long is waited before each further question; together longer than the service takes to start again.
const PAUSES_MS: [u64; 9] = [50, 100, 200, 400, 800, 1600, 2000, 2000, 2000];

/// Hits of one word that are looked at.
const HITS_MAX: usize = 2000;

#[derive(Clone)]
pub(crate) struct Store {
    connection: ConnectionManager,
}

/// What a function answered.
pub(crate) enum Outcome {
    /// The number of the record.
    Done(String),
    /// The text that says why.
    Refused(String),
}

#[derive(Clone, Default)]
pub(crate) struct Record {
    pub(crate) id: String,
    pub(crate) fields: HashMap<String, String>,
}

impl Record {
    /// Empty where there is none.
    pub(crate) fn value(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }
}

impl Store {
    /// `pushes`: what a subscription brings.
    pub(crate) async fn connect(
        address: &str,
        password: Option<String>,
        pushes: impl AsyncPushSender,
    ) -> Result<Store, Problem> {
        let info = address.into_connection_info()?;
        // Subscriptions and replies share one connection with the third version of the protocol.
        let mut login = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        if let Some(password) = password {
            login = login.set_password(password);
        }
        let client = Client::open(info.set_redis_settings(login))?;
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(Duration::from_secs(2)))
            .set_response_timeout(Some(Duration::from_secs(10)))
            .set_number_of_retries(1)
            .set_push_sender(pushes)
            .set_automatic_resubscription();
        let connection = ConnectionManager::new_with_config(client, config).await?;
        let store = Store { connection };
        store.ask::<String>(cmd("FUNCTION").arg("LOAD").arg("REPLACE").arg(RULES)).await?;
        Ok(store)
    }

    /// Keys that end by themselves: their names come as pushes from now on.
    pub(crate) async fn listen_to_expiries(&self) -> Result<(), Problem> {
        // A setting of CONFIG SET ends with the service: it is set again each time.
        self.ask::<String>(cmd("CONFIG").arg("SET").arg("notify-keyspace-events").arg("Ex")).await?;
        self.connection.clone().subscribe("__keyevent@0__:expired").await?;
        Ok(())
    }

    pub(crate) async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Problem> {
        let (answer,) = self.ask_all(pipe().add_command(command.clone())).await?;
        Ok(answer)
    }

    pub(crate) async fn ask_all<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T, Problem> {
        let mut connection = self.connection.clone();
        for pause_ms in PAUSES_MS {
            match commands.query_async(&mut connection).await {
                Err(error) if is_passing(&error) => tokio::time::sleep(Duration::from_millis(pause_ms)).await,
                answer => return Ok(answer?),
            }
        }
        Ok(commands.query_async(&mut connection).await?)
    }

    /// Calls `hospital_FUNCTION`.
    pub(crate) async fn call(&self, function: &str, call: &Value) -> Result<Outcome, Problem> {
        let command = function_call(function, call);
        let (word, text): (String, String) = self.ask(&command).await?;
        Ok(if word == "ok" { Outcome::Done(text) } else { Outcome::Refused(text) })
    }

    pub(crate) async fn record(&self, kind: &Kind, id: &str) -> Result<Option<Record>, Problem> {
        Ok(self.records(kind, &[id.to_owned()]).await?.pop())
    }

    /// Those that are there, in this order.
    pub(crate) async fn records(&self, kind: &Kind, ids: &[String]) -> Result<Vec<Record>, Problem> {
        let ids: Vec<&String> = ids.iter().filter(|id| is_number(id)).collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut commands = pipe();
        for id in &ids {
            commands.hgetall(format!("{}:{id}", kind.name));
        }
        let found: Vec<HashMap<String, String>> = self.ask_all(&commands).await?;
        let records = ids.into_iter().zip(found).filter(|(_, fields)| !fields.is_empty());
        Ok(records.map(|(id, fields)| Record { id: id.clone(), fields }).collect())
    }

    /// `count` members from `start` on, those with the highest scores first, and how many there are.
    pub(crate) async fn newest(&self, key: &str, start: usize, count: usize) -> Result<(Vec<String>, usize), Problem> {
        let last = (start + count) as isize - 1;
        self.ask_all(pipe().zrevrange(key, start as isize, last).zcard(key)).await
    }

    /// `count` members from `start` on, in their order.
    pub(crate) async fn range(&self, key: &str, start: usize, count: usize) -> Result<Vec<String>, Problem> {
        self.ask(&Cmd::zrange(key, start as isize, (start + count) as isize - 1)).await
    }

    pub(crate) async fn is_member(&self, key: &str, member: &str) -> Result<bool, Problem> {
        let score: Option<f64> = self.ask(&Cmd::zscore(key, member)).await?;
        Ok(score.is_some())
    }

    pub(crate) async fn hash(&self, key: &str) -> Result<HashMap<String, String>, Problem> {
        self.ask(&Cmd::hgetall(key)).await
    }

    /// The records that have each of these words, or begin one with it: the newest first.
    pub(crate) async fn search(&self, kind: &Kind, text: &str) -> Result<Vec<String>, Problem> {
        let asked = words(text);
        let mut commands = pipe();
        for word in &asked {
            commands.cmd("ZRANGE").arg(format!("{}:words", kind.name)).arg(format!("[{word}"));
            // No byte of a text is 0xff.
            commands.arg([b"(", word.as_bytes(), b"\xff"].concat()).arg("BYLEX").arg("LIMIT").arg(0).arg(HITS_MAX);
        }
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        let hits: Vec<Vec<String>> = self.ask_all(&commands).await?;
        let ids = |hits: &Vec<String>| hits.iter().filter_map(|hit| hit.split_once('\0')?.1.parse().ok()).collect();
        // Of a word that very many records have only a part of the hits is known: the records that the others find are asked for it.
        let (cut, whole): (Vec<_>, Vec<_>) = asked.iter().zip(&hits).partition(|(_, hits)| hits.len() == HITS_MAX);
        let narrowing = if whole.is_empty() { &cut } else { &whole };
        let both = narrowing.iter().map(|(_, hits)| ids(hits)).reduce(|left: BTreeSet<u64>, right| &left & &right);
        let mut both = both.unwrap_or_default();
        if !whole.is_empty() && !cut.is_empty() && !both.is_empty() {
            let mut commands = pipe();
            for id in &both {
                commands.hget(format!("{}:{id}", kind.name), "_words");
            }
            let kept: Vec<Option<String>> = self.ask_all(&commands).await?;
            let has_all =
                |kept: &str| cut.iter().all(|(word, _)| kept.split(' ').any(|one| one.starts_with(word.as_str())));
            let found = both.into_iter().zip(kept).filter(|(_, kept)| kept.as_deref().is_some_and(has_all));
            both = found.map(|(id, _)| id).collect();
        }
        Ok(both.into_iter().rev().map(|id| id.to_string()).collect())
    }

    /// What records are called, by their keys (`patient:17`).
    pub(crate) async fn titles(
        &self,
        language: Language,
        keys: BTreeSet<String>,
    ) -> Result<HashMap<String, String>, Problem> {
        let named = keys.iter().filter_map(|key| {
            let (name, id) = key.split_once(':')?;
            Some((key, kinds::named(name)?, id))
        });
        let (mut titles, mut asked, mut commands) = (HashMap::new(), Vec::new(), pipe());
        for (key, kind, id) in named {
            match kind.title {
                [] => {
                    titles.insert(key.clone(), format!("{} {id}", language.text(kind.name)));
                }
                [one] => {
                    commands.hget(key, *one);
                }
                [english, chinese, ..] => {
                    commands.hget(key, if language == Language::English { *english } else { *chinese });
                }
            }
            if !kind.title.is_empty() {
                asked.push(key.clone());
            }
        }
        if !asked.is_empty() {
            let found: Vec<Option<String>> = self.ask_all(&commands).await?;
            titles.extend(asked.into_iter().zip(found).map(|(key, title)| {
                let title = title.unwrap_or_else(|| key.clone());
                (key, title)
            }));
        }
        Ok(titles)
    }

    /// For each bed the name of the patient in it.
    pub(crate) async fn patients_in(&self, beds: &[Record]) -> Result<Vec<Option<String>>, Problem> {
        let admissions: Vec<String> = beds.iter().map(|bed| bed.value("_admission").to_owned()).collect();
        let taken = self.records(&crate::admissions::ADMISSION, &admissions).await?;
        let keys = taken.iter().map(|admission| format!("patient:{}", admission.value("patient"))).collect();
        let names = self.titles(Language::English, keys).await?;
        let name_in = |id: &String| {
            let admission = taken.iter().find(|one| one.id == *id)?;
            names.get(&format!("patient:{}", admission.value("patient"))).cloned()
        };
        Ok(admissions.iter().map(name_in).collect())
    }
}

pub(crate) fn function_call(function: &str, call: &Value) -> Cmd {
    cmd("FCALL").arg(format!("hospital_{function}")).arg(0).arg(call.to_string()).to_owned()
}

/// What a text is found by: its words in small letters. Scripts without spaces are found from each letter on.
pub(crate) fn words(text: &str) -> BTreeSet<String> {
    let text = text.to_lowercase();
    let mut all = BTreeSet::new();
    for word in text.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty()) {
        let is_spaced = word.chars().all(|letter| (letter as u32) < 0x2e80);
        let starts = word.char_indices().map(|(at, _)| at).take(if is_spaced { 1 } else { 16 });
        all.extend(starts.map(|at| word[at..].chars().take(32).collect::<String>()));
    }
    all
}

/// The service is away for a moment: it was killed, or it starts.
fn is_passing(error: &RedisError) -> bool {
    error.is_io_error()
        || error.is_connection_dropped()
        || error.is_timeout()
        || matches!(error.code(), Some("LOADING" | "TRYAGAIN" | "BUSY"))
}
