//! Presence: `watch --presence` with `--now`, `--gone` and `--state`, and presence in `tail`.

use std::io;

use serde_json::Value;

use crate::support::client::Client;
use crate::support::guarded::Guarded;
use crate::support::mqtt::{Message, PINGREQ, PINGRESP, Packet};
use crate::support::peer::{Connection, Peer};
use crate::support::relay::Relay;
use crate::support::{Broker, Outcome, Process, Setup, on_every_broker, rtcomm, shell};

/// Returns a document below the root `r`, with this state and application.
fn document(endpoint: &str, state: &str, app_context: &str) -> Message {
    let payload = format!(
        r#"{{"rtcommVer":"v1.0.0","method":"DOCUMENT","type":"ENDPOINT","fromTopic":null,"addressTopic":"/rtcomm/1","appContext":"{app_context}","state":"{state}","alias":"A","userDefines":[]}}"#
    );
    Message::new(&format!("r/sphere/{endpoint}"), payload).retained()
}

fn removal(endpoint: &str) -> Message {
    Message::new(&format!("r/sphere/{endpoint}"), "").retained()
}

/// Registers two endpoints, one of them twice.
fn register(client: &mut Client) {
    for (endpoint, state, app_context) in
        [("iggy_pop", "available", "x"), ("agents/iggy_pop", "busy", "y"), ("Danko Jones", "busy", "x")]
    {
        client.send_message(&document(endpoint, state, app_context));
    }
}

/// Returns the topics below the sphere with their actions, in the order of the lines.
fn actions(outcome: &Outcome) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let action = |line: &Value| (text(&line["action"]), text(&line["topic"]).replace("r/sphere/", ""));
    outcome.json_lines().iter().map(action).collect()
}

/// Returns the topics of the documents that are present, sorted.
fn present(outcome: &Outcome) -> Vec<String> {
    let mut topics: Vec<String> =
        actions(outcome).into_iter().filter(|(action, _)| action == "present").map(|(_, topic)| topic).collect();
    topics.sort();
    topics
}

fn documents_that_exist_are_printed_first_and_then_changes(setup: &Setup) {
    let mut client = setup.broker.client();
    register(&mut client);
    let start = |flags: &str| setup.rtcomm(&format!("watch --presence --root r {flags}")).start();
    let [json, pretty] = [start("--json"), start("")].map(Process::until_ready);
    json.wait_for_lines(3);
    pretty.wait_for_lines(3);
    client.send_message(&document("iggy_pop", "busy", "x"));
    client.send_message(&removal("agents/iggy_pop"));
    json.wait_for_lines(5);
    pretty.wait_for_lines(5);
    let [json, pretty] = [json, pretty].map(Process::terminate);
    json.check(present(&json) == ["Danko Jones", "agents/iggy_pop", "iggy_pop", "iggy_pop"], "the documents");
    let lines = json.json_lines();
    for (line, is_listed) in lines.iter().zip([true, true, true, false, false]) {
        json.check(line["category"] == "presence" && line["retain"] == is_listed, "first the list, then changes");
    }
    let gone = &lines[4];
    json.check(gone["action"] == "gone" && gone["from"] == "iggy_pop" && gone["payload_text"] == "", "a removal");
    json.check(lines[3]["payload"]["state"] == "busy" && lines[3]["from"] == "iggy_pop", "a change");

    rtcomm("tail - --json").stdin(&json.stdout).run().has_status(0).prints(&json.stdout);
    let again = rtcomm("tail - --root r").stdin(&json.stdout).run().has_status(0);
    let [mut live, mut recorded] = [&pretty, &again].map(|outcome| timeless(&outcome.stdout));
    // Two watchers may get a list in different orders.
    live.sort_unstable();
    recorded.sort_unstable();
    again.check(live == recorded, &format!("but for the time\n{}", pretty.stdout));
    let busy = rtcomm("tail - --json --presence --from iggy_pop --state busy").stdin(&json.stdout).run().has_status(0);
    busy.check(present(&busy) == ["agents/iggy_pop", "iggy_pop"], "the recorded ones that match");
}
on_every_broker!(documents_that_exist_are_printed_first_and_then_changes);

