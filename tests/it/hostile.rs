//! Malicious input: payloads, topics, reasons, replies. It never ends a run, breaks a line or reaches a terminal unescaped,
//! and later messages are printed.
//!
//! The payloads are in `tests/data/hostile/`; large ones are generated. The ending of a name is the kind of payload: `event`
//! (JSON of an event), `json` (other JSON), `text` (other UTF-8), `bytes` (other bytes).

mod bodies;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use proptest::prelude::*;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::support::events::event;
use crate::support::mqtt::Message;
use crate::support::peer::{Peer, Script, ToVersion5};
use crate::support::service::reply;
use crate::support::{Broker, Outcome, Setup, rtcomm, shell};
use bodies::{is_safe, without_colors};

const TOPIC: &str = "/rtcomm/event/session/failed/iggy_pop/david_bowie";

/// The kind of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Event,
    Json,
    Text,
    Bytes,
}

/// Returns every payload of the corpus with its name, small ones first.
fn corpus() -> Vec<(String, Kind, Vec<u8>)> {
    let mut all: Vec<_> = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/hostile"))
        .expect("there is a corpus")
        .map(|entry| entry.expect("a file").path())
        .filter(|path| path.is_file())
        .map(|path| {
            let name = path.file_name().expect("a file").to_string_lossy().into_owned();
            let kind = match path.extension().and_then(|it| it.to_str()) {
                Some("event") => Kind::Event,
                Some("json") => Kind::Json,
                Some("text") => Kind::Text,
                Some("bytes") => Kind::Bytes,
                _ => panic!("{name} ends in event, json, text or bytes"),
            };
            (name, kind, fs::read(&path).expect("it can be read"))
        })
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(all.len() > 40, "the corpus is there");
    all.extend(large_payloads());
    all
}

