//! `rtcomm demo`: the embedded broker and the simulated server.

use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::events::event;
use crate::support::mqtt::{Message, SUBSCRIBE};
use crate::support::peer::Peer;
use crate::support::{Broker, Outcome, Process, Setup, on_every_broker, rtcomm};

const EVENT: &str = r#"{"method":"RTCOMM_EVENT_FIRED"}"#;

#[test]
fn serve_prints_the_address_once_it_accepts_connections() {
    let demo = rtcomm("demo --serve --listen 127.0.0.1:0 --interval 1ms").start();
    demo.wait_for_lines(1);
    demo.signal(Signal::TERM);
    let outcome = demo.end().has_status(143);
    let address = outcome.stdout.strip_prefix("RTCOMM_BROKER=mqtt://127.0.0.1:").and_then(|it| it.strip_suffix('\n'));
    outcome.check(address.is_some_and(|port| port.parse::<u16>().is_ok_and(|port| port > 0)), "the address alone");
}

#[test]
fn the_printed_address_works_as_an_environment_variable() {
    let broker = Broker::demo_with("--interval 10ms");
    let watch = rtcomm("watch --json -c 3").env("RTCOMM_BROKER", broker.url()).run().has_status(0);
    watch.check(watch.json_lines().iter().all(|line| line["payload"]["method"] == "RTCOMM_EVENT_FIRED"), "events");
}

#[test]
fn a_signal_ends_the_demo_with_its_status() {
    for (signal, status) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        for mode in ["--serve", "--json"] {
            let demo = rtcomm(&format!("demo --listen 127.0.0.1:0 --interval 5ms {mode}")).start();
            demo.wait_for_lines(1);
            demo.signal(signal);
            demo.end().has_status(status).never_says("panicked");
        }
    }
}

#[test]
fn if_the_default_port_is_in_use_a_free_one_is_used() {
    // The default port is in use, by this test or by another program.
    let _holder = TcpListener::bind((Ipv4Addr::LOCALHOST, 1883));
    let demo = rtcomm("demo --serve").start();
    demo.wait_for_lines(1);
    let outcome = demo.terminate();
    outcome.check(!outcome.stdout.contains(":1883\n"), "another port");
    let url = outcome.stdout.trim_end().trim_start_matches("RTCOMM_BROKER=").to_owned();
    outcome.says(&url).says("1883");
}

#[test]
fn an_explicit_address_in_use_is_an_error() {
    let holder = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = holder.local_addr().expect("it is bound").to_string();
    for mode in ["", "--serve"] {
        let outcome = rtcomm(&format!("demo {mode} --listen {address}")).run().has_status(1).prints("");
        let outcome = outcome.says(&format!("cannot start the demo: cannot listen on {address}: "));
        let hint = outcome.stderr.lines().nth(1).unwrap_or_default();
        outcome.check(hint.starts_with("  hint: use another address"), "the hint on a line of its own");
        outcome.check(outcome.stderr.lines().count() == 2, "the error and the hint alone");
    }
}

#[test]
fn a_root_that_the_broker_cannot_serve_is_wrong_usage() {
    let outcome = rtcomm("demo --listen 127.0.0.1:0 --root $x").run().has_status(2).prints("");
    let outcome = outcome.says("cannot start the demo: the demo's broker does not support topics such as '$x/");
    outcome.check(outcome.stderr.lines().any(|line| line.starts_with("  hint: use a --root")), "a hint");
}

#[test]
fn serve_conflicts_with_output_flags() {
    for flag in ["--json", "--count 1", "--for 1s", "--fail-empty"] {
        rtcomm(&format!("demo --serve {flag}")).run().has_status(2).prints("").says("cannot be used with");
    }
}

/// Returns topics and payloads, without the values that depend on the clock.
fn events_without_times(outcome: &Outcome) -> Vec<(Value, Value)> {
    let mut lines = outcome.json_lines();
    for line in &mut lines {
        line["payload"]["timestamp"].take();
    }
    lines.into_iter().map(|mut line| (line["topic"].take(), line["payload"].take())).collect()
}

