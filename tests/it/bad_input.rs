//! Usage errors: each has its status, one error line and one hint line, and prints nothing on standard output.

use std::os::unix::fs::PermissionsExt as _;

use tempfile::TempDir;

use crate::support::broker::{free_port, password_file};
use crate::support::mqtt::{CONNECT, DISCONNECT, Packet, SUBSCRIBE};
use crate::support::peer::{Peer, Script, ToVersion5};
use crate::support::{Broker, Outcome, Rtcomm, rtcomm};

/// Checks that the run ended with the status and short messages.
#[track_caller]
fn refused(run: Rtcomm, status: i32, words: &[&str]) -> Outcome {
    let mut outcome = run.run().has_status(status).prints("");
    let lines: Vec<&str> = outcome.stderr.lines().filter(|line| !line.trim().is_empty()).collect();
    outcome.check((1..=3).contains(&lines.len()), "one or two lines, and perhaps a hint");
    outcome.check(lines[0].contains("error: "), "an error");
    for word in words {
        outcome = outcome.says(word);
    }
    for word in ["panicked", "backtrace", "RUST_BACKTRACE", "src/"] {
        outcome = outcome.never_says(word);
    }
    outcome
}

#[test]
fn an_endpoint_id_must_be_one_topic_level() {
    for (id, why) in [("a/b", "'/'"), ("a+b", "'+'"), ("#", "'#'"), ("", "empty"), ("/", "'/'")] {
        for flag in ["--from", "--to", "--endpoint"] {
            refused(rtcomm("watch").arg(flag).arg(id), 2, &[why, flag]);
            refused(rtcomm("tail").arg(flag).arg(id), 2, &[why, flag]);
        }
        refused(rtcomm("call").arg(id).arg("b"), 2, &[why, "CALLER"]);
        refused(rtcomm("call").arg("a").arg(id), 2, &[why, "CALLEE"]);
        refused(rtcomm("call a b --as").arg(id), 2, &[why, "--as"]);
    }
}

#[test]
fn to_conflicts_with_registrations() {
    refused(rtcomm("watch --registration --to iggy_pop"), 2, &["--to", "--registration", "--from"]);
    refused(rtcomm("tail --registration --to iggy_pop"), 2, &["--to", "--registration"]);
    refused(rtcomm("watch --from a --to b --endpoint c"), 2, &["--endpoint"]);
}

#[test]
fn the_error_of_an_invalid_topic_filter_suggests_a_valid_one() {
    for (filter, legal) in [
        ("/rtcomm/event/registration/#/mick_jagger", "/rtcomm/event/registration/+/mick_jagger/#"),
        ("a/b#", "a/b/#"),
        ("a/b+/c", "a/+/c"),
        ("", "empty"),
        ("$share/group", "$share/GROUP/FILTER"),
    ] {
        refused(rtcomm("tail --topic").arg(filter), 2, &[legal, "--topic"]);
    }
}

#[test]
fn a_topic_name_must_not_have_a_wildcard() {
    for flag in ["--root", "--event-root", "--call-topic", "--reply-prefix"] {
        for topic in ["a/#", "+/b", ""] {
            refused(rtcomm("call a b --dry-run").arg(flag).arg(topic), 2, &[flag]);
        }
    }
}

#[test]
fn an_invalid_duration_is_a_usage_error() {
    for duration in ["0s", "0", "-5s", "5", "soon", "", "1e9", "99999999999999999999s", "300000000000y", "11y", "1M"] {
        refused(rtcomm("watch --for").arg(duration), 2, &["--for"]);
        refused(rtcomm("call a b --timeout").arg(duration), 2, &["--timeout"]);
        refused(rtcomm("watch --connect-timeout").arg(duration), 2, &["--connect-timeout"]);
        refused(rtcomm("watch --keepalive").arg(duration), 2, &["--keepalive"]);
        refused(rtcomm("demo --listen 127.0.0.1:0 --interval").arg(duration), 2, &["--interval"]);
    }
    refused(rtcomm("watch --durable a --durable-expiry 500ms"), 2, &["--durable-expiry", "whole seconds"]);
    refused(rtcomm("demo --listen 127.0.0.1:0 --calls delay=soon"), 2, &["--calls"]);
    refused(rtcomm("demo --listen 127.0.0.1:0 --calls never"), 2, &["--calls", "answer", "delay=2s"]);
}

