//! Kept sessions: what is acknowledged, what is stored, and how a session ends.

use serde_json::json;

use crate::rig::{EventCounts, LONG, Mosquitto, Recording, figures, wait_on, wait_until};
use crate::support::Outcome;
use crate::support::client::Client;
use crate::support::events::event;

/// Returns the numbers of the printed events.
fn numbers(outcome: &Outcome) -> Vec<u64> {
    outcome.json_lines().iter().filter_map(|line| line["payload"]["n"].as_u64()).collect()
}

#[test]
fn nothing_after_the_last_counted_event_is_acknowledged() {
    const MANY: u64 = 60;
    for version in ["5", "3.1.1"] {
        for qos in [1, 2] {
            let broker = Mosquitto::unlimited();
            let command = format!("watch --json --durable archive --qos {qos} --mqtt-version {version}");
            broker.rtcomm(&command).start().until_ready().terminate();
            broker.publish(MANY);
            let (mut all, mut runs, mut duplicates) = (Vec::new(), 0, 0);
            for count in (1..=7).cycle() {
                let left = MANY - all.len() as u64;
                if left == 0 {
                    break;
                }
                let outcome = broker.rtcomm(&command).arg("-c").arg(count.min(left).to_string()).run().has_status(0);
                let printed = numbers(&outcome);
                outcome.check(printed.len() as u64 == count.min(left), "as many as --count requests");
                runs += 1;
                duplicates += printed.iter().filter(|number| all.contains(*number)).count();
                all.extend(printed.into_iter().filter(|number| !all.contains(number)).collect::<Vec<_>>());
            }
            assert_eq!(all, (0..MANY).collect::<Vec<_>>(), "each, in order");
            figures(format_args!(
                "{MANY} events by {runs} runs (QoS {qos}, MQTT {version}): 0 missing, {duplicates} duplicates"
            ));
            assert_eq!(duplicates, 0, "a run that ends in order leaves nothing to repeat");
        }
    }
}

#[test]
fn filtered_messages_after_the_last_record_are_not_acknowledged() {
    const MANY: u64 = 10;
    let broker = Mosquitto::unlimited();
    let command = "tail --json --durable archive --topic /rtcomm/event/#";
    broker.rtcomm(command).start().until_ready().terminate();
    Client::connect(broker.port()).publish("/rtcomm/event/registration/failed/iggy_pop", event(&json!({})));
    broker.publish(MANY);
    broker.rtcomm(command).arg("--failed").arg("-c1").run().has_status(0).says("1 message seen, 1 printed");
    let outcome = broker.rtcomm(command).arg("-c").arg(MANY.to_string()).run().has_status(0);
    outcome.check(numbers(&outcome) == (0..MANY).collect::<Vec<_>>(), "each of the others");
}

#[test]
fn a_count_reached_within_a_burst_leaves_the_rest_to_the_next_run() {
    const MANY: u64 = 1_000;
    let broker = Mosquitto::unlimited();
    let process = broker.rtcomm("watch --json --durable archive -c 500").start().until_ready();
    broker.publish(MANY);
    let first = process.end().has_status(0);
    first.check(numbers(&first) == (0..500).collect::<Vec<_>>(), "the first half");
    let mut rest = Recording::of(MANY);
    rest.counts.take(first.stdout.as_bytes());
    let process = broker.rtcomm("watch --json --durable archive").start_onto(rest.open()).until_ready();
    wait_on(&process, "the rest", LONG, || rest.read().is_complete());
    process.terminate();
    let counts: &EventCounts = rest.read();
    counts.check_is_whole();
    figures(format_args!("500 of {MANY}, then the rest: 0 missing, {} duplicates", counts.duplicates()));
    assert_eq!(counts.duplicates(), 0);
}