#[test]
fn the_same_seed_gives_the_same_events() {
    let run =
        |seed: &str| rtcomm(&format!("demo --listen 127.0.0.1:0 --json --interval 30ms -c 60 --seed {seed}")).start();
    let demos = [run("7"), run("7"), run("8")];
    let [one, same, other] = demos.map(|demo| events_without_times(&demo.end().has_status(0)));
    // The simulation begins before the subscriptions, so the outputs may begin at different events.
    let from_where_both_listen = |a: &[_], b: &[_]| {
        let begin = a.iter().position(|it| Some(it) == b.first())?;
        let length = b.len().min(a.len() - begin);
        Some(a[begin..begin + length] == b[..length])
    };
    let same = from_where_both_listen(&one, &same).or_else(|| from_where_both_listen(&same, &one));
    assert_eq!(same, Some(true), "the same seed");
    assert!(from_where_both_listen(&one, &other).is_none_or(|it| !it), "another seed");
}

#[test]
fn the_demo_prints_events_like_watch() {
    let demo = rtcomm("demo --listen 127.0.0.1:0 --interval 10ms -c 5 --seed 3").run().has_status(0);
    let demo = demo.says("rtcomm call iggy_pop david_bowie").says("seed 3").says("5 printed");
    let is_event = |line: &str| ["registration  ", "session  "].iter().any(|it| line.contains(it));
    demo.check(demo.stdout.lines().count() == 5 && demo.stdout.lines().all(is_event), "five events");
}

#[test]
fn the_simulation_publishes_presence_documents() {
    let broker = Broker::demo();
    // The called endpoint is registered.
    rtcomm("call iggy_pop david_bowie").at(&broker).run().has_status(0);
    let tail = rtcomm("tail --json -c 2 --topic /rtcomm/sphere/#").at(&broker).run().has_status(0);
    let lines = tail.json_lines();
    tail.check(lines.iter().all(|it| it["retain"] == true && it["payload"]["method"] == "DOCUMENT"), "documents");
    let mut topics: Vec<_> = lines.iter().filter_map(|it| it["topic"].as_str()).collect();
    topics.sort_unstable();
    tail.check(topics == ["/rtcomm/sphere/david_bowie", "/rtcomm/sphere/iggy_pop"], "of the two that are always there");
}

#[test]
fn the_demo_uses_the_given_root() {
    let broker = Broker::demo_with("--interval 10ms --root some/root");
    rtcomm("watch --json -c 1 --root some/root").at(&broker).run().has_status(0);
    // The endpoints of the first demo are sometimes busy.
    let broker = Broker::demo_with("--interval 1h --root some/root");
    rtcomm("call iggy_pop david_bowie --root some/root").at(&broker).run().has_status(0);
    rtcomm("call iggy_pop david_bowie --mqtt-version 5").at(&broker).run().has_status(6);
}

#[test]
fn the_services_answer_as_in_the_protocol() {
    let broker = Broker::demo();
    let mut browser = broker.old_client();
    browser.subscribe("me/#");
    let mut ask = |topic: &str, request: &str| -> Value {
        browser.publish(topic, request);
        let answer = browser.next();
        assert_eq!((answer.topic.as_str(), answer.retain), ("me/answers", false));
        serde_json::from_slice(&answer.payload).expect("an answer is JSON")
    };
    let query = r#"{"method":"SERVICE_QUERY","transID":"1111-1111","fromTopic":"me/answers"}"#;
    let answer = ask("/rtcomm/management/me", query);
    assert_eq!(answer["orig"], "SERVICE_QUERY");
    assert_eq!(answer["transID"], "1111-1111");
    assert_eq!(answer["services"]["RTCOMM_CALL_CONTROL_SERVICE"]["topic"], "/rtcomm/callControl");
    assert_eq!(answer["services"]["RTCOMM_CONNECTOR_SERVICE"]["eventMonitoringTopic"], "/rtcomm/event");

    let request = r#"{"method":"3PCC_PLACE_CALL","transID":100,"callerEndpoint":"iggy_pop","calleeEndpoint":"david_bowie","fromTopic":"me/answers"}"#;
    let answer = ask("/rtcomm/callControl", request);
    assert_eq!(answer["transID"], 100, "the number of the request");
    assert_eq!(answer["result"], "SUCCESS");
    rtcomm("call iggy_pop iggy_pop --as david_bowie").at(&broker).run().has_status(3);
}

