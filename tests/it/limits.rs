//! Limits in a broker's CONNACK are respected and reported.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::support::events::event;
use crate::support::mqtt::property::{
    ASSIGNED_CLIENT_ID, MAXIMUM_PACKET_SIZE, MAXIMUM_QOS, RECEIVE_MAXIMUM, RETAIN_AVAILABLE, SERVER_KEEP_ALIVE,
    SESSION_EXPIRY, SHARED_AVAILABLE, SUBSCRIPTION_IDS_AVAILABLE, WILDCARDS_AVAILABLE,
};
use crate::support::mqtt::{
    CONNECT, Connect, DISCONNECT, Filter, Message, PINGREQ, PUBACK, PUBLISH, Packet, Properties, SUBSCRIBE, Subscribe,
    VERSIONS, Version,
};
use crate::support::peer::{Connection, Peer, Script, end_of_script};
use crate::support::service::reply;
use crate::support::{Outcome, Rtcomm, rtcomm};

/// Returns an event that matches both filters of `--endpoint a`.
fn started(n: usize) -> Message {
    Message::new("/rtcomm/event/session/started/a/a", event(&json!({ "n": n })))
}

fn at(peer: &Peer, words: &str) -> Rtcomm {
    rtcomm(words).arg("--broker").arg(peer.url())
}

/// Returns the filters of one connection that match the topic of [`started`].
fn filters(peer: &Peer, connection: usize) -> Vec<Filter> {
    let received = peer.received();
    let packets = received.iter().filter(|it| it.connection == connection && it.packet.kind() == SUBSCRIBE);
    let filters = packets.flat_map(|it| Subscribe::parse(it.version, &it.packet).filters);
    filters.filter(|filter| filter.matches(&started(0).topic)).collect()
}

/// AWS IoT Core does not support subscription identifiers.
#[test]
fn without_subscription_identifiers_overlapping_filters_are_merged() {
    for command in ["watch --endpoint a", "watch --endpoint a --started", "tail --topic # --topic /rtcomm/+/#"] {
        let peer = Peer::start(|connection| {
            connection.accept_with(false, &Properties::none().byte(SUBSCRIPTION_IDS_AVAILABLE, 0))?;
            let subscribe = connection.grant()?;
            if subscribe.filters.iter().any(|filter| filter.identifier.is_some()) {
                return connection.send(&Packet::disconnect(0xa1, &Properties::none()));
            }
            (0..3).try_for_each(|n| connection.deliver(&started(n)))?;
            connection.serve()
        });
        let outcome = at(&peer, &format!("{command} --json -c 3")).run().has_status(0);
        let numbers: Vec<_> = outcome.json_lines().iter().map(|line| line["payload"]["n"].clone()).collect();
        outcome.check(numbers == [0, 1, 2], "each event once");
        let filters: Vec<_> = peer.subscribes().into_iter().flat_map(|it| it.filters).collect();
        outcome.check(filters.iter().all(|filter| filter.identifier.is_none()), "no identifier");
        let is_single = self::filters(&peer, 0).len() == 1;
        outcome.check(is_single, &format!("filters that do not overlap: {filters:?}"));
    }
}

#[test]
fn limits_are_those_of_the_current_connection() {
    let peer = Peer::start(|connection| {
        let limits = match connection.number {
            1 => Properties::none().byte(SUBSCRIPTION_IDS_AVAILABLE, 0),
            _ => Properties::none(),
        };
        connection.accept_with(false, &limits)?;
        // With identifiers, each filter has its own SUBSCRIBE.
        while connection.filters.iter().filter(|it| it.matches(&started(0).topic)).count() < 2 {
            connection.grant()?;
            if connection.number == 1 {
                break;
            }
        }
        connection.deliver(&started(connection.number))?;
        if connection.number < 2 { Ok(()) } else { connection.serve() }
    });
    let outcome = at(&peer, "watch --json -c 3 --endpoint a").run().has_status(0);
    let numbers: Vec<_> = outcome.json_lines().iter().map(|line| line["payload"]["n"].clone()).collect();
    outcome.check(numbers == [0, 1, 2], "each event once");
    for (connection, count) in [(0, 2), (1, 1), (2, 2)] {
        let filters = filters(&peer, connection);
        let is_as_expected = filters.len() == count && filters.iter().all(|it| it.identifier.is_some() == (count == 2));
        outcome.check(is_as_expected, &format!("{count} filters over connection {connection}, not {filters:?}"));
    }
}

