//! A gap covers every message that may be missing: from the last time at which the stream was known to be complete, to the
//! next `ready`.

use std::collections::HashSet;
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use rustix::process::Signal;
use serde_json::Value;

use crate::rig::{LONG, Load, Mosquitto, figures, publisher, rtcomm_at, wait_on};
use crate::support::client::Client;
use crate::support::mqtt::property::SERVER_KEEP_ALIVE;
use crate::support::mqtt::{Message, PINGREQ, PINGRESP, PUBACK, Packet, Properties};
use crate::support::peer::{Connection, Peer, Script};
use crate::support::relay::{Plan, Relay};
use crate::support::{Outcome, Process, TIMEOUT};

fn message(number: u64) -> Message {
    Message::new(publisher::TOPIC, publisher::payload(number))
}

fn time(line: &Value, key: &str) -> Timestamp {
    let text = line[key].as_str().unwrap_or_else(|| panic!("no {key} in {line}"));
    text.parse().unwrap_or_else(|error| panic!("{key} in {line}: {error}"))
}

/// Returns the printed gaps, after checks that apply to every gap.
fn gaps(outcome: &Outcome) -> Vec<(Timestamp, Timestamp)> {
    let lines = outcome.json_lines();
    let gaps = lines.iter().filter(|line| line["status"] == "gap");
    gaps.map(|gap| {
        let (from, until) = (time(gap, "from"), time(gap, "until"));
        outcome.check(from <= until, &format!("a gap that ends after it begins: {gap}"));
        (from, until)
    })
    .collect()
}

/// Returns when the event with this number was received.
fn received(outcome: &Outcome, number: u64) -> Timestamp {
    let lines = outcome.json_lines();
    let line = lines.iter().find(|line| line["payload"]["n"] == number);
    time(line.unwrap_or_else(|| panic!("event {number} is printed:\n{}", outcome.stdout)), "received")
}

