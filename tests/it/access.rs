//! Denied subscriptions and publications are reported, and the grants in docs/access-lists.md are sufficient and minimal.

use serde_json::json;
use tempfile::TempDir;

use crate::support::broker::password_file;
use crate::support::client::Client;
use crate::support::events::event;
use crate::support::guarded::Guarded;
use crate::support::mqtt::Message;
use crate::support::service;
use crate::support::{Broker, Outcome, rtcomm};

const VERSIONS: [&str; 2] = ["5", "3.1.1"];

/// Full access to all topics, except the broker's own.
const ALL: [(&str, &str); 2] = [("subscribePattern", "#"), ("publishClientSend", "#")];

const STARTED: &str = "/rtcomm/event/session/started/iggy_pop/david_bowie";

#[test]
fn a_refused_subscription_is_named_even_if_others_are_granted() {
    let guarded = Guarded::new();
    guarded.grant("service", &ALL);
    guarded.grant("ops", &[("subscribePattern", "/rtcomm/event/session/started/#")]);
    for version in VERSIONS {
        for words in ["watch --session --started --failed", "tail --topic /rtcomm/event/session/started/# --topic x"] {
            let run = |flags: &str| guarded.rtcomm("ops", version, &format!("{words} {flags}"));
            let denied = if words.starts_with("tail") { "'x'" } else { "'/rtcomm/event/session/failed/#'" };
            let outcome = run("").run().has_status(4).prints("");
            let outcome = outcome.says(denied).says("--allow-partial").never_says("ready");
            outcome.check(
                !outcome.stderr.contains("'/rtcomm/event/session/started/#'"),
                "granted filters are not reported",
            );

            let process = run("--allow-partial --json -c 1").start().until_ready();
            guarded.client("service").publish(STARTED, event(&json!({})));
            let outcome = process.end().has_status(0);
            outcome.check(outcome.json_lines()[0]["topic"] == STARTED, "events of granted filters arrive");
            let outcome = outcome
                .says(&format!("refuses the subscription to {denied} ("))
                .says("messages that match only this filter are missing");
            outcome.check(outcome.stderr.matches("are missing").count() == 1, "one filter is missing");
        }
        // A grant of no filter is not a partial grant.
        let outcome = guarded.rtcomm("ops", version, "watch --failed --allow-partial").run().has_status(4).prints("");
        outcome.says("/failed/#'").never_says("ready");
    }
}

#[test]
fn several_refused_subscriptions_are_all_named() {
    let guarded = Guarded::new();
    guarded.grant("ops", &[]);
    for version in VERSIONS {
        let outcome = guarded.rtcomm("ops", version, "watch --session --started --failed").run().has_status(4);
        outcome
            .says("refuses the subscriptions to '/rtcomm/event/session/started/#', '/rtcomm/event/session/failed/#'");
    }
}

#[test]
fn a_denied_publication_exits_with_4_or_at_the_deadline() {
    let guarded = Guarded::new();
    guarded.grant("ops", &[("subscribePattern", "/rtcomm/reply/#"), ("publishClientSend", "/rtcomm/callControl/iggy")]);
    for (flags, topic) in [("", "/rtcomm/callControl"), ("--as david", "/rtcomm/callControl/david")] {
        let call = |version| guarded.rtcomm("ops", version, &format!("call a b --json --timeout 5s {flags}")).run();
        let outcome = call("5").has_status(4).says(&format!("refuses the publication to '{topic}': "));
        outcome.check(outcome.json_lines()[0]["outcome"] == "denied", "the outcome");
        let outcome = call("3.1.1").has_status(124).says("the broker may have dropped the request");
        outcome.check(outcome.json_lines()[0]["outcome"] == "timeout", "the outcome");
    }
}

/// Returns the block of docs/access-lists.md that begins with the line `first`.
fn block_of_document(first: &str) -> String {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/access-lists.md");
    let document = std::fs::read_to_string(file).expect("it is a file");
    let at = document.find(first).unwrap_or_else(|| panic!("a block begins with `{first}`"));
    let block = &document[at..];
    block[..block.find("```").expect("a block ends")].to_owned()
}

/// The tests of a role: its name, the topic of its service, and the commands that it must permit.
const ROLES: [(&str, &str, &[&str]); 4] = [
    (
        "rtcomm-watch",
        "",
        &[
            "watch",
            "watch --session --to david_bowie",
            "watch --endpoint iggy_pop --started",
            "tail --topic /rtcomm/event/#",
        ],
    ),
    ("rtcomm-call", "/rtcomm/callControl", &["call a b --timeout 4s"]),
    ("rtcomm-call-as-iggy_pop", "/rtcomm/callControl/iggy_pop", &["call a b --as iggy_pop --timeout 4s"]),
    ("rtcomm-tail", "", &["tail"]),
];