/// Returns payloads that are too large for the repository.
fn large_payloads() -> Vec<(String, Kind, Vec<u8>)> {
    const DEEP: usize = 100_000;
    const LONG: usize = 10 << 20;
    let text = |name: &str, kind, payload: String| (name.to_owned(), kind, payload.into_bytes());
    let head = r#"{"method":"RTCOMM_EVENT_FIRED""#;
    vec![
        text("deep arrays", Kind::Event, format!(r#"{head},"x":{}{}}}"#, "[".repeat(DEEP), "]".repeat(DEEP))),
        text("deep objects", Kind::Event, format!(r#"{head},"x":{}1{}}}"#, r#"{"a":"#.repeat(DEEP), "}".repeat(DEEP))),
        text("deep reason", Kind::Event, format!(r#"{head},"reason":{}{}}}"#, "[".repeat(DEEP), "]".repeat(DEEP))),
        text("deep and open", Kind::Text, "[".repeat(DEEP)),
        text("long reason", Kind::Event, format!(r#"{head},"reason":"{}"}}"#, "x".repeat(LONG))),
        text("long key", Kind::Event, format!(r#"{head},"{}":1}}"#, "k".repeat(LONG / 10))),
        text("long number", Kind::Event, format!(r#"{head},"n":{0},"reason":{0}}}"#, "9".repeat(1_000))),
        text("long fraction", Kind::Event, format!(r#"{head},"n":0.{}e-{}}}"#, "3".repeat(1_000), "9".repeat(1_000))),
        text("many keys", Kind::Event, format!("{head}{}}}", r#","reason":"a""#.repeat(50_000))),
        text("long text", Kind::Text, "no JSON ".repeat(LONG / 80)),
        text("escapes alone", Kind::Event, format!(r#"{head},"reason":"{}"}}"#, r"\u001b\u202e".repeat(10_000))),
    ]
}

/// Returns the key under which the payload must be recorded.
#[derive(serde::Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
    #[serde(borrow)]
    payload_text: Option<Cow<'a, str>>,
    payload_base64: Option<String>,
    error: Option<String>,
}

/// Returns whether some parsers reject this JSON: jq 1.6 reads no lone surrogates, and no more than 255 levels.
fn is_rejected(name: &str) -> bool {
    name.starts_with("deep") || name.contains("surrogate")
}

/// Checks that the line is JSON with the payload as it was sent.
fn check_line(line: &str, name: &str, kind: Kind, sent: &[u8]) -> Result<(), String> {
    let read: Line<'_> = serde_json::from_str(line).map_err(|error| format!("no JSON: {error}"))?;
    let whole = String::from_utf8_lossy(sent);
    let is_same = match kind {
        Kind::Event | Kind::Json if is_rejected(name) => read.payload_text.as_deref() == Some(&*whole),
        Kind::Event | Kind::Json => {
            // Line ends are outside strings, and become spaces.
            let sent = whole.replace(['\n', '\r'], " ");
            read.payload.is_some_and(|payload| payload.get() == sent.trim_ascii())
        }
        Kind::Text => read.payload_text.as_deref() == Some(&*whole),
        Kind::Bytes => read.payload_base64.is_some_and(|it| BASE64.decode(it).is_ok_and(|bytes| bytes == sent)),
    };
    if !is_same {
        return Err(format!("another payload, or in another form than {kind:?}"));
    }
    if read.error.is_none() == (kind == Kind::Event) { Ok(()) } else { Err("an error or none".to_owned()) }
}

#[track_caller]
fn check_lines(outcome: &Outcome, sent: &[&(String, Kind, Vec<u8>)]) {
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    assert_eq!(lines.len(), sent.len(), "a line for each");
    for (line, (name, kind, payload)) in lines.iter().zip(sent) {
        if let Err(what) = check_line(line, name, *kind, payload) {
            panic!("{name}: {what}: {}", line.chars().take(500).collect::<String>());
        }
    }
}

/// Checks that each line is safe, apart from colors if they are expected.
#[track_caller]
fn check_safe(outcome: &Outcome, count: usize, is_colored: bool) {
    let lines: Vec<&str> = outcome.stdout.split_terminator('\n').collect();
    assert_eq!(lines.len(), count, "a line for each");
    for line in lines {
        assert!(!line.contains('\u{fffd}'), "valid UTF-8");
        if is_colored {
            is_safe(&without_colors(line));
        } else {
            is_safe(line);
        }
    }
    for line in outcome.stderr.lines() {
        is_safe(line);
    }
}

fn every_payload_of_the_corpus_is_handled(setup: &Setup) {
    let corpus = corpus();
    let events: Vec<_> = corpus.iter().filter(|(_, kind, _)| *kind == Kind::Event).collect();
    let all: Vec<_> = corpus.iter().collect();
    let start =
        |command: &str, count: usize| setup.rtcomm(&format!("{command} -c {}", count + 1)).start().until_ready();
    let watch_json = start("watch --json", events.len());
    let watch_pretty = start("watch --color=always", events.len());
    let tail_json = start("tail --json", all.len());
    let tail_pretty = start("tail", all.len());

    let mut client = setup.broker.client();
    for (_, _, payload) in &corpus {
        client.publish(TOPIC, payload);
    }
    let last = event(&json!({ "reason": "the last one" }));
    client.publish(TOPIC, &last);
    let last = (String::from("the last one"), Kind::Event, last.into_bytes());
    let with_last = |sent: &[&(String, Kind, Vec<u8>)]| -> Vec<_> {
        sent.iter().map(|it| (*it).clone()).chain([last.clone()]).collect()
    };
    let (events, all) = (with_last(&events), with_last(&all));

    let outcome = watch_json.end().has_status(0);
    check_lines(&outcome, &events.iter().collect::<Vec<_>>());
    let skipped = outcome.stderr.lines().filter(|line| line.contains("skipped a message on")).count();
    assert_eq!(skipped, all.len() - events.len(), "each other message is reported once");
    check_safe(&watch_pretty.end().has_status(0), events.len(), true);
    check_safe(&tail_pretty.end().has_status(0), all.len(), false);
    let recorded = tail_json.end().has_status(0);
    check_lines(&recorded, &all.iter().collect::<Vec<_>>());

    // Read the recording again.
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    fs::write(file.path(), &recorded.stdout).expect("it can be written");
    let again = rtcomm("tail --json").arg(file.path()).run().has_status(0);
    assert!(again.stdout == recorded.stdout, "byte for byte");
    assert!(again.stderr.is_empty(), "without an error");
    check_safe(&rtcomm("tail").arg(file.path()).run().has_status(0), all.len(), false);
    check_safe(&rtcomm("tail --color=always -n 9").arg(file.path()).run().has_status(0), 9, true);
}

#[test]
fn every_payload_from_mosquitto_is_handled_with_mqtt_5() {
    let setup = Setup { broker: Broker::mosquitto(), version: "5" };
    every_payload_of_the_corpus_is_handled(&setup);
}

#[test]
fn every_payload_from_the_demo_is_handled_with_mqtt_3_1_1() {
    let setup = Setup { broker: Broker::demo(), version: "3.1.1" };
    every_payload_of_the_corpus_is_handled(&setup);
}

/// Passes the program's lines to another JSON reader.
#[test]
fn jq_reads_the_lines_of_the_corpus() {
    let broker = Broker::mosquitto();
    let corpus = corpus();
    let tail = rtcomm(&format!("tail --json -c {}", corpus.len())).at(&broker).start().until_ready();
    let mut client = broker.client();
    for (_, _, payload) in &corpus {
        client.publish(TOPIC, payload);
    }
    let lines = tail.end().has_status(0).stdout;
    let topics = shell("jq -r .topic").stdin(&lines).run().has_status(0);
    assert_eq!(topics.stdout, format!("{TOPIC}\n").repeat(corpus.len()));
}

/// Earlier versions wrote lines that jq cannot read.
#[test]
fn jq_reads_the_output_of_tail_for_any_recording() {
    let line = |payload: &str| {
        format!(
            "{{\"received\":\"2026-11-23T03:34:12.798558Z\",\"topic\":\"{TOPIC}\",\"qos\":1,\"retain\":false,\
             \"payload\":{payload}}}\n"
        )
    };
    let deep = format!("{}{}", "[".repeat(300), "]".repeat(300));
    let file = [r#"{"x":"ok"}"#, r#"{"x":"\ud83d"}"#, &deep].map(line).concat();
    let outcome = shell("rtcomm tail --json - | jq -r '.payload.x? // .payload_text[:12]'").stdin(&file).run();
    outcome.has_status(0).prints("ok\n{\"x\":\"\\ud83d\n[[[[[[[[[[[[\n");
}

#[test]
fn the_corpus_as_recorded_lines_is_skipped() {
    let good = fs::read_to_string(crate::pretty::recorded()).expect("recorded lines");
    let mut file = Vec::new();
    let mut count = 0;
    for (_, _, payload) in corpus() {
        file.extend_from_slice(&payload);
        file.push(b'\n');
        file.extend_from_slice(good.as_bytes());
        count += good.lines().count();
    }
    let path = tempfile::NamedTempFile::new().expect("a temporary file");
    fs::write(path.path(), file).expect("it can be written");
    let outcome = rtcomm("tail").arg(path.path()).run().has_status(0);
    check_safe(&outcome, count, false);
    assert!(outcome.stderr.lines().all(|line| line.contains("skipped ")), "each is reported");
}

#[test]
fn a_line_above_the_limit_is_skipped() {
    let good = fs::read_to_string(crate::pretty::recorded()).expect("recorded lines");
    let long = format!("{{\"x\":\"{}\"}}\n{good}", "x".repeat(65 << 20));
    let path = tempfile::NamedTempFile::new().expect("a temporary file");
    fs::write(path.path(), long).expect("it can be written");
    let outcome = rtcomm("tail").arg(path.path()).run().has_status(0).says("line 1: too long");
    assert_eq!(outcome.stdout.lines().count(), good.lines().count());
}

/// Texts that a terminal would execute, or that would split a line.
const UNSAFE_TEXTS: [&str; 14] = [
    "\u{1b}[2J\u{1b}[31mred",
    "\u{1b}]8;;http://evil.example\u{1b}\\click\u{1b}]8;;\u{1b}\\",
    "\u{1b}]52;c;cm0gLXJmIH4=\u{7}",
    "\u{1b}]0;title\u{7}\u{1b}P$q\u{1b}\\\u{1b}c",
    "\u{9b}31m\u{9d}0;x\u{9c}\u{90}\u{85}",
    "one\ntwo\r\nthree\u{b}\u{c}\rfour",
    "\u{2028}\u{2029}",
    "\u{202e}gnp.exe\u{202c}\u{2066}x\u{2069}\u{200f}\u{61c}",
    "a\u{200b}b\u{200c}c\u{200d}d\u{2060}e\u{feff}f\u{ad}g",
    "\u{8}\u{8}\u{7f}\u{0}\u{1}\u{1f}",
    "\u{e0041}\u{e007f}\u{fe0f}\u{3164}\u{115f}",
    "\u{fff9}a\u{fffa}b\u{fffb}",
    "\t\ttabs",
    "\u{0}",
];

/// Returns a recorded line with the text at this place.
fn line_with(place: &str, text: &str) -> String {
    let mut payload = json!({
        "method": "RTCOMM_EVENT_FIRED", "appContext": "app", "reason": "busy", "sigSessID": "s", "regTopic": "t"
    });
    let mut line = json!({
        "received": "2026-11-23T03:34:12.798558Z", "category": "session", "action": "failed", "from": "a", "to": "b",
        "topic": TOPIC, "qos": 1, "retain": false
    });
    let elsewhere = |line: &mut Value| {
        for key in ["category", "action", "from", "to"] {
            line.as_object_mut().expect("an object").remove(key);
        }
    };
    match place.split_once('.') {
        Some(("event", key)) => payload[key] = text.into(),
        Some(("registration", key)) => {
            line["category"] = "registration".into();
            line.as_object_mut().expect("an object").remove("to");
            payload.as_object_mut().expect("an object").remove("reason");
            payload[key] = text.into();
        }
        Some(("call", key)) => {
            elsewhere(&mut line);
            payload = json!({ "method": "3PCC_PLACE_CALL", "transID": "t", "callerEndpoint": "a", "fromTopic": "f" });
            payload[key] = text.into();
        }
        Some(("reply", key)) => {
            elsewhere(&mut line);
            payload = json!({ "method": "RESPONSE", "orig": "o", "transID": "t", "result": "FAILURE", "reason": "r" });
            payload[key] = text.into();
        }
        Some(("presence", key)) => {
            elsewhere(&mut line);
            payload = json!({ "method": "DOCUMENT", "state": "available", "alias": "a", "addressTopic": "t" });
            payload[key] = text.into();
        }
        Some((kind @ ("text" | "bytes" | "error" | "json"), _)) => {
            elsewhere(&mut line);
            match kind {
                "text" => line["payload_text"] = text.into(),
                "bytes" => line["payload_base64"] = BASE64.encode([text.as_bytes(), b"\xff"].concat()).into(),
                "json" => payload = json!({ text: [text] }),
                _ => line["error"] = text.into(),
            }
        }
        Some((kind @ ("status" | "other"), key)) => {
            elsewhere(&mut line);
            if kind == "status" {
                line["status"] = "disconnected".into();
            }
            line[key] = text.into();
        }
        _ => line[place] = text.into(),
    }
    if line.get("payload_text").is_none() && line.get("payload_base64").is_none() {
        line["payload"] = payload;
    }
    format!("{line}\n")
}

const PLACES: [&str; 31] = [
    "from",
    "to",
    "topic",
    "event.reason",
    "event.appContext",
    "event.sigSessID",
    "event.timestamp",
    "event.unknown",
    "registration.regTopic",
    "registration.appContext",
    "call.callerEndpoint",
    "call.calleeEndpoint",
    "call.fromTopic",
    "call.transID",
    "call.sessionID",
    "call.appContext",
    "reply.result",
    "reply.reason",
    "reply.orig",
    "reply.transID",
    "presence.state",
    "presence.alias",
    "presence.addressTopic",
    "presence.appContext",
    "other.topic",
    "status.reason",
    "text.",
    "bytes.",
    "error.",
    "json.",
    "event.method2",
];

#[test]
fn every_field_is_escaped_on_its_line() {
    let mut lines = String::new();
    for place in PLACES {
        for text in UNSAFE_TEXTS {
            lines.push_str(&line_with(place, text));
        }
    }
    let count = PLACES.len() * UNSAFE_TEXTS.len();
    check_safe(&rtcomm("tail -").stdin(&lines).run().has_status(0), count, false);
    check_safe(&rtcomm("tail - --color=always").stdin(&lines).run().has_status(0), count, true);
    let outcome = rtcomm("tail - --json").stdin(&lines).run().has_status(0).prints(&lines);
    assert!(outcome.stderr.is_empty(), "without an error");
}

#[test]
fn an_error_about_a_recorded_line_is_one_safe_line() {
    for text in UNSAFE_TEXTS {
        let bad = [line_with("category", text), line_with("action", text), format!("{{\"{text}"), format!("{text}\n")];
        let good = line_with("event.reason", "busy");
        let outcome = rtcomm("tail -").stdin(bad.concat() + "\n" + &good).run().has_status(0);
        check_safe(&outcome, 1, false);
        check_safe(&rtcomm("tail -").stdin(bad.concat()).run().has_status(1), 0, false);
        let name = tempfile::TempDir::new().expect("a temporary directory");
        let name = name.path().join(text.replace(['/', '\0'], "_"));
        check_safe(&rtcomm("tail").arg(name).run().has_status(2), 0, false);
    }
}

#[test]
fn errors_that_quote_arguments_are_safe() {
    for text in UNSAFE_TEXTS.iter().filter(|text| !text.contains('\0')) {
        for command in [
            "watch --from",
            "watch --for",
            "watch --count",
            "watch --root",
            "watch --broker",
            "watch --reason",
            "watch --keepalive",
            "watch --session-id",
            "watch --cafile",
            "watch --proxy",
            "watch --client-id",
            "tail --since",
            "tail --topic",
            "call a",
            "call --timeout",
            "--no-such",
            "",
        ] {
            let text = if command == "watch --from" { format!("a/{text}") } else { (*text).to_owned() };
            let outcome = rtcomm(command)
                .arg(text)
                .env("RTCOMM_CONNECT_TIMEOUT", "1s")
                .env("RTCOMM_BROKER", "mqtt://127.0.0.1:1")
                .run();
            for line in outcome.stderr.lines() {
                is_safe(line);
            }
            outcome.check(outcome.stdout.is_empty(), "nothing on standard output");
        }
    }
}

fn script(to_subscriber: Vec<Message>) -> Script {
    Script { to_version_5: ToVersion5::Close, granted: Some(1), to_subscriber, on_publish: None, ..Script::default() }
}

/// Returns the texts that an MQTT topic can contain.
fn unsafe_topics() -> impl Iterator<Item = String> {
    let texts = UNSAFE_TEXTS.iter().filter(|text| !text.contains('\0'));
    texts.map(|text| text.replace(['/', '#', '+'], "-"))
}

#[test]
fn topics_are_escaped() {
    let payload = event(&json!({}));
    let mut messages = Vec::new();
    for text in unsafe_topics() {
        for topic in [
            format!("/rtcomm/event/session/started/{text}/{text}"),
            format!("/rtcomm/event/registration/started/{text}"),
            format!("/rtcomm/event/{text}/started/a"),
            format!("/rtcomm/event/session/{text}/a"),
            format!("/rtcomm/event/session/started/a/b/{text}"),
        ] {
            messages.push(Message::new(&topic, &payload));
        }
        let method = json!({ "method": text }).to_string();
        messages.push(Message::new(&format!("/rtcomm/event/session/started/{text}/b"), method));
        messages.push(Message::new(&format!("/rtcomm/sphere/{text}"), ""));
    }
    let groups = unsafe_topics().count();
    let peer = Peer::broker(script(messages));
    let run = |words: &str| rtcomm(words).arg("--broker").arg(peer.url());
    let outcome = run(&format!("watch -c {}", 2 * groups)).run().has_status(0);
    check_safe(&outcome, 2 * groups, false);
    outcome.says("skipped a message on '/rtcomm/event/");
    check_safe(&run(&format!("watch --color=always -c {}", 2 * groups)).run().has_status(0), 2 * groups, true);
    check_safe(&run(&format!("tail -c {}", 7 * groups)).run().has_status(0), 7 * groups, false);
    let outcome = run(&format!("tail --json -c {}", 7 * groups)).run().has_status(0);
    let topics: Vec<_> = outcome.json_lines().iter().map(|line| line["topic"].as_str().map(str::to_owned)).collect();
    for text in unsafe_topics() {
        assert!(topics.contains(&Some(format!("/rtcomm/sphere/{text}"))), "{text:?} arrives unchanged");
    }
}

/// Returns the payload of a failure, with this text at a key.
fn with_failure(key: &str, text: &str) -> Value {
    let mut more = json!({ "result": "FAILURE" });
    more[key] = text.into();
    more
}

/// Starts a peer that answers each request with these messages.
fn answering(answers: impl Fn(&Message) -> Vec<Message> + Send + Sync + 'static) -> Peer {
    Peer::broker(Script { on_publish: Some(Arc::new(answers)), ..script(vec![]) })
}

#[test]
fn replies_are_escaped() {
    for text in UNSAFE_TEXTS {
        for key in ["reason", "result"] {
            let peer = answering(move |request| vec![reply(request, &with_failure(key, text))]);
            let outcome = rtcomm("call a b --broker").arg(peer.url()).run().has_status(3);
            check_safe(&outcome, 1, false);
            let outcome = rtcomm("call a b --json --broker").arg(peer.url()).run().has_status(3);
            let line = &outcome.json_lines()[0];
            outcome.check(line["response"][key] == text, "as it was sent");
        }
    }
}

#[test]
fn a_message_that_is_not_the_reply_is_ignored_and_reported() {
    let big = "x".repeat(2_000);
    let peer = answering(move |request| {
        let ours = |more: Value| reply(request, &more);
        let elsewhere = |more: Value| Message { topic: format!("{}/other", ours(json!({})).topic), ..ours(more) };
        vec![
            ours(json!({ "reason": "retained" })).retained(),
            ours(json!({ "transID": "another", "reason": "wrong transID" })),
            ours(json!({ "transID": null })),
            ours(json!({ "orig": "SERVICE_QUERY" })),
            elsewhere(json!({ "method": "DOCUMENT" })),
            ours(json!({ "reason": big })),
            ours(json!({ "result": "SUCCESS", "n": 1 })),
            ours(json!({ "result": "FAILURE", "reason": "too late" })),
            ours(json!({ "result": "SUCCESS", "n": 2 })),
        ]
    });
    let run = |flags: &str| rtcomm(&format!("call a b --max-payload 1000 {flags} --broker")).arg(peer.url()).run();
    let outcome = run("--json --verbose").has_status(0);
    let lines = outcome.json_lines();
    outcome.check(lines.len() == 1 && lines[0]["response"]["n"] == 1, "the first that is valid, and no other");
    let ignored = outcome.stderr.lines().filter(|line| line.contains("ignored a message on the reply topic")).count();
    outcome.check(ignored == 6, "the six before it");
    let outcome =
        outcome.says("it is retained").says("transID belongs to another").says("orig is not").says("(--max-payload)");
    drop(outcome.says("method is not"));
    let quiet = run("").has_status(0);
    quiet.check(quiet.stderr.is_empty(), "reported only with --verbose");
}

#[test]
fn a_reply_is_limited_to_a_mebibyte() {
    for (size, status) in [(1 << 20, 0), ((1 << 20) + 1, 124)] {
        let peer = answering(move |request| {
            let mut reply = reply(request, &json!({ "result": "SUCCESS" }));
            reply.payload.resize(size, b' ');
            vec![reply]
        });
        let run = rtcomm("call a b -v --timeout 2s --broker").arg(peer.url()).run().has_status(status);
        run.check(run.stderr.contains("(--max-payload)") == (status == 124), "reported if it is too large");
    }
}

#[test]
fn reply_topics_are_random() {
    let mut seen = BTreeMap::new();
    for _ in 0..20 {
        let outcome = rtcomm("call a b --dry-run").run().has_status(0);
        let request = &outcome.json_lines()[0];
        for key in ["fromTopic", "transID"] {
            let text = request[key].as_str().expect("a text");
            let id = text.rsplit('/').next().unwrap_or_default();
            let id: uuid::Uuid = id.parse().expect("a UUID");
            // A UUID of version 4 has 122 random bits [RFC 9562, 5.4].
            assert_eq!((id.get_version_num(), id.get_variant()), (4, uuid::Variant::RFC4122), "{id}");
            assert_eq!(seen.insert(id, key), None, "every ID is different");
        }
    }
}

/// Returns packets of a broker, in the format of the fuzz target.
fn packets() -> impl Iterator<Item = (String, Vec<u8>)> {
    fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/hostile/relay")).expect("there is a corpus").map(
        |entry| {
            let path = entry.expect("a file").path();
            (path.display().to_string(), fs::read(&path).expect("it can be read"))
        },
    )
}

#[test]
fn the_fuzz_targets_pass_with_the_corpus() {
    // The largest are slow in an unoptimized build, and other tests cover them.
    for (_, _, payload) in corpus().into_iter().filter(|(_, _, payload)| payload.len() < 1 << 20) {
        bodies::topic(&payload);
        bodies::event(&payload);
        bodies::event(&[b"b\n", &payload[..]].concat());
        bodies::event(&[b"!elsewhere\n", &payload[..]].concat());
        bodies::record(&payload);
        bodies::broker_url(&payload);
        bodies::pretty(&[b"b\n", &payload[..]].concat());
        bodies::relay(&payload);
    }
    for (_, packets) in packets() {
        for end in 0..=packets.len() {
            bodies::relay(&packets[..end]);
        }
    }
    for place in PLACES {
        for text in UNSAFE_TEXTS {
            bodies::record(line_with(place, text).as_bytes());
            bodies::pretty(format!("{text}\n{{\"method\":\"RESPONSE\"}}").as_bytes());
            bodies::topic(format!("{text}\n+/{text}/#\n{text}").as_bytes());
            bodies::broker_url(format!("wss://{text}").as_bytes());
        }
    }
}

/// Generates bytes from pieces of the protocol, of terminal control sequences, and random ones.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let words: Vec<&'static [u8]> = vec![
        b"/",
        b"+",
        b"#",
        b"\n",
        b"$share/g/",
        b"/rtcomm/event/",
        b"session",
        b"registration",
        b"started",
        b"failed",
        b"{",
        b"}",
        b"[",
        b"]",
        b"\"",
        b":",
        b",",
        b"\\u001b",
        b"\\ud800",
        b"\x1b[31m",
        b"\xe2\x80\xae",
        b"\xff",
        b"\0",
        b"\"method\":",
        b"\"RTCOMM_EVENT_FIRED\"",
        b"\"RESPONSE\"",
        b"\"reason\":",
        b"\"received\":\"2026-11-23T03:34:12Z\"",
        b"\"topic\":\"a\"",
        b"\"qos\":1",
        b"\"retain\":false",
        b"\"payload\":",
        b"\"payload_text\":\"",
        b"\"status\":\"gap\"",
        b"mqtts://",
        b"@",
        b"[::1]",
        b":1883",
        b"1e999",
        b" ",
    ];
    let piece = prop_oneof![
        4 => prop::sample::select(words).prop_map(<[u8]>::to_vec),
        1 => any::<char>().prop_map(|c| c.to_string().into_bytes()),
        1 => any::<u8>().prop_map(|byte| vec![byte]),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// Generates packets of a broker and pieces of them: options, a seed, and the bytes that the relay reads.
fn relayed() -> impl Strategy<Value = Vec<u8>> {
    const PACKETS: [&[u8]; 22] = [
        // Messages with QoS 0, 1 and 2, and a PUBREL.
        b"\x30\x05\0\x03a/b",
        b"\x30\x06\0\x03a/b\0",
        b"\x31\x07\0\x03a/x{}",
        b"\x32\x09\0\x03a/b\0\x09{}",
        b"\x3a\x0a\0\x03x/b\0\x09\0{}",
        b"\x34\x08\0\x03a/b\0\x07\0",
        b"\x62\x02\0\x07",
        // With properties: subscription identifiers, a topic alias, a user property.
        b"\x30\x0b\0\x03a/b\x05\x0b\x01\x0b\xff\x7f",
        b"\x32\x0b\0\x03a/b\0\x09\x03\x23\0\x01",
        b"\x30\x0d\0\x03a/b\x07\x26\0\x01k\0\x01v",
        // Answers.
        b"\x40\x02\0\x01",
        b"\x40\x03\0\x02\x87",
        b"\x90\x03\0\x03\x01",
        b"\x90\x04\0\x04\0\x01",
        b"\x90\x02\0\x03",
        b"\x90\x03\0\x04\0",
        b"\xd0\0",
        b"\x20\x02\x01\0",
        b"\x20\x06\0\0\x03\x21\0\x05",
        b"\xe0\x02\x8e\0",
        // The header of a message of 200 bytes, which the next pieces may complete.
        b"\x30\xc8\x01\0\x03a/b",
        b"\x32\x80\x01\x01\0",
    ];
    let piece = prop_oneof![
        8 => prop::sample::select(&PACKETS[..]).prop_map(<[u8]>::to_vec),
        1 => (prop::sample::select(&PACKETS[..]), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(it, at, byte)| {
            let mut packet = it.to_vec();
            packet[at.index(it.len())] = byte;
            packet
        }),
        1 => (0..400_usize).prop_map(|len| vec![b'x'; len]),
        1 => any::<u8>().prop_map(|byte| vec![byte]),
    ];
    (any::<[u8; 2]>(), prop::collection::vec(piece, 0..40))
        .prop_map(|(options, pieces)| [&options[..], &pieces.concat()].concat())
}

proptest! {
    #[test]
    fn the_relay_handles_any_packets_wherever_reads_end(bytes in relayed()) {
        bodies::relay(&bytes);
    }

    #[test]
    fn the_fuzz_targets_pass_with_random_input(bytes in pieces()) {
        bodies::relay(&bytes);
        bodies::topic(&bytes);
        bodies::event(&bytes);
        bodies::record(&bytes);
        bodies::broker_url(&bytes);
        bodies::pretty(&bytes);
    }
}
