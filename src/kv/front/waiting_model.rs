//! Clients that wait, pushes, cancels and deaths of the writer in a random order, and what must hold whatever happens: no element reaches
//! two clients, none is lost but with the connection of its receiver, who waits longer is served first, and nobody waits beside an element.
//!
//! A failure prints its seed: `WAITING_SEED=17 cargo test --lib waiting_model -- --nocapture` plays it again and shows every step.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::kv::application::KeyValue;
use crate::kv::front::stage::Stage;
use crate::kv::jobs::WRITE;
use crate::kv::lanes::waiting_variants::{self, Variant};
use crate::storage::points::{self, Point};

/// What a client has asked for, and has no answer to.
#[derive(Clone, Debug)]
struct Asked {
    what: What,
    /// In the order of sending.
    at: u64,
    /// Since then it is known to wait.
    waits_since: Option<u64>,
    /// It is cancelled, and some CLIENT UNBLOCKs of it are under way: then it need not get anything any more.
    is_cancelled: bool,
    unblocks: usize,
}

#[derive(Clone, Debug)]
enum What {
    /// The keys that it may pop from.
    Pop(Vec<&'static str>),
    Move(&'static str),
    /// The elements.
    Push(Vec<u64>),
    /// Of the client of this number.
    Unblock(usize),
}

struct Run {
    stage: Stage,
    random: Random,
    is_loud: bool,
    /// By the pump's numbers; `None`: it asks for nothing.
    clients: BTreeMap<usize, Option<Asked>>,
    /// Counts what happens.
    now: u64,
    last_element: u64,
    acknowledged: BTreeSet<u64>,
    delivered: BTreeMap<u64, usize>,
    /// Clients that went, or were closed, while they might have been given something.
    gone_while_popping: usize,
    /// Elements that were received: key, and when the receiver had asked.
    received: Vec<(&'static str, u64, u64)>,
}

/// The next number follows from the one before (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let word = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((word ^ (word >> 31)) % bound as u64) as usize
    }
}

const KEYS: [&str; 3] = ["a", "b", "c"];
const CLIENTS: usize = 6;

impl Run {
    fn new(seed: u64, is_loud: bool) -> Run {
        let mut stage = Stage::with(|_| {});
        stage.pump.may_lose_executor(WRITE);
        Run {
            stage,
            random: Random(seed),
            is_loud,
            clients: BTreeMap::new(),
            now: 0,
            last_element: 0,
            acknowledged: BTreeSet::new(),
            delivered: BTreeMap::new(),
            gone_while_popping: 0,
            received: Vec::new(),
        }
    }

    fn say(&self, what: impl FnOnce() -> String) {
        if self.is_loud {
            println!("{:5} {}", self.now, what());
        }
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.random.below(all.len())]
    }

    fn step(&mut self) -> Result<(), String> {
        self.now += 1;
        if self.clients.len() < CLIENTS {
            let client = self.stage.pump.connect();
            self.clients.insert(client, None);
        }
        match self.random.below(100) {
            0..40 => self.ask(),
            40..62 => {
                let count = 1 + self.random.below(5);
                // No other word of the random numbers, so that the seeds stay what they are.
                let is_undone = self.now.is_multiple_of(5);
                if is_undone {
                    waiting_variants::undo_next_group();
                }
                self.say(|| format!("the writer runs {count}, and again: {is_undone}"));
                self.stage.pump.work(WRITE, count);
            }
            62..78 => {
                let count = 1 + self.random.below(7);
                self.say(|| format!("{count} words arrive"));
                self.stage.pump.deliver(WRITE, count);
            }
            78..82 => self.cancel(),
            82..84 => self.disconnect(),
            84..87 => self.die(),
            87..97 => self.register(),
            _ => {
                self.say(|| "the writer is idle".to_owned());
                self.stage.pump.idle(WRITE);
            }
        }
        self.read_replies()
    }

    fn ask(&mut self) {
        let idle: Vec<usize> =
            self.clients.iter().filter(|(_, asked)| asked.is_none()).map(|(client, _)| *client).collect();
        if idle.is_empty() {
            return;
        }
        let client = self.one_of(&idle);
        let (one, other) = (self.one_of(&KEYS), self.one_of(&KEYS));
        let timeout = self.one_of(&["0", "5"]);
        let (line, what) = match self.random.below(12) {
            0..3 => (format!("BLPOP {one} {timeout}"), What::Pop(vec![one])),
            3..5 => (format!("BRPOP {one} {other} {timeout}"), What::Pop(vec![one, other])),
            5 => (format!("BLMPOP {timeout} 2 {one} {other} LEFT"), What::Pop(vec![one, other])),
            6 => (format!("BLMOVE {one} {other} LEFT RIGHT {timeout}"), What::Move(one)),
            7..9 => {
                self.last_element += 1;
                (format!("RPUSH {one} {}", self.last_element), What::Push(vec![self.last_element]))
            }
            9 => {
                self.last_element += 2;
                let elements = vec![self.last_element - 1, self.last_element];
                let line = format!("MULTI / LPUSH {one} {} / RPUSH {other} {} / EXEC", elements[0], elements[1]);
                (line, What::Push(elements))
            }
            10 => (format!("LPOP {one}"), What::Pop(Vec::new())),
            _ => {
                let target = self.one_of(&self.clients.keys().copied().collect::<Vec<_>>());
                if let Some(Some(asked)) = self.clients.get_mut(&target) {
                    asked.unblocks += 1;
                }
                let how = self.one_of(&["TIMEOUT", "ERROR"]);
                // Clients count from 1.
                (format!("CLIENT UNBLOCK {} {how}", target + 1), What::Unblock(target))
            }
        };
        self.say(|| format!("{client}: {line}"));
        let asked = Asked { what, at: self.now, waits_since: None, is_cancelled: false, unblocks: 0 };
        self.clients.insert(client, Some(asked));
        self.stage.pump.receive(client, format!("{}\r\n", line.replace(" / ", "\r\n")).as_bytes());
    }

