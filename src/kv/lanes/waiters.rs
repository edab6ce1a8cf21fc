//! Calls that wait, of all workers: who waits for what, in the order of arrival. Part of the writer's group: what it did to them is undone
//! with it. Knows no keyspace.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::kv::commands::table::Handler;
use crate::kv::jobs::job::{Calls, Job, Kind as JobKind};
use crate::kv::lanes::marking::Marking;
use crate::kv::lanes::queues::Wish;
use crate::kv::lanes::waiting_variants::{self, Variant};
use crate::kv::users::Rights;
use crate::resp::Version;
use crate::server::{Task, TaskId};
use crate::storage::Kind;

/// A call that waits. It is the only one of `calls`.
pub struct Waiter {
    pub id: TaskId,
    /// The number of its client.
    pub client: u64,
    pub version: Version,
    pub rights: Rights,
    pub calls: Calls,
}

pub struct Waiters {
    /// By the number of the job, which is the place in every queue: the smallest came first.
    calls: BTreeMap<u64, Waiter>,
    /// The job of each client that waits.
    clients: HashMap<u64, u64>,
    /// With the queues of those who wait.
    marking: Marking,
    /// Of the group at hand: the jobs that it has parked, and those that it has answered, whenever they were parked.
    new: BTreeSet<u64>,
    ended: Vec<Waiter>,
    /// Those that came later once (`must_come_later`), since the last key was looked at or the last call was answered.
    put_off: BTreeSet<u64>,
    /// True once all are known that an executor before this one had parked: until then nobody is served.
    are_all_known: bool,
    /// True from then on until a group is committed that has looked at every key that somebody waits for.
    must_look_at_all: bool,
}

impl Waiter {
    /// Of a job that may wait.
    fn of(task: &Task<Job>) -> Waiter {
        let JobKind::Wait(client) = task.job.kind else { unreachable!("only such a job is parked") };
        // Its bytes lie in the frame that brought it: a copy keeps no others.
        let (version, rights) = (task.job.version, task.job.rights);
        Waiter { id: task.id, client, version, rights, calls: task.job.calls.after(0) }
    }

    /// What it waits for, in which keys.
    fn place<T>(&self, with: impl FnOnce(Wish, &[&[u8]]) -> T) -> T {
        let (call, _) = self.calls.at(0).expect("it has a call");
        let Handler::Wait(wait) = call.command().handler else { unreachable!("only such a call waits") };
        let keys = (wait.keys)(&call.args);
        let wish = Wish { database: call.database, kind: wait.kind, ends_without_key: wait.ends_without_key };
        with(wish, &call.args[keys])
    }
}

impl Waiters {
    /// Nobody waits yet.
    #[must_use]
    pub fn new(marking: &Marking) -> Waiters {
        Waiters {
            calls: BTreeMap::new(),
            clients: HashMap::new(),
            marking: marking.clone(),
            new: BTreeSet::new(),
            ended: Vec::new(),
            put_off: BTreeSet::new(),
            are_all_known: false,
            must_look_at_all: false,
        }
    }

    /// A call that an executor before this one has parked.
    pub fn register(&mut self, task: &Task<Job>) {
        self.insert(Waiter::of(task));
    }

    /// There are no more of those.
    pub fn all_registered(&mut self) {
        self.are_all_known = true;
        self.must_look_at_all = true;
    }

    /// Whether a call that may wait may run. Else it is parked: one that is not known yet may have come before it.
    #[must_use]
    pub fn are_all_known(&self) -> bool {
        self.are_all_known || waiting_variants::is(Variant::RegistrationIgnored)
    }

    #[must_use]
    pub fn has(&self, number: u64) -> bool {
        self.calls.contains_key(&number)
    }

    /// The job of this client, if that waits.
    #[must_use]
    pub fn of_client(&self, client: u64) -> Option<u64> {
        self.clients.get(&client).copied()
    }

    /// How many keys somebody waits for.
    #[must_use]
    pub fn keys_count(&self) -> usize {
        if self.calls.is_empty() { 0 } else { self.marking.lock().queues.keys_count() }
    }

    /// Outside of a group: nobody waits for its answer any more.
    pub fn cancel(&mut self, number: u64) {
        if !waiting_variants::is(Variant::CancelledServed) {
            self.remove(number);
        }
    }

    /// The same for all jobs of an incarnation.
    pub fn forget(&mut self, incarnation: u64) {
        let of = self.calls.values().filter(|waiter| waiter.id.incarnation == incarnation);
        let numbers: Vec<u64> = of.map(|waiter| waiter.id.number).collect();
        numbers.into_iter().for_each(|number| drop(self.remove(number)));
    }

    // ---- within a group

