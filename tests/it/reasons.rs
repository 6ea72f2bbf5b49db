//! A broker's reasons are shown by name, with its Reason String, a hint and a status.

use std::collections::HashMap;

use serde_json::json;

use crate::support::events::event;
use crate::support::mqtt::property::{REASON_STRING, SERVER_REFERENCE};
use crate::support::mqtt::{CONNECT, Message, Packet, Properties, SUBSCRIBE, Subscribe, VERSIONS, Version};
use crate::support::peer::{Peer, Script, ToVersion5};
use crate::support::{Outcome, rtcomm};

/// A Reason String with a control sequence.
const REASON: &str = "ask \u{1b}[2J Mick";

/// The text as it is printed.
const SHOWN: &str = r"ask \u{1b}[2J Mick";

const REFERENCE: &str = "other.example:8883";

fn stderr_has(outcome: &Outcome, words: &[&str], what: &str) {
    let text = outcome.stderr.to_lowercase();
    for word in words {
        outcome.check(text.contains(word), &format!("`{word}` for {what}"));
    }
}

/// Starts a peer that answers each SUBSCRIBE with this code for each filter.
fn denying(code: u8, properties: Properties) -> Peer {
    Peer::start(move |connection| {
        connection.accept()?;
        let packet = connection.wait_for(SUBSCRIBE)?;
        let subscribe = Subscribe::parse(connection.version, &packet);
        let codes = vec![code; subscribe.filters.len()];
        connection.send(&Packet::suback(connection.version, subscribe.id, &codes, &properties))?;
        connection.serve()
    })
}

/// Failure codes of a SUBACK [MQTT 5, 3.9.3], the expected words, and the acceptable statuses.
const SUBACKS: [(u8, &[&str], &[i32]); 9] = [
    (0x80, &["unspecified"], &[4, 5]),
    (0x83, &["implementation specific"], &[4, 5]),
    (0x87, &["not authorized"], &[4]),
    (0x8f, &["topic filter invalid"], &[2, 4]),
    (0x91, &["packet identifier in use"], &[4, 5]),
    (0x97, &["quota exceeded"], &[4, 5]),
    (0x9e, &["shared subscriptions", "not supported"], &[2, 4]),
    (0xa1, &["subscription identifiers", "not supported"], &[2, 4]),
    (0xa2, &["wildcard subscriptions", "not supported"], &[2, 4]),
];

#[test]
fn each_reason_of_a_refused_subscription_has_its_name() {
    let mut sentences = HashMap::new();
    for (code, words, statuses) in SUBACKS {
        for command in ["watch", "tail", "call a b"] {
            let peer = denying(code, Properties::none().text(REASON_STRING, REASON));
            let outcome = rtcomm(command).arg("--broker").arg(peer.url()).run().prints("").never_says("ready");
            let outcome = outcome.says(SHOWN).says("  hint: ");
            let is_fitting = outcome.status_code().is_some_and(|status| statuses.contains(&status));
            outcome.check(is_fitting, &format!("one of the statuses {statuses:?} for {code:#x}"));
            stderr_has(&outcome, words, &format!("{code:#x}"));
            outcome.check(peer.connections().len() == 1, "no retry, and no other version");
            let sentence = outcome.stderr.replace(&peer.url(), "URL");
            let sentence = sentence.lines().next().unwrap_or_default().to_owned();
            if command == "watch" {
                let other = sentences.insert(sentence.clone(), code);
                outcome.check(other.is_none(), &format!("another sentence than {other:x?}"));
            }
        }
    }
}

#[test]
fn a_refusal_without_a_reason_is_explained_with_mqtt_3_1_1() {
    for command in ["watch", "tail", "call a b"] {
        let peer = denying(0x80, Properties::none());
        let run = rtcomm(command).arg("--mqtt-version=3.1.1").arg("--broker").arg(peer.url()).run();
        let outcome = run.has_status(4).prints("").says("refuses the subscription").never_says("not authorized");
        stderr_has(&outcome, &["no reason", "3.1.1"], "a return code without a meaning");
    }
}