#[test]
fn a_closed_connection_instead_of_a_suback_is_not_awaited() {
    let peer = Peer::start(|connection| {
        connection.accept()?;
        connection.wait_for(SUBSCRIBE).map(drop)
    });
    let outcome = rtcomm("watch --broker").arg(peer.url()).run().has_status(5).prints("");
    outcome.says("instead of granting the subscription").says("hint: ");
}

fn a_message_keeps_its_qos(setup: &Setup) {
    let watch = setup.rtcomm("watch --json -c 2").start().until_ready();
    let mut client = setup.broker.client();
    for qos in [0, 1] {
        client.send_message(&Message::new("/rtcomm/event/session/started/a/b", EVENT).with_qos(qos));
    }
    let outcome = watch.end().has_status(0);
    let qos: Vec<_> = outcome.json_lines().iter().map(|line| line["qos"].clone()).collect();
    outcome.check(qos == [0, 1], "the QoS of the publications");
}
on_every_broker!(a_message_keeps_its_qos);

fn a_durable_watch_receives_what_was_published_while_it_was_away(setup: &Setup) {
    for flags in ["--durable archive", "--durable shared --share group"] {
        let watch = |count: usize| setup.rtcomm(&format!("watch --json {flags} -c {count}"));
        let mut client = setup.broker.client();
        let mut publish = |range: Range<usize>| {
            for n in range {
                client.publish("/rtcomm/event/session/started/a/b", event(&json!({ "n": n })));
            }
        };
        let first = watch(1).start().until_ready();
        publish(0..1);
        first.end().has_status(0);
        publish(1..20);
        let outcome = watch(19).run().has_status(0);
        let numbers: Vec<_> = outcome.json_lines().iter().map(|line| line["payload"]["n"].clone()).collect();
        outcome.check(numbers == (1..20).collect::<Vec<_>>(), "each once, in order");
    }
}
on_every_broker!(a_durable_watch_receives_what_was_published_while_it_was_away);

#[test]
fn a_call_without_a_subscriber_exits_with_6() {
    let broker = Broker::demo();
    let call = rtcomm("call iggy_pop david_bowie --call-topic nobody/here --mqtt-version 5").at(&broker);
    call.run().has_status(6).says("nobody subscribes to nobody/here at ");
}

/// Returns the sockets on which a process listens, from the tables of Linux.
#[cfg(target_os = "linux")]
fn listening_sockets(process: &Process) -> Vec<String> {
    let open: Vec<String> = std::fs::read_dir(format!("/proc/{}/fd", process.child.id()))
        .expect("the process runs")
        .filter_map(|file| Some(file.ok()?.path().read_link().ok()?.to_string_lossy().into_owned()))
        .collect();
    // Columns: number, local address, remote address, state, six others, inode.
    let tables = ["tcp", "tcp6"].map(|name| std::fs::read_to_string(format!("/proc/net/{name}")).unwrap_or_default());
    let lines = tables.iter().flat_map(|table| table.lines().skip(1)).map(|line| line.split_whitespace().collect());
    let is_own = |columns: &Vec<&str>| columns[3] == "0A" && open.contains(&format!("socket:[{}]", columns[9]));
    lines.filter(is_own).map(|columns| columns[1].to_owned()).collect()
}

#[cfg(target_os = "linux")]
#[test]
fn the_demo_listens_on_one_address_only() {
    let demo = rtcomm("demo --serve --listen 127.0.0.1:0").start();
    let line = demo.first_line_of_stdout();
    let port: u16 = line.rsplit_once(':').and_then(|(_, port)| port.trim().parse().ok()).expect("a port");
    assert_eq!(listening_sockets(&demo), [format!("0100007F:{port:04X}")]);
    demo.terminate();
}