/// Runs the commands of a role as a user with only that role, and expects success.
fn check_that_it_works(guarded: &Guarded, (role, topic, commands): (&str, &str, &[&str]), version: &str) {
    for command in commands {
        if topic.is_empty() {
            let process = guarded.rtcomm(role, version, &format!("{command} --json -c 1")).start().until_ready();
            guarded.client("service").publish(STARTED, event(&json!({})));
            process.end().has_status(0);
        } else {
            let service = service::serve(guarded.client("service"), topic, 1);
            guarded.rtcomm(role, version, command).run().has_status(0);
            service.join().expect("the service was asked");
        }
    }
}

#[test]
fn the_dynamic_security_grants_in_readme_are_sufficient_and_minimal() {
    let guarded = Guarded::new();
    guarded.grant("service", &ALL);
    let script = block_of_document("mosquitto_ctrl dynsec createRole rtcomm-watch");
    guarded.administer(&script);
    for role in ROLES {
        let name = role.0;
        guarded.administer(&format!(
            "mosquitto_ctrl dynsec createClient {name}\nmosquitto_ctrl dynsec addClientRole {name} {name}"
        ));
        for version in VERSIONS {
            check_that_it_works(&guarded, role, version);
        }
        let head = format!("mosquitto_ctrl dynsec addRoleACL {name} ");
        let grants: Vec<_> = script.lines().filter_map(|line| line.strip_prefix(&head)).collect();
        assert!(!grants.is_empty(), "{name} is granted something");
        for grant in grants {
            let without = grant.strip_suffix(" allow").expect("a grant allows");
            guarded.administer(&format!("mosquitto_ctrl dynsec removeRoleACL {name} {without}"));
            for command in role.2 {
                let is_publication = grant.starts_with("publishClientSend");
                guarded.rtcomm(name, "5", command).run().has_status(4);
                // With MQTT 3.1.1 the broker does not report a denied publication.
                let status = if is_publication { 124 } else { 4 };
                guarded.rtcomm(name, "3.1.1", command).run().has_status(status);
            }
            guarded.administer(&format!("{head}{grant}"));
        }
        check_that_it_works(&guarded, role, "5");
    }
    // A role does not permit the commands of another role.
    for (user, command) in [
        ("rtcomm-watch", "tail"),
        ("rtcomm-watch", "call a b"),
        ("rtcomm-call", "watch"),
        ("rtcomm-call", "call a b --as iggy_pop"),
        ("rtcomm-call-as-iggy_pop", "call a b"),
        ("rtcomm-call-as-iggy_pop", "call a b --as david_bowie"),
        ("rtcomm-tail", "call a b"),
    ] {
        guarded.rtcomm(user, "5", command).run().has_status(4);
    }
    // A user with two roles.
    for command in ["watch", "call a b"] {
        let role = if command == "call a b" { "/rtcomm/callControl" } else { "" };
        check_that_it_works(&guarded, ("ops", role, &[command]), "5");
    }
}

#[test]
fn the_grants_for_presence_and_checks_are_sufficient_and_minimal() {
    let guarded = Guarded::new();
    guarded.grant("server", &ALL);
    service::answer_queries(guarded.client("server"), service::services("/rtcomm/event", "/rtcomm/callControl"));
    let script = block_of_document("mosquitto_ctrl dynsec createRole rtcomm-presence");
    guarded.administer(&script);
    for (name, command, denied) in [("rtcomm-presence", "watch --presence --now", 4), ("rtcomm-check", "check", 1)] {
        guarded.administer(&format!(
            "mosquitto_ctrl dynsec createClient {name}\nmosquitto_ctrl dynsec addClientRole {name} {name}"
        ));
        let head = format!("mosquitto_ctrl dynsec addRoleACL {name} ");
        let grants: Vec<_> = script.lines().filter_map(|line| line.strip_prefix(&head)).collect();
        for version in VERSIONS {
            guarded.rtcomm(name, version, command).run().has_status(0);
        }
        for grant in grants {
            let without = grant.strip_suffix(" allow").expect("a grant allows");
            guarded.administer(&format!("mosquitto_ctrl dynsec removeRoleACL {name} {without}"));
            guarded.rtcomm(name, "5", command).run().has_status(denied);
            guarded.administer(&format!("{head}{grant}"));
        }
        guarded.rtcomm(name, "5", command).run().has_status(0);
    }
}

