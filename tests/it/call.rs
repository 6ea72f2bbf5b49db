//! `rtcomm call`: one request, at most one reply, and a status for each outcome.

use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::broker::password_file;
use crate::support::client::Client;
use crate::support::mqtt::Message;
use crate::support::peer::Peer;
use crate::support::service::{request_of, response};
use crate::support::{Broker, Outcome, Setup, on_every_broker, rtcomm, shell};

const SESSION: &str = "6a1f9f3e-2d0b-4c35-8a53-0d9d5b1f5f10";

/// Starts a service that waits for one request and sends the messages that `answer` returns: a topic below fromTopic, and a
/// payload.
fn service(
    broker: &Broker,
    topic: &str,
    answer: impl FnOnce(&Value) -> Vec<(String, String)> + Send + 'static,
) -> thread::JoinHandle<(Client, Message)> {
    let mut client = broker.client();
    client.subscribe(topic);
    thread::spawn(move || {
        let message = client.next();
        let request = request_of(&message);
        let from_topic = request["fromTopic"].as_str().expect("a request says where to answer").to_owned();
        for (below, payload) in answer(&request) {
            client.publish(&format!("{from_topic}{below}"), payload);
        }
        (client, message)
    })
}

/// Returns the keys of a JSON line in order.
fn keys(outcome: &Outcome) -> Vec<String> {
    let mut keys = Vec::new();
    let mut depth = 0;
    for (i, c) in outcome.stdout.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ':' if depth == 1 && outcome.stdout[..i].ends_with('"') => {
                let before = &outcome.stdout[..i - 1];
                keys.push(before[before.rfind('"').map_or(0, |at| at + 1)..].to_owned());
            }
            _ => {}
        }
    }
    keys
}

/// Runs a call at the demo, with this MQTT version.
fn at_demo(version: &str, flags: &str, call: &str) -> Outcome {
    let broker = Broker::demo_with(flags);
    rtcomm(&format!("call {call} --mqtt-version {version}")).at(&broker).run()
}

#[test]
fn the_demo_places_a_call() {
    for version in ["5", "3.1.1"] {
        let outcome = at_demo(version, "--interval 1h", "iggy_pop david_bowie").has_status(0);
        outcome.check(outcome.stdout.starts_with("iggy_pop → david_bowie: placed ("), "one line for people");
        outcome.check(outcome.stdout.lines().count() == 1 && outcome.stderr.is_empty(), "nothing else");
    }
}

#[test]
fn a_failure_exits_with_3_and_the_reason() {
    for version in ["5", "3.1.1"] {
        let outcome = at_demo(version, "--interval 1h --calls fail", "iggy_pop david_bowie").has_status(3);
        outcome.check(outcome.stdout.contains("failed: the demo rejects every call ("), "the reason");
        let outcome = at_demo(version, "--interval 1h", "iggy_pop nobody --json").has_status(3);
        let line = &outcome.json_lines()[0];
        outcome.check(
            line["outcome"] == "failure" && line["reason"] == "nobody is not registered",
            "the reason in the line",
        );
        outcome.check(
            keys(&outcome) == ["outcome", "reason", "caller", "callee", "transID", "elapsed_ms", "response"],
            "the keys in their order",
        );
    }
}

#[test]
fn an_endpoint_in_a_session_is_busy() {
    let broker = Broker::demo();
    rtcomm("call iggy_pop david_bowie").at(&broker).run().has_status(0);
    let outcome = rtcomm("call david_bowie iggy_pop").at(&broker).run().has_status(3);
    outcome.check(outcome.stdout.contains("failed: david_bowie is busy"), "the reason");
}

#[test]
fn a_silent_service_exits_with_124_at_the_timeout() {
    let broker = Broker::demo_with("--interval 1h --calls silent");
    let call = |version: &str| {
        let call = rtcomm("call iggy_pop david_bowie --timeout 2s --json").at(&broker);
        call.env("RTCOMM_MQTT_VERSION", version).start()
    };
    for call in ["5", "3.1.1"].map(call) {
        let outcome = call.end().has_status(124).says("no 3PCC service response");
        let line = &outcome.json_lines()[0];
        outcome.check(line["outcome"] == "timeout", "the outcome");
        outcome.check(line["elapsed_ms"].as_f64().is_some_and(|ms| ms >= 2000.0), "the waiting time");
        outcome.check(line.get("response").is_none(), "no response");
    }
}

#[test]
fn a_slow_reply_is_awaited() {
    for version in ["5", "3.1.1"] {
        let outcome = at_demo(version, "--interval 1h --calls delay=400ms", "iggy_pop david_bowie --json");
        let outcome = outcome.has_status(0);
        let line = &outcome.json_lines()[0];
        outcome.check(line["elapsed_ms"].as_f64().is_some_and(|ms| ms >= 400.0), "at least the delay");
    }
}

