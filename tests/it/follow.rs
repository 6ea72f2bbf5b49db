//! `rtcomm call --follow`: a call until the end of its session. The reply and the events can arrive in any order.

use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::client::Client;
use crate::support::events::event;
use crate::support::guarded::Guarded;
use crate::support::mqtt::Message;
use crate::support::peer::{Peer, Script};
use crate::support::relay::Relay;
use crate::support::service::{CALL_TOPIC, MANAGEMENT, reply, request_of, services};
use crate::support::{Broker, Outcome, Rtcomm, rtcomm};

const SESSION: &str = "6a1f9f3e-2d0b-4c35-8a53-0d9d5b1f5f10";

/// A step of a scripted service.
#[derive(Debug, Clone, Copy)]
enum Step {
    Success,
    Failure(&'static str),
    /// An event of the session, with its reason.
    Event(&'static str, Option<&'static str>),
    /// An event of the session, with another endpoint than the called one.
    AnsweredBy(&'static str, &'static str),
    /// An event of another session between the same endpoints.
    OtherSession(&'static str),
}

use Step::{AnsweredBy, Event, Failure, OtherSession, Success};

/// Returns the message of a step.
fn message(request: &Message, step: Step) -> Message {
    let body = request_of(request);
    let of = |key: &str| body[key].as_str().expect("a request has it").to_owned();
    let session_event = |action: &str, to: &str, session: &str, reason: Option<&str>| {
        let mut more = json!({ "sigSessID": session, "action": action });
        if let Some(reason) = reason {
            more["reason"] = reason.into();
        }
        Message::new(&format!("/rtcomm/event/session/{action}/{}/{to}", of("callerEndpoint")), event(&more))
    };
    let (callee, session) = (of("calleeEndpoint"), of("sessionID"));
    match step {
        Success => reply(request, &json!({})),
        Failure(reason) => reply(request, &json!({ "result": "FAILURE", "reason": reason })),
        Event(action, reason) => session_event(action, &callee, &session, reason),
        AnsweredBy(action, to) => session_event(action, to, &session.to_uppercase(), None),
        OtherSession(action) => session_event(action, &callee, SESSION, None),
    }
}

/// Starts a service that performs these steps for its first request.
fn service(broker: &Broker, steps: &[Step]) -> JoinHandle<Client> {
    let mut client = broker.client();
    client.subscribe(CALL_TOPIC);
    let steps = steps.to_vec();
    thread::spawn(move || {
        let request = client.next();
        for step in steps {
            client.send_message(&message(&request, step));
        }
        client
    })
}

/// Runs a call while a service performs these steps.
fn followed(broker: &Broker, call: &str, steps: &[Step]) -> Outcome {
    let service = service(broker, steps);
    let outcome = rtcomm(call).at(broker).run();
    service.join().expect("the service got a request");
    outcome
}

/// Returns these events with the reply at each possible position.
fn with_reply_anywhere(events: &[Step], reply: Step) -> Vec<Vec<Step>> {
    (0..=events.len()).map(|at| [&events[..at], &[reply], &events[at..]].concat()).collect()
}

#[test]
fn a_session_that_is_stopped_exits_with_0_wherever_the_reply_comes() {
    let broker = Broker::mosquitto();
    let events = [Event("started", None), Event("modified", None), Event("stopped", None)];
    for steps in with_reply_anywhere(&events, Success) {
        let outcome = followed(&broker, "call a b --follow --json --app-context XYZ", &steps).has_status(0);
        let [line] = &outcome.json_lines()[..] else { panic!("one line: {}", outcome.stdout) };
        let session = &line["session"];
        let is_complete = line["outcome"] == "success"
            && line["response"]["result"] == "SUCCESS"
            && line["appContext"] == "XYZ"
            && session["cdr"] == "completed"
            && session["sigSessID"] == line["sessionID"]
            && session["modified"] == 1
            && session["incomplete"] == json!([]);
        outcome.check(is_complete, &format!("reply and session, with {steps:?}"));

        let outcome = followed(&broker, "call a b --follow", &steps).has_status(0);
        let found = |text: &str| outcome.stdout.lines().position(|line| line.contains(text));
        outcome.check(found(" placed (").is_some(), "the reply");
        let order = ["  started ", "  modified ", "  stopped ", "  completed "].map(found);
        outcome.check(order.is_sorted() && order[0].is_some(), &format!("each step and the record, with {steps:?}"));
        outcome.check(outcome.stdout.lines().count() == 5 && outcome.stderr.is_empty(), "nothing else");
    }
}

#[test]
fn a_session_that_fails_exits_with_3_wherever_the_reply_comes() {
    let broker = Broker::mosquitto();
    let dropped = [Event("started", None), Event("failed", Some("line broken"))];
    let failed = [Event("failed", Some("Busy"))];
    for (events, cdr, reason) in [(&dropped[..], "dropped", "line broken"), (&failed, "failed", "Busy")] {
        for steps in with_reply_anywhere(events, Success) {
            let outcome = followed(&broker, "call a b --follow=1m --json", &steps).has_status(3);
            let session = &outcome.json_lines()[0]["session"];
            let is_known = session["cdr"] == cdr && session["reason"] == reason && session["incomplete"] == json!([]);
            outcome.check(is_known, &format!("how it failed, with {steps:?}"));
        }
    }
}

#[test]
fn a_refused_call_exits_with_3_at_once_wherever_the_event_comes() {
    let broker = Broker::mosquitto();
    for steps in with_reply_anywhere(&[Event("failed", Some("Busy"))], Failure("Busy")) {
        let outcome = followed(&broker, "call a b --follow", &steps).has_status(3);
        outcome.check(outcome.stdout.contains("a → b: failed: Busy ("), "the service's reason");
    }
    // No event follows.
    let outcome = followed(&broker, "call a b --follow --json", &[Failure("not registered")]).has_status(3);
    let line = &outcome.json_lines()[0];
    outcome.check(line["outcome"] == "failure" && line.get("session").is_none(), "no session");
    // An open session does not matter.
    let outcome = followed(&broker, "call a b --follow", &[Event("started", None), Failure("Busy")]);
    outcome.has_status(3);
}

#[test]
fn the_session_is_found_by_its_id_alone() {
    let broker = Broker::mosquitto();
    let steps = [
        OtherSession("started"),
        OtherSession("failed"),
        Success,
        Event("started", None),
        AnsweredBy("modified", "agent 7"),
        OtherSession("stopped"),
        AnsweredBy("stopped", "agent 7"),
    ];
    let outcome = followed(&broker, "call a queue --follow --json", &steps).has_status(0);
    let session = &outcome.json_lines()[0]["session"];
    outcome.check(session["to"] == "queue" && session["cdr"] == "completed", "the session that was called");
    let outcome = followed(&broker, "call a queue --follow", &steps).has_status(0);
    outcome.check(outcome.stdout.contains("a → agent 7") && !outcome.stdout.contains("6a1f9f3e"), "its events alone");
}

#[test]
fn the_session_id_is_given_by_the_user_or_generated() {
    let id = |flags: &str| {
        let outcome = rtcomm(&format!("call a b --dry-run {flags}")).run().has_status(0);
        outcome.json_lines()[0]["sessionID"].as_str().map(str::to_owned)
    };
    assert_eq!(id("").as_deref(), None);
    assert_eq!(id(&format!("--follow --session-id {SESSION}")).as_deref(), Some(SESSION));
    let (one, other) = (id("--follow"), id("--follow=30s"));
    assert!(one.as_ref().is_some_and(|id| id.len() == 36) && one != other, "{one:?} {other:?}");
    for limit in ["0s", "soon", "", "5"] {
        rtcomm(&format!("call a b --dry-run --follow={limit}")).run().has_status(2).says("--follow");
    }
}

#[test]
fn no_event_after_the_reply_exits_with_124() {
    let broker = Broker::mosquitto();
    let outcome = followed(&broker, "call a b --follow --timeout 500ms --json", &[Success]).has_status(124);
    let outcome = outcome.says("no event of session ").says("within 500ms after the reply").says("hint: ");
    let line = &outcome.json_lines()[0];
    outcome.check(line["outcome"] == "success" && line.get("session").is_none(), "the reply alone");
    outcome.check(line["limit"] == "timeout", "which limit ended the wait");
}

#[test]
fn a_limit_that_passes_before_the_first_event_is_named() {
    let broker = Broker::mosquitto();
    let outcome = followed(&broker, "call a b --follow=1s --json", &[Success]).has_status(124);
    let outcome = outcome.says("no event of session ").says("within 1s (--follow)").says("hint: the call may continue");
    let outcome = outcome.never_says("45s").never_says("after the reply");
    outcome.check(outcome.json_lines()[0]["limit"] == "follow", "which limit ended the wait");
    let outcome = followed(&broker, "call a b --follow=1s --json", &[]).has_status(124);
    let outcome = outcome.says("no 3PCC service response").says("--follow with a longer LIMIT").never_says("--timeout");
    outcome.check(outcome.json_lines()[0]["limit"] == "follow", "which limit ended the wait");
}

#[test]
fn the_shorter_limit_ends_the_connection_attempt_and_nothing_is_sent() {
    let peer = Peer::silent();
    for (flags, limit, hint) in [
        ("--follow=500ms --json", "follow", "hint: --follow with a longer LIMIT waits longer"),
        ("--follow=1m --timeout 500ms --json", "timeout", "hint: --timeout waits longer"),
        ("--follow=500ms --discover", "", "the deadline passed"),
    ] {
        let began = Instant::now();
        let outcome = rtcomm(&format!("call a b {flags}")).env("RTCOMM_BROKER", peer.url()).run().has_status(124);
        // --connect-timeout is 10 s.
        outcome.check(began.elapsed() < Duration::from_secs(8), "the limit ends the attempt");
        let outcome = outcome.says(hint);
        if !limit.is_empty() {
            let outcome = outcome.says("did not accept the client in time: nothing was sent");
            let line = &outcome.json_lines()[0];
            outcome.check(line["outcome"] == "timeout" && line["limit"] == limit, "which limit ended the attempt");
        }
    }
}

#[test]
fn the_limit_counts_from_the_start_of_the_command() {
    let broker = Broker::mosquitto();
    let service = service(&broker, &[Success, Event("started", None)]);
    let mut queries = broker.client();
    queries.subscribe(MANAGEMENT);
    let call = rtcomm("call a b --follow=3s --discover --json").at(&broker).start();
    // The answer takes half of the limit.
    let query = queries.next();
    thread::sleep(Duration::from_millis(1500));
    let answer = json!({ "orig": "SERVICE_QUERY", "services": services("/rtcomm/event", CALL_TOPIC) });
    queries.send_message(&reply(&query, &answer));
    let outcome = call.end().has_status(124).says("has not ended within 3s");
    let elapsed = outcome.json_lines()[0]["elapsed_ms"].as_f64().unwrap_or_default();
    outcome.check(elapsed >= 1500.0, "the time until the reply includes that of the query");
    service.join().expect("the service got a request");
}

#[test]
fn at_the_limit_it_is_unknown_whether_a_call_with_a_gap_continues() {
    let broker = Broker::mosquitto();
    for reconnects in [true, false] {
        let relay = Relay::to(broker.port());
        let service = service(&broker, &[Success, Event("started", None)]);
        let call = rtcomm("call a b --follow=4s --broker").arg(relay.url()).start();
        service.join().expect("the service got a request");
        call.wait_for_lines(2);
        if reconnects {
            relay.cut();
            call.wait_for_stderr("another connection", |text| text.contains("may be missing"));
        } else {
            relay.fail_network();
        }
        let outcome = call.end().has_status(124).says("was not seen within 4s").says("hint: the call may continue: ");
        outcome
            .check(outcome.stdout.contains("  open ") && outcome.stdout.contains("gap"), "an open session with a gap");
    }
}

#[test]
fn the_limit_exits_with_124_and_prints_the_events_so_far() {
    let broker = Broker::mosquitto();
    for steps in with_reply_anywhere(&[Event("started", None)], Success) {
        let outcome = followed(&broker, "call a b --follow=1s --json", &steps).has_status(124);
        let outcome = outcome.says("has not ended within 1s").says("hint: the call continues");
        let session = &outcome.json_lines()[0]["session"];
        outcome.check(session["cdr"] == "open" && session["incomplete"] == json!(["end"]), "an open session");
        outcome.check(outcome.json_lines()[0]["limit"] == "follow", "which limit ended the wait");
    }
    // An event resets the time to wait for one, but not the limit.
    let steps = [Success, Event("started", None)];
    followed(&broker, "call a b --follow=2s --timeout 500ms", &steps).has_status(124).says("within 2s");
}

#[test]
fn a_missing_reply_exits_with_124_unless_the_session_shows_more() {
    let broker = Broker::mosquitto();
    let outcome = followed(&broker, "call a b --follow --timeout 500ms", &[]).has_status(124);
    outcome.says("no 3PCC service response");
    let ended = [Event("started", None), Event("stopped", None)];
    let outcome = followed(&broker, "call a b --follow --timeout 500ms --json", &ended).has_status(0);
    let line = &outcome.json_lines()[0];
    outcome.check(line["outcome"] == "timeout" && line["session"]["cdr"] == "completed", "the session");
    outcome.check(line.get("limit").is_none(), "no limit ended the wait for the session");
    let open = [Event("started", None)];
    let outcome = followed(&broker, "call a b --follow=1s --timeout 500ms", &open).has_status(124);
    outcome.says("has not ended within 1s");
}

#[test]
fn a_missing_service_or_broker_has_its_own_status() {
    let broker = Broker::mosquitto();
    rtcomm("call a b --follow --mqtt-version 5").at(&broker).run().has_status(6).prints("");
    rtcomm("call a b --follow --broker mqtt://127.0.0.1:1").run().has_status(5).prints("");
}

#[test]
fn a_denied_subscription_exits_with_4_and_nothing_is_sent() {
    let broker = Guarded::new();
    let call = [("subscribePattern", "/rtcomm/reply/#"), ("publishClientSend", CALL_TOPIC)];
    broker.grant("blind", &call);
    broker.grant("seeing", &[&call[..], &[("subscribePattern", "/rtcomm/event/session/+/a/#")]].concat());
    broker.grant("service", &[("subscribePattern", "/rtcomm/callControl"), ("publishClientReceive", "#")]);
    let mut service = broker.client("service");
    service.subscribe(CALL_TOPIC);
    for version in ["5", "3.1.1"] {
        let outcome = broker.rtcomm("blind", version, "call a b --follow --json").run().has_status(4);
        let hint = "hint: --follow needs permission to subscribe to '/rtcomm/event/session/+/a/#'";
        let outcome = outcome.says(hint).says("without --follow").never_says("--allow-partial");
        outcome.check(outcome.json_lines()[0]["outcome"] == "denied", "the outcome");
    }
    // A user without permission to read replies cannot call at all.
    broker.grant("deaf", &[("subscribePattern", "/rtcomm/event/#"), ("publishClientSend", CALL_TOPIC)]);
    let outcome = broker.rtcomm("deaf", "5", "call a b --follow").run().has_status(4);
    outcome.says("the topic for its reply").never_says("without --follow");
    // The first request is from a user who may read events.
    broker.rtcomm("seeing", "5", "call a c --follow --timeout 500ms").run().has_status(124);
    assert_eq!(request_of(&service.next())["calleeEndpoint"], "c");
}

#[test]
fn a_signal_ends_the_wait_and_the_call_continues() {
    let broker = Broker::mosquitto();
    for (flags, signal, status) in [("", Signal::INT, 130), ("--json", Signal::TERM, 143), ("--json", Signal::INT, 130)]
    {
        let service = service(&broker, &[Success, Event("started", None)]);
        let call = rtcomm(&format!("call a b --follow {flags}")).at(&broker).start();
        let mut watcher = service.join().expect("the service got a request");
        if flags.is_empty() {
            call.wait_for_lines(2);
        } else {
            // The service's next message follows all events of the call.
            watcher.subscribe("after");
            watcher.publish("after", "");
            watcher.next();
        }
        call.signal(signal);
        let outcome = call.end().has_status(status);
        if flags.is_empty() {
            let outcome = outcome.says("warning: interrupted: the call continues (session ");
            outcome.check(outcome.stdout.lines().count() == 2, "the steps so far");
        } else {
            let line = &outcome.json_lines()[0];
            outcome.check(["success", "unknown"].iter().any(|it| line["outcome"] == *it), "what is known");
        }
    }
}

#[test]
fn a_signal_before_the_reply_reports_what_is_known_of_the_call() {
    let broker = Broker::mosquitto();
    let service = service(&broker, &[Event("started", None)]);
    let call = rtcomm(&format!("call a b --follow --session-id {SESSION}")).at(&broker).start();
    service.join().expect("the service got a request");
    call.wait_for_lines(1);
    call.signal(Signal::INT);
    let outcome = call.end().has_status(130).never_says("may have been placed");
    outcome.says(&format!("warning: interrupted: the call continues (session {SESSION})"));

    // Without an event, nothing is known.
    let mut service = broker.client();
    service.subscribe(CALL_TOPIC);
    let call = rtcomm("call a b --follow").at(&broker).start();
    service.next();
    call.signal(Signal::INT);
    call.end().has_status(130).says("may have been placed (transID ").never_says("continues");
}

#[test]
fn the_command_ends_when_the_reader_of_the_steps_is_gone() {
    let broker = Broker::mosquitto();
    let service = service(&broker, &[Success, Event("started", None)]);
    let (call, stdout) = rtcomm("call a b --follow").at(&broker).start_unread();
    service.join().expect("the service got a request");
    drop(stdout);
    call.end().has_status(0);
}

#[test]
fn after_a_reconnect_the_session_has_a_gap() {
    let broker = Broker::mosquitto();
    let relay = Relay::to(broker.port());
    for events in [&[Event("started", None)][..], &[]] {
        let mut client = broker.client();
        client.subscribe(CALL_TOPIC);
        let call = rtcomm("call a b --follow --json --verbose --broker").arg(relay.url()).start();
        let request = client.next();
        for step in events {
            client.send_message(&message(&request, *step));
        }
        // The reply is sent after the connection is lost, and arrives over the next one.
        call.wait_for_stderr("an accepted request", |text| text.contains("the broker accepted the request"));
        relay.cut();
        call.wait_for_stderr("another connection", |text| text.contains("may be missing"));
        for step in [Success, Event("stopped", None)] {
            client.send_message(&message(&request, step));
        }
        let outcome = call.end().has_status(0).says("warning: lost mqtt://").says("again");
        let line = &outcome.json_lines()[0];
        let missing = if events.is_empty() { json!(["start"]) } else { json!(["gap"]) };
        outcome.check(line["outcome"] == "success" && line["session"]["cdr"] == "completed", "reply and session");
        // The event may have been in transit when the connection was cut.
        let incomplete = &line["session"]["incomplete"];
        outcome.check(*incomplete == missing || *incomplete == json!(["start"]), "what may be missing");
        client.subscribe("after");
        client.publish("after", "");
        assert_eq!(client.next().topic, "after", "the request was published once");
    }
}

#[test]
fn a_connection_that_is_lost_for_good_exits_with_5() {
    let broker = Broker::mosquitto();
    let relay = Relay::to(broker.port());
    let service = service(&broker, &[Success, Event("started", None)]);
    let call = rtcomm("call a b --follow --timeout 2s --broker").arg(relay.url()).start();
    service.join().expect("the service got a request");
    call.wait_for_lines(2);
    relay.fail_network();
    let outcome = call.end().has_status(5).says("before the end of session ");
    outcome.check(outcome.stdout.contains("  open "), "the open session");
}

/// Returns the filters to which a command subscribes, except the one for replies.
fn subscriptions(run: Rtcomm) -> Vec<String> {
    let peer = Peer::broker(Script::default());
    run.env("RTCOMM_BROKER", peer.url()).run();
    let filters = peer.subscribes().into_iter().flat_map(|subscribe| subscribe.filters).map(|filter| filter.text);
    filters.filter(|filter| !filter.starts_with("/rtcomm/reply/")).collect()
}

#[test]
fn only_the_sessions_of_the_callers_are_subscribed_to_if_they_are_known_and_few() {
    let dir = TempDir::new().expect("a temporary directory");
    let file = |name: &str, callers: std::ops::Range<usize>| {
        let lines = callers
            .map(|n| format!("{{\"caller\":\"c{n}\",\"callee\":\"b\"}}\n{{\"caller\":\"c{n}\",\"callee\":\"d\"}}\n"));
        let path = dir.path().join(name);
        std::fs::write(&path, lines.collect::<String>() + "junk\n").expect("it can be written");
        path
    };
    let flags = "call --follow --timeout 500ms";
    let all = ["/rtcomm/event/session/#"];
    assert_eq!(subscriptions(rtcomm(&format!("{flags} a b"))), ["/rtcomm/event/session/+/a/#"]);
    assert_eq!(
        subscriptions(rtcomm(&format!("{flags} --skip 2 --batch")).arg(file("few", 0..3))),
        ["/rtcomm/event/session/+/c1/#", "/rtcomm/event/session/+/c2/#"]
    );
    assert_eq!(subscriptions(rtcomm(&format!("{flags} --batch")).arg(file("many", 0..101))), all);
    let piped = rtcomm(&format!("{flags} --batch -")).stdin("{\"caller\":\"a\",\"callee\":\"b\"}\n");
    assert_eq!(subscriptions(piped), all);
    assert_eq!(subscriptions(rtcomm("call a b --timeout 500ms")), Vec::<String>::new());
}

/// Returns batch lines with calls from these endpoints.
fn batch(callers: &[&str]) -> String {
    let lines: Vec<_> =
        callers.iter().map(|caller| json!({ "caller": caller, "callee": "b" }).to_string() + "\n").collect();
    lines.concat()
}

#[test]
fn the_jobs_of_a_batch_are_sessions() {
    let broker = Broker::mosquitto();
    let mut client = broker.client();
    client.subscribe(CALL_TOPIC);
    client.subscribe("after");
    let call = rtcomm("call --batch - --follow --jobs 2").at(&broker).stdin(batch(&["c0", "c1", "c2"])).start();
    let mut requests = vec![client.next(), client.next()];
    for request in &requests {
        client.send_message(&message(request, Success));
        client.send_message(&message(request, Event("started", None)));
    }
    client.publish("after", "");
    assert_eq!(client.next().topic, "after", "no third call while two sessions are open");
    client.send_message(&message(&requests[1], Event("failed", Some("line broken"))));
    requests.push(client.next());
    for step in [Event("stopped", None), Success] {
        client.send_message(&message(&requests[2], step));
    }
    client.send_message(&message(&requests[0], Event("stopped", None)));
    let outcome = call.end().has_status(3);
    let lines = outcome.json_lines();
    let of = |key: &str| lines.iter().map(|line| line[key].clone()).collect::<Vec<_>>();
    outcome.check(of("caller") == ["c0", "c1", "c2"], "the order of the input");
    let sessions: Vec<_> = lines.iter().map(|line| line["session"]["cdr"].clone()).collect();
    outcome.check(sessions == ["completed", "dropped", "completed"], "how each session ended");
    outcome.check(of("outcome") == vec![json!("success"); 3], "each was placed");

    // Each line is also a request with the same session.
    let again = rtcomm("call --batch - --dry-run").stdin(&outcome.stdout).run().has_status(0);
    let ids = |lines: &[Value]| lines.iter().map(|line| line["sessionID"].clone()).collect::<Vec<_>>();
    again.check(ids(&again.json_lines()) == ids(&lines), "the IDs");
}

#[test]
fn calls_of_a_batch_with_the_same_session_id_are_both_followed() {
    let broker = Broker::mosquitto();
    let line = format!("{{\"caller\":\"a\",\"callee\":\"b\",\"session_id\":\"{SESSION}\"}}\n");
    let mut client = broker.client();
    client.subscribe(CALL_TOPIC);
    let call = rtcomm("call --batch - --follow").at(&broker).stdin(line.repeat(2)).start();
    let requests = [client.next(), client.next()];
    for request in &requests {
        client.send_message(&message(request, Success));
    }
    client.send_message(&message(&requests[0], Event("stopped", None)));
    let outcome = call.end().has_status(0);
    outcome.check(outcome.json_lines().iter().all(|line| line["session"]["cdr"] == "completed"), "both have ended");
}

#[test]
fn a_batch_continues_after_a_lost_connection() {
    let broker = Broker::mosquitto();
    let relay = Relay::to(broker.port());
    let mut client = broker.client();
    client.subscribe(CALL_TOPIC);
    let call = rtcomm("call --batch - --follow --jobs 1 --broker").arg(relay.url()).stdin(batch(&["c0", "c1"])).start();
    let request = client.next();
    for step in [Success, Event("started", None)] {
        client.send_message(&message(&request, step));
    }
    relay.cut();
    call.wait_for_stderr("another connection", |text| text.contains("may be missing"));
    client.send_message(&message(&request, Event("stopped", None)));
    let request = client.next();
    for step in [Event("started", None), Event("stopped", None), Success] {
        client.send_message(&message(&request, step));
    }
    let outcome = call.end().has_status(0);
    let sessions: Vec<_> = outcome.json_lines().iter().map(|line| line["session"]["cdr"].clone()).collect();
    outcome.check(sessions == ["completed", "completed"], "both sessions");
}

#[test]
fn an_interrupted_batch_has_a_line_for_each_open_session() {
    let broker = Broker::mosquitto();
    let mut client = broker.client();
    client.subscribe(CALL_TOPIC);
    let (call, _stdin) = {
        let (call, mut stdin) = rtcomm("call --batch - --follow").at(&broker).start_fed();
        std::io::Write::write_all(&mut stdin, batch(&["c0", "c1"]).as_bytes()).expect("the batch reads");
        (call, stdin)
    };
    let requests = [client.next(), client.next()];
    client.send_message(&message(&requests[0], Success));
    client.send_message(&message(&requests[1], Success));
    client.send_message(&message(&requests[1], Event("stopped", None)));
    call.signal(Signal::INT);
    let outcome = call.end().has_status(130).says("resume with --skip 2");
    outcome.check(outcome.json_lines().len() == 2, "a line for each");
}

#[test]
fn an_interrupted_batch_reports_how_many_calls_continue() {
    let broker = Broker::mosquitto();
    let mut client = broker.client();
    client.subscribe(CALL_TOPIC);
    let lines = batch(&["c0", "c1", "c2", "c3", "c4"]);
    let call = rtcomm("call --batch - --follow --jobs 4").at(&broker).stdin(lines).start();
    let requests: Vec<_> = (0..4).map(|_| client.next()).collect();
    // The first call ends last, so all messages have arrived when the fifth starts.
    for (request, steps) in [
        (&requests[1], &[Event("started", None), Success][..]),
        (&requests[2], &[Event("started", None)]),
        (&requests[0], &[Success, Event("started", None), Event("stopped", None)]),
    ] {
        for step in steps {
            client.send_message(&message(request, *step));
        }
    }
    client.next();
    call.wait_for_lines(1);
    call.signal(Signal::INT);
    let outcome = call.end().has_status(130).says("resume with --skip 5");
    let outcome = outcome.says("warning: interrupted: 2 calls continue, 2 calls may have been placed");
    outcome.says("rtcomm: 5 lines done: 2 success, 3 unknown; sessions: 1 completed, 2 open, in ");
}

#[test]
fn the_summary_of_a_followed_batch_explains_the_status_with_the_ends_of_sessions() {
    let broker = Broker::mosquitto();
    for (steps, status, sessions) in [
        (&[Success, Event("started", None), Event("stopped", None)][..], 0, "1 completed"),
        (&[Success, Event("started", None), Event("failed", None)], 3, "1 dropped"),
        (&[Success, Event("started", None)], 124, "1 open"),
        (&[Success], 124, "1 without events"),
    ] {
        let service = service(&broker, steps);
        let call = rtcomm("call --batch - --follow=1s").stdin(batch(&["a"])).at(&broker);
        let outcome = call.run().has_status(status);
        service.join().expect("the service got a request");
        outcome.says(&format!("rtcomm: 1 line done: 1 success; sessions: {sessions}, in "));
    }
    // The outcome explains the status of a call that was refused.
    let service = service(&broker, &[Failure("Busy")]);
    let outcome = rtcomm("call --batch - --follow").stdin(batch(&["a"])).at(&broker).run().has_status(3);
    service.join().expect("the service got a request");
    outcome.says("rtcomm: 1 line done: 1 failure, in ");
}

#[test]
fn the_demo_ends_the_calls_that_it_places() {
    let broker = Broker::demo_with("--interval 50ms --seed 1");
    let outcome = rtcomm("call iggy_pop david_bowie --follow=20s --json").at(&broker).run();
    let line = &outcome.json_lines()[0];
    let (status, cdr) = (outcome.status_code(), line["session"]["cdr"].as_str());
    let is_consistent = match cdr {
        Some("completed") => status == Some(0),
        Some("failed" | "dropped") => status == Some(3),
        None => status == Some(3) && line["outcome"] == "failure",
        _ => false,
    };
    outcome.check(is_consistent, "the status of the session");
    let outcome = rtcomm("call iggy_pop nobody --follow=20s").at(&broker).run().has_status(3);
    outcome.check(outcome.stdout.contains("failed: nobody is not registered"), "the reason");
}