/// Reason codes of a DISCONNECT [MQTT 5, 3.14.2.1], the expected words, and the acceptable statuses.
const DISCONNECTS: [(u8, &[&str], &[i32]); 9] = [
    (0x87, &["not authorized"], &[4]),
    (0x89, &["server busy"], &[5]),
    (0x8b, &["server shutting down"], &[5]),
    (0x8e, &["session taken over"], &[4, 5]),
    (0x97, &["quota exceeded"], &[4, 5]),
    (0x98, &["administrative action"], &[4, 5]),
    (0x9c, &["use another server"], &[4, 5]),
    (0x9d, &["server moved"], &[4, 5]),
    (0xa1, &["subscription identifiers", "not supported"], &[2, 4, 5]),
];

#[test]
fn a_disconnect_in_place_of_a_suback_is_shown_with_its_reason() {
    for (reason, words, statuses) in DISCONNECTS {
        for command in ["watch", "call a b"] {
            let peer = Peer::start(move |connection| {
                connection.accept()?;
                connection.wait_for(SUBSCRIBE)?;
                let properties = Properties::none().text(REASON_STRING, REASON).text(SERVER_REFERENCE, REFERENCE);
                connection.send(&Packet::disconnect(reason, &properties))
            });
            let outcome = rtcomm(command).arg("--broker").arg(peer.url()).run().prints("").never_says("ready");
            let outcome = outcome.says(SHOWN).says(REFERENCE);
            let is_fitting = outcome.status_code().is_some_and(|status| statuses.contains(&status));
            outcome.check(is_fitting, &format!("one of the statuses {statuses:?} for {reason:#x}"));
            stderr_has(&outcome, words, &format!("{reason:#x}"));
        }
    }
}

#[test]
fn a_disconnect_in_mid_stream_is_shown_with_its_reason() {
    for (reason, words, _) in DISCONNECTS {
        let peer = Peer::start(move |connection| {
            connection.accept_and_grant()?;
            let properties = Properties::none().text(REASON_STRING, REASON).text(SERVER_REFERENCE, REFERENCE);
            connection.send(&Packet::disconnect(reason, &properties))
        });
        let run = rtcomm("watch --no-reconnect --mqtt-version 5 --broker").arg(peer.url()).run();
        let outcome = run.prints("").says(SHOWN).says(REFERENCE);
        outcome.check(outcome.status_code().is_some_and(|status| [4, 5].contains(&status)), "4 or 5");
        stderr_has(&outcome, words, &format!("{reason:#x}"));
    }
}

/// Refusals in a CONNACK [MQTT 5, 3.2.2.2], the expected words, and the status.
const CONNACKS: [(u8, &[&str], i32); 8] = [
    (0x86, &["not authorized"], 4),
    (0x87, &["not authorized"], 4),
    (0x88, &["is not available"], 5),
    (0x89, &["is not available"], 5),
    (0x8a, &["has banned this client"], 4),
    (0x97, &["quota exceeded"], 5),
    (0x9c, &["use another server"], 5),
    (0x9d, &["server moved"], 5),
];

#[test]
fn a_refused_connection_shows_the_brokers_own_text() {
    for (reason, words, status) in CONNACKS {
        for command in ["watch", "call a b"] {
            let properties = Properties::none().text(REASON_STRING, REASON);
            let peer = Peer::refusing_with(reason, 3, properties);
            let outcome = rtcomm(command).arg("--broker").arg(peer.url()).run().has_status(status).prints("");
            let outcome = outcome.says(SHOWN);
            stderr_has(&outcome, words, &format!("{reason:#x}"));
            outcome.check(peer.levels() == [5], "a refusal is not a reason to try another version");
        }
    }
}

#[test]
fn a_server_reference_is_shown_and_the_hint_names_it() {
    for reason in [0x9c, 0x9d] {
        for command in ["watch", "call a b"] {
            let properties = Properties::none().text(SERVER_REFERENCE, "oth\u{1b}er:1");
            let peer = Peer::refusing_with(reason, 3, properties);
            let outcome = rtcomm(command).arg("--broker").arg(peer.url()).run().has_status(5).prints("");
            let outcome = outcome.says(r"oth\u{1b}er:1");
            let hint = outcome.stderr.lines().find(|line| line.starts_with("  hint: ")).unwrap_or_default().to_owned();
            outcome.check(hint.contains("--broker"), "to use the other broker");
            outcome.check(!hint.contains("later"), "not to try again later");
        }
    }
}

