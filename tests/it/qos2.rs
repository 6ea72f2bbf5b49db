//! QoS 2 in both MQTT versions: a message is printed once, whatever packets the broker repeats.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use crate::support::events::event;
use crate::support::mqtt::{
    DISCONNECT, Message, PUBCOMP, PUBLISH, PUBREC, PUBREL, Packet, PacketId, Properties, VERSIONS, Version,
};
use crate::support::peer::{Connection, Peer};
use crate::support::rtcomm;

const DUP: u8 = 8;

fn publish(version: Version, id: PacketId, n: usize, flags: u8) -> Packet {
    let message = Message::new("/rtcomm/event/session/started/a/b", event(&json!({ "n": n }))).with_qos(2);
    let mut packet = message.encode(version, id, &Properties::none());
    packet.first |= flags;
    packet
}

/// Sends a packet and waits for the client's acknowledgement of this kind.
fn exchange(connection: &mut Connection, packet: &Packet, kind: u8, id: PacketId) -> std::io::Result<()> {
    connection.send(packet)?;
    let answer = connection.wait_for(kind)?;
    assert_eq!((answer.first, answer.id()), (kind, id), "{answer:?}");
    Ok(())
}

#[test]
fn a_message_is_printed_once_until_it_is_released() {
    for version in VERSIONS {
        let is_done = Arc::new(AtomicBool::new(false));
        let done = is_done.clone();
        let peer = Peer::start(move |connection| {
            connection.accept()?;
            let subscribe = connection.grant()?;
            assert!(subscribe.filters.iter().all(|filter| filter.qos == 2), "{subscribe:?}");
            let id = [0, 7];
            let release = Packet::new(PUBREL | 2, id);
            exchange(connection, &publish(version, id, 0, 0), PUBREC, id)?;
            exchange(connection, &publish(version, id, 0, DUP), PUBREC, id)?;
            exchange(connection, &publish(version, id, 0, DUP), PUBREC, id)?;
            exchange(connection, &release, PUBCOMP, id)?;
            // A repeated PUBREL, as after a lost PUBCOMP.
            exchange(connection, &release, PUBCOMP, id)?;
            // The identifier can be used again.
            exchange(connection, &publish(version, id, 1, 0), PUBREC, id)?;
            exchange(connection, &release, PUBCOMP, id)?;
            // Another message in between.
            exchange(connection, &publish(version, id, 2, 0), PUBREC, id)?;
            exchange(connection, &publish(version, [1, 7], 3, 0), PUBREC, [1, 7])?;
            exchange(connection, &publish(version, id, 2, DUP), PUBREC, id)?;
            exchange(connection, &publish(version, [2, 7], 4, 0), PUBREC, [2, 7])?;
            done.store(true, Ordering::SeqCst);
            connection.serve()
        });
        let watch = format!("watch --json --qos 2 -c 5 --mqtt-version {version} --broker");
        let outcome = rtcomm(&watch).arg(peer.url()).run().has_status(0).never_says("warning");
        let numbers: Vec<_> = outcome.json_lines().iter().map(|line| line["payload"]["n"].clone()).collect();
        outcome.check(numbers == [0, 1, 2, 3, 4], "each message once");
        outcome.check(outcome.json_lines().iter().all(|line| line["qos"] == 2), "their QoS");
        peer.wait_for_end();
        assert!(is_done.load(Ordering::SeqCst), "every packet is answered: {:?}", peer.seen());
        assert_eq!(peer.seen().last().map(Packet::kind), Some(DISCONNECT));
    }
}

#[test]
fn an_unreleased_message_is_not_printed_again_after_a_reconnect_to_its_session() {
    for version in VERSIONS {
        // Without the session, the identifier belongs to another message.
        for session_present in [true, false] {
            let peer = Peer::start(move |connection| {
                let id = [0, 7];
                connection.accept_with(session_present && connection.number > 0, &Properties::none())?;
                if connection.number == 0 {
                    connection.grant()?;
                    return exchange(connection, &publish(version, id, 0, 0), PUBREC, id);
                }
                if !session_present {
                    connection.grant()?;
                }
                let flags = if session_present { DUP } else { 0 };
                exchange(connection, &publish(version, id, usize::from(!session_present), flags), PUBREC, id)?;
                exchange(connection, &Packet::new(PUBREL | 2, id), PUBCOMP, id)?;
                exchange(connection, &publish(version, id, 2, 0), PUBREC, id)?;
                connection.serve()
            });
            let expected = if session_present { vec![0, 2] } else { vec![0, 1, 2] };
            let watch = format!(
                "watch --json --durable archive --qos 2 -c {} --mqtt-version {version} --broker",
                expected.len()
            );
            let outcome = rtcomm(&watch).arg(peer.url()).run().has_status(0);
            let numbers: Vec<_> = outcome.json_lines().iter().map(|line| line["payload"]["n"].clone()).collect();
            outcome.check(numbers == expected, &format!("{expected:?}"));
        }
    }
}

#[test]
fn a_release_without_a_message_is_answered() {
    for version in VERSIONS {
        let peer = Peer::start(move |connection| {
            connection.accept_and_grant()?;
            connection.send(&Packet::new(PUBREL | 2, [5, 5]))?;
            let answer = connection.wait_for(PUBCOMP)?;
            assert_eq!(answer.id(), [5, 5]);
            // [MQTT 5, 3.7.2.1]: 0x92, packet identifier not found.
            let reason = answer.body.get(2).copied().unwrap_or_default();
            assert!(if version == Version::V5 { [0, 0x92].contains(&reason) } else { answer.body.len() == 2 });
            connection.send(&publish(version, [0, 1], 0, 0))?;
            connection.serve()
        });
        let watch = format!("watch -c 1 --qos 2 --mqtt-version {version} --broker");
        rtcomm(&watch).arg(peer.url()).run().has_status(0);
        assert!(peer.seen_of(PUBLISH).is_empty());
    }
}
