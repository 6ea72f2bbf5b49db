//! Connection records: `--status-events`, and how `tail` prints them.

use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::rig::{Mosquitto, rtcomm_at, wait_on};
use crate::support::relay::{Plan, Relay};
use crate::support::{Outcome, TIMEOUT, rtcomm};

/// Returns the number of complete lines that contain this text. An event contains its endpoint's name several times.
fn lines_with(text: &str, ending: &str) -> usize {
    text.split_inclusive('\n').filter(|line| line.ends_with('\n') && line.contains(ending)).count()
}

/// Runs a command whose connection is cut twice, with an event before, between and after the cuts.
fn cut_twice(words: &str) -> Outcome {
    let broker = Mosquitto::unlimited_with("allow_anonymous true\nlog_type debug\n");
    let proxy = Relay::before(broker.address(), 1, |_| Plan::default());
    let process = rtcomm_at(words, &proxy.url()).start().until_ready();
    // Standard error reports the loss shortly before the record is written.
    let wait_for_record = |count| {
        if words.contains("--status-events") {
            process.wait_for_stdout("the record of it", |text| lines_with(text, "ready") >= count);
        }
    };
    wait_for_record(1);
    for round in 1..=3 {
        broker.publish(1);
        process.wait_for_stdout("an event", |text| lines_with(text, "iggy_pop") >= round);
        if round < 3 {
            if !words.contains("--qos 0") {
                // Wait for the acknowledgement, because the broker delivers unacknowledged messages again.
                let has_acknowledgement = || broker.log().matches("Received PUBACK from").count() >= round;
                wait_on(&process, "the acknowledgement", TIMEOUT, has_acknowledgement);
            }
            proxy.cut();
            process.wait_for_stderr("ready again", |text| lines_with(text, "rtcomm: ready") > round);
            wait_for_record(round + 1);
        }
    }
    process.terminate()
}

#[test]
fn every_loss_has_a_disconnected_and_a_gap_record() {
    for (flags, reason) in [
        ("", "the connection broke"),
        (" --durable archive", "the connection broke; the broker kept the session"),
        (" --durable archive --qos 0", "the connection broke"),
    ] {
        let outcome = cut_twice(&format!("watch --json --status-events{flags}"));
        let lines = outcome.json_lines();
        let statuses: Vec<&str> = lines.iter().map(|line| line["status"].as_str().unwrap_or("event")).collect();
        let once = ["event", "disconnected", "connected", "gap", "ready"];
        let expected = [&["connected", "ready"][..], &once, &once, &["event"]].concat();
        outcome.check(statuses == expected, &format!("{expected:?}"));
        for gap in lines.iter().filter(|line| line["status"] == "gap") {
            let keys: Vec<_> = gap.as_object().expect("a record is an object").keys().collect();
            outcome.check(
                ["received", "status", "from", "until", "reason"].iter().all(|key| keys.iter().any(|it| it == key)),
                "its keys",
            );
            let (from, until, received) = (gap["from"].as_str(), gap["until"].as_str(), gap["received"].as_str());
            outcome.check(from < until && until <= received, "a time of some length that is over");
            let actual = gap["reason"].as_str().unwrap_or_default();
            outcome.check(actual.starts_with(reason), &format!("the reason {reason}, not {actual}"));
        }
        let order = r#","status":"gap","from":""#;
        outcome.check(outcome.stdout.matches(order).count() == 2, "the keys in their order");
        outcome.check(outcome.stderr.matches("messages published from").count() == 2, "each gap on standard error too");
    }
}

