//! Malformed and forbidden packets from the broker end a run with an error, never with a crash.
//!
//! Each row is one packet in one or both MQTT versions, with the section of the standard that forbids it.

use crate::support::mqtt::property::{
    ASSIGNED_CLIENT_ID, CONTENT_TYPE, MAXIMUM_QOS, MESSAGE_EXPIRY, PAYLOAD_FORMAT, REASON_STRING, RECEIVE_MAXIMUM,
    SERVER_KEEP_ALIVE, SESSION_EXPIRY, SUBSCRIPTION_ID, TOPIC_ALIAS, TOPIC_ALIAS_MAXIMUM, USER_PROPERTY,
    WILDCARDS_AVAILABLE,
};
use crate::support::mqtt::{
    AUTH, CONNACK, CONNECT, DISCONNECT, Message, PINGREQ, PINGRESP, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, Packet,
    PacketId, Properties, SUBACK, SUBSCRIBE, UNSUBACK, UNSUBSCRIBE, VERSIONS, Version, string,
};
use crate::support::peer::{Connection, Peer};
use crate::support::{Process, rtcomm};

const V3: &[Version] = &[Version::V3_1_1];
const V5: &[Version] = &[Version::V5];
const BOTH: &[Version] = &VERSIONS;

/// The number of parallel runs.
const PARALLEL: usize = 8;

/// When the packet is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    InsteadOfConnack,
    /// After the client's SUBSCRIBE, which is not answered.
    InsteadOfSuback,
    AfterSuback,
    InsteadOfPuback,
}

type Encode = fn(Version, PacketId) -> Vec<u8>;

/// A packet that a server must not send.
#[derive(Clone, Copy)]
struct Row {
    what: &'static str,
    versions: &'static [Version],
    /// The packet's name in the error message; empty if its type is unknown.
    name: &'static str,
    /// Encodes the packet. The argument is the packet identifier that the client waits for.
    encode: Encode,
}

const fn row(versions: &'static [Version], name: &'static str, what: &'static str, encode: Encode) -> Row {
    Row { what, versions, name, encode }
}

fn raw(first: u8, body: impl Into<Vec<u8>>) -> Vec<u8> {
    Packet::new(first, body).encode()
}

/// Starts a run with a peer that sends the row's packet.
fn start(command: &str, phase: Phase, version: Version, row: Row) -> (Process, Peer) {
    let send = move |connection: &Connection, id| connection.send_bytes(&(row.encode)(version, id));
    let peer = Peer::start(move |connection| {
        let connect = connection.wait_for(CONNECT)?;
        if phase == Phase::InsteadOfConnack {
            send(connection, [0, 1])?;
            return connection.read_to_end();
        }
        connection.answer(&connect, &crate::support::peer::Script::default())?;
        if phase == Phase::InsteadOfSuback {
            let id = connection.wait_for(SUBSCRIBE)?.id();
            send(connection, id)?;
            return connection.read_to_end();
        }
        connection.grant()?;
        let id = if phase == Phase::InsteadOfPuback {
            let request = connection.wait_for(PUBLISH)?;
            Message::parse(version, &request).1.expect("requests have QoS 1")
        } else {
            [0, 1]
        };
        send(connection, id)?;
        connection.read_to_end()
    });
    let words = format!("{command} --mqtt-version {version}");
    (rtcomm(&words).env("RTCOMM_BROKER", peer.url()).start(), peer)
}

