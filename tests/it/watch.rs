//! `rtcomm watch`: which events it prints, limits, and messages about other events.

use rustix::process::Signal;
use serde_json::json;

use crate::support::events::{FILTERS, Predicate, check_what_is_printed, event};
use crate::support::mqtt::Message;
use crate::support::peer::Peer;
use crate::support::{Broker, Setup, on_every_broker, rtcomm};

/// The table in section 2 of the protocol: flags, the subscription, and the events that it selects.
const TABLE: [(&str, &str, Predicate); 7] = [
    ("", "/rtcomm/event/#", |_| true),
    ("--registration", "/rtcomm/event/registration/#", |it| it.category == "registration"),
    ("--session", "/rtcomm/event/session/#", |it| it.category == "session"),
    ("--registration --started", "/rtcomm/event/registration/started/#", |it| {
        it.category == "registration" && it.action == "started"
    }),
    ("--registration --started --from iggy_pop", "/rtcomm/event/registration/started/iggy_pop/#", |it| {
        it.category == "registration" && it.action == "started" && it.from == "iggy_pop"
    }),
    ("--session --started --from iggy_pop", "/rtcomm/event/session/started/iggy_pop/#", |it| {
        it.category == "session" && it.action == "started" && it.from == "iggy_pop"
    }),
    ("--session --started --to iggy_pop", "/rtcomm/event/session/started/+/iggy_pop", |it| {
        it.category == "session" && it.action == "started" && it.to == Some("iggy_pop")
    }),
];

#[test]
fn dry_run_prints_each_row_of_the_topic_table() {
    for (flags, filter, _) in TABLE {
        rtcomm(&format!("watch {flags} --dry-run")).run().has_status(0).prints(&format!("{filter}\n"));
    }
}

fn each_row_of_the_topic_table_prints_exactly_its_events(setup: &Setup) {
    let row = |(flags, _, selects): (&str, &str, Predicate)| (setup.rtcomm(&format!("watch --json {flags}")), selects);
    check_what_is_printed(setup, TABLE.map(row).into());
}
on_every_broker!(each_row_of_the_topic_table_prints_exactly_its_events);

fn each_filter_flag_alone_and_combined_prints_exactly_its_events(setup: &Setup) {
    let mut commands: Vec<_> =
        FILTERS.map(|(flags, selects)| (setup.rtcomm(&format!("watch --json {flags}")), selects)).into();
    let spaced = setup.rtcomm("watch --json --endpoint").arg("Danko Jones").arg("--app-context").arg("XYZ video app");
    let live_tail = setup.rtcomm("tail --json --from iggy_pop --to mick_jagger --started --failed");
    commands.push((live_tail, |it| {
        it.from == "iggy_pop" && it.to == Some("mick_jagger") && ["started", "failed"].contains(&it.action)
    }));
    commands.push((spaced, |it| it.is_of("Danko Jones") && it.app_context == Some("XYZ video app")));
    check_what_is_printed(setup, commands);
}
on_every_broker!(each_filter_flag_alone_and_combined_prints_exactly_its_events);

#[test]
fn dry_run_prints_the_fewest_filters_one_per_line() {
    for (flags, filters) in [
        ("--started --modified --stopped --failed --registration --session", "/rtcomm/event/#\n"),
        ("--endpoint a", "/rtcomm/event/+/+/a/#\n/rtcomm/event/session/+/+/a\n"),
        ("--endpoint a --registration", "/rtcomm/event/registration/+/a/#\n"),
        ("--from a --from a --to b", "/rtcomm/event/session/+/a/b\n"),
        ("--reason x --app-context y", "/rtcomm/event/#\n"),
        ("--root /other --session", "/other/event/session/#\n"),
        ("--root other/ --session", "other/event/session/#\n"),
        ("--event-root a/b/c --from x", "a/b/c/+/+/x/#\n"),
        ("--from sip:dankojones@xyz.com --session", "/rtcomm/event/session/+/sip:dankojones@xyz.com/#\n"),
    ] {
        rtcomm(&format!("watch {flags} --dry-run")).run().has_status(0).prints(filters);
    }
}

#[test]
fn flags_override_the_environment() {
    let broker = Broker::mosquitto();
    let watch = rtcomm("watch --json -c 1").env("RTCOMM_BROKER", broker.url()).env("RTCOMM_ROOT", "elsewhere");
    let watch = watch.env("RTCOMM_MQTT_VERSION", "3.1.1").arg("-v").start().until_ready();
    broker.client().publish("elsewhere/event/registration/started/iggy_pop", event(&json!({})));
    watch.end().has_status(0).says("with MQTT 3.1.1");
    let both = rtcomm("watch --dry-run --root flag").env("RTCOMM_ROOT", "environment");
    both.run().has_status(0).prints("flag/event/#\n");
}

