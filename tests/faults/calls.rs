//! A call whose connection breaks is never placed twice, and is reported if it may have been placed.

use std::net::Ipv4Addr;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use serde_json::{Value, json};

use crate::rig::{Mosquitto, figures, rtcomm_at};
use crate::support::client::Client;
use crate::support::mqtt::Message;
use crate::support::peer::{Peer, Script, ToVersion5};
use crate::support::pki::Authority;
use crate::support::relay::{Plan, Relay};
use crate::support::service::{CALL_TOPIC, reply};
use crate::support::{Broker, Outcome, TIMEOUT};

/// Answers every request with SUCCESS, and sends its transaction ID to the receiver, or `None` for other messages.
fn service(broker: &Mosquitto) -> Receiver<Option<String>> {
    let mut client = Client::connect(broker.port());
    client.subscribe(CALL_TOPIC);
    let (sender, served) = channel();
    thread::spawn(move || {
        while let Some(message) = client.next_until_closed() {
            let request: Value = serde_json::from_slice(&message.payload).unwrap_or_default();
            let id = request["transID"].as_str().map(str::to_owned);
            if id.is_some() {
                client.send_message(&reply(&message, &json!({})));
            }
            if sender.send(id).is_err() {
                return;
            }
        }
    });
    served
}

/// The outcome of a call, and the requests that the service received.
struct Placed {
    outcome: Outcome,
    requests: Vec<String>,
    traffic: Vec<crate::support::relay::Traffic>,
}

/// Places a call over a connection with these faults. Later connections have none.
fn place(broker: &Mosquitto, served: &Receiver<Option<String>>, flags: &str, plan: Plan) -> Placed {
    let proxy = Relay::before(broker.address(), 1, move |nth| if nth == 0 { plan.clone() } else { Plan::default() });
    let command = format!("call iggy_pop david_bowie --json --timeout 10s {flags}");
    let outcome = rtcomm_at(&command, &proxy.url()).run();
    // Every request of the call precedes this message.
    Client::connect(broker.port()).publish(CALL_TOPIC, "the end");
    let mut requests = Vec::new();
    while let Some(id) = served.recv_timeout(TIMEOUT).expect("the service receives everything") {
        requests.push(id);
    }
    Placed { outcome, requests, traffic: proxy.traffic() }
}

impl Placed {
    /// Checks that the call was placed at most once and reported correctly. Returns the outcome.
    fn check(self) -> String {
        let Self { outcome, requests, .. } = self;
        let said = outcome.json_lines();
        outcome.check(said.len() == 1, "one line");
        let word = said[0]["outcome"].as_str().unwrap_or_default().to_owned();
        let id = said[0]["transID"].as_str().unwrap_or_default();
        outcome.check(requests.len() <= 1, &format!("at most one request, not {requests:?}"));
        outcome.check(requests.iter().all(|request| request == id), &format!("the reported request: {requests:?}"));
        match word.as_str() {
            "success" => outcome.check(requests.len() == 1, "a request for the reply"),
            "unreachable" => outcome.check(requests.is_empty(), "no request if nothing was sent"),
            "unknown" => outcome.check(outcome.stderr.contains(id), "the transaction to look for"),
            _ => outcome.check(false, "an outcome that a broken connection may have"),
        }
        let status = match word.as_str() {
            "success" => 0,
            "unreachable" => 5,
            _ => 1,
        };
        outcome.has_status(status);
        word
    }
}

