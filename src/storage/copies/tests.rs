//! Copies on a temporary directory.

use std::cell::Cell;
use std::fs::{self, File};
use std::time::Duration;

use super::{Copier, Step, carry, discard_gradually, remove_gradually, write_backs};
use crate::storage::fixture::Fixture;
use crate::storage::{Expiry, StorageError, backup};
use crate::sys::clock;

fn put(fixture: &mut Fixture, key: u32) {
    fixture.write(|keyspace| keyspace.put_string(&key.to_le_bytes(), &[key as u8; 2000], Expiry::Clear).unwrap());
}

#[test]
fn a_copy_beside_groups_is_written_back_by_another_thread_and_sound() {
    let mut fixture = Fixture::new();
    (0..600).for_each(|key| put(&mut fixture, key));
    let (part, name) = (fixture.options.directory.join("copy.part"), fixture.options.directory.join("copy.db"));
    let (orders, write_backs) = write_backs();
    let following = std::thread::spawn({
        let part = part.clone();
        move || write_backs.follow(&part).unwrap()
    });
    let mut copier = Copier::begin(&fixture.writer, &part, orders).unwrap();
    let mut key = 0;
    loop {
        match copier.step(clock::monotonic(), true).unwrap() {
            Step::Waits(_) => std::thread::yield_now(),
            Step::Copied => {
                // A page that was copied already, and one that was not.
                key += 1;
                put(&mut fixture, key);
            }
            Step::Complete => break,
        }
    }
    let copied = copier.copied();
    assert!(copied.pages > 300 && copied.pages == copied.pages_total, "{copied:?}");
    copier.finish();
    assert!(following.join().unwrap());
    backup::finish(&part, &name).unwrap();
    backup::check(&name).unwrap();
}

#[test]
fn a_busy_writer_has_as_long_for_its_groups_as_a_step_took() {
    let mut fixture = Fixture::new();
    (0..600).for_each(|key| put(&mut fixture, key));
    let (orders, _write_backs) = write_backs();
    let mut copier = Copier::begin(&fixture.writer, &fixture.options.directory.join("copy.part"), orders).unwrap();
    let now = clock::monotonic();
    if copier.step(now, false).unwrap() == Step::Complete {
        return;
    }
    assert!(matches!(copier.step(now, false).unwrap(), Step::Waits(_)));
    // In any case longer than twice what the step took.
    let later = now + Duration::from_secs(3600);
    assert!(!matches!(copier.step(later, false).unwrap(), Step::Waits(_)));
    let mut steps = 0;
    while !matches!(copier.step(later, true).unwrap(), Step::Waits(_) | Step::Complete) {
        steps += 1;
    }
    assert!(steps <= 4, "a thread that writes nothing back holds the copy: {steps}");
}

#[test]
fn who_follows_a_copy_that_is_given_up_learns_it() {
    let fixture = Fixture::new();
    let part = fixture.options.directory.join("copy.part");
    let (orders, write_backs) = write_backs();
    drop(Copier::begin(&fixture.writer, &part, orders).unwrap());
    assert!(!write_backs.follow(&part).unwrap());
}

#[test]
fn what_is_carried_arrives_whole_or_not_at_all() {
    let directory = tempfile::tempdir().unwrap();
    let [from, to, other] = ["from", "to", "other"].map(|name| directory.path().join(name));
    fs::write(&from, vec![7; 3 << 20]).unwrap();
    let mut ticks = 0;
    carry(&from, &to, &mut || {
        ticks += 1;
        Ok(())
    })
    .unwrap();
    assert!(ticks > 10 && fs::read(&to).unwrap() == fs::read(&from).unwrap(), "{ticks}");
    assert!(matches!(carry(&from, &to, &mut || Ok(())), Err(StorageError::Io(_))), "it takes no other's place");
    let mut left = 3;
    let given_up = carry(&from, &other, &mut || {
        left -= 1;
        if left > 0 { Ok(()) } else { Err(StorageError::Busy) }
    });
    assert_eq!(given_up, Err(StorageError::Busy));
    assert!(fs::metadata(&other).unwrap().len() < 1 << 20);
}

#[test]
fn a_large_file_goes_in_steps_and_whoever_has_it_open_keeps_it() {
    let directory = tempfile::tempdir().unwrap();
    let [file, part] = ["file", "file.part"].map(|name| directory.path().join(name));
    let steps = Cell::new(0);
    let tick = || steps.set(steps.get() + 1);
    for is_open in [false, true] {
        fs::write(&file, vec![1; (3 << 20) + 1]).unwrap();
        let reader = is_open.then(|| File::open(&file).unwrap());
        remove_gradually(&file, &part, &tick).unwrap();
        assert!(!file.exists() && !part.exists());
        assert_eq!(steps.take(), if is_open { 0 } else { 4 });
        assert!(reader.is_none_or(|reader| reader.metadata().unwrap().len() == (3 << 20) + 1));
    }
    fs::write(&part, vec![1; 2 << 20]).unwrap();
    let reader = File::open(&part).unwrap();
    discard_gradually(&part, &tick);
    assert!(!part.exists() && steps.get() == 2 && reader.metadata().unwrap().len() == 0);
}
