//! Tests of lines: what is replaced, and what stays.

use std::collections::HashMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::protocol::cdr::CallRecorder;
use crate::protocol::record::{CallRecord, Entry, Message, Record};
use crate::protocol::topic::{Root, Topics};

const RECEIVED: &str = "2026-11-23T03:34:12.798558Z";

fn anonymizer() -> Anonymizer {
    Anonymizer::new(Topics::from("/rtcomm".parse::<Root>().expect("a root")))
}

fn line_of(topic: &str, payload: &[u8]) -> String {
    let topics = Topics::from("/rtcomm".parse::<Root>().expect("a root"));
    let received = RECEIVED.parse().expect("a time");
    let mut line = Vec::new();
    Record::of(&topics, &Message { received, topic, qos: 1, retain: false, payload }).write_line(&mut line);
    String::from_utf8(line).expect("UTF-8").trim_end().to_owned()
}

impl Anonymizer {
    fn written(&mut self, line: &str) -> String {
        let mut out = Vec::new();
        self.write(line, &mut out);
        let written = String::from_utf8(out).expect("UTF-8");
        assert!(Entry::parse(written.as_bytes()).is_ok(), "{line} became {written}");
        written
    }

    /// Returns the topic and the payload that a message becomes.
    fn message(&mut self, topic: &str, payload: &str) -> (String, String) {
        let line = self.written(&line_of(topic, payload.as_bytes()));
        let value: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        let (_, payload) = line.split_once("\"payload\":").expect("a JSON payload");
        let payload = payload.strip_suffix('}').expect("an object");
        (value["topic"].as_str().expect("a topic").to_owned(), payload.to_owned())
    }
}

#[test]
fn an_event_keeps_everything_but_its_names() {
    let line = line_of(
        "/rtcomm/event/session/failed/iggy_pop/Danko Jones",
        r#"{"method":"RTCOMM_EVENT_FIRED","n":1.0e400, "reason":"Danko Jones is \"busy\"","sigSessID":"6a1f9f3e-2d0b-4c35-8a53-0d9d5b1f5f10","iggy_pop":["x","iggy_pop-2"],"appContext":"XYZ"}"#.as_bytes(),
    );
    assert_eq!(
        anonymizer().written(&line),
        concat!(
            r#"{"received":"2026-11-23T03:34:12.798558Z","category":"session","action":"failed","from":"endpoint-1","#,
            r#""to":"endpoint-2","topic":"/rtcomm/event/session/failed/endpoint-1/endpoint-2","qos":1,"retain":false,"#,
            r#""payload":{"method":"RTCOMM_EVENT_FIRED","n":1.0e400, "reason":"endpoint-2 is \"busy\"","#,
            r#""sigSessID":"6a1f9f3e-2d0b-4c35-8a53-0d9d5b1f5f10","endpoint-1":["x","endpoint-1-2"],"appContext":"XYZ"}}"#
        )
    );
}

#[test]
fn a_line_without_names_keeps_its_bytes() {
    for line in [
        r#"{"received":"2026-11-23T03:34:12Z", "status":"ready","x":{"y":[1,"caf\u00e9"]}}"#,
        r#"{"received":"2026-11-23T03:34:12Z","status":"gap","from":"2026-11-23T03:34:12.8Z","until":"2026-11-23T03:34:15.1Z","reason":"broke"}"#,
        r#"{"received":"2026-11-23T03:34:12Z","topic":"a/b","qos":0,"retain":false,"payload_text":"ring \"ring\"\u0000"}"#,
        r#"{"received":"2026-11-23T03:34:12Z","topic":"a/b","qos":0,"retain":false,"payload_base64":"/wA="}"#,
        r#"{"received":"2026-11-23T03:34:12Z","topic":"a/b","qos":0,"retain":false,"payload":null}"#,
    ] {
        assert_eq!(anonymizer().written(line), line);
    }
}