/// Starts a broker whose CONNACK excludes a feature, and that refuses requests for it.
fn without(limit: u8, reason: u8) -> Peer {
    Peer::start(move |connection| {
        connection.accept_with(false, &Properties::none().byte(limit, 0))?;
        connection.wait_for(SUBSCRIBE)?;
        connection.send(&Packet::disconnect(reason, &Properties::none()))
    })
}

#[test]
fn a_missing_feature_ends_the_run_at_the_first_connection() {
    for (limit, reason, command, words) in [
        (SHARED_AVAILABLE, 0x9e, "watch --share group", "shared subscriptions"),
        (SHARED_AVAILABLE, 0x9e, "tail --share group", "shared subscriptions"),
        (WILDCARDS_AVAILABLE, 0xa2, "watch", "wildcard"),
        (WILDCARDS_AVAILABLE, 0xa2, "tail --topic /rtcomm/+", "wildcard"),
    ] {
        let peer = without(limit, reason);
        let outcome = at(&peer, command).run().prints("").never_says("ready").says("  hint: ");
        outcome.check(outcome.status_code().is_some_and(|it| [2, 4].contains(&it)), "2 or 4");
        outcome.check(outcome.stderr.to_lowercase().contains(words), words);
        outcome.check(peer.connections().len() == 1, "one connection");
    }
}

/// A call needs neither feature: its reply topic has no wildcard, or the broker may allow wildcards.
#[test]
fn a_broker_without_shared_subscriptions_works_otherwise() {
    let script =
        Script { to_subscriber: vec![started(0)], ..Script::connack(Properties::none().byte(SHARED_AVAILABLE, 0)) };
    at(&Peer::broker(script), "watch -c 1").run().has_status(0);
    let limits = Properties::none().byte(SHARED_AVAILABLE, 0).byte(RETAIN_AVAILABLE, 0);
    let peer = Peer::broker(Script::connack(limits).replying(|request| vec![reply(request, &json!({}))]));
    at(&peer, "call a b").run().has_status(0);
}

#[test]
fn a_call_is_published_with_the_maximum_qos_of_the_broker() {
    let script = || {
        let limits = Properties::none().byte(MAXIMUM_QOS, 0);
        Script::connack(limits).replying(|request| vec![reply(request, &json!({}))])
    };
    let peer = Peer::broker(script());
    let outcome = at(&peer, "call a b --json -v").run().has_status(0);
    outcome.check(outcome.stderr.contains("QoS 0"), "that the request has QoS 0");
    let qos: Vec<u8> = peer.published().iter().map(|message| message.qos).collect();
    assert_eq!(qos, [0]);
    let peer = Peer::broker(script());
    let input = "{\"caller\":\"a\",\"callee\":\"b\"}\n".repeat(20);
    let outcome = at(&peer, "call --batch -").stdin(input).run().has_status(0);
    outcome.check(outcome.json_lines().iter().all(|line| line["outcome"] == "success"), "every call is placed");
    assert!(peer.published().iter().all(|message| message.qos == 0), "{:?}", peer.published());
    // Without the limit.
    let peer = Peer::broker(Script::default().replying(|request| vec![reply(request, &json!({}))]));
    at(&peer, "call a b").run().has_status(0);
    assert_eq!(peer.published()[0].qos, 1);
}

