//! The broker's answer to a publication counts, even if the connection ends right after it.

use serde_json::json;

use crate::support::mqtt::property::REASON_STRING;
use crate::support::mqtt::{Message, PUBACK, PUBLISH, Packet, PacketId, Properties, Version};
use crate::support::peer::{Connection, Peer};
use crate::support::service::{reply, request_of};
use crate::support::{Rtcomm, rtcomm};

const RUNS: usize = 50;

fn call(peer: &Peer, words: &str) -> Rtcomm {
    rtcomm(&format!("call --json --mqtt-version 5 {words} --broker")).arg(peer.url())
}

/// Receives the next request. Returns it with its packet identifier.
fn request(connection: &mut Connection) -> std::io::Result<(Message, PacketId)> {
    let packet = connection.wait_for(PUBLISH)?;
    let (message, id) = Message::parse(connection.version, &packet);
    Ok((message, id.expect("requests have QoS 1")))
}

/// mosquitto does so with dynamic security and `max_queued_messages 0`.
#[test]
fn a_denied_call_exits_with_4_even_if_the_broker_closes_at_once() {
    for closes in [true, false] {
        let peer = Peer::start(move |connection| {
            connection.accept_and_grant()?;
            let (_, id) = request(connection)?;
            connection.send(&Packet::puback(Version::V5, id, 0x87))?;
            if closes { Ok(()) } else { connection.serve() }
        });
        for _ in 0..RUNS {
            let outcome =
                call(&peer, "a b").run().has_status(4).says("refuses the publication to '/rtcomm/callControl'");
            outcome.check(outcome.json_lines()[0]["outcome"] == "denied", "the outcome");
            outcome.check(!outcome.stderr.contains("may have been placed"), "no doubt");
        }
    }
}

#[test]
fn a_denied_call_of_a_batch_is_denied_even_if_the_broker_closes_at_once() {
    let peer = Peer::start(|connection| {
        connection.accept_and_grant()?;
        let (first, id) = request(connection)?;
        if request_of(&first)["callerEndpoint"] == "good" {
            connection.send(&Packet::puback(Version::V5, id, 0))?;
            connection.publish(&reply(&first, &json!({})).with_qos(0))?;
        }
        let (_, id) = request(connection)?;
        connection.send(&Packet::puback(Version::V5, id, 0x87))
    });
    let line = |caller: &str| format!("{}\n", json!({ "caller": caller, "callee": "b" }));
    for _ in 0..RUNS {
        let input = [line("good"), line("bad")].concat();
        let outcome = call(&peer, "--batch - --jobs 1").stdin(input).run().has_status(4);
        let outcomes: Vec<_> = outcome.json_lines().iter().map(|line| line["outcome"].clone()).collect();
        outcome.check(outcomes == ["success", "denied"], "each call's own outcome");
    }
}

#[test]
fn a_call_without_a_subscriber_exits_with_6_even_if_the_broker_closes_at_once() {
    let peer = Peer::start(|connection| {
        connection.accept_and_grant()?;
        let (_, id) = request(connection)?;
        connection.send(&Packet::puback(Version::V5, id, 0x10))
    });
    for _ in 0..RUNS {
        let outcome = call(&peer, "a b").run().has_status(6).says("nobody subscribes to /rtcomm/callControl");
        outcome.check(outcome.json_lines()[0]["outcome"] == "no_responder", "the outcome");
    }
}

/// Reason codes of a PUBACK [MQTT 5, 3.4.2.1], and the expected words.
#[test]
fn each_reason_of_a_refused_publication_has_its_name() {
    for (reason, words) in [
        (0x80, "unspecified"),
        (0x83, "implementation specific"),
        (0x87, "not authorized"),
        (0x90, "topic name invalid"),
        (0x97, "quota exceeded"),
        (0x99, "payload format invalid"),
    ] {
        let peer = Peer::start(move |connection| {
            connection.accept_and_grant()?;
            let (_, id) = request(connection)?;
            let properties = Properties::none().text(REASON_STRING, "ask \u{1b}[2J Mick").encode(Version::V5);
            connection.send(&Packet::new(PUBACK, [&id[..], &[reason], &properties].concat()))?;
            connection.serve()
        });
        let outcome = call(&peer, "a b").run().has_status(4).says(r"ask \u{1b}[2J Mick");
        outcome.check(outcome.stderr.to_lowercase().contains(words), words);
        outcome.check(outcome.json_lines()[0]["outcome"] == "denied", "the outcome");
    }
}

/// A reply that was sent before the close is handled.
#[test]
fn a_reply_that_the_broker_sent_before_it_closed_counts() {
    for order in ["puback first", "reply first", "reply alone"] {
        let peer = Peer::start(move |connection| {
            connection.accept_and_grant()?;
            let (message, id) = request(connection)?;
            let puback = Packet::puback(Version::V5, id, 0).encode();
            let reply =
                reply(&message, &json!({})).with_qos(0).encode(Version::V5, [0, 1], &Properties::none()).encode();
            let bytes = match order {
                "puback first" => [puback, reply].concat(),
                "reply first" => [reply, puback].concat(),
                _ => reply,
            };
            connection.send_bytes(&bytes)
        });
        for _ in 0..RUNS / 5 {
            let outcome = call(&peer, "a b").run().has_status(0);
            outcome.check(outcome.json_lines()[0]["outcome"] == "success", order);
        }
    }
}
