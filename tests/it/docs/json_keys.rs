//! Reads the tables of docs/json-lines.md, and compares them with JSON lines: names, order and types of the keys.

use jiff::Timestamp;
use rtcomm::Status;
use rtcomm::protocol::call::{INVALID, NoReplyCause, Outcome, Verdict};
use rtcomm::protocol::record::{Absence, ConnectionChange, ConnectionStatus, Content, Message, Payload, Record};
use rtcomm::protocol::topic::{Root, Topics};
use serde_json::{Map, Value, json};

use crate::support::events::event;
use crate::support::service::{CALL_TOPIC, reply, request_of};
use crate::support::{Broker, rtcomm};

const DOCUMENT: &str = "docs/json-lines.md";

/// A row of a table of keys. Texts are Markdown.
pub(super) struct Key {
    pub(super) name: String,
    kind: String,
    /// When the key is present.
    pub(super) present: String,
    pub(super) meaning: String,
}

/// A row of the table of outcomes.
pub(super) struct DocumentedOutcome {
    pub(super) name: String,
    /// The exit status of `rtcomm call`.
    pub(super) status: String,
    pub(super) meaning: String,
}

pub(super) fn document() -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(DOCUMENT);
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{DOCUMENT}: {error}"))
}

/// The text below a heading.
pub(super) fn section<'a>(document: &'a str, heading: &str) -> &'a str {
    let text = document.split_once(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no section {heading}")).1;
    text.split("\n## ").next().unwrap_or_default()
}

/// The cells of the table whose first column has this title.
fn rows<'a, const COLUMNS: usize>(section: &'a str, title: &str) -> impl Iterator<Item = [&'a str; COLUMNS]> {
    let rows = section.lines().skip_while(move |line| !line.starts_with(&format!("| {title} "))).skip(2);
    rows.take_while(|line| line.starts_with('|')).map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        cells.try_into().unwrap_or_else(|_| panic!("a row with other than {COLUMNS} cells: {row}"))
    })
}

/// The keys of a section's table, in order. Checks that each example has its type.
pub(super) fn documented(section: &str) -> Vec<Key> {
    rows(section, "key")
        .map(|[name, kind, present, meaning, example]| {
            let value: Value = serde_json::from_str(example.trim_matches('`')).expect("an example is JSON");
            assert!(has_type(&value, kind), "the example of {name} is not of the type {kind}: {example}");
            let [name, kind, present, meaning] = [name.trim_matches('`'), kind, present, meaning].map(str::to_owned);
            Key { name, kind, present, meaning }
        })
        .collect()
}

/// The outcomes of calls, in order.
pub(super) fn documented_outcomes(section: &str) -> Vec<DocumentedOutcome> {
    rows(section, "outcome")
        .map(|cells: [&str; 3]| {
            let [name, status, meaning] = cells.map(str::to_owned);
            DocumentedOutcome { name: name.trim_matches('`').to_owned(), status, meaning }
        })
        .collect()
}

