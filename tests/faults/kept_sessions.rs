//! A kept session delivers messages together with the CONNACK. A short run acknowledges what it prints.

use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use rustix::process::Signal;

use crate::rig::{figures, publisher, rtcomm_at};
use crate::support::mqtt::{DISCONNECT, Message, PUBACK, Packet, Properties, SUBSCRIBE, VERSIONS, Version};
use crate::support::peer::{Peer, Script};
use crate::support::{Outcome, TIMEOUT};

/// The number of queued messages: more than one buffer holds, fewer than two sockets hold.
const WAITING: u16 = 3_000;

/// Returns the session's messages. The packet identifier is the message's number.
fn waiting(version: Version) -> Vec<u8> {
    let packet = |number: u16| {
        let message = Message::new(publisher::TOPIC, publisher::payload(number.into()));
        message.encode(version, number.to_be_bytes(), &Properties::none()).encode()
    };
    (1..=WAITING).flat_map(packet).collect()
}

/// Starts a broker that sends a kept session's messages together with the CONNACK, and then calls `sent`.
fn kept(version: Version, sent: impl Fn() + Send + Sync + 'static) -> Peer {
    let messages = waiting(version);
    Peer::start(move |connection| {
        connection.wait_for(crate::support::mqtt::CONNECT)?;
        let connack = Packet::connack(version, true, 0, &Properties::none()).encode();
        connection.send_bytes(&[connack, messages.clone()].concat())?;
        sent();
        connection.serve()
    })
}

/// Checks that exactly the printed messages were acknowledged, and that the client sent DISCONNECT. Returns their number.
fn check_acknowledged(outcome: &Outcome, peer: &Peer) -> usize {
    peer.wait_for_end();
    let printed: Vec<u64> = outcome.json_lines().iter().filter_map(|line| line["payload"]["n"].as_u64()).collect();
    let acknowledged: Vec<u64> =
        peer.seen_of(PUBACK).iter().map(|packet| u16::from_be_bytes(packet.id()).into()).collect();
    let count = printed.len();
    outcome.check(printed == acknowledged, &format!("{count} printed, {} acknowledged", acknowledged.len()));
    outcome.check(printed == (1..=count as u64).collect::<Vec<_>>(), "in order");
    let last = peer.seen().last().map(Packet::kind);
    outcome.check(count == 0 || last == Some(DISCONNECT), &format!("DISCONNECT at the end, not {last:x?}"));
    outcome.check(count == 0 || outcome.status_code() != Some(5), "not unreachable");
    count
}

#[test]
fn a_run_of_milliseconds_acknowledges_what_it_printed() {
    for version in VERSIONS {
        let mut counts = Vec::new();
        for milliseconds in [0, 0, 0, 1, 2, 3, 5, 8, 13, 21, 34, 55] {
            let (sender, sent) = channel();
            let sender = Mutex::new(sender);
            let peer = kept(version, move || {
                // Ignore a missing receiver: the test is over.
                let _ = sender.lock().expect("nobody panicked").send(());
            });
            let words = format!("watch --json --durable archive --mqtt-version {version}");
            let process = rtcomm_at(&words, &peer.url()).start();
            sent.recv_timeout(TIMEOUT).expect("the session's messages are sent");
            // End the run at various times.
            std::thread::sleep(Duration::from_millis(milliseconds));
            process.signal(Signal::TERM);
            let outcome = process.end().has_status(143);
            counts.push(check_acknowledged(&outcome, &peer));
        }
        figures(format_args!("MQTT {version}: printed and acknowledged {counts:?} of {WAITING}"));
    }
}

#[test]
fn a_run_with_a_count_acknowledges_what_it_printed() {
    for version in VERSIONS {
        for count in [1, 2, 100, 2_999] {
            let peer = kept(version, || {});
            let words = format!("watch --json --durable archive -c {count} --mqtt-version {version}");
            let outcome = rtcomm_at(&words, &peer.url()).run().has_status(0);
            assert_eq!(check_acknowledged(&outcome, &peer), count);
        }
    }
}

#[test]
fn a_run_with_a_duration_acknowledges_what_it_printed() {
    for version in VERSIONS {
        let mut counts = Vec::new();
        for milliseconds in [1, 10, 20, 30, 50, 80, 130, 210] {
            let peer = kept(version, || {});
            let words = format!("watch --json --durable archive --for {milliseconds}ms --mqtt-version {version}");
            let outcome = rtcomm_at(&words, &peer.url()).run();
            let status = outcome.status_code();
            outcome
                .check(status == Some(0) || status == Some(5) && outcome.stdout.is_empty(), "0, or 5 without records");
            if status == Some(0) {
                counts.push(check_acknowledged(&outcome, &peer));
            }
        }
        figures(format_args!("MQTT {version}: printed and acknowledged {counts:?} of {WAITING}"));
    }
}

/// A closed pipe ends the run as well.
#[test]
fn a_run_whose_reader_closes_the_pipe_sends_disconnect() {
    for version in VERSIONS {
        let messages = waiting(version);
        let (accepted, is_accepted) = channel();
        let (left, has_left) = channel();
        let (accepted, has_left) = (Mutex::new(accepted), Mutex::new(has_left));
        let peer = Peer::start(move |connection| {
            connection.wait_for(crate::support::mqtt::CONNECT)?;
            connection.send(&Packet::connack(version, true, 0, &Properties::none()))?;
            connection.grant()?;
            accepted.lock().expect("no panic").send(()).expect("the test waits");
            has_left.lock().expect("no panic").recv().expect("the test says so");
            connection.send_bytes(&messages)?;
            connection.serve()
        });
        let words = format!("watch --json --durable archive --mqtt-version {version}");
        let (process, stdout) = rtcomm_at(&words, &peer.url()).start_unread();
        is_accepted.recv_timeout(TIMEOUT).expect("it connects");
        let process = process.until_ready();
        drop(stdout);
        left.send(()).expect("the peer waits");
        process.end().has_status(0);
        peer.wait_for_end();
        assert_eq!(peer.seen().last().map(Packet::kind), Some(DISCONNECT));
        assert!(peer.seen_of(PUBACK).is_empty(), "a record that the reader did not get is not acknowledged");
    }
}

/// A broker may deliver a kept session before it answers SUBSCRIBE [MQTT 5, 3.8.4].
#[test]
fn messages_before_the_suback_are_printed() {
    for version in VERSIONS {
        let messages = waiting(version);
        let peer = Peer::start(move |connection| {
            connection.accept()?;
            let subscribe = connection.wait_for(SUBSCRIBE)?;
            connection.send_bytes(&messages)?;
            connection.answer(&subscribe, &Script::default())?;
            connection.serve()
        });
        let words = format!("watch --json --durable archive -c {WAITING} --mqtt-version {version}");
        let outcome = rtcomm_at(&words, &peer.url()).run().has_status(0);
        check_acknowledged(&outcome, &peer);
    }
}
