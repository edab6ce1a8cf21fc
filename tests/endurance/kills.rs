//! Deaths of the processes of a service while clients go on.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::{Connection, Service, wait_until};
use emptyserver::sys::clock;

/// Between two deaths: a process that lives for a while is replaced without delay.
const KILL_EVERY: Duration = Duration::from_millis(700);
/// For everybody who was killed to be back.
const PATIENCE: Duration = Duration::from_secs(60);

/// Kills for so long, again and again, a worker or the writer, at these points of its life or wherever it is. Returns how often.
/// Nobody is going to die any more then.
pub(crate) fn kill_for(service: &Service, seconds: u64, points: &[&str]) -> u64 {
    let (until, mut kills) = (clock::monotonic() + Duration::from_secs(seconds), 0);
    while clock::monotonic() < until {
        clock::pause(KILL_EVERY);
        kill(service, kills, points);
        kills += 1;
    }
    wait_until("the last death", PATIENCE, || reach_all_points(service));
    kills
}

/// A point that was named last is reached by the next group of writes, of which some may be answered before the writer dies: two
/// writes one after the other have passed all of them.
fn reach_all_points(service: &Service) -> Option<()> {
    let mut connection = Connection::try_open(service.address()).ok()?;
    (0..2).all(|_| connection.try_call(&["SET", "reached", ""]).is_ok_and(|reply| !reply.is_error())).then_some(())
}

fn kill(service: &Service, number: u64, points: &[&str]) {
    match number % 5 {
        0 | 1 => {
            let name = format!("worker-{}", number / 5 % 4);
            service.process(&name).into_iter().for_each(|pid| crate::support::signal(pid, Signal::SIGKILL));
        }
        2 => service.process("write").into_iter().for_each(|pid| crate::support::signal(pid, Signal::SIGKILL)),
        _ => {
            let point = points[(number / 5) as usize % points.len()];
            // Its own worker may just have died.
            if let Ok(mut control) = Connection::try_open(service.address()) {
                drop(control.try_call(&["DEBUG", "KILL-WRITER", point]));
            }
        }
    }
}
