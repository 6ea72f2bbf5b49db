//! `rtcomm check`: its line, its statuses, its thresholds, and the shell assignments.

use std::fs::File;
use std::thread;
use std::time::Duration;

use regex::Regex;
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::guarded::Guarded;
use crate::support::mqtt::Message;
use crate::support::peer::Peer;
use crate::support::service::{answer_queries, answer_queries_with, request_of, services};
use crate::support::{Broker, Outcome, Setup, on_every_broker, rtcomm, shell};

/// Checks that there is one line with this status, and returns its text and its perfdata.
#[track_caller]
fn line(outcome: &Outcome, status: &str) -> (String, String) {
    outcome.check(outcome.stdout.matches('\n').count() == 1 && outcome.stdout.ends_with('\n'), "one line");
    let text = outcome.stdout.trim_end().strip_prefix(&format!("RTCOMM {status} - "));
    outcome.check(text.is_some(), status);
    let (text, perfdata) = text.unwrap_or_default().split_once(" | ").unwrap_or((text.unwrap_or_default(), ""));
    outcome.check(!text.contains('|') && !text.contains(char::is_control), "a text without | and control characters");
    let label = Regex::new(r"^[a-z]+=[0-9.]+s?;[0-9.:~@-]*;[0-9.:~@-]*;0$").expect("a regex");
    outcome
        .check(perfdata.is_empty() || perfdata.split(' ').all(|it| label.is_match(it)), "perfdata of the guidelines");
    (text.to_owned(), perfdata.to_owned())
}

