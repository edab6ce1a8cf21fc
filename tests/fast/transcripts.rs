//! What clients send and get, byte for byte, as tests/transcripts has it: played to the real program with two workers,
//! and, where one is installed, to a real redis-server, so that the expectations themselves are proved.
//!
//! `TRANSCRIPTS_RECORD=yes cargo test --test fast transcripts::a_real_redis` writes what redis-server answers into the files.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::support::{Redis, Section, Service, Transcript, read_all};

fn transcripts() -> Vec<Transcript> {
    let transcripts = read_all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts"));
    assert!(!transcripts.is_empty());
    // One file alone, while somebody works at it.
    let only = std::env::var_os("TRANSCRIPTS_ONLY");
    let is_wanted =
        |transcript: &Transcript| only.as_ref().is_none_or(|only| transcript.path.file_stem() == Some(only));
    transcripts.into_iter().filter(is_wanted).collect()
}

fn is_recording() -> bool {
    std::env::var_os("TRANSCRIPTS_RECORD").is_some()
}

/// What is wrong with each, several played at a time: most of it is waiting.
fn play_all(play: impl Fn(&Transcript) -> Vec<String> + Sync) -> Vec<String> {
    let (transcripts, next) = (transcripts(), AtomicUsize::new(0));
    thread::scope(|scope| {
        let player = || {
            let mut wrong = Vec::new();
            while let Some(transcript) = transcripts.get(next.fetch_add(1, Ordering::Relaxed)) {
                wrong.extend(play(transcript));
            }
            wrong
        };
        let players: Vec<_> = (0..4).map(|_| scope.spawn(player)).collect();
        players.into_iter().flat_map(|player| player.join().unwrap()).collect()
    })
}

#[test]
fn the_service_answers_as_the_transcripts_say() {
    let wrong = play_all(|transcript| {
        let settings = transcript.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let settings: Vec<(&str, &str)> = [("WORKERS", "2")].into_iter().chain(settings).collect();
        let service = Service::start(&settings);
        // What redis-server can prove is recorded from there.
        let is_wanted = |section: &Section| !is_recording() || section.ours.is_some() || section.since.is_some();
        transcript.play(service.address(), &is_wanted, is_recording())
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_real_redis_server_answers_as_the_transcripts_say() {
    let wrong = play_all(|transcript| {
        let arguments: Vec<&str> = transcript.redis.iter().map(String::as_str).collect();
        let Some(redis) = Redis::start(&arguments) else { return Vec::new() };
        let knows =
            |section: &Section| section.ours.is_none() && section.since.is_none_or(|since| since <= redis.version);
        transcript.play(redis.address(), &knows, is_recording())
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
