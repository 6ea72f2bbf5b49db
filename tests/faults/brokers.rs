//! The broker is killed or restarted while messages arrive.

use std::time::Duration;

use rustix::process::Signal;

use crate::rig::broker::PERSISTENT;
use crate::rig::{LONG, Load, Mosquitto, Recording, figures, name, wait_on};

const MANY: u64 = 20_000;

struct Loss {
    missing: usize,
    duplicates: u64,
    again: u64,
}

/// Publishes what the broker acknowledges, restarts it so many times meanwhile, and counts what came.
fn while_messages_come(times: u64, signal: Signal, config: &str) -> Loss {
    let mut broker = Mosquitto::unlimited_with(&format!("allow_anonymous true\n{config}"));
    let mut recording = Recording::of(MANY);
    let process =
        broker.rtcomm("watch --json --durable archive --status-events").start_onto(recording.open()).until_ready();
    let publisher = Load::to(broker.address(), 0..MANY).per_second(2_500).start();
    for time in 1..=times {
        wait_on(&process, "its share", LONG, || publisher.acknowledged() >= MANY * time / (times + 1));
        broker.stop(signal);
        broker.start_again();
    }
    let sent = publisher.finish(LONG);
    // What comes after the last number of all came has been published again.
    let mut latest = (recording.read().distinct(), std::time::Instant::now());
    wait_on(&process, "the end", LONG, || {
        let distinct = recording.read().distinct();
        if distinct > latest.0 {
            latest = (distinct, std::time::Instant::now());
        }
        recording.tape.is_complete() || latest.1.elapsed() > Duration::from_secs(35)
    });
    process.terminate();
    let tape = recording.read();
    let count_of = |status: &str| tape.statuses.iter().filter(|it| it["status"] == status).count() as u64;
    assert!(tape.strange.is_empty(), "{:?}", tape.strange);
    assert_eq!(
        (count_of("disconnected"), count_of("gap"), count_of("ready")),
        (times, times, times + 1),
        "each loss is reported"
    );
    let loss = Loss { missing: tape.missing().len(), duplicates: tape.duplicates(), again: sent.again };
    let Loss { missing, duplicates, again } = loss;
    figures(format_args!(
        "the broker ended {times} times with {} during {MANY} messages: {missing} missing, {duplicates} duplicates \
         ({again} were published again)",
        name(signal)
    ));
    loss
}

#[test]
#[ignore = "takes 15 s; make test-faults"]
fn five_restarts_of_the_broker_lose_nothing() {
    let loss = while_messages_come(5, Signal::TERM, PERSISTENT);
    assert_eq!(loss.missing, 0);
}

/// mosquitto acknowledges before it writes to its disk, so what it acknowledged within the last second may die with it:
/// that is measured. It is only required that nothing hangs and each loss is reported.
#[test]
#[ignore = "takes 50 s; make test-faults"]
fn five_kills_of_the_broker_are_survived_and_reported() {
    // It fails unless each loss is reported and the last message arrives.
    while_messages_come(5, Signal::KILL, PERSISTENT);
}