#[test]
fn an_invalid_number_is_a_usage_error() {
    for count in ["0", "-1", "many", "99999999999999999999"] {
        refused(rtcomm("watch --count").arg(count), 2, &["--count"]);
    }
}

#[test]
fn an_invalid_session_id_is_a_usage_error() {
    for id in ["100", "", "6a1", "busy", "6a1f-9f3e"] {
        refused(rtcomm("call a b --session-id").arg(id), 2, &["--session-id"]);
        refused(rtcomm("watch --session-id").arg(id), 2, &["--session-id", "first 4 hexadecimal digits"]);
    }
    refused(rtcomm("call a b --session-id 6a1f9f3e-2d0b-4c35-8a53"), 2, &["--session-id"]);
}

#[test]
fn an_invalid_regular_expression_is_a_usage_error() {
    let outcome = rtcomm("watch --reason").arg("(busy").run().has_status(2).prints("");
    outcome.says("--reason").says("(busy").never_says("panicked");
}

#[test]
fn an_invalid_broker_url_is_a_usage_error() {
    const ANY: &str = "mqtt://HOST:1883";
    for (url, hint) in [
        ("http://localhost", "did you mean ws://localhost?"),
        ("localhost:1883", "did you mean mqtt://localhost:1883?"),
        ("ftp://localhost", ANY),
        ("mqtt://", ANY),
        ("mqtt://:1883", ANY),
        ("mqtt://h:0", ANY),
        ("mqtt://h:99999", ANY),
        ("", ANY),
    ] {
        refused(rtcomm("watch --broker").arg(url), 2, &[hint]);
        refused(rtcomm("call a b").env("RTCOMM_BROKER", url), 2, &[hint]);
    }
}

#[test]
fn a_password_on_the_command_line_is_refused_and_not_repeated() {
    for url in ["mqtt://user:hunter2@localhost", "http://user:hunter2@localhost", "user:hunter2@localhost"] {
        for command in ["watch", "call a b", "tail", "watch --dry-run"] {
            refused(rtcomm(command).arg("--broker").arg(url), 2, &["--password-file"]).never_says("hunter2");
            refused(rtcomm(command).env("RTCOMM_BROKER", url), 2, &["--password-file"]).never_says("hunter2");
        }
    }
}

#[test]
fn output_must_be_the_name_of_a_file() {
    refused(rtcomm("watch --output -"), 2, &["--output", "standard output"]);
    refused(rtcomm("watch --output").arg(""), 2, &["--output"]);
}

#[test]
fn a_missing_file_is_named_with_its_flag() {
    refused(rtcomm("watch -u me --password-file /no/such/file"), 2, &["/no/such/file", "--password-file"]);
    refused(rtcomm("watch -b mqtts://localhost --cafile /no/such/file"), 2, &["/no/such/file", "--cafile"]);
    refused(rtcomm("watch --cafile /no/such/file"), 2, &["--cafile", "mqtts://"]);
}

#[test]
fn a_password_needs_a_private_file_and_a_user() {
    let dir = TempDir::new().expect("a temporary directory");
    let file = dir.path().join("password");
    std::fs::write(&file, "hunter2\n").expect("it can be written");
    let open = rtcomm("watch -u me --password-file").arg(&file);
    let mode = |mode| std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).expect("it is ours");
    mode(0o644);
    refused(open, 2, &["chmod 600", "--password-file"]).never_says("hunter2");
    mode(0o600);
    let old = "watch --mqtt-version 3.1.1";
    refused(rtcomm(old).arg("--password-file").arg(&file), 2, &["--username"]).never_says("hunter2");
    refused(rtcomm(old).env("RTCOMM_PASSWORD", "hunter2"), 2, &["--username"]).never_says("hunter2");
}

