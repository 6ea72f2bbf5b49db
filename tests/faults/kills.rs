//! The consumer is killed or restarted while messages arrive.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::Signal;

use crate::rig::{LONG, Load, Mosquitto, Recording, figures, name, wait_on};
use crate::support::Process;

/// The number of messages.
const MANY: u64 = 20_000;

/// Starts a durable run repeatedly. The runs append to one file.
struct Consumer<'a> {
    broker: &'a Mosquitto,
    flags: &'a str,
    recording: Recording,
}

impl Consumer<'_> {
    fn start(&self) -> Process {
        let command = self.broker.rtcomm("watch --json --durable archive").arg("--qos");
        self.flags.split_whitespace().fold(command, super::support::Rtcomm::arg).start_onto(self.recording.open())
    }

    fn wait_for(&mut self, process: &Process, count: u64) {
        wait_on(process, &format!("{count} messages"), LONG, || self.recording.read().distinct() >= count);
    }
}

/// Publishes events, and ends the consumer several times with this signal, each time during a burst of messages. Then waits
/// for the remaining messages.
fn while_messages_come(times: u64, signal: Signal, flags: &str) -> (Recording, Vec<String>) {
    let broker = Mosquitto::unlimited();
    let mut consumer = Consumer { broker: &broker, flags, recording: Recording::of(MANY) };
    let mut process = consumer.start().until_ready();
    let limit = Arc::new(AtomicU64::new(0));
    let publisher = Load::to(broker.address(), 0..MANY).up_to(limit.clone()).start();
    let mut messages = Vec::new();
    for time in 1..=times {
        limit.store(MANY * time / (times + 1), Ordering::SeqCst);
        consumer.wait_for(&process, MANY * (2 * time - 1) / (times + 1) / 2);
        process.signal(signal);
        messages.push(process.end().stderr);
        process = consumer.start();
    }
    limit.store(MANY, Ordering::SeqCst);
    publisher.finish(LONG);
    consumer.wait_for(&process, MANY);
    messages.push(process.terminate().stderr);
    consumer.recording.read();
    let counts = &consumer.recording.counts;
    figures(format_args!(
        "{times} times {} during {MANY} messages, QoS {flags}: {} missing, {} duplicates",
        name(signal),
        counts.missing().len(),
        counts.duplicates()
    ));
    (consumer.recording, messages)
}

#[test]
fn six_kills_lose_nothing_at_qos_1() {
    while_messages_come(6, Signal::KILL, "1").0.counts.check_is_whole_after_kills(6);
}

#[test]
fn six_kills_lose_nothing_at_qos_2() {
    while_messages_come(6, Signal::KILL, "2").0.counts.check_is_whole_after_kills(6);
}

#[test]
fn six_kills_lose_nothing_with_mqtt_3_1_1_at_any_qos() {
    for qos in ["1 --mqtt-version 3.1.1", "2 --mqtt-version 3.1.1"] {
        while_messages_come(6, Signal::KILL, qos).0.counts.check_is_whole_after_kills(6);
    }
}

#[test]
fn six_kills_lose_nothing_of_a_synced_file() {
    // The records are in the file, so standard output is empty.
    let broker = Mosquitto::unlimited();
    let mut recording = Recording::of(MANY / 10);
    let start = |recording: &Recording| {
        let command = broker.rtcomm("watch --json --durable archive --fsync --output").arg(recording.path());
        command.start()
    };
    let mut process = start(&recording).until_ready();
    let publisher = Load::to(broker.address(), 0..MANY / 10).start();
    for time in 1..=6 {
        wait_on(&process, "its share", LONG, || recording.read().distinct() >= MANY / 10 * time / 8);
        process.signal(Signal::KILL);
        process.end().prints("");
        process = start(&recording);
    }
    publisher.finish(LONG);
    // All messages may have arrived before the last kill.
    let process = process.until_ready();
    wait_on(&process, "the rest", LONG, || recording.read().is_complete());
    process.terminate().prints("");
    recording.read().check_is_whole_after_kills(6);
    figures(format_args!(
        "6 kills during {} messages, synced: 0 missing, {} duplicates",
        MANY / 10,
        recording.counts.duplicates()
    ));
}

#[test]
fn ten_restarts_lose_nothing_and_repeat_at_most_one_message_each() {
    const TIMES: u64 = 10;
    let (recording, messages) = while_messages_come(TIMES, Signal::TERM, "1");
    recording.counts.check_is_whole();
    assert!(recording.counts.duplicates() <= TIMES, "at most one for each restart: {}", recording.counts.duplicates());
    assert!(messages.iter().all(|text| text.contains(" printed, ")), "a summary of each run: {messages:?}");
}

#[test]
fn runs_with_a_count_divide_the_stream_without_duplicates() {
    const EACH: u64 = 500;
    let broker = Mosquitto::unlimited();
    let mut consumer = Consumer { broker: &broker, flags: "1", recording: Recording::of(10 * EACH) };
    consumer.start().until_ready().terminate();
    broker.publish(10 * EACH);
    for _ in 0..10 {
        // The broker continues to send while a run ends. The next run gets the messages after the last counted one.
        let command = broker.rtcomm("watch --json --durable archive --count").arg(EACH.to_string());
        command.start_onto(consumer.recording.open()).end().has_status(0);
    }
    let counts = consumer.recording.read();
    figures(format_args!("10 runs of {EACH} messages: {} duplicates", counts.duplicates()));
    counts.check_is_whole();
    assert_eq!(counts.duplicates(), 0);
}

#[test]
fn a_killed_run_leaves_its_messages_to_the_next() {
    let broker = Mosquitto::unlimited();
    let mut consumer = Consumer { broker: &broker, flags: "1", recording: Recording::of(200) };
    let process = consumer.start().until_ready();
    broker.publish(100);
    consumer.wait_for(&process, 100);
    process.signal(Signal::KILL);
    process.end();
    broker.publish(200);
    let process = consumer.start();
    consumer.wait_for(&process, 200);
    process.terminate();
    consumer.recording.read().check_is_whole_after_kills(1);
}

#[test]
fn a_run_ends_the_incomplete_line_that_a_killed_run_left_in_its_output() {
    let broker = Mosquitto::unlimited();
    let mut recording = Recording::of(10);
    let mut file = recording.open();
    std::io::Write::write_all(&mut file, br#"{"received":"2026-"#).expect("it can be written");
    let process = broker.rtcomm("watch --json --count 10").start_onto(file).until_ready();
    broker.publish(10);
    process.end().has_status(0);
    recording.read().check_is_whole_after_kills(1);
}

#[test]
fn a_run_without_a_session_misses_messages_while_disconnected() {
    let broker = Mosquitto::unlimited();
    for _ in 0..2 {
        let process = broker.rtcomm("watch --json").start().until_ready();
        process.terminate().has_status(143).prints("").says("0 messages seen");
        broker.publish(10);
    }
}
