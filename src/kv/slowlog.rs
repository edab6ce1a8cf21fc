//! The slow log: each worker keeps its own clients' slow calls; SLOWLOG gathers them. Entries are numbered over the service.

use std::collections::VecDeque;

use crate::kv::desk::Desk;
use crate::kv::flags::Flags;
use crate::kv::job::SlowCall;
use crate::kv::runtime::Knob;
use crate::kv::session::Client;
use crate::kv::table::Command;

/// As Redis cuts them: so many arguments of so many bytes.
const ARGS_MAX: usize = 32;
const ARG_BYTES_MAX: usize = 128;

/// Newest first.
#[derive(Default)]
pub struct SlowLog {
    pub entries: VecDeque<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub number: u64,
    pub started_us: i64,
    pub duration_us: u64,
    pub args: Vec<Vec<u8>>,
    pub address: String,
    pub name: Vec<u8>,
}

/// A call on the loop ended: remembered if it was slow.
pub fn consider(
    desk: &mut Desk,
    client: &Client,
    command: &Command,
    args: &[&[u8]],
    started_us: i64,
    duration_us: u64,
) {
    let threshold_us = desk.shared.runtime.read(Knob::SlowlogUs) as i64;
    if threshold_us >= 0 && duration_us >= threshold_us as u64 && !command.flags.has(Flags::SKIP_SLOWLOG) {
        remember(desk, client, SlowCall { started_us, duration_us, args: cut(args) });
    }
}

pub fn remember(desk: &mut Desk, client: &Client, call: SlowCall) {
    let entries_max = desk.shared.runtime.read(Knob::SlowlogEntriesMax) as usize;
    let entry = Entry {
        number: desk.shared.runtime.next(Knob::SlowlogNext),
        started_us: call.started_us,
        duration_us: call.duration_us,
        args: call.args,
        address: client.address.to_string(),
        name: client.name.borrow().clone(),
    };
    desk.slow_log.entries.push_front(entry);
    desk.slow_log.entries.truncate(entries_max);
}

/// The arguments as the log keeps them.
#[must_use]
pub fn cut(args: &[&[u8]]) -> Vec<Vec<u8>> {
    let kept = if args.len() > ARGS_MAX { ARGS_MAX - 1 } else { args.len() };
    let mut cut: Vec<Vec<u8>> = args[..kept].iter().map(|arg| cut_argument(arg)).collect();
    if kept < args.len() {
        cut.push(format!("... ({} more arguments)", args.len() - kept).into_bytes());
    }
    cut
}

fn cut_argument(arg: &[u8]) -> Vec<u8> {
    if arg.len() <= ARG_BYTES_MAX {
        return arg.to_vec();
    }
    let mut cut = arg[..ARG_BYTES_MAX].to_vec();
    cut.extend_from_slice(format!("... ({} more bytes)", arg.len() - ARG_BYTES_MAX).as_bytes());
    cut
}