#[test]
fn a_request_above_the_maximum_packet_size_is_not_sent() {
    let peer = Peer::broker(Script::connack(Properties::none().four_bytes(MAXIMUM_PACKET_SIZE, 150)));
    let outcome = at(&peer, "call a b --json").run().says("150");
    outcome.check(outcome.status_code().is_some_and(|it| [1, 2, 4].contains(&it)), "1, 2 or 4");
    outcome.check(!outcome.stderr.contains("may have been placed"), "no doubt about the call");
    peer.wait_for_end();
    assert!(peer.published().is_empty(), "{:?}", peer.published());
    // In a batch, the requests that fit are sent.
    let long = "x".repeat(400);
    let script = Script::connack(Properties::none().four_bytes(MAXIMUM_PACKET_SIZE, 400));
    let peer = Peer::broker(script.replying(|request| vec![reply(request, &json!({}))]));
    let input = format!("{}\n{}\n", json!({ "caller": "a", "callee": "b" }), json!({ "caller": "c", "callee": long }));
    let outcome = at(&peer, "call --batch -").stdin(input).run();
    let lines = outcome.json_lines();
    outcome.check(lines.len() == 2 && lines[0]["outcome"] == "success", "the first is placed");
    outcome.check(lines[1]["outcome"] != "success" && lines[1]["outcome"] != "unknown", "the second is not");
    assert_eq!(peer.published().len(), 1);
}

/// How long the peer waits for a publication that must not arrive.
const SILENCE: Duration = Duration::from_millis(200);

/// Collects publications until the client pauses, notes their number, and acknowledges and answers them.
fn answer_in_blocks(connection: &mut Connection, most: &AtomicUsize) -> io::Result<()> {
    let writer = connection.writer()?;
    let mut waiting: Vec<Packet> = Vec::new();
    loop {
        writer.set_read_timeout(Some(SILENCE))?;
        match connection.read() {
            Ok(packet) if packet.kind() == PUBLISH => {
                waiting.push(packet);
                most.fetch_max(waiting.len(), Ordering::SeqCst);
            }
            Ok(packet) if packet.kind() == DISCONNECT => return Err(end_of_script()),
            Ok(packet) => connection.answer(&packet, &Script::default())?,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                for packet in waiting.drain(..) {
                    let (request, id) = Message::parse(connection.version, &packet);
                    connection.send(&Packet::puback(connection.version, id.expect("requests have QoS 1"), 0))?;
                    connection.publish(&reply(&request, &json!({})).with_qos(0))?;
                }
            }
            Err(error) => return Err(error),
        }
    }
}

#[test]
fn a_batch_respects_the_receive_maximum() {
    const CALLS: usize = 20;
    for maximum in [1, 3] {
        let most = Arc::new(AtomicUsize::new(0));
        let seen = most.clone();
        let peer = Peer::start(move |connection| {
            connection.accept_with(false, &Properties::none().two_bytes(RECEIVE_MAXIMUM, maximum))?;
            connection.grant()?;
            answer_in_blocks(connection, &seen)
        });
        let input = "{\"caller\":\"a\",\"callee\":\"b\"}\n".repeat(CALLS);
        let outcome = at(&peer, "call --jobs 10 --batch -").stdin(input).run().has_status(0);
        outcome.check(outcome.json_lines().len() == CALLS, "a line for each");
        assert_eq!(peer.published().len(), CALLS);
        assert_eq!(most.load(Ordering::SeqCst), usize::from(maximum), "the receive maximum is used and respected");
    }
}

fn warnings(outcome: &Outcome) -> Vec<String> {
    let lines = outcome.stderr.lines().filter(|line| line.starts_with("rtcomm: warning: "));
    lines.map(str::to_lowercase).collect()
}

#[test]
fn a_session_that_is_kept_for_less_than_requested_is_warned_of() {
    for (seconds, is_less) in [(0, true), (60, true), (7 * 24 * 60 * 60, false)] {
        let script = Script {
            to_subscriber: vec![started(0)],
            ..Script::connack(Properties::none().four_bytes(SESSION_EXPIRY, seconds))
        };
        let peer = Peer::broker(script);
        let outcome = at(&peer, "watch --durable archive --durable-expiry 7d -c 1").run().has_status(0);
        let is_expected = warnings(&outcome).iter().any(|line| line.contains("session"));
        outcome.check(is_expected == is_less, &format!("a warning only if it is less: {seconds} s"));
        let connect = Connect::parse(&peer.seen_of(CONNECT)[0]);
        assert_eq!(connect.properties.number(SESSION_EXPIRY), Some(7 * 24 * 60 * 60), "the request");
    }
    // Without --durable, no session expiry is requested.
    let script =
        Script { to_subscriber: vec![started(0)], ..Script::connack(Properties::none().four_bytes(SESSION_EXPIRY, 0)) };
    let outcome = at(&Peer::broker(script), "watch -c 1").run().has_status(0);
    outcome.check(warnings(&outcome).is_empty(), "no warning");
}

