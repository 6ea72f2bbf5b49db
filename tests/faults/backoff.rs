//! Connections that do not last are retried with exponential backoff, and reported once.

use std::io;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::rig::{LONG, figures, rtcomm_at, wait_on};
use crate::support::events::event;
use crate::support::mqtt::{Message, PUBLISH, Packet, Version};
use crate::support::peer::{Connection, Peer};

/// How long connections are counted.
const WINDOW: Duration = Duration::from_secs(10);

/// The maximum number of connections in that time, and of lines between the first `ready` and the summary.
const LIMIT: usize = 8;

/// Checks the number of connections and lines with a peer whose connections do not last.
fn check(what: &str, version: &str, script: impl Fn(&mut Connection) -> io::Result<()> + Send + Sync + 'static) {
    let peer = Peer::start(script);
    let words = format!("watch --for {}s --mqtt-version {version}", WINDOW.as_secs());
    let outcome = rtcomm_at(&words, &peer.url()).run();
    let times = peer.connections();
    let pauses: Vec<Duration> = times.windows(2).map(|pair| pair[1].duration_since(pair[0])).collect();
    let lines = outcome.stderr.lines().count().saturating_sub(2);
    figures(format_args!("{what}: {} connections in {WINDOW:?}, {lines} lines; pauses {pauses:.1?}", times.len()));
    outcome.check((3..=LIMIT).contains(&times.len()), &format!("3 to {LIMIT} connections, not {}", times.len()));
    outcome.check(lines <= LIMIT, &format!("at most {LIMIT} lines, not {lines}"));
    outcome.check(pauses.last() > pauses.first(), "ever longer pauses");
}

#[test]
#[ignore = "takes 20 s; make test-faults"]
fn a_broker_that_drops_every_connection_is_retried_with_backoff() {
    check("dropped after SUBACK", "5", Connection::accept_and_grant);
    check("dropped after CONNACK", "5", |connection| match connection.number {
        0 => connection.accept_and_grant(),
        _ => connection.accept().map(drop),
    });
}

#[test]
#[ignore = "takes 20 s; make test-faults"]
fn a_message_that_breaks_every_connection_is_reported_once() {
    for version in ["5", "3.1.1"] {
        check("a poison message", version, |connection| {
            connection.accept_and_grant()?;
            // A PUBLISH with QoS 3.
            connection.send(&Packet::new(PUBLISH | 6, [0, 1, b'a', 0, 1, 0]))?;
            connection.read_to_end()
        });
    }
    let peer = Peer::start(|connection| {
        connection.accept_and_grant()?;
        connection.send(&Packet::new(PUBLISH | 6, [0, 1, b'a', 0, 1, 0]))?;
        connection.read_to_end()
    });
    let process = rtcomm_at("watch", &peer.url()).start();
    peer.wait_for_connections(4);
    let outcome = process.terminate();
    outcome.check(outcome.stderr.matches("the broker sent").count() == 1, "the reason once");
}

#[test]
#[ignore = "takes 10 s; make test-faults"]
fn an_event_before_each_loss_does_not_reset_the_backoff() {
    check("dropped after an event", "5", |connection| {
        connection.accept_and_grant()?;
        connection.publish(&Message::new("/rtcomm/event/session/started/a/b", event(&json!({}))).with_qos(0))
    });
}

/// A connection that lasts this long resets the backoff.
const LASTING: Duration = Duration::from_secs(12);

#[test]
#[ignore = "takes 15 s; make test-faults"]
fn a_connection_that_lasted_resets_the_backoff() {
    const SHORT: usize = 5;
    let peer = Peer::start(|connection| {
        connection.accept_and_grant()?;
        if connection.number < SHORT {
            return Ok(());
        }
        if connection.number == SHORT {
            connection.writer()?.set_read_timeout(Some(LASTING))?;
            // A read fails after this long; a ping starts it again.
            let began = Instant::now();
            while began.elapsed() < LASTING && connection.read().is_ok() {}
            return Ok(());
        }
        connection.serve()
    });
    let process = rtcomm_at("watch", &peer.url()).start();
    wait_on(&process, "the connection after the one that lasted", LONG, || peer.connections().len() > SHORT + 1);
    process.terminate();
    let times = peer.connections();
    let before = times[SHORT] - times[SHORT - 1];
    let after = times[SHORT + 1].duration_since(times[SHORT]).saturating_sub(LASTING);
    figures(format_args!("{before:.1?} before the connection that lasted, {after:.1?} after it"));
    assert!(after < before, "{before:?}, then {after:?}");
}

/// The first pause is short, because most connections are lost only once.
#[test]
fn the_first_retry_follows_soon() {
    for version in [Version::V5, Version::V3_1_1] {
        let peer = Peer::start(|connection| {
            connection.accept_and_grant()?;
            if connection.number == 0 { Ok(()) } else { connection.serve() }
        });
        let process = rtcomm_at(&format!("watch --mqtt-version {version}"), &peer.url()).start();
        process.wait_for_stderr("ready again", |text| text.matches("rtcomm: ready").count() == 2);
        process.terminate();
        let times = peer.connections();
        assert!(times[1] - times[0] < Duration::from_secs(10), "{:?}", times[1] - times[0]);
    }
}