/// Returns the lines without their time.
fn timeless(text: &str) -> Vec<&str> {
    const TIME: usize = "2026-11-23 03:34:12.798".len();
    text.lines().map(|line| line.get(TIME..).unwrap_or(line)).collect()
}

fn now_ends_after_the_documents_that_exist(setup: &Setup) {
    let now = |flags: &str| setup.rtcomm(&format!("watch --presence --now --json --root r {flags}"));
    now("").run().has_status(0).prints("");
    now("--fail-empty").run().has_status(7).prints("");
    let mut client = setup.broker.client();
    register(&mut client);
    for (flags, expected) in [
        ("", &["Danko Jones", "agents/iggy_pop", "iggy_pop"][..]),
        ("--from iggy_pop", &["agents/iggy_pop", "iggy_pop"]),
        ("--endpoint iggy_pop --app-context y", &["agents/iggy_pop"]),
        ("--app-context x --app-context z", &["Danko Jones", "iggy_pop"]),
        ("--state busy", &["Danko Jones", "agents/iggy_pop"]),
        ("--state available --state unavailable", &["iggy_pop"]),
        ("--from iggy_pop --state busy --app-context x", &[]),
    ] {
        let outcome = now(flags).run().has_status(0);
        outcome.check(present(&outcome) == expected, &format!("of the documents {expected:?}"));
    }
    client.send_message(&removal("iggy_pop"));
    let outcome = now("--from iggy_pop").run().has_status(0);
    outcome.check(present(&outcome) == ["agents/iggy_pop"], "the remaining document");
    let outcome = now("-c 1").run().has_status(0);
    outcome.check(outcome.stdout.lines().count() == 1, "the first one");
}
on_every_broker!(now_ends_after_the_documents_that_exist);

fn gone_waits_until_every_document_of_every_endpoint_is_gone(setup: &Setup) {
    let mut client = setup.broker.client();
    register(&mut client);
    let gone = "watch --presence --gone --json --root r --from iggy_pop --from nobody --from iggy_pop";
    let gone = setup.rtcomm(gone).arg("--from").arg("Danko Jones").start();
    gone.wait_for_lines(1);
    client.send_message(&removal("iggy_pop"));
    client.send_message(&removal("Danko Jones"));
    gone.wait_for_lines(2);
    client.send_message(&removal("agents/iggy_pop"));
    let outcome = gone.end().has_status(0);
    let absent: Vec<_> =
        outcome.json_lines().iter().map(|line| (line["status"].clone(), line["from"].clone())).collect();
    let expected = ["nobody", "Danko Jones", "iggy_pop"].map(|from| (Value::from("absent"), Value::from(from)));
    outcome.check(absent == expected, "a record for each, in the order in which they left");
    rtcomm("tail - --json").stdin(&outcome.stdout).run().has_status(0).prints(&outcome.stdout);
    let one = rtcomm("tail - --json --presence --from nobody").stdin(&outcome.stdout).run().has_status(0);
    one.check(one.stdout.lines().count() == 1, "the record of that endpoint");
}
on_every_broker!(gone_waits_until_every_document_of_every_endpoint_is_gone);

#[test]
fn gone_has_the_statuses_of_count() {
    let broker = Broker::mosquitto();
    broker.client().send_message(&document("iggy_pop", "busy", "x"));
    for (flags, status, lines) in [
        ("--from iggy_pop --for 1s", 124, 0),
        ("--from iggy_pop --from nobody --for 1s", 124, 1),
        ("--from iggy_pop --from nobody -c 1", 0, 1),
        ("--from nobody -c 5", 0, 1),
        ("--from iggy_pop --state available", 0, 1),
    ] {
        let gone = rtcomm(&format!("watch --presence --gone --root r {flags}")).at(&broker).run().has_status(status);
        gone.check(gone.stdout.lines().count() == lines, &format!("{lines} lines"));
        gone.check(gone.stdout.lines().all(|line| line.contains("  presence      absent     ")), "absences");
    }
}