#[test]
fn a_qos_that_is_lower_than_requested_is_warned_of_if_the_session_is_kept() {
    for version in VERSIONS {
        for (flags, granted, is_expected) in [
            ("--durable archive", 0, true),
            ("--durable archive", 1, false),
            ("--durable archive --qos 2", 1, false),
            ("--durable archive --qos 0", 0, false),
            ("", 0, false),
        ] {
            let script = Script { granted: Some(granted), to_subscriber: vec![started(0)], ..Script::default() };
            let peer = Peer::broker(script);
            let outcome = at(&peer, &format!("watch -c 1 --mqtt-version {version} {flags}")).run().has_status(0);
            let is_warned = |line: &String| line.replace('-', " ").contains("at least once");
            let count = warnings(&outcome).iter().filter(|line| is_warned(line)).count();
            outcome.check(count == usize::from(is_expected), &format!("the warning {is_expected} with QoS {granted}"));
        }
    }
}

#[test]
fn an_assigned_client_identifier_is_reported() {
    let script = Script {
        to_subscriber: vec![started(0)],
        ..Script::connack(Properties::none().text(ASSIGNED_CLIENT_ID, "chosen-\u{1b}by-broker"))
    };
    at(&Peer::broker(script), "watch -c 1 -v").run().has_status(0).says(r"chosen-\u{1b}by-broker");
}

/// The broker's interval is shorter than the requested one, so a client that ignores it sends pings too late.
#[test]
fn the_brokers_keep_alive_is_followed() {
    let peer = Peer::start(|connection| {
        connection.accept_with(false, &Properties::none().two_bytes(SERVER_KEEP_ALIVE, 1))?;
        connection.grant()?;
        connection.wait_for(PINGREQ)?;
        connection.publish(&started(0))?;
        connection.serve()
    });
    at(&peer, "watch -c 1 --keepalive 10m").run().has_status(0);
    assert_eq!(Connect::parse(&peer.seen_of(CONNECT)[0]).keep_alive, 600, "the request");
    // A CONNACK without the property leaves our interval, even after a connection with the property.
    let peer = Peer::start(|connection| {
        let limits = match connection.number {
            0 => Properties::none().two_bytes(SERVER_KEEP_ALIVE, 600),
            _ => Properties::none(),
        };
        connection.accept_with(false, &limits)?;
        connection.grant()?;
        if connection.number == 0 {
            return Ok(());
        }
        connection.wait_for(PINGREQ)?;
        connection.publish(&started(0))?;
        connection.serve()
    });
    at(&peer, "watch -c 1 --keepalive 1s").run().has_status(0);
}

/// MQTT 3.1.1 has no shared subscriptions.
#[test]
fn a_shared_subscription_with_mqtt_3_1_1_is_warned_of() {
    for version in VERSIONS {
        let peer = Peer::broker(Script { to_subscriber: vec![started(0)], ..Script::default() });
        let outcome = at(&peer, &format!("watch --share group -c 1 --mqtt-version {version}")).run().has_status(0);
        let is_expected = warnings(&outcome).iter().any(|line| line.contains("3.1.1") && line.contains("topic"));
        outcome.check(is_expected == (version == Version::V3_1_1), "a warning with MQTT 3.1.1 alone");
        let peer = Peer::broker(Script { to_subscriber: vec![started(0)], ..Script::default() });
        let outcome = at(&peer, &format!("watch -c 1 --mqtt-version {version}")).run().has_status(0);
        outcome.check(warnings(&outcome).is_empty(), "no warning without --share");
        assert!(peer.seen_of(PUBACK).is_empty(), "nothing to acknowledge at QoS 0");
    }
}
