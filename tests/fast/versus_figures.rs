//! The arithmetic of `benches/versus`, which a bench without a harness cannot test itself.
#![expect(dead_code, reason = "what needs a running server is used by the bench alone")]

#[path = "../../benches/versus/disturbance.rs"]
mod disturbance;
#[path = "../../benches/versus/generator.rs"]
mod generator;
#[path = "../../benches/versus/loads.rs"]
mod loads;
#[path = "../../benches/versus/processes.rs"]
mod processes;
#[path = "../../benches/versus/statistics.rs"]
mod statistics;

use disturbance::{Machine, foreign_share};
use processes::{Resident, Stat};
use statistics::{Spread, shown, shown_spread};

fn spread(median: f64, min: f64, max: f64) -> Option<Spread> {
    Some(Spread { median, min, max })
}

#[test]
fn a_median_is_in_the_middle() {
    assert_eq!(Spread::of([3.0, 1.0, 9.0]), spread(3.0, 1.0, 9.0));
    assert_eq!(Spread::of([4.0, 1.0]), spread(2.5, 1.0, 4.0));
    assert_eq!(Spread::of([]), None);
}

#[test]
fn ratios_are_taken_round_by_round() {
    // The machine was slow in the second round, for both.
    let (ours, theirs) = ([Some(100.0), Some(10.0), None], [Some(50.0), Some(5.0), Some(1.0)]);
    assert_eq!(Spread::of_ratios(&ours, &theirs), spread(2.0, 2.0, 2.0));
    assert_eq!(Spread::of_ratios(&[Some(1.0)], &[Some(0.0)]), None);
}

#[test]
fn figures_are_shown_with_the_digits_that_matter() {
    for (figure, text) in [
        (1_234_567.8, "1,234,568"),
        (1000.0, "1,000"),
        (123.4, "123"),
        (12.34, "12.3"),
        (1.234, "1.23"),
        (0.1234, "0.123"),
        (0.0, "0.00"),
    ] {
        assert_eq!(shown(figure), text);
    }
    assert_eq!(shown_spread(spread(2.0, 1.0, 3.0)), "2.00 (1.00-3.00)");
    assert_eq!(shown_spread(spread(2.0, 2.0, 2.0)), "2.00");
    assert_eq!(shown_spread(None), "-");
}

#[test]
fn what_others_had_of_the_machine_is_what_was_busy_and_not_ours() {
    let before = Machine::parse("cpu  100 0 100 1000 0 50 50 0 0 0\ncpu0 1 1 1\n").unwrap();
    let after = Machine::parse("cpu  200 20 130 1150 0 100 150 0 0 0\n").unwrap();
    assert_eq!(before, Machine { busy_ticks: 200, all_ticks: 1300 });
    // 150 ticks were busy, of 450; one second of them was ours. Interrupts are nobody's.
    assert!((foreign_share(before, after, 1.0) - 50.0 / 450.0).abs() < 1e-9);
    assert!(foreign_share(before, after, 2.0) == 0.0);
    assert!(foreign_share(before, before, 0.0) == 0.0);
    assert_eq!(Machine::parse("intr 5"), None);
}

#[test]
fn a_process_is_read_whatever_its_name() {
    let text = "7 (a) b (c) S 3 7 7 0 -1 4194560 1 0 0 0 11 22 33 44 20 0 1 0 5 6 7";
    assert_eq!(Stat::parse(text), Some(Stat { parent: 3, ticks: 33, ended_children_ticks: 77 }));
    assert_eq!(Stat::parse(""), None);
}

#[test]
fn memory_of_its_own_and_of_files_are_apart() {
    let text = "Name:\tx\nVmRSS:\t 70 kB\nRssAnon:\t  10 kB\nRssFile:\t  20 kB\nRssShmem:\t  40 kB\n";
    let expected = Resident { anonymous_bytes: 10 * 1024, file_and_shared_bytes: 60 * 1024 };
    assert_eq!(Resident::parse(text), expected);
    assert_eq!(Resident::parse(""), Resident::default());
}

#[test]
fn this_process_is_in_its_own_tree_and_takes_memory() {
    let pid = std::process::id().cast_signed();
    assert_eq!(processes::tree(pid)[0], pid);
    assert!(Resident::of(pid).anonymous_bytes > 0);
}

#[test]
fn the_report_of_redis_benchmark_is_read() {
    let text = "SET: rps=0.0\r      \n====== SET ======\n  1000 requests completed in 0.02 seconds\n\n\
        Latency by percentile distribution:\n0.000% <= 0.079 milliseconds (cumulative count 1)\n\
        99.609% <= 0.967 milliseconds (cumulative count 997)\n99.902% <= 1.535 milliseconds (cumulative count 1000)\n\
        100.000% <= 1.6 milliseconds (cumulative count 1000)\n\nSummary:\n  throughput summary: 52631.58 requests per second\n  \
        latency summary (msec):\n          avg       min       p50       p95       p99       max\n        \
        0.533     0.072     0.519     0.775     0.927     1.615\n";
    let generated = generator::parse_redis_benchmark(text, 1000.0).unwrap();
    assert!((generated.per_second - 52_631.58).abs() < 1e-6 && (generated.p99_9_ms - 1.535).abs() < 1e-9);
    assert!((generated.p50_ms - 0.519).abs() < 1e-9 && (generated.max_ms - 1.615).abs() < 1e-9);
    assert_eq!(generator::parse_redis_benchmark("Could not connect to Redis", 1.0), None);
}

#[test]
fn every_load_has_a_name_of_its_own() {
    let loads = loads::all(1);
    let mut names: Vec<&str> = loads.iter().map(|load| load.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), loads.len());
    assert!(loads::all(10_000).iter().all(|load| load.data.keys >= 1));
}