/// Starts mosquitto with an access list. A user's password is the user's name.
fn listed(dir: &TempDir, list: &str, users: &[&str]) -> Broker {
    let file = dir.path().join("access");
    std::fs::write(&file, format!("{list}\nuser service\ntopic readwrite #\n")).expect("it can be written");
    let passwords = password_file(dir.path(), "service", "service");
    for user in users {
        password_file(dir.path(), user, user);
    }
    Broker::mosquitto_with(&format!(
        "allow_anonymous false\nacl_file {}\npassword_file {}\n",
        file.display(),
        passwords.display()
    ))
}

/// Runs `rtcomm` as this user.
fn at(broker: &Broker, user: &str, version: &str, words: &str) -> Outcome {
    let run = rtcomm(words).at(broker).env("RTCOMM_MQTT_VERSION", version);
    run.env("RTCOMM_USERNAME", user).env("RTCOMM_PASSWORD", user).run()
}

#[test]
fn the_access_list_in_readme_is_sufficient_and_minimal() {
    let dir = TempDir::new().expect("a temporary directory");
    let list = block_of_document("user watcher\n");
    let users: Vec<&str> = list.lines().filter_map(|line| line.strip_prefix("user ")).collect();
    let event = Message::new(STARTED, event(&json!({}))).retained();
    let started = |list: &str| {
        let broker = listed(&dir, list, &users);
        let mut client = Client::connect_with_password(broker.port(), "service", "service");
        client.send_message(&event);
        (broker, client)
    };
    let calls = [
        ("caller", "call a b", "/rtcomm/callControl"),
        ("iggy_pop", "call a b --as iggy_pop", "/rtcomm/callControl/iggy_pop"),
    ];
    let (broker, _client) = started(&list);
    for version in VERSIONS {
        for (user, words) in [("watcher", "watch -c 1"), ("tailer", "tail -c 1")] {
            at(&broker, user, version, words).has_status(0);
        }
        for (user, words, topic) in calls {
            let service = service::serve(Client::connect_with_password(broker.port(), "service", "service"), topic, 1);
            at(&broker, user, version, words).has_status(0);
            service.join().expect("the service was asked");
        }
    }
    at(&broker, "caller", "5", "call a b --as iggy_pop").has_status(4);
    at(&broker, "iggy_pop", "5", "call a b").has_status(4);
    at(&broker, "watcher", "5", "call a b").has_status(4);

    for line in list.lines().filter(|line| line.starts_with("topic ")) {
        for user in &users {
            let head = format!("user {user}\n");
            let Some((before, after)) = list.split_once(&head) else { panic!("{user} is in the list") };
            let (own, others) = after.split_once("\n\n").unwrap_or((after, ""));
            if !own.lines().any(|it| it == line) {
                continue;
            }
            let own: Vec<_> = own.lines().filter(|it| *it != line).collect();
            let (broker, _client) = started(&format!("{before}{head}{}\n\n{others}", own.join("\n")));
            match calls.iter().find(|(caller, ..)| caller == user) {
                // mosquitto grants the subscription, but delivers nothing.
                None if *user == "watcher" => {
                    drop(at(&broker, user, "5", "watch --for 2s --fail-empty").has_status(7));
                }
                None => drop(at(&broker, user, "5", "tail --for 2s --fail-empty").has_status(7)),
                Some((_, words, topic)) if line.starts_with("topic write ") => {
                    drop(at(&broker, user, "5", words).has_status(4).says(topic));
                    drop(at(&broker, user, "3.1.1", &format!("{words} --timeout 3s")).has_status(124));
                }
                Some((_, words, topic)) => {
                    let service =
                        service::serve(Client::connect_with_password(broker.port(), "service", "service"), topic, 1);
                    at(&broker, user, "5", &format!("{words} --timeout 3s")).has_status(124);
                    service.join().expect("the service was asked");
                }
            }
        }
    }
}

#[test]
fn a_reply_prefix_separates_callers() {
    let guarded = Guarded::new();
    guarded.grant("service", &ALL);
    guarded
        .grant("iggy", &[("subscribePattern", "/rtcomm/reply/iggy/#"), ("publishClientSend", "/rtcomm/callControl")]);
    let service = service::serve(guarded.client("service"), "/rtcomm/callControl", 1);
    guarded.rtcomm("iggy", "5", "call a b --reply-prefix /rtcomm/reply/iggy").run().has_status(0);
    service.join().expect("the service was asked");
    guarded.rtcomm("iggy", "5", "call a b").run().has_status(4);
    guarded.rtcomm("iggy", "5", "call a b --reply-prefix /rtcomm/reply/david").run().has_status(4);
}