fn a_login_is_awaited_and_counts_if_it_has_happened(setup: &Setup) {
    let login = "watch --presence --json --root r --from iggy_pop --state available -c 1 --for 1m";
    let mut client = setup.broker.client();
    client.send_message(&document("iggy_pop", "busy", "x"));
    client.send_message(&document("lemmy", "available", "x"));
    let waiting = setup.rtcomm(login).start().until_ready();
    client.send_message(&document("iggy_pop", "available", "x"));
    for outcome in [waiting.end(), setup.rtcomm(login).run()] {
        let outcome = outcome.has_status(0);
        outcome.check(present(&outcome) == ["iggy_pop"], "the login");
    }
}
on_every_broker!(a_login_is_awaited_and_counts_if_it_has_happened);

/// Sends these as retained messages on a new connection of a client that subscribes.
fn list(connection: &mut Connection, documents: &[Message]) -> io::Result<()> {
    connection.accept_and_grant()?;
    documents.iter().try_for_each(|document| connection.publish(&document.clone().with_qos(0)))
}

/// Returns a broker that lists these to its first client and leaves, and lists others to the next ones.
fn leaving_between(first: Vec<Message>, second: Vec<Message>) -> Peer {
    Peer::start(move |connection| {
        if connection.number > 0 {
            list(connection, &second)?;
            return connection.serve();
        }
        list(connection, &first)?;
        // The answer to the second one ends the list.
        for _ in 0..2 {
            connection.wait_for(PINGREQ)?;
            connection.send(&Packet::new(PINGRESP, []))?;
        }
        Ok(())
    })
}

#[test]
fn after_a_reconnect_only_what_has_changed_is_printed() {
    let first = ["same", "changed", "gone"].map(|id| document(id, "available", "x"));
    let second = [document("same", "available", "x"), document("changed", "busy", "x"), document("new", "busy", "x")];
    let peer = leaving_between(first.into(), second.into());
    let watch = rtcomm("watch --presence --json --root r --broker").arg(peer.url()).start();
    watch.wait_for_lines(6);
    let outcome = watch.terminate();
    let present = |topic: &str| ("present".to_owned(), topic.to_owned());
    let expected = [
        present("same"),
        present("changed"),
        present("gone"),
        present("changed"),
        present("new"),
        ("gone".to_owned(), "gone".to_owned()),
    ];
    outcome.check(actions(&outcome) == expected, "the list, and what has changed");
    let last = &outcome.json_lines()[5];
    outcome.check(last["retain"] == true && last["payload_text"] == "", "a removal that was not received");
    let pretty = rtcomm("tail -").stdin(&outcome.stdout).run().has_status(0);
    pretty.check(pretty.stdout.contains("(while disconnected)"), "how it was noticed");
}

fn a_lost_connection_repeats_nothing_and_misses_nothing(setup: &Setup) {
    let mut client = setup.broker.client();
    register(&mut client);
    let relay = Relay::to(setup.broker.port());
    let watch =
        setup.rtcomm("watch --presence --json --status-events --root r").env("RTCOMM_BROKER", relay.url()).start();
    let is_settled = |count| move |text: &str| text.matches("\"settled\"").count() == count;
    watch.wait_for_stdout("the end of the list", is_settled(1));
    relay.cut();
    client.send_message(&document("Danko Jones", "available", "x"));
    client.send_message(&removal("agents/iggy_pop"));
    watch.wait_for_stdout("the end of the second list", is_settled(2));
    let outcome = watch.terminate();
    let changes: Vec<(String, String)> =
        actions(&outcome).into_iter().filter(|(action, _)| !action.is_empty()).skip(3).collect();
    let is_change = |action: &str, topic: &str| changes.contains(&(action.to_owned(), topic.to_owned()));
    outcome.check(changes.len() == 2, "two changes");
    outcome.check(is_change("present", "Danko Jones") && is_change("gone", "agents/iggy_pop"), "both");
    rtcomm("tail - --json").stdin(&outcome.stdout).run().has_status(0).prints(&outcome.stdout);
}
on_every_broker!(a_lost_connection_repeats_nothing_and_misses_nothing);

#[test]
fn an_endpoint_that_leaves_while_disconnected_is_gone() {
    let peer = leaving_between(vec![document("iggy_pop", "busy", "x")], vec![document("lemmy", "busy", "x")]);
    let gone = rtcomm("watch --presence --gone --json --root r --from iggy_pop --broker").arg(peer.url()).run();
    let gone = gone.has_status(0);
    gone.check(gone.json_lines()[0]["from"] == "iggy_pop", "its absence");
}

