//! A message that passes a real broker is printed once, byte for byte.

use serde_json::json;

use crate::support::events::event;
use crate::support::mqtt::Message;
use crate::support::peer::Peer;
use crate::support::{Broker, Setup, on_every_broker, rtcomm};

/// Payloads that a careless JSON reader would change.
const FRAGILE_PAYLOADS: [&str; 9] = [
    r#"{"method":"RTCOMM_EVENT_FIRED","n":12345678901234567890}"#,
    r#"{"method":"RTCOMM_EVENT_FIRED","n":1.0e400,"m":-0.0,"k":1.10}"#,
    r#"{"z":1,"method":"RTCOMM_EVENT_FIRED","a":2}"#,
    r#"{"method":"RTCOMM_EVENT_FIRED","a":1,"a":2}"#,
    r#"{"method":"RTCOMM_EVENT_FIRED","reason":"caf\u00e9 \/ \ud83d\ude00"}"#,
    r#"{"method":"RTCOMM_EVENT_FIRED","reason":"café 😀 𝄞 日本語"}"#,
    r#"{ "method" : "RTCOMM_EVENT_FIRED" , "x" : [ ] }"#,
    "{\"method\":\"RTCOMM_EVENT_FIRED\",\"x\":\"\u{7f}\u{202e}\"}",
    r#"{"method":"RTCOMM_EVENT_FIRED","deep":[[[[[[[[[[{"a":[null,true,false]}]]]]]]]]]]}"#,
];