#[test]
fn the_error_of_an_invalid_environment_value_names_the_variable() {
    for (name, value, flag) in [
        ("RTCOMM_KEEPALIVE", "abc", "--keepalive"),
        ("RTCOMM_COLOR", "pink", "--color"),
        ("RTCOMM_MQTT_VERSION", "4", "--mqtt-version"),
        ("RTCOMM_ROOT", "a/#", "--root"),
    ] {
        let hint = format!("the value comes from the environment variable {name}");
        for command in ["watch", "call a b", "tail"] {
            rtcomm(command).env(name, value).run().has_status(2).prints("").says(&hint);
            let typed = rtcomm(command).env(name, value).arg(flag).arg(value).run();
            typed.has_status(2).prints("").never_says("environment variable");
        }
    }
}

#[test]
fn a_flag_overrides_a_conflicting_environment_variable() {
    let broker = Broker::mosquitto();
    let event = Message::new("/rtcomm/event/registration/started/iggy_pop", event(&json!({})));
    broker.client().send_message(&event.retained());
    let watch = |words: &str| rtcomm(&format!("watch -c 1 {words}")).at(&broker);
    watch("-v").env("RTCOMM_QUIET", "1").run().has_status(0).says("connected to ");
    watch("-q").env("RTCOMM_VERBOSE", "1").run().has_status(0).never_says("ready");
    watch("-q").env("RTCOMM_VERBOSE", "0").run().has_status(0).never_says("ready");
    let peer = Peer::silent();
    let watch = rtcomm("watch --durable typed --connect-timeout 1s --broker").arg(peer.url());
    watch.env("RTCOMM_CLIENT_ID", "environment").run().has_status(5);
    assert!(peer.seen()[0].body.ends_with(b"\0\x05typed"), "{:?}", peer.seen());
    for both in ["-q -v", "--durable a --client-id b", "--durable-delete a --client-id b"] {
        rtcomm(&format!("watch {both}")).run().has_status(2).prints("").says("cannot be used with");
    }
    rtcomm("-q watch -v").run().has_status(2).prints("").says("cannot be used with");
    rtcomm("tail --qos 1 --fsync --output o recorded")
        .run()
        .has_status(2)
        .says("'[FILE]' cannot be used with '--qos'\n");
}

fn a_root_of_any_depth_is_watched(setup: &Setup) {
    for root in ["/rtcomm/event", "a", "a/b/c/d", "/"] {
        let watch = setup.rtcomm("watch --json -c 1 --event-root").arg(root).start().until_ready();
        let topic = format!("{}/session/failed/iggy_pop/mick_jagger", root.trim_end_matches('/'));
        setup.broker.client().publish(&topic, event(&json!({ "reason": "busy" })));
        let outcome = watch.end().has_status(0);
        let line = &outcome.json_lines()[0];
        outcome.check(line["topic"] == topic && line["to"] == "mick_jagger", "the event of that topic");
    }
}
on_every_broker!(a_root_of_any_depth_is_watched);