#[test]
fn a_list_that_comes_on_the_brokers_own_time_is_complete() {
    let ids = ["a", "b", "c", "d"];
    let peer = Peer::start(move |connection| {
        connection.accept_and_grant()?;
        connection.wait_for(PINGREQ)?;
        connection.send(&Packet::new(PINGRESP, []))?;
        // Each document arrives during a later round trip.
        for id in ids {
            connection.wait_for(PINGREQ)?;
            connection.publish(&document(id, "busy", "x").with_qos(0))?;
            connection.send(&Packet::new(PINGRESP, []))?;
        }
        connection.serve()
    });
    let now = rtcomm("watch --presence --now --json --root r --broker").arg(peer.url()).run().has_status(0);
    now.check(present(&now) == ids, "all documents");
}

#[test]
fn a_broker_that_drops_an_answer_is_asked_again() {
    let peer = Peer::start(|connection| {
        list(connection, &[document("a", "busy", "x")])?;
        connection.wait_for(PINGREQ)?;
        connection.serve()
    });
    let now = rtcomm("watch --presence --now --json --root r --for 20s --broker").arg(peer.url()).run().has_status(0);
    now.check(present(&now) == ["a"], "the list");
}

#[test]
fn live_messages_do_not_prolong_the_list_and_are_not_part_of_it() {
    let peer = Peer::start(|connection| {
        list(connection, &[document("listed", "busy", "x")])?;
        let live = Message { retain: false, ..document("live", "busy", "x").with_qos(0) };
        loop {
            connection.wait_for(PINGREQ)?;
            connection.publish(&live)?;
            connection.send(&Packet::new(PINGRESP, []))?;
            connection.publish(&live)?;
        }
    });
    let now = rtcomm("watch --presence --now --json --root r --broker").arg(peer.url()).run().has_status(0);
    now.check(present(&now) == ["listed"], "the documents of the list");
    now.check(peer.seen_of(PINGREQ).len() == 2, "one round trip, and one after the pause");
}

#[test]
fn the_end_of_the_list_is_a_connection_record() {
    let broker = Broker::mosquitto();
    register(&mut broker.client());
    let now = rtcomm("watch --presence --now --json --status-events --root r").at(&broker).run().has_status(0);
    let mut statuses: Vec<Value> = now.json_lines().iter().map(|line| line["status"].clone()).collect();
    // Documents that are read together with the SUBACK can be printed before the record of it.
    let ready = statuses.iter().position(|status| status == "ready").expect("the subscription is granted");
    statuses[1..=ready].rotate_right(1);
    let null = Value::Null;
    now.check(
        statuses == ["connected".into(), "ready".into(), null.clone(), null.clone(), null, "settled".into()],
        "the order",
    );
    rtcomm("tail - --json").stdin(&now.stdout).run().has_status(0).prints(&now.stdout);
}

#[test]
fn a_list_of_1000_documents_has_a_warning() {
    for (count, is_long) in [(999, false), (1000, true)] {
        let documents: Vec<Message> = (0..count).map(|n| document(&format!("e{n}"), "busy", "x")).collect();
        let peer = Peer::start(move |connection| {
            list(connection, &documents)?;
            connection.serve()
        });
        let now = rtcomm("watch --presence --now --root r --broker").arg(peer.url()).run().has_status(0);
        now.check(now.stdout.lines().count() == count, "every document");
        now.check(now.stderr.contains("documents may be incomplete") == is_long, "a warning from 1000 on");
    }
}

#[test]
fn presence_is_requested_with_qos_0_and_events_with_their_own() {
    let peer = Peer::start(Connection::serve);
    let watch = rtcomm("watch --presence --session --qos 2 --for 1s --root r --broker").arg(peer.url());
    watch.run().has_status(0).never_says("grants QoS");
    let subscribes = peer.subscribes();
    let filters = subscribes.iter().flat_map(|it| &it.filters).map(|it| (it.text.as_str(), it.qos));
    assert_eq!(filters.collect::<Vec<_>>(), [("r/event/session/#", 2), ("r/sphere/#", 0)]);
}

