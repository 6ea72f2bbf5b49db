//! `--discover`: the topics of the server.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::events::event;
use crate::support::guarded::Guarded;
use crate::support::mqtt::Message;
use crate::support::peer::Peer;
use crate::support::service::{self, answer_queries, answer_queries_with, services};
use crate::support::{Broker, Setup, on_every_broker, rtcomm};

use serde_json::json;

const STARTED: &str = "session/started/iggy_pop/david_bowie";

/// A broker with a server whose topics are below `/other`.
fn other_topics() -> Broker {
    let broker = Broker::mosquitto();
    let other = services("/other/event", "/other/calls").to_string().replace("/rtcomm/sphere", "/other/sphere");
    answer_queries(broker.client(), serde_json::from_str(&other).expect("JSON"));
    broker
}

#[test]
fn watch_uses_the_event_root_of_the_server() {
    let broker = other_topics();
    for version in ["5", "3.1.1"] {
        let watch = rtcomm("watch --discover --json -c 1 --mqtt-version").arg(version).at(&broker).start();
        watch.wait_for_stderr("ready", |text| text.contains("rtcomm: ready"));
        broker.client().publish(&format!("/rtcomm/event/{STARTED}"), event(&json!({})));
        broker.client().publish(&format!("/other/event/{STARTED}"), event(&json!({})));
        let outcome = watch.end().has_status(0).says("events /other/event, calls /other/calls, presence /other/sphere");
        outcome.check(outcome.json_lines()[0]["topic"] == format!("/other/event/{STARTED}"), "the server's topic");
    }
}

#[test]
fn typed_topics_override_discovered_ones() {
    let broker = other_topics();
    for typed in [true, false] {
        let watch = rtcomm("watch --discover --json -c 1").at(&broker);
        let watch = if typed { watch.arg("--event-root=/typed") } else { watch.env("RTCOMM_EVENT_ROOT", "/typed") };
        let watch = watch.start();
        watch.wait_for_stderr("ready", |text| text.contains("rtcomm: ready"));
        broker.client().publish(&format!("/other/event/{STARTED}"), event(&json!({})));
        broker.client().publish(&format!("/typed/{STARTED}"), event(&json!({})));
        let outcome = watch.end().has_status(0);
        outcome.check(outcome.json_lines()[0]["topic"] == format!("/typed/{STARTED}"), "the given topic");
    }
}

#[test]
fn the_message_names_what_the_server_named() {
    let call_control = json!({ "topic": "/other/calls" });
    for (services, flags, message) in [
        (
            json!({ "RTCOMM_CONNECTOR_SERVICE": { "eventMonitoringTopic": "/other/event", "sphereTopic": "/other/sphere" } }),
            "",
            "topics of the server: events /other/event, presence /other/sphere; default: calls /rtcomm/callControl\n",
        ),
        (
            json!({ "RTCOMM_CALL_CONTROL_SERVICE": call_control }),
            "--event-root /typed",
            "topics of the server: calls /other/calls; set: events /typed; default: presence /rtcomm/sphere\n",
        ),
        (
            json!({}),
            "",
            "topics of the server: none; default: events /rtcomm/event, calls /rtcomm/callControl, presence /rtcomm/sphere\n",
        ),
    ] {
        let broker = Broker::mosquitto();
        answer_queries(broker.client(), services);
        let watch = rtcomm(&format!("watch --discover {flags}")).at(&broker).start().until_ready();
        watch.terminate().says(message).never_says("warning");
    }
}

#[test]
fn an_invalid_topic_of_the_server_is_a_warning() {
    let broker = Broker::mosquitto();
    let services = json!({
        "RTCOMM_CONNECTOR_SERVICE": { "eventMonitoringTopic": "/a/#\u{1b}[2J", "sphereTopic": 7 },
        "RTCOMM_CALL_CONTROL_SERVICE": { "topic": null },
    });
    answer_queries(broker.client(), services);
    let outcome = rtcomm("watch --discover").at(&broker).start().until_ready().terminate();
    outcome
        .says(r"warning: the server's RTCOMM_CONNECTOR_SERVICE.eventMonitoringTopic is not a valid topic, and is ignored: '/a/#\u{1b}[2J'")
        .says("RTCOMM_CONNECTOR_SERVICE.sphereTopic is not a valid topic, and is ignored: '7'")
        .never_says("RTCOMM_CALL_CONTROL_SERVICE");
}