#[test]
fn two_processes_with_one_session_name_are_warned() {
    let broker = Mosquitto::unlimited();
    let start = || broker.rtcomm("watch --durable archive").start().until_ready();
    let processes = [start(), start()];
    for process in &processes {
        process
            .wait_for_stderr("the suspicion", |text| text.contains("another process may use --durable 'archive' too"));
    }
    for process in processes {
        let outcome = process.terminate();
        outcome.check(outcome.stderr.matches("another process").count() == 1, "it is reported once");
    }
}

#[test]
fn filtered_messages_are_acknowledged() {
    let broker = Mosquitto::unlimited();
    let command = "watch --json --durable archive --failed";
    let process = broker.rtcomm(command).start().until_ready();
    broker.publish(10);
    let mut client = crate::support::client::Client::connect(broker.port());
    client.publish("/rtcomm/event/session/failed/a/b", r#"{"method":"RTCOMM_EVENT_FIRED","n":77}"#);
    process.wait_for_lines(1);
    process.terminate();
    client.publish("/rtcomm/event/session/failed/a/b", r#"{"method":"RTCOMM_EVENT_FIRED","n":78}"#);
    let outcome = broker.rtcomm(command).arg("-c").arg("1").run().has_status(0);
    assert_eq!(numbers(&outcome), [78]);
}

#[test]
fn a_deleted_session_has_no_messages() {
    let broker = Mosquitto::unlimited();
    broker.rtcomm("watch --durable archive").start().until_ready().terminate();
    broker.publish(10);
    let outcome = broker.rtcomm("watch --durable-delete archive").run().has_status(0).prints("");
    outcome.says("the broker now keeps no session named 'archive'");
    let process = broker.rtcomm("watch --json --durable archive -c 1").start().until_ready();
    let mut client = crate::support::client::Client::connect(broker.port());
    client.publish("/rtcomm/event/session/started/a/b", r#"{"method":"RTCOMM_EVENT_FIRED","n":77}"#);
    assert_eq!(numbers(&process.end().has_status(0)), [77], "queued messages are discarded");
    broker.rtcomm("tail --durable-delete never-was").run().has_status(0);
}

#[test]
fn a_session_ends_at_its_expiry() {
    let broker = Mosquitto::unlimited();
    let command = "watch --json --durable archive --durable-expiry 1s --status-events";
    broker.rtcomm(command).start().until_ready().terminate();
    broker.publish(10);
    // mosquitto checks for expired sessions at intervals.
    let is_expired = || broker.log().contains("Expiring client archive due to timeout");
    wait_until("the expiry of the session", LONG, || broker.log(), is_expired);
    let process = broker.rtcomm(command).arg("-c").arg("1").start().until_ready();
    let mut client = crate::support::client::Client::connect(broker.port());
    client.publish("/rtcomm/event/session/started/a/b", r#"{"method":"RTCOMM_EVENT_FIRED","n":77}"#);
    assert_eq!(numbers(&process.end().has_status(0)), [77], "queued messages are discarded");
}

#[test]
fn messages_are_delivered_with_the_requested_qos_in_both_versions() {
    let broker = Mosquitto::unlimited();
    for (version, qos) in [("3.1.1", 2), ("5", 2), ("3.1.1", 1), ("5", 1), ("5", 0), ("3.1.1", 0)] {
        let command = format!("watch --json -c 1 --qos {qos} --mqtt-version {version}");
        let process = broker.rtcomm(&command).start().until_ready();
        let publish = format!("-p {} -q 2 -t /rtcomm/event/session/started/a/b -m", broker.port());
        let mut publisher = std::process::Command::new(crate::support::broker::installed("mosquitto_pub"));
        let published = publisher.args(publish.split_whitespace()).arg(r#"{"method":"RTCOMM_EVENT_FIRED"}"#).status();
        assert!(published.expect("mosquitto_pub can be started").success());
        let outcome = process.end().has_status(0);
        let got = outcome.json_lines()[0]["qos"].clone();
        outcome.check(got == qos, &format!("QoS {qos}"));
    }
}