#[test]
fn dry_run_prints_the_subscriptions() {
    for (flags, filters) in [
        ("--presence", "/rtcomm/sphere/#\n"),
        ("--presence --from a --state busy", "/rtcomm/sphere/#\n"),
        ("--presence --now --root x", "x/sphere/#\n"),
        ("--presence --gone --from a", "/rtcomm/sphere/#\n"),
        ("--presence --session --from a", "/rtcomm/event/session/+/a/#\n/rtcomm/sphere/#\n"),
        ("--presence --session --failed", "/rtcomm/event/session/failed/#\n"),
        ("--from a", "/rtcomm/event/+/+/a/#\n"),
    ] {
        rtcomm(&format!("watch {flags} --dry-run")).run().has_status(0).prints(filters);
    }
}

#[test]
fn flags_that_make_no_sense_with_presence_are_usage_errors() {
    for (words, why) in [
        ("watch --now", "--presence"),
        ("watch --gone --from a", "--presence"),
        ("watch --presence --gone", "--from"),
        ("watch --presence --now --gone --from a", "'--now' cannot be used with '--gone'"),
        ("watch --presence --session --now", "'--session' cannot be used with '--now'"),
        ("watch --state busy", "--presence"),
        ("tail x --state busy", "--presence"),
        ("watch --presence --share g", "no retained messages to a group"),
        ("watch --presence --durable d", "a session that it kept"),
        ("tail --presence --share g", "no retained messages to a group"),
        (
            "watch --presence --stopped",
            "--stopped cannot be combined with only --presence: presence documents are present or gone",
        ),
        (
            "watch --presence --to a",
            "--to cannot be combined with only --presence: presence documents have no TO endpoint",
        ),
        ("watch --presence --reason a", "--reason cannot be combined with only --presence"),
        ("tail x --presence --session-id abcd", "--session-id cannot be combined with only --presence"),
        ("watch --presence --session --failed --state busy", "only presence documents have a state"),
        ("watch --presence --from a --endpoint b", "exclude each other"),
        ("watch --presence --cdr", "--cdr cannot be combined with --presence"),
        ("tail x --presence --cdr", "--cdr cannot be combined with --presence"),
    ] {
        rtcomm(words).run().has_status(2).prints("").says(why);
    }
}