/// Messages below the event root that are not events, and the expected words.
const UNDECODABLE: [(&str, &[u8], &str); 8] = [
    ("session/start/a/b", br#"{"method":"RTCOMM_EVENT_FIRED"}"#, r#"unknown action "start""#),
    ("session/started/a/b", b"start", "payload is not JSON"),
    ("session/started/a/b", b"", "payload is empty"),
    ("session/started/a/b", b"[1]", "payload is JSON but not an object"),
    ("session/started/a/b", br#"{"method":"REFER"}"#, r#"method is "REFER""#),
    ("session/started/a/b", br#"{"a":1}"#, "payload has no method"),
    ("session/started/a/b", b"\xff\xfe\x00", "payload is not UTF-8"),
    ("session/started/a", br#"{"method":"RTCOMM_EVENT_FIRED"}"#, "session topic has no TO endpoint"),
];

/// `ROOT/#` also matches `ROOT` [MQTT-4.7.1-2].
fn a_message_on_the_event_root_itself_is_not_an_event(setup: &Setup) {
    let watch = setup.rtcomm("watch --json").start().until_ready();
    setup.broker.client().publish("/rtcomm/event", "hello");
    let said = "skipped a message on '/rtcomm/event': its topic is not below the event root";
    watch.wait_for_stderr("a word on it", |text| text.contains(said));
    watch.terminate().prints("").says("1 message seen, 0 printed, 1 skipped as undecodable, in ");
}
on_every_broker!(a_message_on_the_event_root_itself_is_not_an_event);

fn an_undecodable_message_is_reported_and_counted_and_never_ends_the_stream(setup: &Setup) {
    let watch = setup.rtcomm("watch --json").start().until_ready();
    let tail = setup.rtcomm("tail --json").arg("--topic").arg("/rtcomm/event/#").start().until_ready();
    let mut client = setup.broker.client();
    for (topic, payload, _) in UNDECODABLE {
        client.publish(&format!("/rtcomm/event/{topic}"), payload);
    }
    client.publish("/rtcomm/event/registration/started/iggy_pop", event(&json!({ "more": [1, 2] })));

    watch.wait_for_lines(1);
    let watched = watch.terminate().says("9 messages seen, 1 printed, 8 skipped as undecodable, in ");
    watched.check(watched.json_lines()[0]["from"] == "iggy_pop", "the event alone on standard output");
    for (topic, _, why) in UNDECODABLE {
        let reported = |line: &str| line.contains(why) && line.contains(&format!("'/rtcomm/event/{topic}': "));
        watched.check(watched.stderr.lines().any(reported), &format!("a word on {topic}: {why}"));
    }

    tail.wait_for_lines(UNDECODABLE.len() + 1);
    let tailed = tail.terminate();
    let lines = tailed.json_lines();
    for (line, (topic, payload, why)) in lines.iter().zip(UNDECODABLE) {
        let error = line["error"].as_str().unwrap_or_default();
        tailed.check(error.contains(why), &format!("an error on {topic}: {why}"));
        tailed.check(line.get("category").is_none() && line.get("from").is_none(), "no part of an event");
        let form = match payload {
            [b'{' | b'[', ..] => "payload",
            [0xff, ..] => "payload_base64",
            _ => "payload_text",
        };
        tailed.check(line.get(form).is_some(), &format!("{topic} with its {form}"));
    }
    tailed.check(lines[6]["payload_base64"] == "//4A", "the bytes in base64");
}
on_every_broker!(an_undecodable_message_is_reported_and_counted_and_never_ends_the_stream);

fn tail_with_filters_prints_only_matching_events(setup: &Setup) {
    let tail = setup.rtcomm("tail --json --failed --app-context green").arg("--topic").arg("#").start().until_ready();
    let mut client = setup.broker.client();
    for (topic, payload) in [
        ("/elsewhere", json!(1)),
        ("/rtcomm/event/session/started/a/b", json!({ "method": "RTCOMM_EVENT_FIRED", "appContext": "green" })),
        ("/rtcomm/event/session/failed/a/b", json!({ "method": "RTCOMM_EVENT_FIRED", "appContext": "red" })),
        ("/rtcomm/event/session/failed/a/b", json!({ "method": "REFER", "appContext": "green" })),
        ("/rtcomm/event/session/failed/a", json!({ "method": "RTCOMM_EVENT_FIRED", "appContext": "green" })),
        ("/rtcomm/event/registration/failed/a", json!({ "method": "RTCOMM_EVENT_FIRED", "appContext": "green" })),
    ] {
        client.publish(topic, payload.to_string());
    }
    tail.wait_for_lines(1);
    let tailed = tail.terminate().says("6 messages seen, 1 printed, in ");
    tailed.check(tailed.json_lines()[0]["category"] == "registration", "the event that passes");
}
on_every_broker!(tail_with_filters_prints_only_matching_events);

fn count_ends_the_run_after_n_printed_events(setup: &Setup) {
    let watch = setup.rtcomm("watch --json --count 3 --from iggy_pop").start().until_ready();
    let mut client = setup.broker.client();
    for n in 1..=9 {
        client.publish("/rtcomm/event/registration/modified/other", event(&json!({ "n": n })));
        client.publish("/rtcomm/event/registration/modified/iggy_pop", event(&json!({ "n": n })));
    }
    let outcome = watch.end().has_status(0).says("3 messages seen, 3 printed, in ");
    let printed: Vec<_> = outcome.json_lines().iter().map(|line| line["payload"]["n"].clone()).collect();
    outcome.check(printed == [1, 2, 3], "the first three");
}
on_every_broker!(count_ends_the_run_after_n_printed_events);

#[test]
fn limits_have_their_exit_statuses() {
    let broker = Broker::mosquitto();
    for (flags, status) in [
        ("--for 1s", 0),
        ("--for 1s --count 5", 124),
        ("--for 1s --fail-empty", 7),
        ("--for 1s --count 5 --fail-empty", 7),
    ] {
        let outcome = rtcomm(&format!("watch {flags}")).at(&broker).run();
        outcome.has_status(status).prints("").says("0 messages seen, 0 printed, in ");
    }
    let event = Message::new("/rtcomm/event/registration/started/iggy_pop", event(&json!({})));
    broker.client().send_message(&event.retained());
    let windows = [
        ("--for 3s --fail-empty", 0),
        ("--for 3s --count 2 --fail-empty", 124),
        ("--for 1h --count 1 --fail-empty", 0),
    ];
    let watches = windows.map(|(flags, status)| (rtcomm(&format!("watch {flags}")).at(&broker).start(), status));
    for (watch, status) in watches {
        let outcome = watch.end().has_status(status);
        outcome.check(outcome.stdout.lines().count() == 1, "the one event that there is");
    }
}

#[test]
fn a_signal_ends_watch_with_its_status_and_a_summary() {
    let broker = Broker::mosquitto();
    for (signal, status) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let watch = rtcomm("watch --json").at(&broker).start().until_ready();
        broker.client().publish("/rtcomm/event/registration/started/iggy_pop", event(&json!({})));
        watch.wait_for_lines(1);
        watch.signal(signal);
        watch.end().has_status(status).says("1 message seen, 1 printed, in ");
    }
}

#[test]
fn quiet_prints_only_warnings_and_errors() {
    let broker = Broker::mosquitto();
    let outcome = rtcomm("watch --quiet --for 1s").at(&broker).run().has_status(0);
    outcome.check(outcome.stderr.is_empty(), "nothing on standard error");
    rtcomm("watch --verbose").at(&broker).start().until_ready().terminate().says("with MQTT 5");
}
