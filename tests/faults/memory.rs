//! A long run takes no more memory at its end than at its beginning.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::rig::tape::read_on;
use crate::rig::vitals::{KiB, LIMIT, OWN_LIMIT, own, peak, resident};
use crate::rig::{LONG, Load, Mosquitto, Tape, figures, wait_on};

const MANY: u64 = 2_000_000;

/// How many may be on their way: so the broker's memory is bounded too.
const AHEAD: u64 = 10_000;

/// How often memory is looked at.
const LOOKS: u64 = 100;

#[test]
#[ignore = "takes 120 s; make test-faults"]
fn two_million_messages_leave_memory_as_it_was() {
    let broker = Mosquitto::start();
    let (process, stdout) = broker.rtcomm("watch --json --durable archive").start_unread();
    let process = process.until_ready();
    let tape = read_on(stdout, Tape::of(MANY));
    let limit = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let publisher = Load::to(broker.address(), 0..MANY).up_to(limit.clone()).start();
    let mut looks: Vec<KiB> = Vec::new();
    for look in 1..=LOOKS {
        wait_on(&process, "the next messages", LONG, || {
            let came = tape.lock().distinct();
            limit.store((came + AHEAD).min(MANY), Ordering::SeqCst);
            came >= MANY * look / LOOKS
        });
        looks.push(resident(&process));
    }
    let took = began.elapsed();
    publisher.finish(LONG);
    let (highest, owned) = (peak(&process), own(&process));
    process.terminate();
    let tape = tape.lock();
    tape.check_is_whole();
    let tenth = looks.len() / 10;
    let first = looks[..tenth].iter().max().expect("there are looks");
    let last = looks[looks.len() - tenth..].iter().max().expect("there are looks");
    figures(format_args!(
        "{MANY} messages in {took:.1?}: {first} in the first tenth, {last} in the last, {highest} at the most, {owned} beside code, 0 missing, \
         {} duplicates",
        tape.duplicates()
    ));
    assert!(last.0 <= first.0 + 1024, "memory grows: {looks:?}");
    assert!(highest < LIMIT && owned < OWN_LIMIT, "{highest} in memory, {owned} beside code");
}