    /// True when a group without any job has something to do.
    #[must_use]
    pub fn must_look(&self) -> bool {
        self.must_look_at_all && !self.calls.is_empty()
    }

    /// A group begins.
    pub fn begin(&mut self) {
        if self.must_look() {
            // The keys in the order of those who wait longest.
            let queues = &mut self.marking.lock().queues;
            for waiter in self.calls.values() {
                waiter.place(|wish, keys| keys.iter().for_each(|key| queues.mark_key(wish.database, key)));
            }
        }
    }

    pub fn park(&mut self, task: &Task<Job>) {
        self.new.insert(task.id.number);
        self.insert(Waiter::of(task));
        if waiting_variants::is(Variant::WakeInFlightLost) {
            let waiter = &self.calls[&task.id.number];
            let queues = &mut self.marking.lock().queues;
            waiter.place(|wish, keys| queues.remove(task.id.number, wish, keys));
        }
    }

    /// True for a job that the group has parked, and none before it.
    #[must_use]
    pub fn is_new(&self, number: u64) -> bool {
        self.new.contains(&number)
    }

    /// The next key that has changed since it was last looked at.
    pub fn next_ready(&mut self) -> Option<(u8, Box<[u8]>)> {
        if self.calls.is_empty() || !self.are_all_known() {
            return None;
        }
        let ready = self.marking.lock().queues.next_ready();
        if ready.is_none() {
            self.put_off.clear();
        }
        ready
    }

    /// Of those who wait for this kind of value of the key, or do not wait on without another, the first behind `last`. `None`: the key
    /// holds nothing.
    #[must_use]
    pub fn next_of(&self, database: u8, key: &[u8], kind: Option<Kind>, last: u64) -> Option<u64> {
        self.marking.lock().queues.next_of(database, key, kind, last)
    }

    /// To serve a call is to run it from its first key. Where some that it names before `key` have changed too, others may have waited longer
    /// for those: true, and they are looked at next, `key` behind them. Once for each call, until one is answered: each of two may name
    /// first what the other is looked at for.
    pub fn must_come_later(&mut self, number: u64, database: u8, key: &[u8]) -> bool {
        if waiting_variants::is(Variant::FirstKeyOvertakes) {
            return false;
        }
        let Some(waiter) = self.calls.get(&number).filter(|_| !self.put_off.contains(&number)) else { return false };
        let is_put_off = waiter.place(|_, keys| {
            let place = keys.iter().position(|of_call| *of_call == key).unwrap_or(0);
            place > 0 && self.marking.lock().queues.bring_forward(database, &keys[..place], key)
        });
        if is_put_off {
            self.put_off.insert(number);
        }
        is_put_off
    }

    /// It is about to be answered: `ended` or `put_back` follows.
    pub fn take(&mut self, number: u64) -> Option<Waiter> {
        self.remove(number)
    }

    /// It waits on, at its place.
    pub fn put_back(&mut self, waiter: Waiter) {
        self.insert(waiter);
    }

    /// The group has answered it.
    pub fn ended(&mut self, waiter: Waiter) {
        self.put_off.clear();
        self.ended.push(waiter);
    }

    pub fn committed(&mut self) {
        self.must_look_at_all = false;
        self.ended.clear();
        let queues = &mut self.marking.lock().queues;
        for number in std::mem::take(&mut self.new) {
            if waiting_variants::is(Variant::WakeInFlightLost)
                && let Some(waiter) = self.calls.get(&number)
            {
                waiter.place(|wish, keys| queues.add(number, wish, keys));
            }
        }
        queues.forget_ready();
    }

    pub fn rolled_back(&mut self) {
        self.put_off.clear();
        let (new, ended) = (std::mem::take(&mut self.new), std::mem::take(&mut self.ended));
        self.marking.lock().queues.forget_ready();
        if waiting_variants::is(Variant::NotUndone) {
            return;
        }
        let earlier = ended.into_iter().filter(|waiter| !new.contains(&waiter.id.number));
        earlier.for_each(|waiter| self.insert(waiter));
        new.into_iter().for_each(|number| drop(self.remove(number)));
    }

    // ---- the maps

    fn insert(&mut self, waiter: Waiter) {
        let number = waiter.id.number;
        let queues = &mut self.marking.lock().queues;
        waiter.place(|wish, keys| queues.add(number, wish, keys));
        self.clients.insert(waiter.client, number);
        self.calls.insert(number, waiter);
    }

    fn remove(&mut self, number: u64) -> Option<Waiter> {
        let waiter = self.calls.remove(&number)?;
        self.clients.remove(&waiter.client);
        let queues = &mut self.marking.lock().queues;
        waiter.place(|wish, keys| queues.remove(number, wish, keys));
        Some(waiter)
    }
}