    fn cancel(&mut self) {
        let client = self.one_of(&self.clients.keys().copied().collect::<Vec<_>>());
        if self.stage.pump.expire(client)
            && let Some(Some(asked)) = self.clients.get_mut(&client)
        {
            asked.is_cancelled = true;
            self.say(|| format!("the time of {client} is over"));
        }
    }

    fn disconnect(&mut self) {
        let client = self.one_of(&self.clients.keys().copied().collect::<Vec<_>>());
        self.say(|| format!("{client} goes"));
        self.stage.pump.disconnect(client);
        self.is_gone(client);
    }

    fn is_gone(&mut self, client: usize) {
        if let Some(Some(asked)) = self.clients.remove(&client) {
            self.gone_while_popping += usize::from(matches!(asked.what, What::Pop(_)));
        }
    }

    fn die(&mut self) {
        const DEADLY: [Point; 5] = [
            Point::JournalAppended,
            Point::GroupCommitted,
            Point::HalfInserted,
            Point::RowsInserted,
            Point::GroupPublished,
        ];
        let (point, left) = (self.one_of(&DEADLY), Rc::new(Cell::new(1 + self.random.below(2))));
        let in_batch = self.random.below(10) < 7;
        self.say(|| format!("the writer dies, in its batch: {in_batch}, at {point:?} {}", left.get()));
        points::listen(Some(Rc::new(move |at| {
            if at == point && !std::thread::panicking() {
                left.set(left.get() - 1);
                assert!(left.get() != 0, "the writer dies");
            }
        })));
        let application = KeyValue { shared: std::sync::Arc::clone(&self.stage.shared) };
        let lost = silently(|| self.stage.pump.lose_executor(&application, WRITE, in_batch));
        points::listen(None);
        lost.expect("another writer begins");
        if self.stage.pump.unregistered(WRITE) == 0 {
            self.stage.pump.register(WRITE, 0);
        }
    }

    fn register(&mut self) {
        let left = self.stage.pump.unregistered(WRITE);
        if left > 0 {
            let place = self.random.below(left);
            self.say(|| format!("one of {left} registers again"));
            self.stage.pump.register(WRITE, place);
        }
    }

    fn read_replies(&mut self) -> Result<(), String> {
        for client in self.clients.keys().copied().collect::<Vec<_>>() {
            let reply = self.stage.replies(client);
            if !self.stage.pump.is_there(client) {
                self.say(|| format!("{client} is closed"));
                self.is_gone(client);
                continue;
            }
            let now = self.now;
            if let Some(Some(asked)) = self.clients.get_mut(&client)
                && asked.waits_since.is_none()
                && self.stage.pump.is_waiting(client)
            {
                asked.waits_since = Some(now);
            }
            if !reply.is_empty() {
                self.hear(client, &reply)?;
            }
        }
        if self.stage.pump.unheard(WRITE) == 0 {
            self.check_order()?;
        }
        Ok(())
    }

    fn hear(&mut self, client: usize, reply: &str) -> Result<(), String> {
        let asked = self.clients.get(&client).cloned().flatten();
        let asked = asked.ok_or_else(|| format!("{client} has asked nothing and is told {reply}"))?;
        if matches!(asked.what, What::Push(_)) && reply.ends_with("+QUEUED") {
            return Ok(());
        }
        self.say(|| format!("{client} <- {reply}"));
        self.clients.insert(client, None);
        let words: Vec<&str> = reply.split(' ').collect();
        match asked.what {
            What::Push(elements) => {
                if !reply.contains('-') {
                    self.acknowledged.extend(elements);
                }
            }
            What::Unblock(target) => {
                if reply == ":0"
                    && let Some(Some(asked)) = self.clients.get_mut(&target)
                {
                    asked.unblocks = asked.unblocks.saturating_sub(1);
                }
            }
            What::Pop(_) => {
                let key = KEYS.into_iter().find(|key| words.get(2) == Some(key));
                let element = words.last().and_then(|word| word.parse::<u64>().ok());
                if let Some(element) = element {
                    if let Some(before) = self.delivered.insert(element, client) {
                        return Err(format!("{element} went to {before} and to {client}"));
                    }
                    self.received.extend(key.map(|key| (key, asked.at, element)));
                }
            }
            What::Move(_) => {}
        }
        Ok(())
    }