fn document(endpoint: &str) -> Message {
    Message::new(&format!("/rtcomm/sphere/{endpoint}"), r#"{"method":"DOCUMENT","state":"available"}"#).retained()
}

fn a_server_that_answers_is_ok(setup: &Setup) {
    // The demo has a server of its own, below its own root.
    let mut client = setup.broker.client();
    let own = services("/own/event", "/own/callControl").to_string().replace("/rtcomm/sphere", "/own/sphere");
    client.subscribe("/own/management/#");
    for topic in ["iggy_pop", "agents/iggy_pop", "lemmy"] {
        client.send_message(&Message::new(&format!("/own/sphere/{topic}"), r#"{"method":"DOCUMENT"}"#).retained());
    }
    client.send_message(&Message::new("/own/sphere/queue", r#"{"method":"DOCUMENT","type":"SERVICE"}"#).retained());
    client.send_message(&Message::new("/own/sphere/x", "junk").retained());
    let check = setup.rtcomm("check --root /own --client-id monitor").start();
    let query = client.next();
    assert_eq!(query.topic, "/own/management/monitor");
    let request = request_of(&query);
    assert_eq!((&request["method"], &request["rtcommVer"]), (&json!("SERVICE_QUERY"), &json!("v1.0.0")));
    let services: Value = serde_json::from_str(&own).expect("JSON");
    let answer = json!({
        "method": "RESPONSE", "orig": "SERVICE_QUERY", "transID": request["transID"], "result": "SUCCESS", "services": services
    });
    client.publish(request["fromTopic"].as_str().expect("a topic"), answer.to_string());
    let outcome = check.end().has_status(0);
    let (text, perfdata) = line(&outcome, "OK");
    outcome.check(text.contains("1 server answered in ") && text.ends_with(", 2 registered"), "what is known");
    let names: Vec<&str> = perfdata.split(' ').filter_map(|it| it.split('=').next()).collect();
    outcome.check(names == ["connect", "query", "servers", "registered"], "all values");
    outcome.check(perfdata.contains("servers=1;;;0 registered=2;;;0"), "the counts");
    outcome.check(outcome.stderr.is_empty(), "nothing else");
}
on_every_broker!(a_server_that_answers_is_ok);

#[test]
fn the_demo_is_ok_until_it_has_ended() {
    let broker = Broker::demo();
    line(&rtcomm("check").at(&broker).run().has_status(0), "OK");
    let url = broker.url();
    drop(broker);
    let outcome = rtcomm("check --broker").arg(url).run().has_status(2);
    let (text, perfdata) = line(&outcome, "CRITICAL");
    outcome.check(text.contains("connection refused") && perfdata.is_empty(), "why");
}

#[test]
fn no_answer_is_a_warning() {
    let broker = Broker::mosquitto();
    broker.client().send_message(&document("iggy_pop"));
    for version in ["5", "3.1.1"] {
        let outcome = rtcomm("check --mqtt-version").arg(version).at(&broker).run().has_status(1);
        let (text, perfdata) = line(&outcome, "WARNING");
        outcome.check(text.contains("no server answers the service query"), "why");
        outcome
            .check(perfdata.contains("servers=0;;;0 registered=1;;;0") && !perfdata.contains("query"), "what is known");
        rtcomm("check -c servers=1: --mqtt-version").arg(version).at(&broker).run().has_status(2);
    }
}

#[test]
fn the_time_of_the_query_starts_before_its_publication() {
    const DELAY: Duration = Duration::from_millis(200);
    let broker = Broker::mosquitto();
    let mut server = broker.client();
    server.subscribe("/rtcomm/management/#");
    let check = rtcomm("check --json").at(&broker).start();
    let query = server.next();
    thread::sleep(DELAY);
    let request = request_of(&query);
    let answer = json!({ "method": "RESPONSE", "transID": request["transID"], "result": "SUCCESS", "services": {} });
    server.publish(request["fromTopic"].as_str().expect("a topic"), answer.to_string());
    let outcome = check.end().has_status(0);
    let seconds = outcome.json_lines()[0]["query_s"].as_f64();
    outcome.check(seconds.is_some_and(|seconds| seconds >= DELAY.as_secs_f64()), "the whole time");
}

#[test]
fn two_servers_with_different_answers_are_critical_and_both_are_shown() {
    let broker = Broker::mosquitto();
    answer_queries(broker.client(), services("/rtcomm/event", "/rtcomm/callControl"));
    let mut same = services("/rtcomm/event", "/rtcomm/callControl");
    same["RTCOMM_CONNECTOR_SERVICE"]["iceURL"] = "turn:1700000000:other@turn.example:3478".into();
    answer_queries(broker.client(), same);
    let outcome = rtcomm("check").at(&broker).run().has_status(0);
    outcome.check(line(&outcome, "OK").1.contains("servers=2;"), "two servers that agree");

    answer_queries(broker.client(), services("/other/event", "/rtcomm/callControl"));
    let outcome = rtcomm("check").at(&broker).run().has_status(2);
    let (text, perfdata) = line(&outcome, "CRITICAL");
    outcome.check(text.contains(r#""/rtcomm/event""#) && text.contains(r#""/other/event""#), "both topics");
    outcome.check(!text.contains("callControl") && perfdata.contains("servers=3;"), "only what differs");
    let json = rtcomm("check --json").at(&broker).run().has_status(2);
    json.check(json.json_lines()[0]["services"].as_array().map(Vec::len) == Some(2), "both answers");
    rtcomm("check --env").at(&broker).run().has_status(2).prints("").says("RTCOMM CRITICAL - ");
}

#[test]
fn a_server_that_refuses_has_answered_and_is_a_warning() {
    let broker = Broker::mosquitto();
    answer_queries_with(broker.client(), json!({ "result": "FAILURE", "reason": "not now" }));
    let outcome = rtcomm("check -c servers=1:").at(&broker).run().has_status(1);
    let (text, perfdata) = line(&outcome, "WARNING");
    outcome.check(text.starts_with("a server refuses the service query on /rtcomm/management/"), "why");
    outcome.check(text.contains(": not now; ") && text.contains("1 server answered in "), "what is known");
    outcome.check(perfdata.contains("servers=1;;1:;0") && perfdata.contains("query="), "the values");
    rtcomm("check -c servers=2:").at(&broker).run().has_status(2);
    let json = rtcomm("check --json").at(&broker).run().has_status(1);
    json.check(json.json_lines()[0]["servers"] == 1 && json.json_lines()[0].get("services").is_none(), "no services");
    answer_queries_with(broker.client(), json!({ "result": "FAILURE", "reason": "later" }));
    let outcome = rtcomm("check").at(&broker).run().has_status(1);
    outcome.check(line(&outcome, "WARNING").1.contains("servers=2;"), "refusals do not differ");
}

#[test]
fn services_and_a_refusal_are_critical_and_both_are_shown() {
    let broker = Broker::mosquitto();
    answer_queries_with(broker.client(), json!({ "result": "FAILURE", "reason": "not now" }));
    answer_queries(broker.client(), services("/rtcomm/event", "/rtcomm/callControl"));
    let outcome = rtcomm("check").at(&broker).run().has_status(2);
    let (text, perfdata) = line(&outcome, "CRITICAL");
    outcome.check(text.starts_with("two servers answer differently: one refuses the service query: not now; "), "one");
    outcome.check(text.contains(r#""eventMonitoringTopic":"/rtcomm/event""#), "the other");
    outcome.check(!text.contains("hunter2") && perfdata.contains("servers=2;"), "the values");
    let json = rtcomm("check --json").at(&broker).run().has_status(2);
    json.check(json.json_lines()[0]["services"].as_array().map(Vec::len) == Some(1), "the services");
    rtcomm("check --env").at(&broker).run().has_status(2).prints("").says("RTCOMM CRITICAL - ");
}

#[test]
fn missing_permissions_are_warnings_and_refused_credentials_are_critical() {
    let reply = ("subscribePattern", "/rtcomm/reply/#");
    let sphere = ("subscribePattern", "/rtcomm/sphere/#");
    let query = ("publishClientSend", "/rtcomm/management/#");
    let guarded = Guarded::new();
    guarded.grant("server", &[("subscribePattern", "#"), ("publishClientSend", "#")]);
    answer_queries(guarded.client("server"), services("/rtcomm/event", "/rtcomm/callControl"));
    for (user, grants, status, why) in [
        ("all", &[reply, sphere, query][..], 0, "registered"),
        ("silent", &[reply, sphere], 1, "/rtcomm/management/"),
        ("deaf", &[sphere, query], 1, "/rtcomm/reply/"),
        ("blind", &[reply, query], 1, "registered endpoints are not known"),
        ("nobody", &[], 1, "/rtcomm/reply/"),
    ] {
        guarded.grant(user, grants);
        let outcome = guarded.rtcomm(user, "5", "check").run().has_status(status);
        let (text, _) = line(&outcome, if status == 0 { "OK" } else { "WARNING" });
        outcome.check(text.contains(why), why);
    }
    let outcome = guarded.rtcomm("all", "5", "check --username stranger").run().has_status(2);
    line(&outcome, "CRITICAL");
}

#[test]
fn thresholds_decide_on_the_status_and_are_part_of_the_perfdata() {
    let broker = Broker::mosquitto();
    answer_queries(broker.client(), services("/rtcomm/event", "/rtcomm/callControl"));
    broker.client().send_message(&document("iggy_pop"));
    for (flags, status, name, perfdata) in [
        ("-w connect=60 -c connect=120", 0, "OK", "s;60;120;0 query="),
        ("-w registered=2:", 1, "WARNING", "registered=1;2:;;0"),
        ("-w registered=2: -c registered=1:", 1, "WARNING", "registered=1;2:;1:;0"),
        ("--warning registered=3: --critical registered=2:", 2, "CRITICAL", "registered=1;3:;2:;0"),
        ("-c registered=@1:5", 2, "CRITICAL", "registered=1;;@1:5;0"),
        ("-c registered=@2:5 -w servers=~:1", 0, "OK", "servers=1;~:1;;0"),
        ("-c query=0:0", 2, "CRITICAL", "s;;0:0;0 servers"),
        ("-w servers=2:3 -c query=0:0", 2, "CRITICAL", "servers=1;2:3;;0"),
    ] {
        let outcome = rtcomm(&format!("check {flags}")).at(&broker).run().has_status(status);
        outcome.check(line(&outcome, name).1.contains(perfdata), perfdata);
    }
    let outcome = rtcomm("check -c registered=2: -w servers=5:").at(&broker).run().has_status(2);
    let (text, _) = line(&outcome, "CRITICAL");
    let expected = "registered is 1 (critical range: 2:); servers is 1 (warning range: 5:); connected to ";
    outcome.check(text.starts_with(expected), expected);
}

#[test]
fn wrong_usage_is_unknown() {
    for words in [
        "check --bogus",
        "check extra",
        "-v check --bogus",
        "--bogus check",
        "--bogus value check",
        "-b mqtt://127.0.0.1:1 check --bogus",
        "check -w connect",
        "check -w latency=1",
        "check -w connect=20:10",
        "check -w connect=1 -w connect=2",
        "check --timeout 0s",
        "check --broker 127.0.0.1",
        "check --root a/#",
        "check --cafile /nonexistent --broker mqtts://127.0.0.1:1",
        "check --profile nonexistent",
        "check --key /nonexistent",
    ] {
        let outcome = rtcomm(words).run().has_status(3);
        line(&outcome, "UNKNOWN");
        outcome.check(outcome.stderr.is_empty(), "nothing else");
    }
    let directory = TempDir::new().expect("a directory");
    let junk = directory.path().join("ca.pem");
    std::fs::write(&junk, "junk").expect("it can be written");
    let outcome = rtcomm("check --broker mqtts://127.0.0.1:1 --cafile").arg(junk).run().has_status(3);
    outcome.check(line(&outcome, "UNKNOWN").0.contains("contains no certificate"), "why");
    let environment = rtcomm("check").env("RTCOMM_KEEPALIVE", "abc").run().has_status(3);
    line(&environment, "UNKNOWN");
    rtcomm("call check bob --bogus").run().has_status(2).prints("");
    rtcomm("check --help").run().has_status(0);
}

#[test]
fn flags_without_effect_are_rejected_and_their_variables_are_ignored() {
    for flag in ["--discover", "--event-root /x", "--call-topic /x"] {
        let outcome = rtcomm(&format!("check {flag}")).run().has_status(3);
        let name = flag.split(' ').next().expect("a name");
        outcome.check(line(&outcome, "UNKNOWN").0 == format!("unexpected argument '{name}' found"), "why");
        rtcomm(&format!("{flag} check")).run().has_status(3);
        let help = rtcomm("check --help").run().has_status(0);
        help.check(!help.stdout.contains(name) && help.stdout.contains("--root"), "only flags with an effect");
    }
    let broker = Broker::mosquitto();
    answer_queries(broker.client(), services("/rtcomm/event", "/rtcomm/callControl"));
    for (variable, value) in [("RTCOMM_DISCOVER", "1"), ("RTCOMM_DISCOVER", "maybe"), ("RTCOMM_EVENT_ROOT", "a/#")] {
        rtcomm("check").env(variable, value).at(&broker).run().has_status(0);
    }
}

#[test]
fn errors_in_arguments_have_the_requested_output() {
    for (words, variable) in [
        ("--profile nonexistent", None),
        ("--bogus", None),
        ("--root a/#", None),
        ("-w connect=1 -w connect=2", None),
        ("", Some("RTCOMM_KEEPALIVE")),
        ("", Some("RTCOMM_PROFILE")),
    ] {
        let run = |flag: &str| {
            let run = rtcomm(&format!("check {words} {flag}"));
            if let Some(name) = variable { run.env(name, "a/b") } else { run }
        };
        let json = run("--json").run().has_status(3);
        json.check(json.stdout.lines().count() == 1 && json.stderr.is_empty(), "one line");
        json.check(json.json_lines()[0]["check"] == "unknown", "the status");
        let env = run("--env").run().has_status(3).prints("");
        env.says("RTCOMM UNKNOWN - ");
    }
    rtcomm("--json --bogus check").run().has_status(3).json_lines();
    rtcomm("check --json --env").run().has_status(3).json_lines();
    shell(r#"eval "$(rtcomm check --env --profile nonexistent)""#).run().has_status(0).never_says("command not found");
}

#[test]
fn a_timeout_is_critical_and_a_signal_is_unknown() {
    let silent = Peer::silent();
    let outcome = rtcomm("check --timeout 1s --broker").arg(silent.url()).run().has_status(2);
    outcome.check(line(&outcome, "CRITICAL").0 == "no result within 1s", "why");
    let outcome = rtcomm("check --connect-timeout 1s --broker").arg(silent.url()).run().has_status(2);
    line(&outcome, "CRITICAL");
    let silent = Peer::silent();
    let check = rtcomm("check --timeout 3s --broker").arg(silent.url()).start();
    silent.wait_for_connections(1);
    check.signal(Signal::HUP);
    line(&check.end().has_status(2), "CRITICAL");
    for signal in [Signal::INT, Signal::TERM] {
        let silent = Peer::silent();
        let check = rtcomm("check --broker").arg(silent.url()).start();
        silent.wait_for_connections(1);
        check.signal(signal);
        line(&check.end().has_status(3), "UNKNOWN");
    }
}

#[test]
fn a_full_disk_is_unknown() {
    let full = File::options().write(true).open("/dev/full").expect("Linux has it");
    let outcome = rtcomm("check --broker mqtt://127.0.0.1:1").start_onto(full).end().has_status(3);
    outcome.says("cannot write to standard output");
}

#[test]
fn text_from_the_network_cannot_break_the_line() {
    let broker = Broker::mosquitto();
    let reason = "a|b\nRTCOMM OK - \u{1b}[2J\u{202e}x\u{0}turn:me:hunter2@h 'y'";
    answer_queries_with(broker.client(), json!({ "result": "FAILURE", "reason": reason }));
    let outcome = rtcomm("check").at(&broker).run().has_status(1);
    let (text, _) = line(&outcome, "WARNING");
    outcome.check(text.contains("ab RTCOMM OK - [2Jxturn:***:***@h 'y'"), "the reason without control characters");
    let json = rtcomm("check --json").at(&broker).run().has_status(1);
    json.check(json.json_lines()[0]["check"] == "warning" && !json.stdout.contains("hunter2"), "one line of JSON");
}

#[test]
fn json_lists_services_topics_and_queues_without_credentials() {
    let broker = Broker::mosquitto();
    answer_queries(broker.client(), services("/rtcomm/event", "/rtcomm/callControl"));
    let outcome = rtcomm("check --json").at(&broker).run().has_status(0);
    let line = &outcome.json_lines()[0];
    let services = &line["services"][0];
    outcome.check(line["check"] == "ok" && line["servers"] == 1 && line["registered"] == 0, "the values");
    outcome.check(services["RTCOMM_CALL_CONTROL_SERVICE"]["topic"] == "/rtcomm/callControl", "topics");
    outcome.check(services["RTCOMM_CALL_QUEUE_SERVICE"]["queues"][0]["endpointID"] == "support", "queues");
    let masked = "turn:***:***@turn.example:3478";
    outcome.check(services["RTCOMM_CONNECTOR_SERVICE"]["iceURL"] == masked, masked);
}

#[test]
fn env_prints_assignments_that_a_shell_takes_literally() {
    let directory = TempDir::new().expect("a directory");
    for topic in
        ["/rtcomm/event", "/a b/$(touch x)/`touch x`", "/it's/'; touch x; '", "/\"$HOME\"/\\", "/ünï/*/~/!/&/;"]
    {
        let broker = Broker::mosquitto();
        answer_queries(broker.client(), services(topic, &format!("{topic}/calls")));
        let script = r#"eval "$(rtcomm check --env)" && printf '%s\n' "$RTCOMM_EVENT_ROOT" "$RTCOMM_CALL_TOPIC""#;
        let mut run = shell(script).at(&broker);
        run.command.current_dir(directory.path());
        run.run().has_status(0).prints(&format!("{topic}\n{topic}/calls\n"));
    }
    let files = std::fs::read_dir(directory.path()).expect("a directory").count();
    assert_eq!(files, 0, "nothing was executed");
}

#[test]
fn the_assignments_of_env_can_be_exported_to_later_commands() {
    let broker = Broker::mosquitto();
    answer_queries(broker.client(), services("/other/event", "/other/calls"));
    let script =
        r#"set -a; eval "$(rtcomm check --env)"; set +a; rtcomm watch --dry-run; env | grep -c ^RTCOMM_CALL_TOPIC"#;
    shell(script).at(&broker).run().has_status(0).prints("/other/event/#\n1\n");
}

#[test]
fn env_leaves_out_what_is_not_a_topic() {
    let broker = Broker::mosquitto();
    answer_queries(broker.client(), services("/a\nb", "/x/#"));
    rtcomm("check --env").at(&broker).run().has_status(0).prints("");
    let nobody = Broker::mosquitto();
    let outcome = rtcomm("check --env").at(&nobody).run().has_status(1).prints("");
    outcome.says("RTCOMM WARNING - no server answers");
}

#[test]
fn a_check_publishes_nothing_but_its_query() {
    let broker = Broker::mosquitto();
    let mut witness = broker.client();
    witness.subscribe("#");
    rtcomm("check --client-id monitor").at(&broker).run().has_status(1);
    broker.client().publish("last", "");
    let topics: Vec<String> =
        std::iter::from_fn(|| Some(witness.next().topic)).take_while(|topic| topic != "last").collect();
    assert_eq!(topics, ["/rtcomm/management/monitor"]);
}