#[test]
fn a_port_without_a_broker_exits_with_5() {
    let url = format!("mqtt://127.0.0.1:{}", free_port());
    for command in ["watch", "tail", "call a b"] {
        refused(rtcomm(command).arg("--broker").arg(&url), 5, &[&url, "refused", "hint: "]);
    }
    let outcome = rtcomm("call a b --json --broker").arg(&url).run().has_status(5);
    outcome.check(outcome.json_lines()[0]["outcome"] == "unreachable", "the outcome as a line");
}

#[test]
fn an_unknown_host_is_unreachable() {
    for command in ["watch", "call a b"] {
        let command = rtcomm(command).arg("--broker").arg("mqtt://no-such-host.invalid");
        refused(command, 5, &["no-such-host.invalid", "hint: "]);
    }
}

#[test]
fn wrong_credentials_are_refused() {
    let dir = TempDir::new().expect("a temporary directory");
    let users = password_file(dir.path(), "iggy", "right");
    let broker = Broker::mosquitto_with(&format!("allow_anonymous false\npassword_file {}\n", users.display()));
    for version in ["auto", "5", "3.1.1"] {
        for command in ["watch", "call a b"] {
            let run = || rtcomm(command).at(&broker).arg("--mqtt-version").arg(version);
            let wrong = run().arg("-u").arg("iggy").env("RTCOMM_PASSWORD", "hunter2");
            refused(wrong, 4, &["iggy", "--password-file"]).never_says("hunter2");
            refused(run(), 4, &["--username"]);
        }
        let watch = rtcomm("watch -u iggy").at(&broker).env("RTCOMM_PASSWORD", "right");
        watch.arg("--mqtt-version").arg(version).start().until_ready();
        let file = dir.path().join("password");
        std::fs::write(&file, "right\n").expect("it can be written");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("it is ours");
        let watch = rtcomm("watch -u iggy --password-file").arg(&file).at(&broker);
        watch.env("RTCOMM_PASSWORD", "wrong").start().until_ready();
        let watch = rtcomm("watch -u iggy --password-file -").at(&broker).stdin("right\nmore\n");
        watch.start().until_ready();
    }
}

#[test]
fn a_refused_subscription_ends_with_a_disconnect() {
    let peer = Peer::broker(Script {
        to_version_5: ToVersion5::ReasonCode,
        granted: Some(0x80),
        to_subscriber: Vec::new(),
        on_publish: None,
        ..Script::default()
    });
    rtcomm("watch --mqtt-version 3.1.1 --broker").arg(peer.url()).run().has_status(4);
    peer.wait_for_packets(3);
    let kinds: Vec<u8> = peer.seen().iter().map(Packet::kind).collect();
    assert_eq!(kinds, [CONNECT, SUBSCRIBE, DISCONNECT]);
}

#[test]
fn an_unknown_or_missing_command_is_a_usage_error() {
    rtcomm("wacth").run().has_status(2).prints("").says("watch");
    rtcomm("").run().has_status(2).prints("").says("Usage");
    rtcomm("watch --json --jsn").run().has_status(2).prints("").says("--json");
}

#[test]
fn help_and_version_go_to_standard_output() {
    for words in ["--help", "--version", "watch --help", "call -h", "tail --help", "demo --help"] {
        let outcome = rtcomm(words).run().has_status(0);
        outcome.check(outcome.stdout.contains("rtcomm") && outcome.stderr.is_empty(), "on standard output alone");
    }
}

#[test]
fn the_trace_of_the_mqtt_library_is_never_printed() {
    let broker = Broker::demo_with("--interval 10ms");
    let watch = rtcomm("watch --json -c 1").at(&broker).env("MQTT_C_CLIENT_TRACE", "ON");
    let outcome = watch.env("MQTT_C_CLIENT_TRACE_LEVEL", "PROTOCOL").run().has_status(0);
    outcome.check(outcome.json_lines().len() == 1, "one line");
}