#[test]
fn the_names_of_every_kind_of_message_are_replaced() {
    for (topic, payload, new_topic, new_payload) in [
        (
            "/rtcomm/event/registration/started/iggy_pop",
            r#"{"method":"RTCOMM_EVENT_FIRED","regTopic":"/rtcomm/2123928217"}"#,
            "/rtcomm/event/registration/started/endpoint-1",
            r#"{"method":"RTCOMM_EVENT_FIRED","regTopic":"/rtcomm/address-1"}"#,
        ),
        (
            "/rtcomm/sphere/agents/iggy_pop",
            r#"{"method":"DOCUMENT","type":"ENDPOINT","fromTopic":null,"topic":"/rtcomm/2123928217","appContext":"Iggy Pop's","state":"available","alias":"Iggy Pop","userDefines":["iggy_pop"]}"#,
            "/rtcomm/sphere/agents/endpoint-1",
            r#"{"method":"DOCUMENT","type":"ENDPOINT","fromTopic":null,"topic":"/rtcomm/address-1","appContext":"alias-1's","state":"available","alias":"alias-1","userDefines":["endpoint-1"]}"#,
        ),
        (
            "/rtcomm/callControl/iggy_pop",
            r#"{"method":"3PCC_PLACE_CALL","transID":1001,"callerEndpoint":"iggy_pop","calleeEndpoint":1001,"fromTopic":"/rtcomm/reply/6a1f9f3e-2d0b-4c35-8a53-0d9d5b1f5f10/iggy_pop","sessionID":"1001","x":1001}"#,
            "/rtcomm/callControl/endpoint-1",
            r#"{"method":"3PCC_PLACE_CALL","transID":1001,"callerEndpoint":"endpoint-1","calleeEndpoint":"endpoint-2","fromTopic":"/rtcomm/reply/6a1f9f3e-2d0b-4c35-8a53-0d9d5b1f5f10/endpoint-1","sessionID":"1001","x":"endpoint-2"}"#,
        ),
        (
            "/rtcomm/2123928217/iggy_pop",
            r#"{"method":"START_SESSION","fromTopic":"/rtcomm/connector/iggy_pop","peerContent":{"caller":"lemmy"}}"#,
            "/rtcomm/address-1/endpoint-1",
            r#"{"method":"START_SESSION","fromTopic":"/rtcomm/connector/endpoint-1","peerContent":{"caller":"endpoint-2"}}"#,
        ),
        (
            "/rtcomm/management/iggy_pop",
            r#"{"method":"SERVICE_QUERY","transID":"iggy_pop-7","fromTopic":"me/answers"}"#,
            "/rtcomm/management/endpoint-1",
            r#"{"method":"SERVICE_QUERY","transID":"endpoint-1-7","fromTopic":"me/address-1"}"#,
        ),
        (
            "/rtcomm/2123928217",
            r#"{"method":"RESPONSE","orig":"SERVICE_QUERY","services":{"RTCOMM_CONNECTOR_SERVICE":{"topic":"/rtcomm/connector","sphereTopic":"/rtcomm/sphere","iceURL":"stun:s:1,turn:me@t:2:credential:pw"},"RTCOMM_CALL_QUEUE_SERVICE":{"queues":[{"endpointID":"help","topic":"/rtcomm/queue_help"}]}}}"#,
            "/rtcomm/address-1",
            r#"{"method":"RESPONSE","orig":"SERVICE_QUERY","services":{"RTCOMM_CONNECTOR_SERVICE":{"topic":"/rtcomm/connector","sphereTopic":"/rtcomm/sphere","iceURL":"stun:s:1,turn:secret-1@t:2:credential:secret-2"},"RTCOMM_CALL_QUEUE_SERVICE":{"queues":[{"endpointID":"endpoint-1","topic":"/rtcomm/address-2"}]}}}"#,
        ),
        (
            "/rtcomm/status",
            r#"{"username":"me","turnPassword":"pw","note":"mqtt://me:p.w@h, p.w, not p.ws"}"#,
            "/rtcomm/status",
            r#"{"username":"secret-1","turnPassword":"secret-2","note":"mqtt://secret-1:secret-3@h, secret-3, not p.ws"}"#,
        ),
    ] {
        assert_eq!(anonymizer().message(topic, payload), (new_topic.to_owned(), new_payload.to_owned()));
    }
}