#[test]
fn no_subscriber_exits_with_6_with_mqtt_5_and_124_with_mqtt_3_1_1() {
    let broker = Broker::mosquitto();
    let outcome = rtcomm("call a b --mqtt-version 5 --json").at(&broker).run().has_status(6);
    let outcome = outcome.says("nobody subscribes to /rtcomm/callControl").says("hint: ");
    outcome.check(outcome.json_lines()[0]["outcome"] == "no_responder", "the outcome");
    let outcome = rtcomm("call a b --mqtt-version 3.1.1 --timeout 500ms --json").at(&broker).run().has_status(124);
    outcome.check(outcome.json_lines()[0]["outcome"] == "timeout", "the outcome");
    rtcomm("call a b").at(&broker).run().has_status(6).prints("");
}

fn the_json_line_has_its_keys_in_order_and_the_reply_byte_for_byte(setup: &Setup) {
    let topic = "/rtcomm/callControl";
    let broker = &setup.broker;
    let call = |service_topic: &str| {
        setup
            .rtcomm(&format!("call a b --json --call-topic {service_topic} --session-id {}", SESSION.to_uppercase()))
            .run()
    };
    // The demo has its own service on the default topic.
    let topic = format!("{topic}2");
    let service = service(broker, &topic, |request| {
        let reply = response(request, &json!({})).replace('}', ",\n \"big\": 12345678901234567890, \"x\":1.0e400}");
        vec![(String::new(), reply)]
    });
    let outcome = call(&topic).has_status(0);
    let (_, message) = service.join().expect("the service was asked");
    let request = request_of(&message);
    outcome.check(
        keys(&outcome) == ["outcome", "caller", "callee", "transID", "sessionID", "elapsed_ms", "response"],
        "the keys in their order",
    );
    let head = format!(
        r#"{{"outcome":"success","caller":"a","callee":"b","transID":{},"sessionID":"{SESSION}","elapsed_ms":"#,
        request["transID"]
    );
    outcome.check(outcome.stdout.starts_with(&head), &head);
    outcome.check(
        outcome.stdout.ends_with(",  \"big\": 12345678901234567890, \"x\":1.0e400}}\n"),
        "the response's bytes, on one line",
    );
}
on_every_broker!(the_json_line_has_its_keys_in_order_and_the_reply_byte_for_byte);

#[test]
fn dry_run_prints_the_request_of_the_protocol() {
    let flags = format!("call a b --session-id {SESSION} --app-context XYZ --reply-prefix my/replies");
    let outcome = rtcomm(&format!("{flags} --dry-run")).run().has_status(0);
    let request = outcome.json_lines().remove(0);
    let text = |key: &str| request[key].as_str().unwrap_or_default().to_owned();
    let expected = format!(
        r#"{{"method":"3PCC_PLACE_CALL","rtcommVer":"v1.0.0","transID":"{}","callerEndpoint":"a","calleeEndpoint":"b","fromTopic":"{}","sessionID":"{SESSION}","appContext":"XYZ"}}"#,
        text("transID"),
        text("fromTopic")
    );
    let outcome = outcome.prints(&(expected + "\n"));
    let is_uuid = |text: &str| text.len() == 36 && text.chars().all(|c| c == '-' || c.is_ascii_hexdigit());
    outcome.check(is_uuid(&text("transID")), "a UUID for the transaction");
    outcome.check(text("fromTopic").strip_prefix("my/replies/").is_some_and(is_uuid), "PREFIX/UUID for the reply");
    outcome.check(outcome.stderr.is_empty(), "a dry run prints no messages");

    let plain = rtcomm("call a b --dry-run --root other").run().has_status(0).json_lines().remove(0);
    let again = rtcomm("call a b --dry-run").run().has_status(0).json_lines().remove(0);
    assert!(plain["fromTopic"].as_str().is_some_and(|topic| topic.starts_with("other/reply/")), "{plain}");
    assert!(plain.get("sessionID").is_none() && plain.get("appContext").is_none(), "{plain}");
    assert!(plain["transID"] != again["transID"], "each transaction has an ID of its own");
}

fn the_request_is_published_once_to_the_services_topic(setup: &Setup) {
    let listener = || {
        let mut client = setup.broker.client();
        client.subscribe("/rtcomm/ThirdPartyCC/#");
        client.subscribe("after");
        client
    };
    for (flags, topic) in
        [("", "/rtcomm/ThirdPartyCC"), ("--as iggy_pop --app-context XYZ", "/rtcomm/ThirdPartyCC/iggy_pop")]
    {
        let mut listener = listener();
        let service = service(&setup.broker, "/rtcomm/ThirdPartyCC/#", |request| {
            vec![(String::new(), response(request, &json!({})))]
        });
        let call = setup.rtcomm(&format!("call a b --call-topic /rtcomm/ThirdPartyCC {flags}"));
        call.run().has_status(0);
        let (mut client, message) = service.join().expect("the service was asked");
        assert_eq!((message.topic.as_str(), message.retain), (topic, false));
        let request = request_of(&message);
        assert_eq!(request.get("appContext"), flags.contains("XYZ").then(|| json!("XYZ")).as_ref());
        client.publish("after", "the call is over");
        assert_eq!(listener.next().topic, topic);
        assert_eq!(listener.next().topic, "after", "the request was published once");
    }
}
on_every_broker!(the_request_is_published_once_to_the_services_topic);

