//! The size of incoming packets is limited: by the broker with MQTT 5, by the program with MQTT 3.1.1.

use serde_json::json;

use crate::support::events::event;
use crate::support::mqtt::property::MAXIMUM_PACKET_SIZE;
use crate::support::mqtt::{CONNECT, Connect, Message, PUBACK, PUBCOMP, PUBREC, Packet, Properties, Version};
use crate::support::peer::{Peer, Script};
use crate::support::rtcomm;
use crate::support::service::{CALL_TOPIC, reply};

const TOPIC: &str = "/rtcomm/event/session/started/a/b";

fn started() -> Message {
    Message::new(TOPIC, event(&json!({})))
}

#[test]
fn the_connect_has_the_maximum_packet_size() {
    for (command, size) in [
        ("watch -c 1", 16 * 1024 * 1024),
        ("tail -c 1", 16 * 1024 * 1024),
        ("watch -c 1 --max-packet-size 100000", 100_000),
        ("tail -c 1 --max-packet-size 268435455", 268_435_455),
    ] {
        let peer = Peer::broker(Script { to_subscriber: vec![started()], ..Script::default() });
        rtcomm(command).arg("--broker").arg(peer.url()).run().has_status(0);
        let connect = Connect::parse(&peer.seen_of(CONNECT)[0]);
        assert_eq!(connect.properties.number(MAXIMUM_PACKET_SIZE), Some(size), "{command}");
    }
    let peer = Peer::broker(Script::default().replying(|request| vec![reply(request, &json!({}))]));
    rtcomm("call a b --broker").arg(peer.url()).run().has_status(0);
    let size = Connect::parse(&peer.seen_of(CONNECT)[0]).properties.number(MAXIMUM_PACKET_SIZE);
    assert!(size.is_some_and(|size| size > 1024 * 1024), "room for --max-payload: {size:?}");
}

#[test]
fn a_wrong_size_is_a_usage_error() {
    for size in ["0", "-1", "x", "99999999999999"] {
        let run = rtcomm("watch").arg(format!("--max-packet-size={size}")).run();
        run.has_status(2).prints("").says("--max-packet-size");
    }
}

/// MQTT 3.1.1 cannot announce the limit.
#[test]
fn a_packet_that_is_too_large_is_acknowledged_and_recorded() {
    for qos in [0, 1, 2] {
        let peer = Peer::start(move |connection| {
            connection.accept_and_grant()?;
            for (id, size) in [(1, 500), (2, 5_000), (3, 500), (4, 3_000_000), (5, 500)] {
                let payload = event(&json!({ "pad": "x".repeat(size) }));
                let message = Message::new(TOPIC, payload).with_qos(qos);
                connection.send(&message.encode(Version::V3_1_1, [0, id], &Properties::none()))?;
            }
            connection.serve()
        });
        let command = format!("tail --json -c 5 --qos {qos} --mqtt-version 3.1.1 --max-packet-size 2000 --broker");
        let outcome = rtcomm(&command).arg(peer.url()).run().has_status(0);
        let lines = outcome.json_lines();
        for (nth, line) in lines.iter().enumerate() {
            outcome.check(line["topic"] == TOPIC && line["qos"] == qos, "topic and QoS of every packet");
            let is_large = nth % 2 == 1;
            outcome.check(line["error"].is_string() == is_large, &format!("an error in line {nth}: {is_large}"));
            let has_payload = ["payload", "payload_text", "payload_base64"].iter().any(|key| line.get(key).is_some());
            outcome.check(has_payload != is_large, &format!("the payload in line {nth}: {}", !is_large));
        }
        outcome.check(lines[1]["error"].as_str().is_some_and(|it| it.contains("2000")), "the limit in the error");
        let expected = match qos {
            0 => vec![],
            1 => vec![(PUBACK, 1), (PUBACK, 2), (PUBACK, 3), (PUBACK, 4), (PUBACK, 5)],
            _ => vec![(PUBREC, 1), (PUBREC, 2), (PUBREC, 3), (PUBREC, 4), (PUBREC, 5)],
        };
        peer.wait_for_end();
        let acknowledged = [PUBACK, PUBREC].into_iter().flat_map(|kind| peer.seen_of(kind));
        let acknowledged: Vec<_> = acknowledged.map(|packet| (packet.kind(), packet.id()[1])).collect();
        assert_eq!(acknowledged, expected, "each is acknowledged");
        assert!(peer.seen_of(PUBCOMP).len() <= acknowledged.len());
    }
}

#[test]
fn watch_reports_a_packet_that_is_too_large() {
    let peer = Peer::start(|connection| {
        connection.accept_and_grant()?;
        connection.publish(&Message::new(TOPIC, event(&json!({ "pad": "x".repeat(5_000) }))))?;
        connection.publish(&started())?;
        connection.serve()
    });
    let command = "watch --json -c 1 --mqtt-version 3.1.1 --max-packet-size 2000 --broker";
    let outcome = rtcomm(command).arg(peer.url()).run().has_status(0);
    outcome.check(outcome.json_lines()[0]["topic"] == TOPIC, "the event after it");
    outcome.says(TOPIC).says("2000").says("2 messages seen, 1 printed, 1 skipped as undecodable");
}

/// The end of a skipped packet is found even if it arrives in small pieces.
#[test]
fn packets_after_a_packet_that_is_too_large_are_read() {
    for pieces in [1, 7, 1_000, 65_536] {
        let peer = Peer::start(move |connection| {
            connection.accept_and_grant()?;
            let messages = [Message::new(TOPIC, "x".repeat(3_000)), started()];
            let encode =
                |(id, message): (u8, &Message)| message.encode(Version::V3_1_1, [0, id], &Properties::none()).encode();
            let bytes: Vec<u8> = (1..=6).zip(messages.iter().cycle()).flat_map(encode).collect();
            bytes.chunks(pieces).try_for_each(|piece| connection.send_bytes(piece))?;
            connection.serve()
        });
        let command = "watch --json -c 3 --mqtt-version 3.1.1 --max-packet-size 2000 --broker";
        let outcome = rtcomm(command).arg(peer.url()).run().has_status(0);
        outcome.check(outcome.json_lines().iter().all(|line| line["from"] == "a"), "the events between");
    }
}

#[test]
fn a_reply_that_is_too_large_is_not_the_reply() {
    let peer = Peer::broker(Script::default().replying(|request| {
        let large = reply(request, &json!({ "result": "FAILURE", "reason": "x".repeat(20_000) }));
        vec![large, reply(request, &json!({}))]
    }));
    rtcomm("call a b --max-payload 5000 --mqtt-version 3.1.1 --broker").arg(peer.url()).run().has_status(0);
    let topics: Vec<_> = peer.published().iter().map(|message| message.topic.clone()).collect();
    assert_eq!(topics, [CALL_TOPIC]);
}

#[test]
fn a_limit_of_the_broker_does_not_limit_incoming_packets() {
    let limits = Properties::none().four_bytes(MAXIMUM_PACKET_SIZE, 1_000);
    let large = Message::new(TOPIC, event(&json!({ "pad": "x".repeat(50_000) })));
    let peer = Peer::broker(Script { to_subscriber: vec![large], ..Script::connack(limits) });
    let outcome = rtcomm("watch --json -c 1 --broker").arg(peer.url()).run().has_status(0);
    outcome.check(outcome.stdout.len() > 50_000, "the whole payload");
    let sizes = peer.seen().iter().map(|packet: &Packet| packet.body.len()).max();
    assert!(sizes.is_some_and(|size| size < 1_000));
}