/// Cuts the connection after more and more bytes, in either direction, until it is no longer cut.
fn broken_anywhere(flags: &str, step: usize) {
    let broker = Mosquitto::unlimited();
    let served = service(&broker);
    let whole = place(&broker, &served, flags, Plan::default());
    let (up, down) = (whole.traffic[0].passed_up, whole.traffic[0].passed_down);
    assert_eq!(whole.check(), "success");
    let mut words = Vec::new();
    for bytes in (0..=up).step_by(step) {
        words.push(place(&broker, &served, flags, Plan::cut_after_up(bytes)).check());
    }
    for bytes in (0..=down).step_by(step) {
        words.push(place(&broker, &served, flags, Plan::cut_after_down(bytes)).check());
    }
    let count = |wanted: &str| words.iter().filter(|word| *word == wanted).count();
    let [success, unreachable, unknown] = ["success", "unreachable", "unknown"].map(count);
    figures(format_args!(
        "{} calls cut after each {step} of {up} bytes up and {down} down ({flags}): {unreachable} not sent, {unknown} \
         unknown, {success} placed, none twice",
        words.len()
    ));
    assert!(unknown > 0 && unreachable > 0, "{words:?}");
}

#[test]
fn a_call_is_placed_at_most_once_wherever_the_connection_breaks() {
    broken_anywhere("--mqtt-version 5", 17);
}

#[test]
fn a_call_is_placed_at_most_once_in_both_versions() {
    broken_anywhere("", 17);
    broken_anywhere("--mqtt-version 3.1.1", 17);
}

#[test]
#[ignore = "takes 5 s; make test-faults"]
fn a_call_is_placed_at_most_once_whichever_byte_is_the_last() {
    broken_anywhere("--mqtt-version 5", 2);
}

#[test]
fn a_call_that_breaks_after_the_request_may_have_been_placed() {
    // The broker receives the request and closes the connection.
    let script = Script {
        to_version_5: ToVersion5::ReasonCode,
        granted: Some(1),
        to_subscriber: Vec::new(),
        on_publish: None,
        ..Script::default()
    };
    let peer = Peer::broker(script);
    let outcome = rtcomm_at("call iggy_pop david_bowie --json", &peer.url()).run().has_status(1);
    let published: Vec<Message> = peer.published();
    outcome.check(published.len() == 1, &format!("one request, not {}", published.len()));
    let request: Value = serde_json::from_slice(&published[0].payload).expect("a request is JSON");
    let id = request["transID"].as_str().expect("a request has an ID").to_owned();
    let said = &outcome.json_lines()[0];
    outcome.check(said["outcome"] == "unknown" && said["transID"] == id.as_str(), "an outcome that is not known");
    outcome.says(&format!("the call may have been placed (transID {id})"));
}

#[test]
fn a_call_that_breaks_before_the_suback_sends_nothing() {
    let broker = Mosquitto::unlimited();
    let served = service(&broker);
    for flags in ["--mqtt-version 5", "--mqtt-version 3.1.1"] {
        // Forward the CONNACK and the first bytes of the SUBACK.
        let connack = if flags.ends_with('5') { 11 } else { 4 };
        let placed = place(&broker, &served, flags, Plan::cut_after_down(connack + 2));
        let sent = crate::support::relay::Traffic::clone(&placed.traffic[0]);
        assert_eq!(sent.passed_down, connack + 2);
        assert!(!String::from_utf8_lossy(&sent.up).contains("3PCC"), "no request was tried");
        assert_eq!(placed.check(), "unreachable");
    }
}