fn a_reply_below_from_topic_is_accepted(setup: &Setup) {
    let service = service(&setup.broker, "calls", |request| {
        vec![(
            "/the service".to_owned(),
            response(request, &json!({ "result": "FAILURE", "reason": "no \u{1b}[2Jway" })),
        )]
    });
    let outcome = setup.rtcomm("call a b --call-topic calls --reply-prefix my/replies").run().has_status(3);
    outcome.check(
        outcome.stdout.starts_with(r"a → b: failed: no \u{1b}[2Jway ("),
        "the reason, nothing that a terminal obeys",
    );
    service.join().expect("the service was asked");
}
on_every_broker!(a_reply_below_from_topic_is_accepted);

fn messages_that_are_not_the_reply_are_ignored(setup: &Setup) {
    let service = service(&setup.broker, "calls", |request| {
        let failure = |more: Value| {
            let mut keys = json!({ "result": "FAILURE", "reason": "not for you" });
            for (key, value) in more.as_object().expect("an object") {
                keys[key] = value.clone();
            }
            keys
        };
        [
            "pong".to_owned(),
            String::new(),
            "[]".to_owned(),
            response(request, &failure(json!({ "transID": "another" }))),
            response(request, &failure(json!({ "transID": 100 }))),
            response(request, &failure(json!({ "orig": "SERVICE_QUERY" }))),
            response(request, &failure(json!({ "method": "3PCC_PLACE_CALL" }))),
            response(request, &json!({})),
            response(request, &failure(json!({}))),
        ]
        .map(|payload| (String::new(), payload))
        .into()
    });
    let outcome = setup.rtcomm("call a b --call-topic calls --json --verbose").run().has_status(0);
    service.join().expect("the service was asked");
    outcome.check(outcome.json_lines().len() == 1, "one line");
    outcome.check(outcome.stderr.matches("ignored a message on the reply topic").count() == 7, "seven were ignored");
}
on_every_broker!(messages_that_are_not_the_reply_are_ignored);

#[test]
fn an_unknown_result_is_a_failure_and_is_shown() {
    let broker = Broker::mosquitto();
    for (result, shown) in [(json!("MAYBE"), "the reply's result is MAYBE"), (Value::Null, "the reply has no result")] {
        let service = service(&broker, "calls", move |request| {
            vec![(String::new(), response(request, &json!({ "result": result })))]
        });
        let outcome = rtcomm("call a b --call-topic calls").at(&broker).run().has_status(3);
        outcome.check(outcome.stdout.contains(&format!("failed: {shown} (")), shown);
        service.join().expect("the service was asked");
    }
}

#[test]
fn the_events_of_a_session_have_the_requested_id() {
    let broker = Broker::demo();
    let watch = rtcomm("watch --json -c 1 --session-id").arg(SESSION).at(&broker).start().until_ready();
    let call = rtcomm(&format!("call iggy_pop david_bowie --session-id {SESSION}")).at(&broker).run().has_status(0);
    call.check(call.stdout.contains(&format!(", session {SESSION})")), "the session's ID");
    let outcome = watch.end().has_status(0);
    let event = &outcome.json_lines()[0];
    outcome.check(event["payload"]["sigSessID"] == SESSION && event["action"] == "started", "the session's start");
    outcome.check(event["from"] == "iggy_pop" && event["to"] == "david_bowie", "between the two");
}

#[test]
fn the_application_reaches_the_service() {
    let broker = Broker::demo();
    let call = |context: &str| rtcomm("call iggy_pop david_bowie --app-context").arg(context).at(&broker).run();
    let outcome = call("no such app").has_status(3);
    outcome.check(outcome.stdout.contains("iggy_pop is not registered for no such app"), "the reason");
    call("XYZ video app").has_status(0);
}

#[test]
fn a_signal_ends_the_wait_with_a_warning() {
    let broker = Broker::mosquitto();
    for (signal, status) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let mut service = broker.client();
        service.subscribe("calls");
        let call = rtcomm("call a b --call-topic calls").at(&broker).start();
        let trans_id = request_of(&service.next())["transID"].clone();
        call.signal(signal);
        let outcome = call.end().has_status(status).prints("");
        outcome.check(
            trans_id
                .as_str()
                .is_some_and(|id| outcome.stderr.contains(&format!("may have been placed (transID {id})"))),
            "a warning with the transaction's ID",
        );
    }
}