fn has_type(value: &Value, kind: &str) -> bool {
    match kind {
        "string" => value.is_string(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "string or null" => value.is_string() || value.is_null(),
        "number or null" => value.is_number() || value.is_null(),
        "any" => true,
        other => panic!("{DOCUMENT} has an unknown type: {other}"),
    }
}

/// The keys of a JSON object in their order, which serde_json's maps do not keep.
fn keys_in_order(line: &str) -> Vec<String> {
    let object: Map<String, Value> = serde_json::from_str(line).expect("a line is a JSON object");
    let mut keys: Vec<String> = object.keys().cloned().collect();
    // A nested object may have the same keys, but all keys that can be equal stand before it.
    keys.sort_by_key(|key| line.find(&format!("\"{key}\":")));
    keys
}

/// Compares lines, which must show every key, with a section.
fn compare(heading: &str, lines: &[String]) {
    let document = document();
    let documented = documented(section(&document, heading));
    let names: Vec<&str> = documented.iter().map(|key| key.name.as_str()).collect();
    let hint = format!("update the table \"{heading}\" in {DOCUMENT}");
    let mut unseen = names.clone();
    for line in lines {
        let object: Map<String, Value> = serde_json::from_str(line).expect("a line is a JSON object");
        let mut rest = names.iter();
        for name in keys_in_order(line) {
            assert!(names.contains(&name.as_str()), "the key {name} is not documented: {hint}\n{line}");
            assert!(rest.any(|it| *it == name), "the key {name} is not in the documented order: {hint}\n{line}");
            let kind = documented.iter().find(|key| key.name == name).map_or("", |key| key.kind.as_str());
            assert!(has_type(&object[&name], kind), "{name} is not of type {kind}: {hint}\n{line}");
            unseen.retain(|it| *it != name);
        }
    }
    assert!(unseen.is_empty(), "keys that no line has: {unseen:?}. Remove them, or add a sample to this test: {hint}");
}

#[test]
fn the_keys_of_messages_are_documented() {
    let topics = Topics::from("/rtcomm".parse::<Root>().expect("a root"));
    let record = |topic: &'static str, payload: &'static [u8]| {
        let message = Message { received: Timestamp::UNIX_EPOCH, topic, qos: 1, retain: false, payload };
        Record::of(&topics, &message)
    };
    let session = "/rtcomm/event/session/started/a/b";
    let records = [
        record("/rtcomm/event/registration/started/a", b"{\"method\":\"RTCOMM_EVENT_FIRED\"}"),
        record(session, b"{\"method\":\"RTCOMM_EVENT_FIRED\"}"),
        record(session, b"text"),
        record("/rtcomm/sphere/a", b"{\"method\":\"DOCUMENT\"}"),
        record("/rtcomm/sphere/a", b""),
        record("elsewhere", b"\xff"),
        Record { payload: Payload::Missing, ..record("elsewhere", b"") },
    ];
    // If a variant is added, add a sample above.
    for Record { content, payload, .. } in &records {
        match content {
            Content::Event(_) | Content::Presence(_) | Content::Malformed(_) | Content::Other => {}
        }
        match payload {
            Payload::Json(_) | Payload::Text(_) | Payload::Binary(_) | Payload::Missing => {}
        }
    }
    let lines = records.map(|record| {
        let mut line = Vec::new();
        record.write_line(&mut line);
        String::from_utf8(line).expect("a line is UTF-8")
    });
    compare("Messages", &lines);
}

#[test]
fn the_keys_and_values_of_connection_records_are_documented() {
    let at = Timestamp::UNIX_EPOCH;
    let changes = [
        ConnectionChange::Connected,
        ConnectionChange::Disconnected,
        ConnectionChange::Ready,
        ConnectionChange::Settled,
        ConnectionChange::Gap { from: at, until: at },
    ];
    let document = document();
    let lines = changes.map(|change| {
        // If a variant is added, add a sample above.
        match change {
            ConnectionChange::Connected
            | ConnectionChange::Disconnected
            | ConnectionChange::Ready
            | ConnectionChange::Settled
            | ConnectionChange::Gap { .. } => {}
        }
        let value = format!("`{}`", change.as_str());
        assert!(section(&document, "Connection records").contains(&value), "{value} is not in {DOCUMENT}");
        let mut line = Vec::new();
        ConnectionStatus { received: at, change, reason: Some("a reason".into()) }.write_line(&mut line);
        String::from_utf8(line).expect("a line is UTF-8")
    });
    compare("Connection records", &lines);
}

/// Events of a call that is modified and fails after its start, and of one without times or IDs.
const CALLS: &str = concat!(
    r#"{"received":"2026-11-23T03:34:12Z","category":"session","action":"started","from":"a","to":"b","topic":"/rtcomm/event/session/started/a/b","qos":1,"retain":false,"payload":{"method":"RTCOMM_EVENT_FIRED","appContext":"x","sigSessID":"s"}}"#,
    "\n",
    r#"{"received":"2026-11-23T03:34:13Z","category":"session","action":"failed","from":"a","to":"b","topic":"/rtcomm/event/session/failed/a/b","qos":1,"retain":false,"payload":{"method":"RTCOMM_EVENT_FIRED","appContext":"x","sigSessID":"s","reason":"Busy"}}"#,
    "\n",
    r#"{"received":"2026-11-23T03:34:14Z","category":"session","action":"started","from":"c","to":"d","topic":"/rtcomm/event/session/started/c/d","qos":1,"retain":false,"payload":{"method":"RTCOMM_EVENT_FIRED"}}"#,
    "\n",
);

fn lines_of_tail(flags: &str) -> Vec<String> {
    let outcome = rtcomm(&format!("tail - --json {flags}")).stdin(CALLS).run().has_status(0);
    outcome.stdout.lines().map(str::to_owned).collect()
}

#[test]
fn the_keys_of_call_records_are_documented() {
    compare("Call records", &lines_of_tail("--cdr"));
}

#[test]
fn the_keys_of_summaries_are_documented() {
    for by in ["endpoint", "app", "reason"] {
        compare("Summaries", &lines_of_tail(&format!("--summary={by}")));
    }
}

#[test]
fn the_keys_of_absences_are_documented() {
    let mut line = Vec::new();
    Absence { received: Timestamp::UNIX_EPOCH, from: "iggy_pop".into() }.write_line(&mut line);
    compare("Absences", &[String::from_utf8(line).expect("a line is UTF-8")]);
}

#[test]
fn the_keys_of_checks_are_documented() {
    let broker = Broker::demo();
    let whole = rtcomm("check --json").at(&broker).run().has_status(0);
    let unreachable = rtcomm("check --json --broker mqtt://127.0.0.1:1").run().has_status(2);
    compare("Checks", &[whole.stdout.trim_end().to_owned(), unreachable.stdout.trim_end().to_owned()]);
}

#[test]
fn the_keys_of_call_results_are_documented() {
    let broker = Broker::demo();
    let input = concat!(
        "{\"caller\":\"iggy_pop\",\"callee\":\"david_bowie\",\"session_id\":\"0f6c9f3e-3d53-4f0b-9f4c-0d9a3b1d7a55\"}\n",
        "{\"caller\":\"iggy_pop\",\"callee\":\"nobody\"}\n",
        "not JSON\n",
    );
    let outcome = rtcomm("call --batch -").at(&broker).stdin(input).run().has_status(3);
    let mut lines: Vec<String> = outcome.stdout.lines().map(str::to_owned).collect();
    let unreachable = rtcomm("call a b --json --broker mqtt://127.0.0.1:1").run().has_status(5);
    lines.push(unreachable.stdout.trim_end().to_owned());
    lines.push(result_with_a_lone_surrogate());
    lines.push(result_with_a_session("--follow", "stopped"));
    lines.push(result_with_a_session("--follow=1s", "started"));
    compare("Call results", &lines);
}

/// The result of a followed call: a reply, and the end of its session or the end of LIMIT.
fn result_with_a_session(follow: &str, action: &str) -> String {
    let broker = Broker::mosquitto();
    let mut service = broker.client();
    service.subscribe(CALL_TOPIC);
    let call = rtcomm(&format!("call a b {follow} --app-context XYZ --json")).at(&broker).start();
    let request = service.next();
    service.send_message(&reply(&request, &json!({})));
    let session = request_of(&request)["sessionID"].clone();
    service.publish(&format!("/rtcomm/event/session/{action}/a/b"), event(&json!({ "sigSessID": session })));
    call.end().stdout.trim_end().to_owned()
}

/// The result of a call whose reply some parsers reject.
fn result_with_a_lone_surrogate() -> String {
    let broker = Broker::mosquitto();
    let mut service = broker.client();
    service.subscribe(CALL_TOPIC);
    let call = rtcomm("call a b --json").at(&broker).start();
    let mut reply = reply(&service.next(), &json!({ "x": "SURROGATE" }));
    reply.payload = String::from_utf8(reply.payload).expect("JSON").replace("SURROGATE", r"\ud800").into();
    service.send_message(&reply);
    call.end().has_status(0).stdout.trim_end().to_owned()
}

#[test]
fn every_outcome_is_documented_with_its_status() {
    let answered = |verdict| Outcome::Answered { verdict, response: String::new() };
    let unanswered = |cause| Outcome::Unanswered(cause, String::new());
    let outcomes = [
        (answered(Verdict::Success), Status::Success),
        (answered(Verdict::Failure(None)), Status::ServiceFailure),
        (unanswered(NoReplyCause::Timeout), Status::Deadline),
        (unanswered(NoReplyCause::NoResponder), Status::NoResponder),
        (unanswered(NoReplyCause::Denied), Status::Refused),
        (unanswered(NoReplyCause::Unreachable), Status::Unreachable),
        (unanswered(NoReplyCause::Unknown), Status::Failure),
    ];
    // If a variant is added, add a row above.
    for (outcome, _) in &outcomes {
        match outcome {
            Outcome::Answered { verdict: Verdict::Success | Verdict::Failure(_), .. } => {}
            Outcome::Unanswered(cause, _) => match cause {
                NoReplyCause::Timeout
                | NoReplyCause::NoResponder
                | NoReplyCause::Denied
                | NoReplyCause::Unreachable
                | NoReplyCause::Unknown => {}
            },
        }
    }
    let expected = outcomes.iter().map(|(outcome, status)| (outcome.name(), *status));
    let expected: Vec<_> = expected.chain([(INVALID, Status::Failure)]).collect();
    let expected: Vec<_> = expected.iter().map(|(name, status)| format!("{name} {}", status.code())).collect();
    let document = document();
    let documented = documented_outcomes(section(&document, "Call results"));
    let documented: Vec<_> = documented.iter().map(|row| format!("{} {}", row.name, row.status)).collect();
    assert_eq!(documented, expected, "update the table of outcomes in {DOCUMENT}");
}
