//! Scripts that never end by themselves beside 50 clients (FACTS of the interpreter, issue 20): reads go on, changes go on within the limit of a
//! script's time, nothing that was acknowledged is lost, and memory stays within its bound.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use emptyserver::sys::clock;

use super::arena::{MEBI, MEMORY_SLACK, admin_address, ms, pids_of};
use super::innocents::{Seen, SetAtEnd, paced};
use super::witness::{Testimony, Witness, memory_bytes};
use crate::support::{PATIENCE, Service, number_from_environment, turn, wait_until};

const READERS: usize = 46;
const WRITERS: usize = 4;
/// Of each client.
const PACE: Duration = Duration::from_millis(20);
/// With values of 1 KiB: more than the cache holds.
const KEYS: usize = 24_000;
const CACHE_BYTES: u64 = 16 * MEBI;
const SECONDS_MAX: u64 = 2;
const SCRIPT_BYTES_MAX: u64 = 8 * MEBI;
/// How often it is done when the machine and not the service may have been slow.
const ATTEMPTS: u32 = 3;

/// One of each kind.
const HOSTILE: &[(&str, &[&str])] = &[
    ("a loop", &["EVAL", "while true do end", "0"]),
    ("a loop that has written", &["EVAL", "redis.call('SET', 'half', 'done') while true do end", "0"]),
    ("a loop of pcalls", &["EVAL", "while true do pcall(function() while true do end end) end", "0"]),
    ("a loop of writes", &["EVAL", "while true do redis.call('SET', 'half', 'done') end", "0"]),
    (
        "a loop of large writes",
        &[
            "EVAL",
            "local v = ('x'):rep(1e6) local i = 0 while true do i = i + 1 redis.call('SET', 'half' .. i % 50, v) end",
            "0",
        ],
    ),
    ("a loop of long calls", &["EVAL", "for i = 1, 1e9 do redis.call('KEYS', '*a*b*c*d*') end", "0"]),
    (
        "messages without end",
        &["EVAL", "local v = ('x'):rep(1e5) while true do redis.call('PUBLISH', 'news', v) end", "0"],
    ),
    ("a catastrophic pattern", &["EVAL", "return string.find(('a'):rep(3e4), '.-.-.-b$')", "0"]),
    ("memory", &["EVAL", "local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(1e4) .. i end", "0"]),
    ("one long string", &["EVAL", "local s = 'x' while true do s = s .. s end", "0"]),
    ("a long reply", &["EVAL", "local t = {} for i = 1, 1e6 do t[i] = 'xxxxxxxxxxxxxxxx' end return t", "0"]),
    (
        "a sort without end",
        &[
            "EVAL",
            "local t = {} for i = 1, 1e5 do t[i] = i end while true do table.sort(t, function(a, b) return a > b end) end",
            "0",
        ],
    ),
    ("unpack of all numbers", &["EVAL", "while true do pcall(unpack, {}, 0, 2147483647) end", "0"]),
    (
        "a parser that is kept busy",
        &["EVAL", "while true do pcall(loadstring, ('a = '):rep(1e4) .. '1') collectgarbage() end", "0"],
    ),
    ("bytecode", &["EVAL", "while true do pcall(loadstring, string.char(27) .. 'Lua' .. ('x'):rep(1e4)) end", "0"]),
    (
        "libraries with bad numbers",
        &[
            "EVAL",
            "while true do pcall(bit.tohex, 65535, -2147483648) pcall(struct.pack, '>I2147483647', 1) pcall(cmsgpack.unpack, ('\\223'):rep(1e4)) end",
            "0",
        ],
    ),
    (
        "nested tables",
        &[
            "EVAL",
            "while true do local t = {} for i = 1, 1e4 do t = {t} end pcall(cjson.encode, t) pcall(cmsgpack.pack, t) end",
            "0",
        ],
    ),
    ("a loop that only reads", &["EVAL_RO", "while true do end", "0"]),
    ("a function without end", &["FCALL", "spin", "0"]),
];
const LIBRARY: &str = "#!lua name=hostile\nredis.register_function('spin', function() redis.call('SET', 'half', 'done') while true do end end)";

struct Stage<'a> {
    service: &'a Service,
    is_over: AtomicBool,
    /// What each writer has had acknowledged.
    written: Vec<AtomicU64>,
    /// The longest that one had to do without.
    longest_us: AtomicU64,
}