#[test]
fn a_payload_that_is_not_json_is_a_text() {
    let mut anonymizer = anonymizer();
    anonymizer.collect(&line_of("/rtcomm/event/session/started/iggy_pop/björk", br#"{"method":"RTCOMM_EVENT_FIRED"}"#));
    let line = anonymizer.written(&line_of("/rtcomm/event/session/start/iggy_pop/lemmy", b"iggy_pop rings lemmy"));
    assert!(line.contains(r#""error":"unknown action \"start\""#), "{line}");
    assert!(line.contains(r#""topic":"/rtcomm/event/session/start/endpoint-1/endpoint-3""#), "{line}");
    assert!(line.contains(r#""payload_text":"endpoint-1 rings endpoint-3""#), "{line}");
    let line = anonymizer.written(&line_of("elsewhere/björk/x-lemmy", b"\xffbj\xc3\xb6rk \xfe iggy_pop"));
    assert!(line.contains(r#""topic":"elsewhere/endpoint-2/x-endpoint-3""#), "{line}");
    assert!(
        line.contains(&format!(r#""payload_base64":"{}""#, BASE64.encode(b"\xffendpoint-2 \xfe endpoint-1"))),
        "{line}"
    );
    // JSON that some parsers reject.
    let payload = br#"{"method":"RTCOMM_EVENT_FIRED","callerEndpoint":"joan","note":"joan \ud83d\tiggy_pop"}"#;
    let line = anonymizer.written(&line_of("/rtcomm/event/session/started/a1/b1", payload));
    let text =
        r#"{"method":"RTCOMM_EVENT_FIRED","callerEndpoint":"endpoint-6","note":"endpoint-6 \ud83d\tendpoint-1"}"#;
    assert!(line.contains(&serde_json::to_string(text).expect("a string")), "{line}");
}

#[test]
fn an_event_below_another_root_keeps_its_levels() {
    let line = line_of("/rtcomm/event/session/started/session/started", br#"{"method":"RTCOMM_EVENT_FIRED"}"#);
    for root in ["/rtcomm/event2", "/other/root"] {
        let line = line.replace("/rtcomm/event", root);
        let written = anonymizer().written(&line);
        assert!(written.contains(&format!("\"{root}/session/started/endpoint-1/endpoint-2\"")), "{written}");
        let malformed = line_of("/rtcomm/event/session/start/a/b", b"x").replace("/rtcomm/event", root);
        let written = anonymizer().written(&malformed);
        assert!(written.contains(&format!("\"{root}/session/start/endpoint-1/endpoint-2\"")), "{written}");
    }
}

#[test]
fn call_records_and_connection_changes_are_replaced_too() {
    let mut anonymizer = anonymizer();
    let call = r#"{"cdr":"failed","sigSessID":"a","from":"iggy_pop","to":"lemmy","reason":"lemmy is busy","modified":0,"duplicates":0,"incomplete":["start"]}"#;
    assert_eq!(
        anonymizer.written(call),
        r#"{"cdr":"failed","sigSessID":"a","from":"endpoint-1","to":"endpoint-2","reason":"endpoint-2 is busy","modified":0,"duplicates":0,"incomplete":["start"]}"#
    );
    let lost = r#"{"received":"2026-11-23T03:34:12Z","status":"disconnected","reason":"iggy_pop took the session of wss://me@h"}"#;
    assert_eq!(
        anonymizer.written(lost),
        r#"{"received":"2026-11-23T03:34:12Z","status":"disconnected","reason":"endpoint-1 took the session of wss://secret-1@h"}"#
    );
}

#[test]
fn a_name_that_first_occurs_in_a_text_is_replaced_from_then_on() {
    let mut anonymizer = anonymizer();
    let failed = r#"{"method":"RTCOMM_EVENT_FIRED","reason":"no lemmy"}"#;
    let topic = "/rtcomm/event/session/failed/a/b";
    assert!(anonymizer.message(topic, failed).1.contains("no lemmy"));
    anonymizer.collect(&line_of("/rtcomm/event/registration/started/lemmy", br#"{"method":"RTCOMM_EVENT_FIRED"}"#));
    assert!(anonymizer.message("/rtcomm/event/session/failed/a/c", failed).1.contains("no endpoint-3"));
    // A copy stays a copy.
    assert!(anonymizer.message(topic, failed).1.contains("no lemmy"));
    assert!(anonymizer.message(topic, &failed.replace("no", "No")).1.contains("No endpoint-3"));
}

#[test]
fn a_message_that_is_not_of_a_session_is_not_kept_as_it_was() {
    let mut anonymizer = anonymizer();
    for (topic, payload) in [("/rtcomm/x", "hello joe"), ("/rtcomm/event/registration/started/ann", EVENT_WITH_NOTE)] {
        let line = line_of(topic, payload.as_bytes());
        assert!(anonymizer.written(&line).contains("hello joe"));
        anonymizer.collect(&line_of("/rtcomm/event/registration/started/joe", br#"{"method":"RTCOMM_EVENT_FIRED"}"#));
        assert!(anonymizer.written(&line).contains("hello endpoint-"));
        anonymizer = self::anonymizer();
    }
}

const EVENT_WITH_NOTE: &str = r#"{"method":"RTCOMM_EVENT_FIRED","note":"hello joe"}"#;

#[test]
fn the_application_of_a_session_without_an_id_stays_the_same() {
    for app in [r#""joe app""#, "42"] {
        let mut anonymizer = anonymizer();
        let event = |action: &str, time: u8| {
            let payload = format!(
                r#"{{"method":"RTCOMM_EVENT_FIRED","timestamp":"2026-11-23 10:00:0{time}","appContext":{app}}}"#
            );
            line_of(&format!("/rtcomm/event/session/{action}/a/b"), payload.as_bytes())
        };
        let mut lines = vec![anonymizer.written(&event("started", 0))];
        for name in ["joe", "42"] {
            let topic = format!("/rtcomm/event/registration/started/{name}");
            anonymizer.collect(&line_of(&topic, br#"{"method":"RTCOMM_EVENT_FIRED"}"#));
        }
        lines.push(anonymizer.written(&event("stopped", 2)));
        let records = records(&lines);
        assert_eq!((records.len(), records[0].duration), (1, Some(Duration::from_secs(2))), "{lines:?}");
    }
}

#[test]
fn a_session_id_stays_the_same_id() {
    let mut anonymizer = anonymizer();
    let event = |from: &str, id: &str| {
        let payload = format!(r#"{{"method":"RTCOMM_EVENT_FIRED","sigSessID":"{id}"}}"#);
        line_of(&format!("/rtcomm/event/session/modified/{from}/b"), payload.as_bytes())
    };
    assert!(anonymizer.written(&event("iggy_pop", "iggy_pop-lemmy-1")).contains(r#":"endpoint-1-lemmy-1""#));
    assert!(anonymizer.written(&event("lemmy", "iggy_pop-lemmy-1")).contains(r#":"endpoint-1-lemmy-1""#));
    assert!(anonymizer.written(&event("lemmy", "iggy_pop-lemmy-2")).contains(r#":"endpoint-1-endpoint-3-2""#));
}

/// Returns the call records of lines.
fn records(lines: &[String]) -> Vec<CallRecord> {
    let mut recorder = CallRecorder::new(Duration::from_hours(1));
    for line in lines {
        recorder.entry(&Entry::parse(line.as_bytes()).expect("a line"));
    }
    recorder.finish();
    std::iter::from_fn(|| recorder.next_record()).collect()
}

fn name() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["iggy", "iggy_pop", "Danko Jones", "björk", "sip:x@y.com", "1001", "$a", "busy-body"])
        .prop_map(str::to_owned)
}

prop_compose! {
    fn random_line()(
        action in prop::sample::select(vec!["started", "modified", "stopped", "failed"]),
        (from, to, other) in (name(), name(), name()),
        session in prop::option::of(0..4_u8),
        has_note in any::<bool>(),
    ) -> String {
        let id = session.map(|id| format!(r#","sigSessID":"{other}/{id}""#)).unwrap_or_default();
        let note = if has_note { format!(r#","note":"with {other}","reason":"{other} \u00e9 {to}""#) } else { String::new() };
        let payload = format!(r#"{{"method":"RTCOMM_EVENT_FIRED"{id}{note}}}"#);
        line_of(&format!("/rtcomm/event/session/{action}/{from}/{to}"), payload.as_bytes())
    }
}

proptest! {
    #[test]
    fn call_records_are_the_same_except_for_the_names(lines in prop::collection::vec(random_line(), 0..30)) {
        let mut anonymizer = anonymizer();
        let written: Vec<String> = lines.iter().map(|line| anonymizer.written(line)).collect();
        let mut pseudonyms = HashMap::new();
        for (before, after) in records(&lines).into_iter().zip(records(&written)) {
            for (name, pseudonym) in [(&before.from, &after.from), (&before.to, &after.to)] {
                let known = pseudonyms.entry(name.clone()).or_insert_with(|| pseudonym.clone());
                prop_assert_eq!(&*known, pseudonym);
            }
            let without_names = |record: CallRecord| CallRecord {
                session_id: record.session_id.map(|_| String::new()),
                from: String::new(),
                to: String::new(),
                answered_by: record.answered_by.iter().map(|_| String::new()).collect(),
                reason: record.reason.map(|_| String::new()),
                ..record
            };
            prop_assert_eq!(without_names(before), without_names(after));
        }
        prop_assert_eq!(records(&lines).len(), records(&written).len());
        let mut distinct: Vec<&String> = pseudonyms.values().collect();
        distinct.sort_unstable();
        distinct.dedup();
        prop_assert_eq!(distinct.len(), pseudonyms.len(), "one pseudonym per name");
    }

    #[test]
    fn no_known_name_remains(lines in prop::collection::vec(random_line(), 1..30)) {
        let mut anonymizer = anonymizer();
        for line in &lines {
            anonymizer.collect(line);
        }
        for line in &lines {
            let written = anonymizer.written(line);
            for name in ["iggy", "iggy_pop", "Danko", "björk", "sip", "1001", "$a", "busy"] {
                prop_assert!(
                    anonymizer.names.get(name).is_none() || !written.contains(&format!("\"{name}\"")) && !written.contains(&format!("/{name}/")),
                    "{} in {}", name, written
                );
            }
        }
    }

    #[test]
    fn any_line_is_written_without_a_panic(json in r#"\{"(topic|payload|status|payload_text|payload_base64)":[\[\]{},:"\\ 0-9a-zé]{0,60}"#) {
        let mut out = Vec::new();
        anonymizer().write(&json, &mut out);
        prop_assert!(String::from_utf8(out).is_ok());
    }
}

#[test]
fn the_endpoint_of_a_document_or_an_absence_is_a_name() {
    let mut anonymizer = anonymizer();
    let document = line_of("/rtcomm/sphere/agents/Danko Jones/phone", br#"{"method":"DOCUMENT","state":"busy"}"#);
    let written = anonymizer.written(&document);
    assert!(
        written.contains(r#""from":"endpoint-1","topic":"/rtcomm/sphere/agents/Danko Jones/endpoint-1""#),
        "{written}"
    );
    let absence =
        anonymizer.written(r#"{"received":"2026-11-23T03:34:12.798558Z","status":"absent","from":"Danko Jones"}"#);
    assert!(absence.ends_with(r#""status":"absent","from":"endpoint-2"}"#), "{absence}");
    let written = anonymizer.written(&document.replace("busy", "available"));
    assert!(written.contains(r#""topic":"/rtcomm/sphere/agents/endpoint-2/endpoint-1""#), "{written}");
}