/// Runs the command against every row, and fails with the list of all unexpected results.
fn check(command: &str, phase: Phase, status: i32, rows: &[Row]) {
    let cases: Vec<_> = rows.iter().flat_map(|row| row.versions.iter().map(move |version| (*row, *version))).collect();
    let mut failures = Vec::new();
    for cases in cases.chunks(PARALLEL) {
        let running: Vec<_> = cases.iter().map(|(row, version)| start(command, phase, *version, *row)).collect();
        for ((process, _peer), (row, version)) in running.into_iter().zip(cases) {
            let outcome = process.end();
            let says_what_was_sent = |line: &&str| {
                ["the broker sent ", "answered CONNECT with an invalid packet: "].iter().any(|it| line.contains(it))
            };
            let errors: Vec<&str> = outcome.stderr.lines().filter(says_what_was_sent).collect();
            let expected = if outcome.status_code() != Some(status) {
                format!("status {status}")
            } else if outcome.stderr.contains("panicked") {
                "no panic".to_owned()
            } else if errors.len() != 1 {
                "one line that says what the broker sent".to_owned()
            } else if !errors[0].contains(row.name) {
                format!("`{}` in the line", row.name)
            } else {
                continue;
            };
            failures.push(format!("{} {phase:?}, MQTT {version}: {}", row.what, outcome.explain(&expected)));
        }
    }
    assert!(failures.is_empty(), "{} of {} fail:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

const WATCH: &str = "watch --no-reconnect --json";
const CALL: &str = "call a b --timeout 60s";

/// Checks rows that precede the publication: the call was certainly not placed.
fn check_in_every_command(phase: Phase, rows: &[Row]) {
    check(WATCH, phase, 5, rows);
    check("tail --no-reconnect --json", phase, 5, &rows[..1]);
    check(CALL, phase, 5, rows);
}

const CONNACKS: [Row; 13] = [
    row(BOTH, "CONNACK", "a CONNACK without a body", |_, _| raw(CONNACK, [])),
    row(BOTH, "CONNACK", "a CONNACK of one byte", |_, _| raw(CONNACK, [0])),
    row(V3, "CONNACK", "a CONNACK of three bytes", |_, _| raw(CONNACK, [0, 0, 0])),
    row(V5, "CONNACK", "a CONNACK without properties", |_, _| raw(CONNACK, [0, 0])),
    row(V5, "CONNACK", "a CONNACK with bytes behind its properties", |_, _| raw(CONNACK, [0, 0, 0, 0])),
    // [MQTT 5, 3.2.2.1]
    row(BOTH, "CONNACK", "a CONNACK with a reserved flag", |version, _| {
        raw(CONNACK, [&[2, 0][..], &Properties::none().encode(version)].concat())
    }),
    row(BOTH, "CONNACK", "a CONNACK with flags in its first byte", |version, _| {
        raw(CONNACK | 1, [&[0, 0][..], &Properties::none().encode(version)].concat())
    }),
    // [MQTT-3.2.2-4] of 3.1.1
    row(V3, "CONNACK", "a refusal that has a session", |_, _| raw(CONNACK, [1, 5])),
    row(V5, "CONNACK", "a CONNACK whose properties end early", |_, _| raw(CONNACK, [0, 0, 3, SERVER_KEEP_ALIVE, 0])),
    row(V5, "CONNACK", "a CONNACK with a property of PUBLISH", |_, _| raw(CONNACK, [0, 0, 2, PAYLOAD_FORMAT, 1])),
    row(V5, "CONNACK", "a CONNACK with a property twice", |_, _| {
        raw(CONNACK, [0, 0, 4, MAXIMUM_QOS, 0, MAXIMUM_QOS, 0])
    }),
    row(V5, "CONNACK", "a CONNACK with a Receive Maximum of 0", |_, _| raw(CONNACK, [0, 0, 3, RECEIVE_MAXIMUM, 0, 0])),
    row(V5, "CONNACK", "a CONNACK with a truth value of 2", |_, _| raw(CONNACK, [0, 0, 2, WILDCARDS_AVAILABLE, 2])),
];

#[test]
fn a_malformed_connack_is_a_protocol_error() {
    check_in_every_command(Phase::InsteadOfConnack, &CONNACKS);
}

/// A second CONNACK after a complete one.
const SECOND_CONNACK: Row = row(BOTH, "CONNACK", "a second CONNACK", |version, _| {
    Packet::connack(version, false, 0, &Properties::none()).encode()
});

/// [MQTT-3.2.0-1]
const BEFORE_CONNACK: [Row; 8] = [
    row(BOTH, "PUBLISH", "a PUBLISH", |version, _| publish(version, 0, EVENT, &[], b"{}")),
    row(BOTH, "SUBACK", "a SUBACK", |version, id| Packet::suback(version, id, &[1], &Properties::none()).encode()),
    row(BOTH, "PUBACK", "a PUBACK", |_, id| raw(PUBACK, id)),
    row(BOTH, "PINGRESP", "a PINGRESP", |_, _| raw(PINGRESP, [])),
    row(V5, "DISCONNECT", "a DISCONNECT", |_, _| raw(DISCONNECT, [0x8b])),
    row(V5, "AUTH", "an AUTH", |_, _| raw(AUTH, [0x18, 0])),
    row(BOTH, "CONNECT", "a CONNECT", |_, _| raw(CONNECT, [&string("MQTT")[..], &[4, 2, 0, 0, 0, 0]].concat())),
    row(BOTH, "PUBREL", "a PUBREL", |_, id| raw(PUBREL | 2, id)),
];

#[test]
fn no_packet_but_connack_comes_first() {
    check_in_every_command(Phase::InsteadOfConnack, &BEFORE_CONNACK);
}

const SUBACKS: [Row; 12] = [
    row(BOTH, "SUBACK", "a SUBACK without codes", |version, id| {
        Packet::suback(version, id, &[], &Properties::none()).encode()
    }),
    row(BOTH, "SUBACK", "a SUBACK with too many codes", |version, id| {
        Packet::suback(version, id, &[1, 1, 1, 1, 1, 1, 1, 1], &Properties::none()).encode()
    }),
    row(BOTH, "SUBACK", "a SUBACK for an unknown identifier", |version, id| {
        Packet::suback(version, [id[0], id[1] ^ 0x55], &[1], &Properties::none()).encode()
    }),
    row(BOTH, "SUBACK", "a SUBACK for the identifier 0", |version, _| {
        Packet::suback(version, [0, 0], &[1], &Properties::none()).encode()
    }),
    row(BOTH, "SUBACK", "a SUBACK with flags", |version, id| {
        raw(SUBACK | 1, Packet::suback(version, id, &[1], &Properties::none()).body)
    }),
    row(BOTH, "SUBACK", "a SUBACK without a body", |_, _| raw(SUBACK, [])),
    row(BOTH, "SUBACK", "a SUBACK of one byte", |_, id| raw(SUBACK, &id[..1])),
    // [MQTT-3.9.3-2] of 3.1.1
    row(BOTH, "SUBACK", "a SUBACK with a reserved code", |version, id| {
        Packet::suback(version, id, &[3], &Properties::none()).encode()
    }),
    row(V5, "SUBACK", "a SUBACK without properties", |_, id| raw(SUBACK, id)),
    row(V5, "SUBACK", "a SUBACK whose properties end early", |_, id| {
        raw(SUBACK, [&id[..], &[9, REASON_STRING, 0, 9, b'x']].concat())
    }),
    row(V5, "SUBACK", "a SUBACK with a property of CONNACK", |_, id| {
        raw(SUBACK, [&id[..], &[2, MAXIMUM_QOS, 0, 1]].concat())
    }),
    row(V5, "SUBACK", "a SUBACK with a property twice", |_, id| {
        let properties = Properties::none().text(REASON_STRING, "a").text(REASON_STRING, "b");
        raw(SUBACK, [&id[..], &properties.encode(Version::V5), &[1]].concat())
    }),
];

#[test]
fn a_malformed_suback_is_a_protocol_error() {
    check_in_every_command(Phase::InsteadOfSuback, &SUBACKS);
}

#[test]
fn a_second_suback_is_a_protocol_error() {
    let second = row(BOTH, "SUBACK", "a second SUBACK", |version, id| {
        Packet::suback(version, id, &[1], &Properties::none()).encode()
    });
    check(WATCH, Phase::AfterSuback, 5, &[second]);
}

/// The topic of an event.
const EVENT: &[u8] = b"/rtcomm/event/session/started/a/b";

/// Encodes a PUBLISH with these flags, and with these properties in MQTT 5.
fn publish(version: Version, flags: u8, topic: &[u8], properties: &[u8], payload: &[u8]) -> Vec<u8> {
    publish_as(version, flags, topic, [0, 9], properties, payload)
}

fn publish_as(version: Version, flags: u8, topic: &[u8], id: PacketId, properties: &[u8], payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(topic.len()).expect("a short topic").to_be_bytes();
    let id = if flags & 6 == 0 { &[][..] } else { &id };
    let properties = match (version, properties) {
        (Version::V3_1_1, _) => &[][..],
        (Version::V5, []) => &[0],
        (Version::V5, properties) => properties,
    };
    raw(PUBLISH | flags, [&length[..], topic, id, properties, payload].concat())
}

/// Encodes a PUBLISH of MQTT 5 with these properties, which begin with their length.
fn with_properties(properties: &[u8]) -> Vec<u8> {
    publish(Version::V5, 0, EVENT, properties, b"{}")
}

fn encoded(properties: &Properties) -> Vec<u8> {
    with_properties(&properties.encode(Version::V5))
}

const PUBLISHES: [Row; 15] = [
    row(BOTH, "PUBLISH", "a PUBLISH with QoS 3", |version, _| publish(version, 6, EVENT, &[], b"{}")),
    // [MQTT-3.3.1-2]
    row(BOTH, "PUBLISH", "a duplicate with QoS 0", |version, _| publish(version, 8, EVENT, &[], b"{}")),
    // [MQTT-2.2.1-3], [MQTT-2.3.1-1] of 3.1.1
    row(BOTH, "PUBLISH", "a PUBLISH with the identifier 0", |version, _| {
        publish_as(version, 2, EVENT, [0, 0], &[], b"{}")
    }),
    row(BOTH, "PUBLISH", "a PUBLISH with the identifier 0 and QoS 2", |version, _| {
        publish_as(version, 4, EVENT, [0, 0], &[], b"{}")
    }),
    row(BOTH, "PUBLISH", "a PUBLISH without an identifier", |_, _| raw(PUBLISH | 2, [&[0, 1][..], b"a"].concat())),
    // [MQTT-4.7.3-1]; the client allows no topic aliases.
    row(BOTH, "PUBLISH", "an empty topic", |version, _| publish(version, 0, b"", &[], b"{}")),
    // [MQTT-3.3.2-2]
    row(BOTH, "PUBLISH", "a topic with #", |version, _| publish(version, 0, b"/rtcomm/event/#", &[], b"{}")),
    row(BOTH, "PUBLISH", "a topic with +", |version, _| publish(version, 2, b"/rtcomm/event/+/a", &[], b"{}")),
    // [MQTT-1.5.4-2]
    row(BOTH, "PUBLISH", "a topic with NUL", |version, _| publish(version, 0, b"/rtcomm/event/a\0b", &[], b"{}")),
    // [MQTT-1.5.4-1]
    row(BOTH, "PUBLISH", "a topic that is not UTF-8", |version, _| publish(version, 2, b"/rtcomm/\xff", &[], b"{}")),
    row(BOTH, "PUBLISH", "a topic with a surrogate", |version, _| {
        publish(version, 0, b"/rtcomm/\xed\xa0\x80", &[], b"{}")
    }),
    row(BOTH, "PUBLISH", "a topic longer than the packet", |_, _| raw(PUBLISH, b"\x00\x40/rtcomm/event")),
    row(BOTH, "PUBLISH", "a PUBLISH of one byte", |_, _| raw(PUBLISH, [0])),
    row(BOTH, "PUBLISH", "a PUBLISH without a body", |_, _| raw(PUBLISH, [])),
    // [MQTT 5, 2.1.4]
    row(BOTH, "", "a Remaining Length of five bytes", |_, _| b"\x30\xff\xff\xff\xff\x01".to_vec()),
];

const PUBLISH_PROPERTIES: [Row; 18] = [
    row(V5, "PUBLISH", "no length of the properties", |_, _| raw(PUBLISH, [&[0, 33][..], EVENT].concat())),
    row(V5, "PUBLISH", "properties that end early", |_, _| {
        raw(PUBLISH, [&[0, 33][..], EVENT, &[5, MESSAGE_EXPIRY]].concat())
    }),
    row(V5, "PUBLISH", "properties that claim more than the packet", |_, _| with_properties(&[0xff, 0xff, 0xff, 0x7f])),
    row(V5, "PUBLISH", "a length of the properties in five bytes", |_, _| {
        with_properties(&[0x80, 0x80, 0x80, 0x80, 0x01])
    }),
    row(V5, "PUBLISH", "a number that ends early", |_, _| with_properties(&[3, MESSAGE_EXPIRY, 0, 0])),
    row(V5, "PUBLISH", "a string that ends early", |_, _| with_properties(&[4, CONTENT_TYPE, 0, 64, b'x'])),
    row(V5, "PUBLISH", "a string without its second byte", |_, _| with_properties(&[2, CONTENT_TYPE, 0])),
    row(V5, "PUBLISH", "a string that is not UTF-8", |_, _| with_properties(&[4, CONTENT_TYPE, 0, 1, 0xff])),
    row(V5, "PUBLISH", "a user property without a value", |_, _| with_properties(&[4, USER_PROPERTY, 0, 1, b'x'])),
    row(V5, "PUBLISH", "an unknown property", |_, _| with_properties(&[2, 0x7e, 0])),
    row(V5, "PUBLISH", "the property 0", |_, _| with_properties(&[2, 0, 0])),
    row(V5, "PUBLISH", "a property of CONNECT", |_, _| encoded(&Properties::none().four_bytes(SESSION_EXPIRY, 1))),
    row(V5, "PUBLISH", "a property of CONNACK", |_, _| encoded(&Properties::none().text(ASSIGNED_CLIENT_ID, "x"))),
    row(V5, "PUBLISH", "a number twice", |_, _| {
        encoded(&Properties::none().four_bytes(MESSAGE_EXPIRY, 1).four_bytes(MESSAGE_EXPIRY, 1))
    }),
    row(V5, "PUBLISH", "a string twice", |_, _| {
        encoded(&Properties::none().text(CONTENT_TYPE, "a").text(CONTENT_TYPE, "a"))
    }),
    // [MQTT 5, 3.3.2.3.8]
    row(V5, "PUBLISH", "the Subscription Identifier 0", |_, _| encoded(&Properties::none().varint(SUBSCRIPTION_ID, 0))),
    // [MQTT-3.3.2-9]: the client allows no topic aliases.
    row(V5, "PUBLISH", "a topic alias", |_, _| encoded(&Properties::none().two_bytes(TOPIC_ALIAS, 1))),
    row(V5, "PUBLISH", "a topic alias maximum", |_, _| encoded(&Properties::none().two_bytes(TOPIC_ALIAS_MAXIMUM, 1))),
];

#[test]
fn a_malformed_publish_is_a_protocol_error() {
    check(WATCH, Phase::AfterSuback, 5, &PUBLISHES);
    check(CALL, Phase::InsteadOfSuback, 5, &PUBLISHES);
}

#[test]
fn malformed_properties_are_a_protocol_error() {
    check(WATCH, Phase::AfterSuback, 5, &PUBLISH_PROPERTIES);
    check(CALL, Phase::InsteadOfSuback, 5, &PUBLISH_PROPERTIES);
}

#[test]
fn a_topic_alias_in_place_of_a_topic_is_a_protocol_error() {
    let alias = row(V5, "PUBLISH", "an alias alone", |_, _| {
        publish(Version::V5, 0, b"", &Properties::none().two_bytes(TOPIC_ALIAS, 1).encode(Version::V5), b"{}")
    });
    check(WATCH, Phase::AfterSuback, 5, &[alias]);
}

const ACKNOWLEDGEMENTS: [Row; 16] = [
    row(BOTH, "PUBACK", "a PUBACK for an unknown identifier", |_, _| raw(PUBACK, [0x55, 0x55])),
    row(BOTH, "PUBACK", "a PUBACK for the identifier 0", |_, _| raw(PUBACK, [0, 0])),
    row(BOTH, "PUBACK", "a PUBACK of one byte", |_, _| raw(PUBACK, [0])),
    row(BOTH, "PUBACK", "a PUBACK without a body", |_, _| raw(PUBACK, [])),
    row(BOTH, "PUBACK", "a PUBACK with flags", |_, id| raw(PUBACK | 2, id)),
    row(V3, "PUBACK", "a PUBACK of three bytes", |_, id| raw(PUBACK, [&id[..], &[0]].concat())),
    row(BOTH, "PUBREC", "a PUBREC for an unknown identifier", |_, _| raw(PUBREC, [0x55, 0x55])),
    row(BOTH, "PUBCOMP", "a PUBCOMP for an unknown identifier", |_, _| raw(PUBCOMP, [0x55, 0x55])),
    // [MQTT-3.6.1-1]
    row(BOTH, "PUBREL", "a PUBREL without its flag", |_, id| raw(PUBREL, id)),
    row(BOTH, "PUBREL", "a PUBREL of one byte", |_, _| raw(PUBREL | 2, [0])),
    row(BOTH, "PUBREL", "a PUBREL for the identifier 0", |_, _| raw(PUBREL | 2, [0, 0])),
    row(BOTH, "UNSUBACK", "an UNSUBACK for an unknown identifier", |version, _| {
        let codes: &[u8] = if version == Version::V5 { &[0, 0] } else { &[] };
        raw(UNSUBACK, [&[0x55, 0x55][..], codes].concat())
    }),
    row(BOTH, "PINGRESP", "a PINGRESP with a body", |_, _| raw(PINGRESP, [0])),
    row(BOTH, "PINGRESP", "a PINGRESP with flags", |_, _| raw(PINGRESP | 1, [])),
    row(V5, "DISCONNECT", "a DISCONNECT with flags", |_, _| raw(DISCONNECT | 1, [])),
    // [MQTT-3.14.2-2]
    row(V5, "DISCONNECT", "a DISCONNECT with a Session Expiry Interval", |_, _| {
        Packet::disconnect(0x8b, &Properties::none().four_bytes(SESSION_EXPIRY, 1)).encode()
    }),
];

#[test]
fn a_malformed_acknowledgement_is_a_protocol_error() {
    check(WATCH, Phase::AfterSuback, 5, &ACKNOWLEDGEMENTS);
    check(CALL, Phase::InsteadOfSuback, 5, &ACKNOWLEDGEMENTS);
}

const PUBACKS: [Row; 6] = [
    row(BOTH, "PUBACK", "a PUBACK of one byte", |_, id| raw(PUBACK, &id[..1])),
    row(BOTH, "PUBACK", "a PUBACK for an unknown identifier", |_, _| raw(PUBACK, [0x55, 0x55])),
    row(V5, "PUBACK", "a PUBACK whose properties end early", |_, id| {
        raw(PUBACK, [&id[..], &[0x87, 9, REASON_STRING, 0, 9]].concat())
    }),
    row(V5, "PUBACK", "a PUBACK with a property of PUBLISH", |_, id| {
        raw(PUBACK, [&id[..], &[0x87, 2, PAYLOAD_FORMAT, 1]].concat())
    }),
    row(V5, "PUBACK", "a PUBACK with a reserved reason", |_, id| raw(PUBACK, [&id[..], &[0x7f]].concat())),
    row(BOTH, "PUBREC", "a PUBREC for a publication of QoS 1", |_, id| raw(PUBREC, id)),
];

/// The request was sent before, so the call may have been placed.
#[test]
fn a_malformed_result_of_a_publication_leaves_a_call_unknown() {
    check(CALL, Phase::InsteadOfPuback, 1, &PUBACKS);
}

const FORBIDDEN: [Row; 9] = [
    SECOND_CONNACK,
    row(BOTH, "CONNECT", "a CONNECT", |version, _| {
        let level = if version == Version::V5 { 5 } else { 4 };
        let properties = Properties::none().encode(version);
        raw(CONNECT, [&string("MQTT")[..], &[level, 2, 0, 0], &properties, &[0, 0]].concat())
    }),
    row(BOTH, "SUBSCRIBE", "a SUBSCRIBE", |version, _| {
        let properties = Properties::none().encode(version);
        raw(SUBSCRIBE | 2, [&[0, 1][..], &properties, &string("a"), &[0]].concat())
    }),
    row(BOTH, "UNSUBSCRIBE", "an UNSUBSCRIBE", |version, _| {
        raw(UNSUBSCRIBE | 2, [&[0, 1][..], &Properties::none().encode(version), &string("a")].concat())
    }),
    row(BOTH, "PINGREQ", "a PINGREQ", |_, _| raw(PINGREQ, [])),
    row(V3, "DISCONNECT", "a DISCONNECT", |_, _| raw(DISCONNECT, [])),
    row(V5, "AUTH", "an AUTH", |_, _| raw(AUTH, [0x18, 0])),
    row(BOTH, "", "a packet of type 0", |_, _| raw(0, [])),
    row(V3, "", "a packet of type 15", |_, _| raw(AUTH, [])),
];

#[test]
fn a_packet_that_no_server_may_send_is_a_protocol_error() {
    check(WATCH, Phase::AfterSuback, 5, &FORBIDDEN);
    check(CALL, Phase::InsteadOfSuback, 5, &FORBIDDEN);
}

#[test]
fn a_protocol_error_after_a_reconnect_ends_a_run_when_its_retries_are_spent() {
    for version in VERSIONS {
        let peer = Peer::start(move |connection| {
            connection.accept_and_grant()?;
            connection.send_bytes(&raw(PUBLISH | 6, [0, 1, b'a']))?;
            connection.read_to_end()
        });
        let run = rtcomm(&format!("watch --max-retries 2 --mqtt-version {version} --broker")).arg(peer.url()).run();
        let outcome = run.has_status(5);
        outcome.check(outcome.stderr.matches("the broker sent").count() <= 2, "the reason, and again at the end");
        outcome.check(peer.connections().len() == 3, "a connection, and two retries");
    }
}

/// Messages before the malformed packet are not lost.
#[test]
fn messages_before_a_malformed_packet_are_printed_and_acknowledged() {
    for version in VERSIONS {
        let peer = Peer::start(move |connection| {
            connection.accept_and_grant()?;
            let event = Message::new("/rtcomm/event/session/started/a/b", r#"{"method":"RTCOMM_EVENT_FIRED"}"#);
            let good = event.encode(version, [0, 7], &Properties::none()).encode();
            let bad = publish(version, 6, EVENT, &[], b"{}");
            connection.send_bytes(&[good, bad].concat())?;
            connection.read_to_end()
        });
        let run = rtcomm(&format!("{WATCH} --mqtt-version {version} --broker")).arg(peer.url()).run();
        let outcome = run.has_status(5).says("the broker sent");
        outcome.check(outcome.json_lines().len() == 1, "the event before");
        peer.wait_for_end();
        let acknowledged: Vec<_> = peer.seen_of(PUBACK).iter().map(Packet::id).collect();
        assert_eq!(acknowledged, [[0, 7]], "the event before");
    }
}