/// NATS answers with 0x80 while it elects a leader.
#[test]
fn a_subscription_that_is_refused_for_a_while_is_tried_again_after_a_reconnect() {
    let transient = |version| if version == Version::V5 { &[0x80, 0x83, 0x88, 0x89, 0x97][..] } else { &[0x80] };
    for (version, code) in
        VERSIONS.into_iter().flat_map(|version| transient(version).iter().map(move |it| (version, *it)))
    {
        let peer = Peer::start(move |connection| {
            connection.accept()?;
            if connection.number == 1 {
                connection.wait_for(SUBSCRIBE).and_then(|packet| {
                    let subscribe = Subscribe::parse(version, &packet);
                    let codes = vec![code; subscribe.filters.len()];
                    connection.send(&Packet::suback(version, subscribe.id, &codes, &Properties::none()))
                })?;
                return connection.serve();
            }
            connection.grant()?;
            if connection.number > 0 {
                connection.publish(&Message::new("/rtcomm/event/session/started/a/b", event(&json!({}))))?;
                connection.serve()?;
            }
            Ok(())
        });
        let watch = rtcomm(&format!("watch --json -c 1 --mqtt-version {version} --broker")).arg(peer.url());
        let outcome = watch.run().has_status(0);
        let count = peer.connections().len();
        // The retry uses the same connection or another one.
        outcome.check((2..=3).contains(&count), &format!("no more connections than needed after {code:#x}"));
    }
}

#[test]
fn a_lasting_refusal_after_a_reconnect_ends_the_run() {
    for (code, status) in [(0x87, 4), (0x8f, 4)] {
        let peer = Peer::start(move |connection| {
            connection.accept()?;
            if connection.number == 0 {
                return connection.grant().map(drop);
            }
            connection.follow(&Script { granted: Some(code), ..Script::default() })
        });
        let run = rtcomm("watch --mqtt-version 5 --broker").arg(peer.url()).run().has_status(status);
        run.check(peer.connections().len() == 2, "no further retry");
    }
}

#[test]
fn transient_refusals_of_a_connection_are_tried_again_after_a_reconnect() {
    for (version, code) in [(Version::V5, 0x88), (Version::V5, 0x89), (Version::V5, 0x97), (Version::V3_1_1, 3)] {
        let peer = Peer::start(move |connection| match connection.number {
            0 => connection.accept_and_grant(),
            1 => {
                connection.wait_for(CONNECT)?;
                connection.send(&Packet::connack(version, false, code, &Properties::none()))
            }
            _ => {
                connection.accept_and_grant()?;
                connection.publish(&Message::new("/rtcomm/event/session/started/a/b", event(&json!({}))))?;
                connection.serve()
            }
        });
        let watch = rtcomm(&format!("watch --json -c 1 --mqtt-version {version} --broker")).arg(peer.url());
        watch.run().has_status(0);
    }
}

/// The program's own fallback to MQTT 3.1.1 is not reported as a refusal of the requested version.
#[test]
fn a_broker_that_speaks_3_1_1_alone_is_named_and_the_flag_is_suggested() {
    for to_version_5 in [ToVersion5::ReasonCode, ToVersion5::ReturnCode, ToVersion5::Close, ToVersion5::Reset] {
        for command in ["watch", "call a b"] {
            let peer = Peer::broker(Script { to_version_5, ..Script::default() });
            let run = rtcomm(&format!("{command} --mqtt-version 5 --broker")).arg(peer.url()).run();
            let outcome = run.prints("").says("--mqtt-version");
            outcome.check(outcome.status_code().is_some_and(|status| [4, 5].contains(&status)), "4 or 5");
            outcome.check(peer.levels() == [5], "the version that was requested");
        }
    }
}