    /// Nobody has got something before somebody who was known to wait for it when he asked, and still does.
    fn check_order(&mut self) -> Result<(), String> {
        for (key, asked_at, element) in std::mem::take(&mut self.received) {
            for (client, asked) in &self.clients {
                let Some(asked) = asked else { continue };
                let waits = match &asked.what {
                    What::Pop(keys) => keys.contains(&key),
                    What::Move(source) => *source == key,
                    What::Push(_) | What::Unblock(_) => false,
                };
                let may_end = asked.is_cancelled || asked.unblocks > 0;
                if waits && !may_end && asked.waits_since.is_some_and(|since| since < asked_at) {
                    return Err(format!("{element} of {key} went by {client}, who waits longer"));
                }
            }
        }
        Ok(())
    }

    /// All is heard, and nobody is there any more whose word is still to come.
    fn end(&mut self) -> Result<(), String> {
        for _ in 0..200 {
            self.now += 1;
            self.register();
            self.stage.pump.idle(WRITE);
            self.stage.pump.settle();
            self.read_replies()?;
        }
        let reader = self.stage.pump.connect();
        let mut left = BTreeSet::new();
        for key in KEYS {
            let reply = self.stage.call(reader, &format!("LRANGE {key} 0 -1"));
            let elements: Vec<u64> = reply.split(' ').filter_map(|word| word.parse().ok()).collect();
            for (client, asked) in &self.clients {
                let waits = match asked.as_ref().map(|asked| &asked.what) {
                    Some(What::Pop(keys)) => keys.contains(&key),
                    Some(What::Move(source)) => *source == key,
                    _ => false,
                };
                if waits && !elements.is_empty() {
                    return Err(format!("{client} waits for {key}, which has {elements:?}"));
                }
            }
            for element in elements {
                if !left.insert(element) || self.delivered.contains_key(&element) {
                    return Err(format!("{element} is left in {key} and somewhere else, too"));
                }
            }
        }
        let lost: Vec<u64> = self
            .acknowledged
            .iter()
            .filter(|element| !left.contains(element) && !self.delivered.contains_key(element))
            .copied()
            .collect();
        if lost.len() > self.gone_while_popping {
            return Err(format!(
                "{lost:?} are lost, and {} clients went that might have had one",
                self.gone_while_popping
            ));
        }
        Ok(())
    }
}

/// A death is no news.
fn silently<T>(f: impl FnOnce() -> T) -> T {
    thread_local! {
        static IS_SILENT: Cell<bool> = const { Cell::new(false) };
    }
    static HOOK: std::sync::Once = std::sync::Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !IS_SILENT.get() {
                before(info);
            }
        }));
    });
    IS_SILENT.set(true);
    let result = f();
    IS_SILENT.set(false);
    result
}

fn play(seed: u64, steps: u64, variant: Option<Variant>, is_loud: bool) -> Result<(), String> {
    waiting_variants::choose(variant);
    let mut run = Run::new(seed, is_loud);
    let mut play = || (0..steps).try_for_each(|_| run.step()).and_then(|()| run.end());
    // A broken rule may lead to what the pump, or the service, says can't be.
    let played = match variant {
        None => play(),
        Some(_) => silently(|| std::panic::catch_unwind(std::panic::AssertUnwindSafe(play)))
            .unwrap_or_else(|_| Err("a panic".to_owned())),
    };
    waiting_variants::choose(None);
    played.map_err(|what| format!("step {}: {what}", run.now))
}

fn number(name: &str, otherwise: u64) -> u64 {
    #[expect(clippy::disallowed_methods, reason = "how long a test runs is told by whoever starts it")]
    let told = std::env::var(name);
    told.map_or(otherwise, |text| text.parse().unwrap())
}

#[test]
fn whatever_crosses_and_whoever_dies_each_element_goes_to_one_client_in_order() {
    let (first, seeds) = match number("WAITING_SEED", 0) {
        0 => (1, number("WAITING_SEEDS", 25)),
        seed => (seed, 1),
    };
    for seed in first..first + seeds {
        if let Err(what) = play(seed, 400, None, seeds == 1) {
            panic!("WAITING_SEED={seed} {what}");
        }
    }
}

#[test]
#[ignore = "a minute; .ci/suites"]
fn every_broken_rule_of_waiting_is_found() {
    for variant in Variant::ALL {
        let found = (1..=300).find_map(|seed| play(seed, 400, Some(variant), false).err().map(|what| (seed, what)));
        let (seed, what) = found.unwrap_or_else(|| panic!("{variant:?} is not found"));
        println!("{variant:?}: seed {seed}, {what}");
    }
}