#[test]
fn presence_and_tail_use_the_topics_of_the_server() {
    let broker = other_topics();
    let document = Message::new("/other/sphere/iggy_pop", r#"{"method":"DOCUMENT"}"#).retained();
    broker.client().send_message(&document);
    let now = rtcomm("watch --presence --now --json").env("RTCOMM_DISCOVER", "1").at(&broker).run().has_status(0);
    now.check(now.json_lines()[0]["from"] == "iggy_pop", "a document below the server's sphere");
    let tail = rtcomm("tail --discover --json -c 1").at(&broker).run().has_status(0);
    tail.check(tail.json_lines()[0]["category"] == "presence", "what it is");
}

#[test]
fn call_uses_the_call_topic_of_the_server() {
    let broker = other_topics();
    let answering = service::serve(broker.client(), "/other/calls", 1);
    rtcomm("call a b --discover --timeout 20s").at(&broker).run().has_status(0);
    answering.join().expect("the service was asked");
    let typed = service::serve(broker.client(), "/typed", 1);
    rtcomm("call a b --discover --call-topic /typed --timeout 20s").at(&broker).run().has_status(0);
    typed.join().expect("the service was asked");
}

fn no_answer_exits_with_124(setup: &Setup) {
    let outcome = setup.rtcomm("watch --discover --root /nobody").run().has_status(124).prints("");
    outcome.says("no server answers the service query").says("  hint: check that the server is running");
}
on_every_broker!(no_answer_exits_with_124);

#[test]
fn different_answers_exit_with_1() {
    let broker = other_topics();
    answer_queries(broker.client(), services("/rtcomm/event", "/other/calls"));
    for words in ["watch --discover", "tail --discover", "call a b --discover"] {
        let outcome = rtcomm(words).at(&broker).run().has_status(1).prints("");
        outcome.says("two servers answer differently").says("\"/rtcomm/event\"").says("\"/other/event\"");
    }
}

#[test]
fn services_and_a_refusal_exit_with_1() {
    let broker = other_topics();
    answer_queries_with(broker.client(), json!({ "result": "FAILURE", "reason": "not now" }));
    let outcome = rtcomm("watch --discover").at(&broker).run().has_status(1).prints("");
    outcome.says("two servers answer differently").says("not now").says("/other/event");
}

#[test]
fn the_time_of_discovery_counts_for_the_end_of_a_stream() {
    let broker = Broker::mosquitto();
    let mut mute = broker.client();
    mute.subscribe("/rtcomm/management/#");
    let silent = Peer::silent();
    for url in [broker.url(), silent.url()] {
        for words in ["watch", "tail --fail-empty", "watch -c 1"] {
            let began = Instant::now();
            let run = rtcomm(&format!("{words} --discover --for 1s --broker")).arg(&url).run();
            run.has_status(5).prints("").says("--for ended before a server named its topics");
            assert!(began.elapsed() < Duration::from_secs(4), "{words} takes {:?}", began.elapsed());
        }
    }
    let broker = other_topics();
    rtcomm("watch --discover --for 1s").at(&broker).run().has_status(0);
}

#[test]
fn a_dry_run_names_the_source_of_discovery() {
    let folder = TempDir::new().expect("a temporary directory");
    fs::create_dir(folder.path().join("rtcomm")).expect("it can be made");
    fs::write(folder.path().join("rtcomm/p.env"), "\nRTCOMM_DISCOVER=1\n").expect("it can be written");
    let run = |words: &str| rtcomm(words).env("XDG_CONFIG_HOME", folder.path());
    for words in ["watch --dry-run", "tail --dry-run", "call a b --dry-run"] {
        let outcome = run(words).env("RTCOMM_DISCOVER", "1").run().has_status(2).prints("");
        outcome
            .says("--discover cannot be combined with --dry-run")
            .says("  hint: the value comes from the environment variable RTCOMM_DISCOVER\n");
        let outcome = run(&format!("{words} --profile p")).run().has_status(2).prints("");
        outcome.says("rtcomm/p.env, line 2");
        run(words).env("RTCOMM_DISCOVER", "0").run().has_status(0);
    }
}

#[test]
fn deleting_a_session_needs_no_topics() {
    let broker = Broker::mosquitto();
    for command in ["watch", "tail"] {
        let run = rtcomm(&format!("{command} --durable-delete x")).env("RTCOMM_DISCOVER", "1").at(&broker).run();
        run.has_status(0).says("the broker now keeps no session named 'x'");
    }
}

#[test]
fn the_failures_of_discovery_have_their_statuses() {
    rtcomm("watch --discover --broker mqtt://127.0.0.1:1").run().has_status(5).prints("");
    rtcomm("watch --discover --dry-run").run().has_status(2).prints("").says("--discover cannot be combined");
    let broker = Broker::mosquitto();
    answer_queries_with(broker.client(), json!({ "result": "FAILURE", "reason": "not now" }));
    rtcomm("watch --discover").at(&broker).run().has_status(3).prints("").says("not now");
    let guarded = Guarded::new();
    guarded.grant("ops", &[]);
    guarded.rtcomm("ops", "5", "watch --discover").run().has_status(4).prints("").says("/rtcomm/reply/");
    guarded.grant("silent", &[("subscribePattern", "/rtcomm/reply/#")]);
    guarded.rtcomm("silent", "5", "watch --discover").run().has_status(4).prints("").says("/rtcomm/management/");
    let silent = Peer::silent();
    let call = rtcomm("call a b --discover --timeout 1s --broker").arg(silent.url()).run();
    call.has_status(124).prints("");
}

#[test]
fn a_call_whose_topics_are_not_learned_has_a_result() {
    let [servers, refusing, nobody] = [other_topics(), Broker::mosquitto(), Broker::mosquitto()];
    answer_queries(servers.client(), services("/rtcomm/event", "/other/calls"));
    answer_queries_with(refusing.client(), json!({ "result": "FAILURE", "reason": "not now" }));
    let guarded = Guarded::new();
    guarded.grant("ops", &[]);
    let frozen = Peer::silent();
    let call = |url: &str, flags: &str| rtcomm(&format!("call a b --discover --json {flags} --broker {url}"));
    for (call, status, outcome, limit) in [
        (call("mqtt://127.0.0.1:1", ""), 5, "unreachable", None),
        (call(&frozen.url(), "--timeout 1s"), 124, "timeout", None),
        (call(&frozen.url(), "--follow=1s"), 124, "timeout", Some("follow")),
        (call(&frozen.url(), "--timeout 1s --follow"), 124, "timeout", Some("timeout")),
        (call(&nobody.url(), "--follow"), 124, "timeout", None),
        (call(&servers.url(), ""), 1, "unreachable", None),
        (call(&refusing.url(), ""), 3, "unreachable", None),
        (guarded.rtcomm("ops", "5", "call a b --discover --json"), 4, "denied", None),
    ] {
        let run = call.run().has_status(status).says(": nothing was sent");
        let [line] = &run.json_lines()[..] else { panic!("one line: {}", run.stdout) };
        run.check(line["outcome"] == outcome && line["limit"].as_str() == limit, "the outcome and the limit");
        let is_explained = line["reason"].as_str().is_some_and(|reason| reason.ends_with(": nothing was sent"));
        run.check(is_explained && line["caller"] == "a" && line["transID"].is_string(), "the request and the reason");
    }
}

#[test]
fn a_signal_ends_discovery() {
    for (signal, status) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let silent = Peer::silent();
        let watch = rtcomm("watch --discover --broker").arg(silent.url()).start();
        silent.wait_for_connections(1);
        watch.signal(signal);
        watch.end().has_status(status).prints("");
    }
}