impl Stage<'_> {
    fn read(&self, number: usize) -> Seen {
        let mut client = self.service.connect();
        let (mut turn, first) = (number, PACE * u32::try_from(number).unwrap() / u32::try_from(READERS).unwrap());
        paced(clock::monotonic() + first, PACE, &self.is_over, |seen| {
            turn += 7919;
            let key = format!("read:{}", turn % KEYS);
            match client.try_call(&["GET", &key]) {
                Ok(value) if value.bytes().is_some_and(|bytes| bytes.len() == 1024) => true,
                other => {
                    seen.refused.push(format!("GET: {other:?}"));
                    false
                }
            }
        })
    }

    fn write(&self, number: usize) {
        let (mut client, key) = (self.service.connect(), format!("count:{number}"));
        let mut last = clock::monotonic();
        while !self.is_over.load(Ordering::SeqCst) {
            let next = self.written[number].load(Ordering::SeqCst) + 1;
            let reply = client.call(&["SET", &key, &next.to_string()]).to_string();
            if reply == "+OK" {
                self.written[number].store(next, Ordering::SeqCst);
                self.longest_us.fetch_max(last.elapsed().as_micros() as u64, Ordering::SeqCst);
                last = clock::monotonic();
            } else {
                assert!(reply.starts_with("-BUSY "), "{reply}");
            }
            thread::park_timeout(PACE);
        }
    }

    /// Runs `body` beside all of them.
    fn during<T>(&self, body: impl FnOnce() -> T) -> (Seen, T) {
        self.is_over.store(false, Ordering::SeqCst);
        let mut seen = Seen::new();
        let result = thread::scope(|scope| {
            let readers: Vec<_> = (0..READERS).map(|number| scope.spawn(move || self.read(number))).collect();
            (0..WRITERS).for_each(|number| _ = scope.spawn(move || self.write(number)));
            let end = SetAtEnd(&self.is_over);
            let result = body();
            drop(end);
            readers.into_iter().for_each(|reader| seen.add(reader.join().unwrap()));
            result
        });
        (seen, result)
    }

    fn await_writes(&self) {
        for written in &self.written {
            let before = written.load(Ordering::SeqCst);
            wait_until("writes", PATIENCE, || (written.load(Ordering::SeqCst) > before + 1).then_some(()));
        }
    }

    /// What the script was answered, what the readers saw alone and beside it, and what a witness did.
    fn attempt(&self, call: &[&str], witness: &Witness) -> (String, [Seen; 2], Testimony) {
        let (alone, ()) = self.during(|| clock::pause(Duration::from_millis(300)));
        self.longest_us.store(0, Ordering::SeqCst);
        let (testimony, (beside, reply)) = witness.during(|| {
            self.during(|| {
                self.await_writes();
                let reply = self.service.connect().call(call).to_string();
                self.await_writes();
                reply
            })
        });
        (reply, [alone, beside], testimony)
    }
}

#[test]
#[ignore = "beside a release build: tests/hostile.sh"]
fn a_script_of_each_kind_leaves_50_clients_their_reads_and_gives_them_their_writes_back() {
    let _turn = turn();
    let latency_max = Duration::from_millis(number_from_environment("HOSTILE_LATENCY_MS", 20));
    let service = Service::start(&[
        ("WORKERS", "2"),
        ("ADMIN_LISTEN", "127.0.0.1:0"),
        ("CACHE_BYTES", &CACHE_BYTES.to_string()),
        ("SCRIPT_SECONDS_MAX", &SECONDS_MAX.to_string()),
        ("SCRIPT_MEMORY_MAX", &SCRIPT_BYTES_MAX.to_string()),
        ("VALUE_BYTES_MAX", "8388608"),
        ("QUERY_BYTES_MAX", "33554432"),
        ("OUTPUT_BYTES_MAX", "16777216"),
        ("DURABILITY", "os"),
    ]);
    let mut control = service.connect();
    control.call(&["CONFIG", "SET", "busy-reply-threshold", "200"]);
    control.call(&["FUNCTION", "LOAD", LIBRARY]);
    let fill = "for i = tonumber(ARGV[1]), ARGV[1] + 999 do redis.call('SET', 'read:' .. i, ('v'):rep(1024)) end";
    for first in (0..KEYS).step_by(1000) {
        assert!(!control.call(&["EVAL", fill, "0", &first.to_string()]).is_error());
    }
    let stage = Stage {
        service: &service,
        is_over: AtomicBool::new(false),
        written: (0..WRITERS).map(|_| AtomicU64::new(0)).collect(),
        longest_us: AtomicU64::new(0),
    };
    let processes = service.processes();
    let witness =
        Witness { pids: pids_of(&service), wal: service.data().join("data.db-wal"), admin: admin_address(&service) };
    let memory_max = memory_bytes(&witness.pids) + 2 * CACHE_BYTES + 2 * SCRIPT_BYTES_MAX + MEMORY_SLACK;
    for (what, call) in HOSTILE {
        for attempt in 1..=ATTEMPTS {
            let (reply, [alone, beside], testimony) = stage.attempt(call, &witness);
            let (quiet, slow) = (alone.at(0.999), beside.at(0.999));
            let longest = Duration::from_micros(stage.longest_us.load(Ordering::SeqCst));
            println!(
                "{what}: GET p99.9 {:.2} ms beside it and {:.2} ms without, {} calls, most {:.2} ms; no write for {:.2} s; memory {} of {} MiB; the \
                 machine itself stood still for {:.1} ms: {reply}",
                ms(slow),
                ms(quiet),
                beside.calls(),
                ms(beside.worst()),
                longest.as_secs_f64(),
                testimony.memory_bytes_max / MEBI,
                memory_max / MEBI,
                ms(testimony.machine_stall),
            );
            assert!(reply.starts_with('-'), "{what}: {reply}");
            assert!(beside.refused.is_empty() && alone.refused.is_empty(), "{what}: {:?}", beside.refused);
            assert!(longest < Duration::from_secs(SECONDS_MAX + 3), "{what}: no write for {longest:?}");
            assert!(testimony.memory_bytes_max < memory_max, "{what}: too much memory");
            assert!(testimony.probes_failed.is_empty(), "{what}: {:?}", testimony.probes_failed);
            assert_eq!(control.call(&["EXISTS", "half", "half1"]).to_string(), ":0", "{what}: it is undone whole");
            assert_eq!(service.processes(), processes, "{what}: a process died");
            for (number, written) in stage.written.iter().enumerate() {
                let found = control.call(&["GET", &format!("count:{number}")]).text();
                assert_eq!(found, written.load(Ordering::SeqCst).to_string(), "{what}: an acknowledged write is lost");
            }
            if slow <= latency_max {
                break;
            }
            // Either the machine was as slow by itself, or it is a near miss: what is the service's own is there again.
            let is_the_machines = quiet > latency_max || slow < 4 * testimony.machine_stall || slow < 2 * latency_max;
            assert!(attempt < ATTEMPTS && is_the_machines, "{what}: GET p99.9 is {:.1} ms", ms(slow));
        }
    }
}
