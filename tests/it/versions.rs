//! The MQTT version of a connection, with peers that are old, silent, or not brokers.

use std::sync::Arc;

use rustix::process::Signal;
use serde_json::json;

use crate::support::events::event;
use crate::support::mqtt::{Message, Packet};
use crate::support::peer::{Peer, Script, ToVersion5};
use crate::support::service::reply;
use crate::support::{Broker, rtcomm};

const REFUSALS: [ToVersion5; 3] = [ToVersion5::ReasonCode, ToVersion5::ReturnCode, ToVersion5::Close];

fn old_broker(to_version_5: ToVersion5) -> Peer {
    let hello = Message::new("/rtcomm/event/registration/started/iggy_pop", event(&json!({})));
    Peer::broker(Script {
        to_version_5,
        granted: Some(1),
        to_subscriber: vec![hello],
        on_publish: None,
        ..Script::default()
    })
}

#[test]
fn a_broker_that_refuses_version_5_gets_3_1_1() {
    for refusal in REFUSALS {
        let peer = old_broker(refusal);
        let outcome = rtcomm("watch --json -c 1 --verbose --broker").arg(peer.url()).run().has_status(0);
        let outcome = outcome.says("with MQTT 3.1.1");
        outcome.check(outcome.json_lines()[0]["from"] == "iggy_pop", "the event");
        outcome.check(peer.levels() == [5, 4], &format!("version 5, then 3.1.1, after {refusal:?}"));
    }
}

#[test]
fn every_command_reaches_a_broker_that_closes_on_version_5() {
    let peer = old_broker(ToVersion5::Close);
    for _ in 0..4 {
        let many: Vec<_> = (0..12).map(|_| rtcomm("watch -c 1 --broker").arg(peer.url()).start()).collect();
        for process in many {
            process.end().has_status(0);
        }
    }
}

#[test]
fn a_requested_version_is_the_only_one() {
    for (refusal, status) in REFUSALS.into_iter().zip([4, 4, 5]) {
        let peer = old_broker(refusal);
        let outcome = rtcomm("watch --mqtt-version 5 --broker").arg(peer.url()).run().has_status(status);
        outcome.check(peer.levels() == [5], &format!("version 5 alone, after {refusal:?}"));
        let outcome = rtcomm("watch -c 1 --mqtt-version 3.1.1 --broker").arg(peer.url()).run().has_status(0);
        outcome.check(peer.levels() == [5, 4], "version 3.1.1 alone");
    }
}

#[test]
fn auto_is_version_5_if_the_broker_speaks_it() {
    for broker in [Broker::mosquitto(), Broker::demo()] {
        rtcomm("watch -v").at(&broker).start().until_ready().terminate().says("with MQTT 5");
    }
}

#[test]
fn a_server_of_another_protocol_is_an_error() {
    for bytes in [&b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"[..], b"220 mail.example ESMTP\r\n", b""] {
        let peer = Peer::saying(bytes);
        for command in ["watch", "call a b", "tail"] {
            let outcome = rtcomm(command).arg("--broker").arg(peer.url()).run().has_status(5).prints("");
            outcome.says("is it an MQTT broker").never_says("panicked");
        }
    }
}

#[test]
fn a_request_with_an_unknown_outcome_is_not_sent_again() {
    let peer = old_broker(ToVersion5::ReasonCode);
    let outcome = rtcomm("call a b --json --broker").arg(peer.url()).run().has_status(1);
    let outcome = outcome.says("the call may have been placed (transID ");
    outcome.check(outcome.json_lines()[0]["outcome"] == "unknown", "the outcome");
    outcome.check(peer.published().len() == 1, "one request");
}

/// Starts a broker that speaks only MQTT 3.1.1, with a service that sends each reply twice: a retained one, and the
/// opposite.
fn broker_with_service() -> Peer {
    let on_publish = |request: &Message| {
        vec![reply(request, &json!({ "result": "FAILURE" })).retained(), reply(request, &json!({}))]
    };
    Peer::broker(Script {
        to_version_5: ToVersion5::ReasonCode,
        granted: Some(1),
        to_subscriber: vec![],
        on_publish: Some(Arc::new(on_publish)),
        ..Script::default()
    })
}

#[test]
fn a_request_is_published_after_the_suback_and_a_retained_reply_is_ignored() {
    let peer = broker_with_service();
    rtcomm("call a b --broker").arg(peer.url()).run().has_status(0);
    let kinds: Vec<u8> = peer.seen().iter().map(Packet::kind).collect();
    assert_eq!(kinds[..4], [0x10, 0x10, 0x80, 0x30], "CONNECT twice, SUBSCRIBE, PUBLISH");
}

#[test]
fn a_call_ends_with_a_disconnect() {
    let peer = broker_with_service();
    rtcomm("call a b --broker").arg(peer.url()).run().has_status(0);
    peer.wait_for_packets(5);
    assert_eq!(peer.seen()[4].kind(), 0xe0, "DISCONNECT");
}

#[test]
fn a_refused_subscription_exits_with_4_and_nothing_is_sent() {
    let script = Script {
        to_version_5: ToVersion5::ReasonCode,
        granted: Some(0x80),
        to_subscriber: vec![],
        on_publish: None,
        ..Script::default()
    };
    let peer = Peer::broker(script);
    rtcomm("watch --broker").arg(peer.url()).run().has_status(4).says("'/rtcomm/event/#'").never_says("ready");
    let outcome = rtcomm("call a b --json --broker").arg(peer.url()).run().has_status(4);
    outcome.check(outcome.json_lines()[0]["outcome"] == "denied", "the outcome");
    outcome.check(peer.published().is_empty(), "no request without a subscription to the reply topic");
}

#[test]
fn a_peer_that_never_answers_is_a_timeout() {
    let peer = Peer::silent();
    let watch = rtcomm("watch --connect-timeout 300ms --broker").arg(peer.url()).run().has_status(5).prints("");
    watch.says("does not answer within 300ms").says("is it an MQTT broker");
    let call = rtcomm("call a b --timeout 300ms --json --broker").arg(peer.url()).run().has_status(124);
    let call = call.says("nothing was sent");
    call.check(call.json_lines()[0]["outcome"] == "timeout", "the outcome");
}

#[test]
fn a_signal_ends_a_connection_attempt() {
    for (signal, status) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        for command in ["watch", "tail", "call a b"] {
            let peer = Peer::silent();
            let process = rtcomm(command).arg("--broker").arg(peer.url()).start();
            peer.wait_for_packets(1);
            process.signal(signal);
            process.end().has_status(status).prints("").never_says("may have been placed");
        }
    }
}