#[test]
fn a_message_that_is_not_a_document_is_reported() {
    let broker = Broker::mosquitto();
    let watch = rtcomm("watch --presence --json --root r").at(&broker).start().until_ready();
    let mut client = broker.client();
    for (topic, payload) in
        [("r/sphere/a", "hello"), ("r/sphere/a", r#"{"method":"REFER"}"#), ("r/sphere", "{}"), ("r/sphere/", "")]
    {
        client.publish(topic, payload);
    }
    client.send_message(&document("iggy_pop", "busy", "x"));
    watch.wait_for_lines(1);
    let outcome = watch.terminate().says("5 messages seen, 1 printed, 4 skipped as undecodable");
    outcome
        .says("skipped a message on 'r/sphere/a': payload is not JSON")
        .says(r#"skipped a message on 'r/sphere/a': method is "REFER", not DOCUMENT"#)
        .says("skipped a message on 'r/sphere': topic has no endpoint below the sphere")
        .says("skipped a message on 'r/sphere/': topic has no endpoint below the sphere");
}

#[test]
fn live_tail_prints_presence_with_its_category() {
    let broker = Broker::mosquitto();
    register(&mut broker.client());
    for (flags, count) in [("", 4), ("--presence", 3), ("--presence --from iggy_pop", 2), ("--session", 0)] {
        let tail = rtcomm(&format!("tail --json --root r {flags}")).at(&broker).start().until_ready();
        let mut client = broker.client();
        client.publish("r/x", "other");
        client.publish("r/event/session/failed/a/b", r#"{"method":"RTCOMM_EVENT_FIRED"}"#);
        tail.wait_for_lines(count + usize::from(flags != "--presence" && !flags.contains("from")));
        let outcome = tail.terminate();
        let lines = outcome.json_lines();
        let listed = lines.iter().filter(|line| line["category"] == "presence" && line["retain"] == true).count();
        outcome.check(listed == count.min(3), "the documents that pass");
    }
}

#[test]
fn credentials_are_masked_for_people_and_kept_in_json() {
    let broker = Broker::mosquitto();
    let payload =
        r#"{"method":"DOCUMENT","state":"busy","alias":"turn:me:hunter2@turn.example:3478","addressTopic":"a"}"#;
    let other = r#"{"iceURL":"stun:s:1,turns:me:hunter2@turn.example","x":1}"#;
    let mut client = broker.client();
    client.send_message(&Message::new("r/sphere/a", payload).retained());
    client.send_message(&Message::new("r/x", other).retained());
    client.send_message(&Message::new("r/sphere/b", r#"{"method":"turn:me:hunter2@h"}"#).retained());
    let json = rtcomm("tail --json --root r -c 3").at(&broker).run().has_status(0);
    json.check(json.stdout.contains(payload) && json.stdout.contains(other), "byte for byte");
    let masked = "turn:***:***@turn.example:3478";
    for (words, shown) in [
        ("tail --root r -c 3", "turns:***:***@turn.example"),
        ("tail --root r -c 3", masked),
        ("watch --presence --now --root r", masked),
    ] {
        let outcome = rtcomm(words).at(&broker).run().has_status(0);
        outcome.check(outcome.stdout.contains(shown), shown);
        outcome.check(!outcome.stdout.contains("hunter2") && !outcome.stderr.contains("hunter2"), "no password");
    }
    let recorded = rtcomm("tail -").stdin(&json.stdout).run().has_status(0);
    recorded.check(!recorded.stdout.contains("hunter2"), "no password");
}

#[test]
fn a_terminal_shows_a_table_with_the_number_of_documents() {
    let broker = Broker::mosquitto();
    register(&mut broker.client());
    let table =
        shell("script -qec 'rtcomm watch --presence --now --root r -q' /dev/null").at(&broker).run().has_status(0);
    let lines: Vec<&str> = table.stdout.lines().map(str::trim_end).collect();
    let expected = [
        "ENDPOINT         STATE      APPLICATION  ALIAS  ADDRESS",
        "Danko Jones      busy       x            A      /rtcomm/1",
        "agents/iggy_pop  busy       y            A      /rtcomm/1",
        "iggy_pop         available  x            A      /rtcomm/1",
        "3 registered",
    ];
    table.check(lines == expected, &expected.join("\n"));
}

#[test]
fn a_denied_sphere_exits_with_4() {
    let guarded = Guarded::new();
    guarded.grant("ops", &[("subscribePattern", "r/event/#")]);
    for version in ["5", "3.1.1"] {
        for flags in ["", "--now", "--gone --from a", "--session"] {
            let words = format!("watch --presence --root r {flags}");
            guarded.rtcomm("ops", version, &words).run().has_status(4).prints("").says("'r/sphere/#'");
        }
    }
}

#[test]
fn watching_registrations_in_vain_has_a_hint() {
    const HINT: &str = "try rtcomm watch --presence";
    let broker = Broker::mosquitto();
    let watch = |flags: &str| rtcomm(&format!("watch {flags} --root r")).at(&broker);
    watch("--registration --for 1s").run().has_status(0).says(HINT);
    let hinted = watch("--registration").start();
    hinted.wait_for_stderr("a hint", |text| text.contains(HINT));
    let hinted = hinted.terminate();
    hinted.check(hinted.stderr.matches(HINT).count() == 1, "one hint");
    for flags in ["--session", "", "--presence --registration", "--registration --session", "-q --registration"] {
        watch(&format!("{flags} --for 1s")).run().has_status(0).never_says(HINT);
    }
    let seen = watch("--registration -c 1").start().until_ready();
    broker.client().publish("r/event/registration/started/a", r#"{"method":"RTCOMM_EVENT_FIRED"}"#);
    seen.end().has_status(0).never_says(HINT);
}

#[test]
fn a_deadline_before_the_end_of_the_list_exits_with_124() {
    let peer = Peer::start(|connection| {
        list(connection, &[document("a", "busy", "x")])?;
        connection.read_to_end()
    });
    let now = rtcomm("watch --presence --now --json --root r --for 1s --broker").arg(peer.url()).run().has_status(124);
    now.check(present(&now) == ["a"], "the documents before the deadline");
    now.says("--for ended before all presence documents were listed");
}