#[test]
fn a_gap_begins_no_earlier_than_the_stream_was_last_ready() {
    let broker = Mosquitto::unlimited();
    let proxy = Relay::before(broker.address(), 1, |_| Plan::default());
    let process = rtcomm_at("watch --json --status-events", &proxy.url()).start().until_ready();
    for losses in 1..=2 {
        proxy.cut();
        let is_ready_again = |text: &str| text.matches(r#""status":"ready""#).count() == losses + 1;
        process.wait_for_stdout("another connection", is_ready_again);
    }
    let outcome = process.terminate();
    let (mut ready, mut gaps) = (String::new(), 0);
    for line in outcome.json_lines() {
        match line["status"].as_str() {
            Some("ready") => line["received"].as_str().unwrap_or_default().clone_into(&mut ready),
            Some("gap") => {
                gaps += 1;
                outcome.check(line["from"].as_str() >= Some(&ready), &format!("no earlier than {ready}"));
            }
            _ => {}
        }
    }
    outcome.check(gaps == 2, "a gap for each loss");
}

/// A dead connection is detected within one and a half keep-alive intervals, so earlier parts of the stream are complete.
#[test]
fn a_gap_begins_no_earlier_than_one_and_a_half_keepalives_before_its_loss() {
    const SILENCE: Duration = Duration::from_secs(4);
    let broker = Mosquitto::unlimited();
    let proxy = Relay::before(broker.address(), 1, |_| Plan::default());
    let watch = "watch --json --status-events --keepalive 1s";
    let process = rtcomm_at(watch, &proxy.url()).start().until_ready();
    broker.publish(1);
    process.wait_for_stdout("an event", |text| text.contains("iggy_pop"));
    thread::sleep(SILENCE);
    proxy.cut();
    process.wait_for_stdout("the gap", |text| text.contains(r#""status":"gap""#));
    let outcome = process.terminate();
    let time = |line: &Value, key: &str| line[key].as_str().and_then(|text| text.parse::<Timestamp>().ok());
    let lines = outcome.json_lines();
    let event = lines.iter().find(|line| line["status"].is_null()).and_then(|line| time(line, "received"));
    let from = lines.iter().find(|line| line["status"] == "gap").and_then(|line| time(line, "from"));
    let silence = from.expect("a gap has a time").duration_since(event.expect("an event has a time"));
    outcome.check(silence.as_millis() >= 2_500, "the gap excludes most of the silence");
}

#[test]
fn without_status_events_a_loss_is_reported_on_standard_error_only() {
    let outcome = cut_twice("watch --json");
    outcome.check(outcome.json_lines().len() == 3, "events alone");
    outcome.check(outcome.stderr.matches("messages published from").count() == 2, "each gap");
}

#[test]
fn tail_prints_connection_records() {
    let recorded = cut_twice("watch --json --status-events");
    rtcomm("tail - --json").stdin(&recorded.stdout).run().has_status(0).prints(&recorded.stdout).never_says("warning");
    let shown = rtcomm("tail -").stdin(&recorded.stdout).run().has_status(0).never_says("warning");
    shown.check(shown.stdout.lines().count() == recorded.stdout.lines().count(), "a line for each");
    for word in ["connected", "ready", "disconnected", "gap"] {
        let expected = recorded.stdout.matches(&format!(r#""status":"{word}""#)).count();
        let found =
            shown.stdout.lines().filter(|line| line.split_whitespace().any(|it| it.trim_matches(':') == word)).count();
        shown.check(found >= expected, &format!("{word} {expected} times"));
    }
    shown.check(shown.stdout.contains("the connection broke"), "the reason");
}

#[test]
fn pretty_output_shows_connection_changes() {
    let outcome = cut_twice("watch --status-events");
    outcome.check(outcome.stdout.lines().count() == 13, "a line for each of 10 records and 3 events");
    // Warnings have the times of the lines around them.
    let periods = outcome.stderr.lines().filter_map(|line| line.split("messages published from ").nth(1));
    let periods: Vec<&str> = periods.filter_map(|line| line.split(" may be missing").next()).collect();
    outcome.check(periods.len() == 2, "a warning for each gap");
    outcome.check(periods.iter().all(|period| outcome.stdout.contains(period)), "the period of its record");
}

#[test]
fn connection_records_are_written_to_the_file_too() {
    let dir = tempfile::TempDir::new().expect("a temporary directory");
    let path = dir.path().join("events.jsonl");
    let broker = Mosquitto::unlimited();
    let command = broker.rtcomm("watch --json --status-events --fsync -c 1 --output").arg(&path);
    let process = command.start().until_ready();
    broker.publish(1);
    process.end().has_status(0).prints("");
    let text = std::fs::read_to_string(&path).expect("the file can be read");
    assert_eq!(text.lines().count(), 3, "connected, ready, and the event: {text}");
}
