//! Memory does not grow during a long run, and a message needs little more than its size.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use serde_json::json;

use crate::rig::event_counts::read_on;
use crate::rig::process_stats::{KiB, LIMIT, OWN_LIMIT, own, peak, resident};
use crate::rig::{EventCounts, LONG, Load, Mosquitto, figures, rtcomm_at, wait_on};
use crate::support::mqtt::{Message, VERSIONS, Version};
use crate::support::peer::{Peer, Script};
use crate::support::service::reply;

const MANY: u64 = 2_000_000;

/// The maximum number of messages on the way, so that the broker's memory is bounded too.
const AHEAD: u64 = 10_000;

/// The number of memory samples.
const SAMPLES: u64 = 100;

#[test]
#[ignore = "takes 75 s; make test-faults"]
fn memory_does_not_grow_with_two_million_messages() {
    let broker = Mosquitto::unlimited();
    let (process, stdout) = broker.rtcomm("watch --json --durable archive").start_unread();
    let process = process.until_ready();
    let counts = read_on(stdout, EventCounts::of(MANY));
    let limit = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let publisher = Load::to(broker.address(), 0..MANY).up_to(limit.clone()).start();
    let mut looks: Vec<KiB> = Vec::new();
    for look in 1..=SAMPLES {
        wait_on(&process, "the next messages", LONG, || {
            let came = counts.lock().distinct();
            limit.store((came + AHEAD).min(MANY), Ordering::SeqCst);
            came >= MANY * look / SAMPLES
        });
        looks.push(resident(&process));
    }
    let took = began.elapsed();
    publisher.finish(LONG);
    let (highest, owned) = (peak(&process), own(&process));
    process.terminate();
    let counts = counts.lock();
    counts.check_is_whole();
    let tenth = looks.len() / 10;
    let first = looks[..tenth].iter().max().expect("there are looks");
    let last = looks[looks.len() - tenth..].iter().max().expect("there are looks");
    figures(format_args!(
        "{MANY} messages in {took:.1?}: {first} in the first tenth, {last} in the last, {highest} at the most, {owned} beside code, 0 missing, \
         {} duplicates",
        counts.duplicates()
    ));
    assert!(last.0 <= first.0 + 1024, "memory grows: {looks:?}");
    assert!(highest < LIMIT && owned < OWN_LIMIT, "{highest} resident, {owned} anonymous");
}

/// Receives a text message of `size` bytes with these limits. Returns the peak memory.
fn memory_for(size: usize, version: Version, flags: &str) -> KiB {
    let peer = Peer::start(move |connection| {
        connection.accept_and_grant()?;
        connection.publish(&Message::new("/rtcomm/big", vec![b'x'; size]).with_qos(0))?;
        connection.publish(&Message::new("/rtcomm/small", "the end").with_qos(0))?;
        connection.serve()
    });
    let command = rtcomm_at(&format!("tail --json --mqtt-version {version} {flags}"), &peer.url());
    let dir = tempfile::TempDir::new().expect("a temporary directory");
    let path = dir.path().join("records");
    let process = command.start_onto(std::fs::File::create(&path).expect("it can be made"));
    wait_on(&process, "the end", LONG, || {
        let mut end = Vec::new();
        let read = std::fs::File::open(&path).and_then(|mut file| {
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(200)))?;
            file.read_to_end(&mut end)
        });
        read.is_ok() && String::from_utf8_lossy(&end).contains(r#""the end""#)
    });
    let highest = peak(&process);
    process.terminate();
    let length = std::fs::metadata(&path).expect("it was made").len();
    let is_whole = length > size as u64;
    figures(format_args!("{size} bytes, MQTT {version} {flags}: {highest} at the most; whole: {is_whole}"));
    assert_eq!(is_whole, !flags.is_empty(), "the message is in the record if its size is allowed");
    highest
}

#[test]
fn a_large_message_takes_little_more_memory_than_its_size() {
    const SIZE: usize = 64 * 1024 * 1024;
    for version in VERSIONS {
        let highest = memory_for(SIZE, version, "--max-packet-size 134217728");
        let limit = KiB(SIZE as u64 / 1024 * 12 / 10 + LIMIT.0);
        assert!(highest <= limit, "{highest}, not more than {limit}");
    }
}

#[test]
#[ignore = "takes 10 s; make test-faults"]
fn a_large_reply_takes_little_more_memory_than_its_size() {
    const SIZE: usize = 64 * 1024 * 1024;
    for version in VERSIONS {
        let script = Script::default().replying(|request| vec![reply(request, &json!({ "x": "x".repeat(SIZE) }))]);
        let peer = Peer::broker(script);
        let words =
            format!("call a b --json --max-payload 134217728 --max-packet-size 134217728 --mqtt-version {version}");
        let (process, mut stdout) = rtcomm_at(&words, &peer.url()).start_unread();
        // The pipe is too small for the result, so the process waits until it is read.
        stdout.read_exact(&mut [0]).expect("the result begins");
        let highest = peak(&process);
        let rest = std::io::copy(&mut stdout, &mut std::io::sink()).expect("the result can be read");
        process.end().has_status(0);
        figures(format_args!("a reply of {SIZE} bytes, MQTT {version}: {highest} at the most"));
        assert!(rest > SIZE as u64, "the whole reply is in the result");
        let limit = KiB(SIZE as u64 / 1024 * 12 / 10 + LIMIT.0);
        assert!(highest <= limit, "{highest}, not more than {limit}");
    }
}

#[test]
fn a_message_beyond_the_limit_takes_no_memory() {
    let highest = memory_for(200 * 1024 * 1024, Version::V3_1_1, "");
    assert!(highest < LIMIT, "{highest}, not more than {LIMIT}");
}

/// A packet with a large Remaining Length takes memory only as its bytes arrive.
#[test]
fn a_packet_that_only_claims_to_be_large_takes_no_memory() {
    for version in VERSIONS {
        let peer = Peer::start(|connection| {
            connection.accept_and_grant()?;
            connection.send_bytes(b"\x30\xff\xff\xff\x3f\0\x01a")
        });
        let words = format!("tail --json --max-packet-size 200000000 --mqtt-version {version}");
        let process = rtcomm_at(&words, &peer.url()).start();
        // The peer closes the connection. The client notices that only after it has read all bytes and tried to read more.
        process.wait_for_stderr("the end of the connection", |text| text.contains("lost "));
        let highest = peak(&process);
        process.terminate();
        assert!(highest < LIMIT, "{highest}, not more than {LIMIT}");
    }
}