fn has_gap(text: &str) -> bool {
    text.contains(r#""status":"gap""#)
}

fn wait_for_event(process: &Process, number: u64) {
    process.wait_for_stdout("the event", |text| text.contains(&format!(r#""n":{number}}}"#)));
}

/// Checks that there is one gap, and that it spans the time `lost`.
fn check_spans(outcome: &Outcome, lost: Timestamp) -> (Timestamp, Timestamp) {
    let gaps = gaps(outcome);
    outcome.check(gaps.len() == 1, "one gap");
    let (from, until) = gaps[0];
    outcome.check(from <= lost && lost <= until, &format!("a gap that spans {lost}"));
    (from, until)
}

/// Starts a peer that answers this many PINGREQs, and sends event 1 and nothing more. Events published later are lost.
fn peer_that_falls_silent(pings: usize, limits: Properties) -> Peer {
    Peer::start(move |connection| {
        connection.accept_with(false, &limits)?;
        connection.grant()?;
        if connection.number > 0 {
            return connection.serve();
        }
        connection.publish(&message(0))?;
        connection.wait_for(PUBACK)?;
        // Pause for longer than a round trip, so that the client knows that no other message is on the way.
        thread::sleep(Duration::from_millis(500));
        for _ in 0..pings {
            while connection.read()?.kind() != PINGREQ {}
            connection.send(&Packet::new(PINGRESP, []))?;
        }
        connection.publish(&message(1))?;
        connection.read_to_end()
    })
}

#[test]
#[ignore = "takes 35 s; make test-faults"]
fn a_gap_begins_with_the_last_packet_of_a_silent_broker() {
    for (pings, server_keep_alive, flags) in
        [(0, None, ""), (2, None, ""), (0, Some(5), ""), (1, Some(4), ""), (0, None, "--durable archive --qos 0")]
    {
        let limits = server_keep_alive
            .map_or(Properties::none(), |seconds| Properties::none().two_bytes(SERVER_KEEP_ALIVE, seconds));
        let peer = peer_that_falls_silent(pings, limits);
        let words = format!("watch --json --status-events --keepalive 2s {flags}");
        let process = rtcomm_at(&words, &peer.url()).start();
        wait_for_event(&process, 1);
        // Everything that the peer sent is printed.
        let silent_since = Timestamp::now();
        process.wait_for_stdout("the gap", has_gap);
        let outcome = process.terminate();
        let (from, until) = check_spans(&outcome, silent_since);
        outcome.check(from >= received(&outcome, 0), "no more than the time since the event before the last");
        figures(format_args!(
            "{pings} pings, Server Keep Alive {server_keep_alive:?}: the gap begins {:.1} ms before the silence was \
             seen, and is {:.1} s long",
            silent_since.duration_since(from).as_secs_f64() * 1e3,
            until.duration_since(from).as_secs_f64()
        ));
    }
}

/// A PINGRESP proves that nothing that was published before its PINGREQ is missing.
#[test]
#[ignore = "takes 5 s; make test-faults"]
fn a_gap_of_an_idle_stream_begins_no_earlier_than_the_ping_before_the_last() {
    let peer = Peer::start(|connection| {
        connection.accept_and_grant()?;
        if connection.number > 0 {
            return connection.serve();
        }
        for _ in 0..3 {
            while connection.read()?.kind() != PINGREQ {}
            connection.send(&Packet::new(PINGRESP, []))?;
        }
        connection.read_to_end()
    });
    let process = rtcomm_at("watch --json --status-events --keepalive 1s", &peer.url()).start();
    let began = Timestamp::now();
    let pings = |count| {
        move |received: &[crate::support::peer::Received]| {
            received.iter().filter(|it| it.packet.kind() == PINGREQ).count() >= count
        }
    };
    peer.wait_until("the second PINGREQ", pings(2));
    process.wait_for_stdout("the gap", has_gap);
    let outcome = process.terminate();
    let from = gaps(&outcome)[0].0;
    let second = peer.received().iter().filter(|it| it.packet.kind() == PINGREQ).nth(1).expect("the second PINGREQ").at;
    let since_second = Duration::try_from(Timestamp::now().duration_since(from)).unwrap_or_default();
    outcome.check(from > began, "after the start");
    outcome.check(since_second <= second.elapsed(), "after the second of three answered pings");
}

/// Stops the process while the peer sends an event and closes the connection. Events published before the process continues
/// are lost.
#[test]
fn a_gap_covers_a_loss_while_the_process_was_stopped() {
    for reset in [false, true] {
        let is_stopped = Arc::new(AtomicBool::new(false));
        let gate = is_stopped.clone();
        let has_closed = Arc::new(AtomicBool::new(false));
        let closed = has_closed.clone();
        let peer = Peer::start(move |connection| {
            connection.accept_and_grant()?;
            if connection.number > 0 {
                return connection.serve();
            }
            for number in 0..2 {
                connection.publish(&message(number))?;
                connection.wait_for(PUBACK)?;
                thread::sleep(Duration::from_millis(500));
            }
            while !gate.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(5));
            }
            connection.publish(&message(2))?;
            if reset {
                connection.reset_on_close()?;
            }
            closed.store(true, Ordering::SeqCst);
            Ok(())
        });
        let process = rtcomm_at("watch --json --status-events", &peer.url()).start();
        wait_for_event(&process, 1);
        wait_on(&process, "its acknowledgement", TIMEOUT, || peer.seen_of(PUBACK).len() == 2);
        process.signal(Signal::STOP);
        is_stopped.store(true, Ordering::SeqCst);
        wait_on(&process, "the close", TIMEOUT, || has_closed.load(Ordering::SeqCst));
        peer.wait_for_end();
        // An event published now is not delivered.
        thread::sleep(Duration::from_millis(300));
        let lost = Timestamp::now();
        thread::sleep(Duration::from_millis(300));
        process.signal(Signal::CONT);
        process.wait_for_stdout("the gap", has_gap);
        let outcome = process.terminate();
        check_spans(&outcome, lost);
        outcome.check(gaps(&outcome)[0].0 >= received(&outcome, 0), "no earlier than the event before the last");
    }
}

/// The same with blocked output: messages that are read late were sent early.
#[test]
fn a_gap_covers_a_loss_while_the_output_was_blocked() {
    const COUNT: u64 = 3_000;
    let has_closed = Arc::new(AtomicBool::new(false));
    let closed = has_closed.clone();
    let peer = Peer::start(move |connection| {
        connection.accept_and_grant()?;
        if connection.number > 0 {
            return connection.serve();
        }
        (0..COUNT).try_for_each(|number| connection.publish(&message(number).with_qos(0)))?;
        closed.store(true, Ordering::SeqCst);
        Ok(())
    });
    let (process, mut stdout) = rtcomm_at("watch --json --status-events --qos 0", &peer.url()).start_unread();
    wait_on(&process, "the close", TIMEOUT, || has_closed.load(Ordering::SeqCst));
    thread::sleep(Duration::from_millis(500));
    let lost = Timestamp::now();
    thread::sleep(Duration::from_millis(500));
    let reader = thread::spawn(move || {
        let mut text = String::new();
        stdout.read_to_string(&mut text).expect("records are UTF-8");
        text
    });
    process.wait_for_stderr("ready again", |text| text.matches("rtcomm: ready").count() == 2);
    process.terminate();
    let text = reader.join().expect("the reader does not panic");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.iter().filter(|line| line["payload"]["n"].is_u64()).count() as u64, COUNT);
    let gap = lines.iter().find(|line| line["status"] == "gap").expect("a gap");
    assert!(time(gap, "from") <= lost && lost <= time(gap, "until"), "{gap} does not span {lost}");
}

/// Messages that were published while earlier ones were on their way are lost with them.
#[test]
#[ignore = "takes 10 s; make test-faults"]
fn a_gap_covers_what_is_lost_on_a_slow_network() {
    const COUNT: u64 = 200;
    const PER_SECOND: u32 = 50;
    for latency in [Duration::from_millis(150), Duration::from_millis(500)] {
        let broker = Mosquitto::unlimited();
        let proxy = Relay::before(broker.address(), 1, move |_| Plan { latency: Some(latency), ..Plan::default() });
        let words = "watch --json --status-events --qos 0";
        let process = rtcomm_at(words, &proxy.url()).start().until_ready();
        let limit = Arc::new(AtomicU64::new(COUNT - 1));
        let load = Load::to(broker.address(), 0..COUNT).per_second(PER_SECOND).up_to(limit.clone()).timed();
        let publisher = load.start();
        wait_for_event(&process, 50);
        proxy.cut();
        process.wait_for_stderr("ready again", |text| text.matches("rtcomm: ready").count() == 2);
        // The last message proves that no other is on its way.
        limit.store(COUNT, Ordering::SeqCst);
        let published = publisher.finish(LONG).times;
        wait_for_event(&process, COUNT - 1);
        let outcome = process.terminate();
        let printed: HashSet<u64> =
            outcome.json_lines().iter().filter_map(|line| line["payload"]["n"].as_u64()).collect();
        let gaps = gaps(&outcome);
        outcome.check(gaps.len() == 1, "one gap");
        let (from, until) = gaps[0];
        let lost: Vec<_> = (0_u64..).zip(&published).filter(|(number, _)| !printed.contains(number)).collect();
        let outside: Vec<_> = lost.iter().filter(|(_, it)| it.acknowledged < from || it.sent > until).collect();
        figures(format_args!(
            "{latency:?} one way: {} of {} lost, {} outside the gap",
            lost.len(),
            published.len(),
            outside.len()
        ));
        outcome.check(!lost.is_empty(), "something is lost");
        outcome.check(outside.is_empty(), &format!("each inside the gap {from} to {until}, not {outside:?}"));
    }
}

/// The stream is complete up to its last message.
#[test]
fn a_cut_connection_gives_a_short_gap() {
    let broker = Mosquitto::unlimited();
    let proxy = Relay::before(broker.address(), 1, |_| Plan::default());
    let process = rtcomm_at("watch --json --status-events", &proxy.url()).start().until_ready();
    let mut client = Client::connect(broker.port());
    for number in 0..3 {
        client.send_message(&message(number));
        wait_for_event(&process, number);
        // Pause for longer than any estimate of the round trip.
        thread::sleep(Duration::from_secs(1));
    }
    let cut = Timestamp::now();
    proxy.cut();
    process.wait_for_stdout("the gap", has_gap);
    let outcome = process.terminate();
    let (from, _) = check_spans(&outcome, cut);
    outcome.check(from >= received(&outcome, 1), "no earlier than the event before the last");
}

#[test]
fn no_gap_ends_before_it_begins() {
    for _ in 0..10 {
        let peer = Peer::start(|connection| {
            connection.accept_and_grant()?;
            connection.publish(&message(connection.number as u64).with_qos(0))?;
            if connection.number < 2 { Ok(()) } else { connection.serve() }
        });
        let process = rtcomm_at("watch --json --status-events", &peer.url()).start();
        wait_for_event(&process, 2);
        process.wait_for_stdout("two gaps", |text| text.matches(r#""status":"gap""#).count() == 2);
        let outcome = process.terminate();
        outcome.check(gaps(&outcome).len() == 2, "two gaps");
    }
}

/// Returns the path of the faketime(1) library for programs with threads.
fn faketime() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path());
    let folders = folders.chain(["/usr/lib", "/usr/local/lib"].map(PathBuf::from));
    let mut libraries = folders.map(|folder| folder.join("faketime/libfaketimeMT.so.1"));
    libraries.find(|library| library.is_file()).expect("faketime is not installed: run `make deps-test`")
}

/// Runs a command, and sets its wall clock while the connection is lost.
fn with_a_step_of(seconds: &str) -> Outcome {
    let clock = tempfile::NamedTempFile::new().expect("a temporary file");
    let set = |offset: &str| std::fs::write(clock.path(), offset).expect("it is ours");
    set("+0");
    let is_stepped = Arc::new(AtomicBool::new(false));
    let gate = is_stepped.clone();
    let peer = Peer::start(move |connection: &mut Connection| {
        connection.accept_and_grant()?;
        connection.publish(&message(connection.number as u64).with_qos(0))?;
        if connection.number > 0 {
            return connection.follow(&Script::default());
        }
        while !gate.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    });
    let run = rtcomm_at("watch --json --status-events", &peer.url())
        .env("LD_PRELOAD", faketime())
        .env("FAKETIME_TIMESTAMP_FILE", clock.path())
        .env("FAKETIME_NO_CACHE", "1")
        .env("DONT_FAKE_MONOTONIC", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    let process = run.start();
    wait_for_event(&process, 0);
    set(seconds);
    is_stepped.store(true, Ordering::SeqCst);
    wait_for_event(&process, 1);
    wait_on(&process, "the gap", LONG, || has_gap(&process.so_far("running")));
    process.terminate()
}

#[test]
fn setting_the_clock_does_not_reverse_a_gap() {
    for step in ["-3600", "+3600", "-5"] {
        let outcome = with_a_step_of(step);
        let gaps = gaps(&outcome);
        outcome.check(gaps.len() == 1, "one gap");
        let length = gaps[0].1.duration_since(gaps[0].0);
        figures(format_args!("the clock is set by {step} s: a gap of {:.3} s", length.as_secs_f64()));
        if step.starts_with('-') {
            outcome.check(length.as_secs() < 60, "as long as the connection was away, by a monotonic clock");
        }
    }
}
