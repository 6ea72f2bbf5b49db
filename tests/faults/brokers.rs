//! The broker is killed or restarted while messages arrive.

use std::time::Duration;

use rustix::process::Signal;

use crate::rig::broker::PERSISTENT;
use crate::rig::{LONG, Load, Mosquitto, Recording, figures, name, wait_on};

const MANY: u64 = 20_000;

/// What arrived in spite of the restarts, in numbers of events.
struct RestartResult {
    missing: usize,
    duplicates: u64,
    again: u64,
}

/// Publishes events with QoS 1, ends and restarts the broker several times meanwhile, and counts the events that arrive.
fn while_messages_come(times: u64, signal: Signal, config: &str) -> RestartResult {
    let mut broker = Mosquitto::unlimited_with(&format!("allow_anonymous true\n{config}"));
    let mut recording = Recording::of(MANY);
    let process =
        broker.rtcomm("watch --json --durable archive --status-events").start_onto(recording.open()).until_ready();
    let publisher = Load::to(broker.address(), 0..MANY).per_second(2_500).start();
    for time in 1..=times {
        wait_on(&process, "a share of the events", LONG, || publisher.acknowledged() >= MANY * time / (times + 1));
        // A restart before the run has reconnected would be part of the previous loss.
        wait_on(&process, "ready", LONG, || recording.read().count_of_status("ready") >= time);
        broker.stop(signal);
        broker.start_again();
    }
    let sent = publisher.finish(LONG);
    // After the last number has arrived, only republished events can arrive.
    let mut latest = (recording.read().distinct(), std::time::Instant::now());
    wait_on(&process, "the end", LONG, || {
        let distinct = recording.read().distinct();
        if distinct > latest.0 {
            latest = (distinct, std::time::Instant::now());
        }
        recording.counts.is_complete() || latest.1.elapsed() > Duration::from_secs(35)
    });
    process.terminate();
    let counts = recording.read();
    let count_of = |status| counts.count_of_status(status);
    assert!(counts.unexpected.is_empty(), "{:?}", counts.unexpected);
    assert_eq!(
        (count_of("disconnected"), count_of("gap"), count_of("ready")),
        (times, times, times + 1),
        "each loss is reported"
    );
    let result = RestartResult { missing: counts.missing().len(), duplicates: counts.duplicates(), again: sent.again };
    let RestartResult { missing, duplicates, again } = result;
    figures(format_args!(
        "the broker ended {times} times with {} during {MANY} messages: {missing} missing, {duplicates} duplicates \
         ({again} were published again)",
        name(signal)
    ));
    result
}

#[test]
#[ignore = "takes 10 s; make test-faults"]
fn five_restarts_of_the_broker_lose_nothing() {
    let result = while_messages_come(5, Signal::TERM, PERSISTENT);
    assert_eq!(result.missing, 0);
}

/// mosquitto acknowledges before it writes to its disk, so it can lose what it acknowledged in the last second. The loss is
/// measured. The test only requires that nothing hangs and that each loss is reported.
#[test]
#[ignore = "takes 45 s; make test-faults"]
fn five_kills_of_the_broker_are_survived_and_reported() {
    // This fails unless each loss is reported and the last event arrives.
    while_messages_come(5, Signal::KILL, PERSISTENT);
}