/// Runs a batch whose connection is cut, and continues it as its report says, until it is done.
#[test]
fn a_resumed_batch_places_each_call_at_most_once() {
    const LINES: usize = 300;
    let broker = Mosquitto::unlimited();
    let served = service(&broker);
    let dir = tempfile::TempDir::new().expect("a temporary directory");
    let batch = dir.path().join("batch.jsonl");
    let line = |n| format!("{}\n", json!({ "caller": format!("caller{n}"), "callee": "david_bowie" }));
    std::fs::write(&batch, (0..LINES).map(line).collect::<String>()).expect("the batch can be written");
    // Cut each connection later than the previous one, and the last one not at all.
    let proxy = Relay::before(broker.address(), 1, |nth| match nth {
        0..6 => Plan::cut_after_down(5_000 * (nth + 1) + 7 * nth),
        _ => Plan::default(),
    });
    let mut said: Vec<Value> = Vec::new();
    let mut runs = 0;
    while said.len() < LINES {
        runs += 1;
        assert!(runs <= 10, "the batch ends");
        let command = rtcomm_at("call --mqtt-version 5 --jobs 16 --timeout 10s", &proxy.url());
        let command = command.arg("--batch").arg(&batch).arg("--skip").arg(said.len().to_string());
        let outcome = command.run();
        said.extend(outcome.json_lines());
        if said.len() < LINES {
            outcome.has_status(5).says(&format!("resume with --skip {}", said.len()));
        }
    }
    Client::connect(broker.port()).publish(CALL_TOPIC, "the end");
    let mut requests = Vec::new();
    while let Some(id) = served.recv_timeout(TIMEOUT).expect("the service receives everything") {
        requests.push(id);
    }
    let mut unknown = 0;
    for (n, line) in said.iter().enumerate() {
        assert_eq!(line["caller"], format!("caller{n}"), "a line for each line, in order");
        let placed = requests.iter().filter(|id| line["transID"] == id.as_str()).count();
        match line["outcome"].as_str() {
            Some("success") => assert_eq!(placed, 1, "{line}"),
            Some("unknown") => {
                unknown += 1;
                assert!(placed <= 1, "{line}");
            }
            _ => panic!("an outcome that no broken connection has: {line}"),
        }
    }
    let reported = requests.iter().filter(|id| said.iter().any(|line| line["transID"] == id.as_str())).count();
    assert_eq!(reported, requests.len(), "every request is reported");
    figures(format_args!(
        "{LINES} calls by {runs} runs of a batch: {unknown} unknown, {} requests, none twice",
        requests.len()
    ));
}

/// The library frees memory twice after a failed write. The relay never lets its writes fail.
#[test]
fn every_call_of_a_broken_batch_is_reported_on_every_transport() {
    const CALLS: usize = 2_000;
    let authority = Authority::new("our CA");
    let batch = authority.dir().join("batch.jsonl");
    let line = |n| format!("{}\n", json!({ "caller": format!("caller{n}"), "callee": "david_bowie" }));
    std::fs::write(&batch, (0..CALLS).map(line).collect::<String>()).expect("the batch can be written");
    let (plain, tls) = ("allow_anonymous true\n".to_owned(), authority.server().mosquitto());
    for (scheme, security, protocol) in [
        ("mqtt", &plain, ""),
        ("mqtts", &tls, ""),
        ("ws", &plain, "protocol websockets\n"),
        ("wss", &tls, "protocol websockets\n"),
    ] {
        let broker = Broker::mosquitto_with(&format!("{security}{protocol}"));
        for (version, kilobytes) in [("5", 30), ("5", 100), ("5", 200), ("3.1.1", 40), ("3.1.1", 110), ("3.1.1", 210)] {
            let address = (Ipv4Addr::LOCALHOST, broker.port()).into();
            let proxy = Relay::before(address, 1, move |_| Plan::cut_after_up(1_000 * kilobytes));
            let command = format!("call --mqtt-version {version} --jobs {CALLS} --timeout 10s --batch");
            let mut run = rtcomm_at(&command, &format!("{scheme}://localhost:{}", proxy.address().port())).arg(&batch);
            if security == &tls {
                run = run.arg("--cafile").arg(authority.cafile());
            }
            let outcome = run.run().has_status(5).says("resume with --skip");
            let said = outcome.json_lines();
            let is_reported = |(n, line): (usize, &Value)| {
                let outcome = line["outcome"].as_str();
                line["caller"] == format!("caller{n}") && matches!(outcome, Some("unknown" | "no_responder"))
            };
            let are_told = !said.is_empty() && said.iter().enumerate().all(is_reported);
            outcome.check(are_told, "the outcome of each call, in order");
        }
    }
}