#[test]
fn a_signal_prints_a_json_line_only_if_the_request_was_sent() {
    let broker = Broker::mosquitto();
    for (signal, status) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let mut service = broker.client();
        service.subscribe("calls");
        let call = rtcomm("call a b --json --call-topic calls").at(&broker).start();
        let request = request_of(&service.next());
        call.signal(signal);
        let outcome = call.end().has_status(status);
        let [line] = &outcome.json_lines()[..] else { panic!("one line: {}", outcome.stdout) };
        outcome.check(line["outcome"] == "unknown", "the outcome is unknown");
        outcome.check(line["transID"] == request["transID"], "the transaction to look for");
        outcome.check(line["reason"].as_str().is_some_and(|it| it.starts_with("interrupted")), "why");
    }

    let peer = Peer::silent();
    let call = rtcomm("call a b --json --mqtt-version 3.1.1").env("RTCOMM_BROKER", peer.url()).start();
    peer.wait_for_packets(1);
    call.signal(Signal::INT);
    call.end().has_status(130).prints("");
}

#[test]
fn a_cancelled_call_is_either_not_sent_or_reported() {
    for (timeout, signal, status) in [(200, None, 124), (45_000, Some(Signal::INT), 130)] {
        let (peer, gate) = Peer::late();
        let call = rtcomm(&format!("call a b --mqtt-version 3.1.1 --timeout {timeout}ms"))
            .env("RTCOMM_BROKER", peer.url())
            .start();
        peer.wait_for_packets(1);
        match signal {
            Some(signal) => call.signal(signal),
            // The timeout starts before the connection, so it has passed after this pause.
            None => thread::sleep(Duration::from_millis(timeout)),
        }
        gate.open();
        let outcome = call.end().has_status(status).prints("");
        gate.wait_for_end();
        // The reply may come first on a slow machine.
        outcome.check(
            peer.published().is_empty() || outcome.stderr.contains("transID"),
            "nothing is sent, or the call is reported",
        );
    }
}

#[test]
fn a_spinner_is_shown_on_a_terminal_unless_quiet_is_given() {
    let peer = Peer::silent();
    for (flags, is_shown) in [("", true), ("--quiet", false)] {
        let inside = format!("rtcomm call a b --timeout 500ms {flags}");
        let waiting = shell(r#"script -qefc "$INSIDE" /dev/null"#)
            .env("INSIDE", inside)
            .env("TERM", "xterm")
            .env("RTCOMM_BROKER", peer.url());
        let outcome = waiting.run().has_status(124);
        outcome.check(outcome.stdout.contains("waiting for the reply") == is_shown, "a spinner unless --quiet");
    }
}

#[test]
fn a_forbidden_publication_exits_with_4_with_mqtt_5() {
    let dir = TempDir::new().expect("a temporary directory");
    let list = dir.path().join("access");
    std::fs::write(&list, "topic read #\n").expect("it can be written");
    let broker = Broker::mosquitto_with(&format!("allow_anonymous true\nacl_file {}\n", list.display()));
    let outcome = rtcomm("call a b --json").at(&broker).run().has_status(4);
    let outcome = outcome.says("refuses the publication to '/rtcomm/callControl'").says("--as");
    outcome.check(outcome.json_lines()[0]["outcome"] == "denied", "the outcome");
    rtcomm("call a b --mqtt-version 3.1.1 --timeout 500ms").at(&broker).run().has_status(124);
}

#[test]
fn as_publishes_to_the_topic_of_the_client() {
    let dir = TempDir::new().expect("a temporary directory");
    let list = dir.path().join("access");
    let rules = "topic readwrite #\ntopic deny /rtcomm/callControl\nuser iggy\ntopic read #\n\
                 pattern write /rtcomm/callControl/%u\n";
    std::fs::write(&list, rules).expect("it can be written");
    let users = password_file(dir.path(), "iggy", "right");
    let broker = Broker::mosquitto_with(&format!(
        "allow_anonymous true\nacl_file {}\npassword_file {}\n",
        list.display(),
        users.display()
    ));
    let call =
        |flags: &str| rtcomm(&format!("call a b -u iggy {flags}")).env("RTCOMM_PASSWORD", "right").at(&broker).run();
    call("").has_status(4);
    call("--as david").has_status(4);
    let service =
        service(&broker, "/rtcomm/callControl/+", |request| vec![(String::new(), response(request, &json!({})))]);
    call("--as iggy").has_status(0);
    let (_, message) = service.join().expect("the service was asked");
    assert_eq!(message.topic, "/rtcomm/callControl/iggy");
}