fn a_payload_is_kept_byte_for_byte(setup: &Setup) {
    let watch = setup.rtcomm("watch --json").arg("-c").arg(FRAGILE_PAYLOADS.len().to_string()).start().until_ready();
    let mut client = setup.broker.client();
    for payload in FRAGILE_PAYLOADS {
        client.publish("/rtcomm/event/session/failed/a/b", payload);
    }
    let outcome = watch.end().has_status(0);
    for (line, payload) in outcome.stdout.lines().zip(FRAGILE_PAYLOADS) {
        outcome.check(line.ends_with(&format!(r#","payload":{payload}}}"#)), payload);
    }
    let head = concat!(
        r#"Z","category":"session","action":"failed","from":"a","to":"b","#,
        r#""topic":"/rtcomm/event/session/failed/a/b","qos":1,"retain":false,"payload":{"#
    );
    let is_headed = |line: &str| line.starts_with(r#"{"received":""#) && line[39..].starts_with(head);
    outcome.check(outcome.stdout.lines().all(is_headed), "the keys of an event, in their order");
}
on_every_broker!(a_payload_is_kept_byte_for_byte);

#[test]
fn line_ends_in_a_payload_become_spaces() {
    let broker = Broker::mosquitto();
    let watch = rtcomm("watch --json -c 1").at(&broker).start().until_ready();
    let payload = "{\n  \"method\": \"RTCOMM_EVENT_FIRED\",\r\n\t\"a\": 1\n}\n";
    broker.client().publish("/rtcomm/event/registration/started/a", payload);
    let outcome = watch.end().has_status(0);
    outcome.check(outcome.stdout.matches('\n').count() == 1, "one line");
    outcome.check(
        outcome.stdout.ends_with("\"payload\":{   \"method\": \"RTCOMM_EVENT_FIRED\",  \t\"a\": 1 } }\n"),
        "spaces for line ends",
    );
}

/// Publishes one event, and checks that overlapping filters print it once.
fn overlapping(setup: &Setup) {
    let commands = [
        "watch --json --endpoint a",
        "watch --json --endpoint a --endpoint b --from a",
        "tail --json --topic x/# --topic x/event/# --topic x/event/session/started/a/a",
        "tail --json --topic x/event/session/+/a/a --topic x/event/session/started/+/a --topic x/event/session/started/a/+",
    ];
    let running = commands.map(|command| setup.rtcomm(command).arg("--event-root").arg("x/event").start());
    let running = running.map(crate::support::Process::until_ready);
    let mut client = setup.broker.client();
    for n in 1..=20 {
        client.publish("x/event/session/started/a/a", event(&json!({ "n": n })));
    }
    for process in running {
        process.wait_for_stdout("the last of them", |text| text.contains(r#""n":20"#));
        let outcome = process.terminate();
        let printed: Vec<_> = outcome.json_lines().iter().map(|line| line["payload"]["n"].clone()).collect();
        outcome.check(printed == (1..=20).collect::<Vec<_>>(), "each once");
    }
}

fn an_event_of_overlapping_filters_is_printed_once(setup: &Setup) {
    overlapping(setup);
}
on_every_broker!(an_event_of_overlapping_filters_is_printed_once);

fn overlapping_filters_print_only_what_they_match(setup: &Setup) {
    let tail = setup.rtcomm("tail --json --topic x/# --topic +/y").start().until_ready();
    let mut client = setup.broker.client();
    for topic in ["z/z", "x/y", "z", "z/y/z", "/rtcomm/event/registration/started/a", "x", "z/y"] {
        client.publish(topic, topic);
    }
    tail.wait_for_stdout("the last of them", |text| text.contains(r#""payload_text":"z/y""#));
    let outcome = tail.terminate();
    let printed: Vec<_> = outcome.json_lines().iter().map(|line| line["topic"].clone()).collect();
    outcome.check(printed == ["x/y", "x", "z/y"], "each matching event once");
}
on_every_broker!(overlapping_filters_print_only_what_they_match);

#[test]
fn an_event_is_printed_once_even_if_the_broker_sends_copies() {
    for version in ["5", "3.1.1"] {
        let broker = Broker::mosquitto_with("allow_anonymous true\nallow_duplicate_messages true\n");
        overlapping(&Setup { broker, version });
    }
}

fn a_retained_message_has_retain_true(setup: &Setup) {
    let mut client = setup.broker.client();
    let topic = "/rtcomm/event/registration/started/iggy_pop";
    client.send_message(&Message::new(topic, event(&json!({ "n": 1 }))).retained());
    let watch = setup.rtcomm("watch --json").start().until_ready();
    watch.wait_for_lines(1);
    client.publish(topic, event(&json!({ "n": 2 })));
    watch.wait_for_lines(2);
    let outcome = watch.terminate();
    let marked: Vec<_> = outcome.json_lines().iter().map(|line| line["retain"].clone()).collect();
    outcome.check(marked == [true, false], "the first one as retained");
    let pretty = setup.rtcomm("watch -c 1").run().has_status(0);
    pretty.check(pretty.stdout.ends_with(" (retained)\n"), "a word on it");
}
on_every_broker!(a_retained_message_has_retain_true);

fn tail_shows_every_message_under_the_root(setup: &Setup) {
    let tail = setup.rtcomm("tail --json --root other").start().until_ready();
    let mut client = setup.broker.client();
    let messages: [(&str, &[u8], &str); 6] = [
        ("other/event/registration/started/a", br#"{"method":"RTCOMM_EVENT_FIRED"}"#, "payload"),
        ("other/callControl", br#"{"method":"3PCC_PLACE_CALL"}"#, "payload"),
        ("other", b"at the root itself", "payload_text"),
        ("other/binary", b"\x00\xff", "payload_base64"),
        ("other/sphere/a", b"", "payload_text"),
        ("other/last", b"7", "payload"),
    ];
    client.publish("another/event/registration/started/a", r#"{"method":"RTCOMM_EVENT_FIRED"}"#);
    for (topic, payload, _) in messages {
        client.publish(topic, payload);
    }
    tail.wait_for_lines(messages.len());
    let outcome = tail.terminate();
    let lines = outcome.json_lines();
    outcome.check(lines.len() == messages.len(), "a line for each");
    for (line, (topic, _, form)) in lines.iter().zip(messages) {
        outcome.check(line["topic"] == topic && line.get(form).is_some(), &format!("{topic} with its {form}"));
        let category = match topic.split('/').nth(1) {
            Some("event") => "registration",
            Some("sphere") => "presence",
            _ => "",
        };
        let found = line["category"].as_str().unwrap_or_default();
        outcome.check(found == category && line.get("error").is_none(), "the category");
    }
}
on_every_broker!(tail_shows_every_message_under_the_root);

#[test]
fn qos_is_the_qos_of_the_delivery() {
    let broker = Broker::mosquitto();
    let watch = rtcomm("watch --json -c 2").at(&broker).start().until_ready();
    let mut client = broker.client();
    for qos in [0, 1] {
        let message = Message::new("/rtcomm/event/registration/started/a", event(&json!({}))).with_qos(qos);
        client.send_message(&message);
    }
    let outcome = watch.end().has_status(0);
    let lines = outcome.json_lines();
    outcome.check(lines[0]["qos"] == 0 && lines[1]["qos"] == 1, "0, then 1");
}

#[test]
fn a_burst_arrives_whole_and_in_order() {
    const MANY: usize = 2_000;
    let broker = Broker::mosquitto();
    let command = format!("watch --json -c {MANY}");
    let watch = rtcomm(&command).at(&broker).start().until_ready();
    let mut client = broker.client();
    for n in 0..MANY {
        let message = Message::new("/rtcomm/event/registration/modified/a", event(&json!({ "n": n })));
        client.send_message(&message.with_qos(u8::from(n % 100 == 99)));
    }
    let outcome = watch.end().has_status(0);
    let is_ordered = outcome.json_lines().iter().enumerate().all(|(n, line)| line["payload"]["n"] == n);
    outcome.check(is_ordered, "each, in its place");
}

#[test]
fn messages_before_a_loss_are_printed() {
    let message = |n| Message::new("/rtcomm/event/registration/started/iggy_pop", event(&json!({ "n": n })));
    let peer = Peer::leaving_after((0..20).map(message).collect());
    let watch = rtcomm("watch --json --no-reconnect --mqtt-version 3.1.1 --broker").arg(peer.url());
    let outcome = watch.run().has_status(5).says("20 messages seen, 20 printed").says("rtcomm: error: lost ");
    let printed: Vec<_> = outcome.json_lines().iter().map(|line| line["payload"]["n"].clone()).collect();
    outcome.check(printed == (0..20).collect::<Vec<_>>(), "each, in order");
}
