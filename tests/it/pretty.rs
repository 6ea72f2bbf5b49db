//! Pretty output: one line for each kind of message, and equal output for recorded and live messages.
//!
//! `INSTA_UPDATE=always cargo test --test it pretty` rewrites the snapshots in `snapshots/`. Review them before you commit.

use std::path::PathBuf;

use unicode_width::UnicodeWidthStr as _;

use crate::support::{Broker, Outcome, Process, Setup, on_every_broker, rtcomm, terminal};

/// Returns a file with messages of every kind, in the format of `--json`.
pub(crate) fn recorded() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/recorded.jsonl")
}

fn shown(flags: &str) -> Outcome {
    let outcome = rtcomm(&format!("tail {flags}")).arg(recorded()).run().has_status(0);
    outcome.check(outcome.stderr.is_empty(), "no messages about valid input");
    outcome
}

#[test]
fn every_kind_of_message_has_its_line() {
    insta::assert_snapshot!(shown("").stdout);
}

#[test]
fn on_a_terminal_lines_fit() {
    for columns in [40, 80, 120] {
        let outcome = terminal(columns, &format!("rtcomm tail --color never {}", recorded().display())).run();
        let shown = outcome.has_status(0).stdout.replace('\r', "");
        assert!(shown.lines().all(|line| line.width() <= columns), "{columns} columns\n{shown}");
        insta::assert_snapshot!(format!("on_a_terminal_of_{columns}_columns"), shown);
    }
}

#[test]
fn each_event_of_the_demo_fits_a_line_of_a_terminal() {
    const EVENTS: usize = 200;
    for columns in [40, 80] {
        let demo = format!("rtcomm demo --listen 127.0.0.1:0 --seed 7 --interval 2ms -c {EVENTS} --color never");
        let outcome = terminal(columns, &demo).run().has_status(0);
        let lines: Vec<&str> = outcome.stdout.lines().filter(|line| line.get(2..3) == Some(":")).collect();
        outcome.check(lines.len() == EVENTS, "a line for each event");
        outcome.check(lines.iter().all(|line| line.width() <= columns), "no line is too long");
        let before = outcome.stdout.lines().take_while(|line| line.get(2..3) != Some(":"));
        outcome.check(before.clone().all(|line| line.width() <= columns), "nor one of the demo's own");
        outcome.check(before.count() > 3, "how to call");
    }
}

#[test]
fn a_result_and_an_error_are_colored_on_a_terminal() {
    let broker = Broker::demo();
    let shown = |line: &str| terminal(80, line).at(&broker).run().stdout;
    let placed = shown("rtcomm call iggy_pop david_bowie");
    assert!(placed.contains("iggy_pop → david_bowie: \u{1b}[32mplaced\u{1b}[0m ("), "{placed:?}");
    let failed = shown("rtcomm call nobody iggy_pop");
    assert!(failed.contains("\u{1b}[31mfailed\u{1b}[0m: nobody is not registered"), "{failed:?}");
    for line in ["rtcomm watch --broker mqtt://127.0.0.1:1", "rtcomm watch --frm x"] {
        assert!(shown(line).contains("rtcomm: \u{1b}[1;31merror:\u{1b}[0m "), "{line}");
        for colorless in
            [format!("{line} --color never"), format!("NO_COLOR=1 {line}"), format!("RTCOMM_COLOR=never {line}")]
        {
            assert!(shown(&colorless).contains("rtcomm: error: "), "{colorless}");
        }
    }
    rtcomm("watch --frm x --color always").run().has_status(2).says("rtcomm: \u{1b}[1;31merror:\u{1b}[0m ");
    rtcomm("watch --frm x").run().has_status(2).says("rtcomm: error: ");
}

#[test]
fn colors_depend_on_the_action() {
    insta::assert_snapshot!(shown("--color=always").stdout.replace('\u{1b}', "␛"));
}

#[test]
fn color_changes_only_color() {
    let colored = shown("--color=always").stdout;
    let mut plain = String::new();
    let mut pieces = colored.split('\u{1b}');
    plain.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        plain.push_str(piece.split_once('m').expect("a color ends with m").1);
    }
    shown("").prints(&plain);
    for colorless in ["--color=never", "--color=auto", "--json --color=always"] {
        let outcome = shown(colorless);
        outcome.check(!outcome.stdout.contains('\u{1b}'), "no color");
    }
    let outcome = rtcomm("tail").arg(recorded()).env("RTCOMM_COLOR", "always").env("NO_COLOR", "1").run();
    outcome.has_status(0).prints(&colored);
}

#[test]
fn times_are_in_the_local_time_zone() {
    let outcome = rtcomm("tail -n 1").arg(recorded()).env("TZ", "XYZ-03:30").run().has_status(0);
    outcome.check(outcome.stdout.starts_with("2026-11-23 07:05:02.500  "), "three and a half hours later");
}

/// Topics below the root `law`, and payloads: events, malformed events, and other messages.
const MESSAGES: [(&str, &[u8]); 14] = [
    (
        "event/session/failed/iggy_pop/david_bowie",
        br#"{"method":"RTCOMM_EVENT_FIRED","appContext":"XYZ","reason":"caf\u00e9 \n busy","n":1.0e400}"#,
    ),
    ("event/registration/started/Danko Jones", br#"{ "method":"RTCOMM_EVENT_FIRED", "regTopic":"/rtcomm/1" }"#),
    ("event/session/started/a/b", b"{\n\"method\":\"RTCOMM_EVENT_FIRED\",\r\n\"sigSessID\":100}\n"),
    ("event/session/started/a/b/c", br#"{"method":"RTCOMM_EVENT_FIRED"}"#),
    ("event/session/start/a/b", b"start"),
    ("event/session/started/a/b", b"{\n\"method\": 1}\n"),
    ("event/session/started/a/b", b"\xff\xfe"),
    ("event/session/started/a/b", b""),
    ("callControl", br#"{"method":"3PCC_PLACE_CALL","transID":1,"callerEndpoint":"a","calleeEndpoint":"b"}"#),
    ("reply/1", br#"{"method":"RESPONSE","orig":"3PCC_PLACE_CALL","transID":1,"result":"FAILURE","reason":"no"}"#),
    ("sphere/a", b""),
    ("x", b"{\r\n  \"a\": \"b\"\r\n}"),
    ("x", "\u{1b}[31m \u{202e}\n".as_bytes()),
    ("last", b"7"),
];

/// Returns the lines without their times, which differ between two runs.
fn timeless(text: &str) -> Vec<&str> {
    const TIME: usize = "2026-11-23 03:34:12.798".len();
    text.lines().map(|line| line.get(TIME..).unwrap_or(line)).collect()
}

fn recorded_and_live_output_are_equal(setup: &Setup) {
    for (command, count) in [("watch", 3), ("tail", MESSAGES.len())] {
        let start = |flags: &str| setup.rtcomm(&format!("{command} {flags} --root law")).start();
        let [json, pretty] = [start("--json"), start("")].map(Process::until_ready);
        let mut client = setup.broker.client();
        for (topic, payload) in MESSAGES {
            client.publish(&format!("law/{topic}"), payload);
        }
        json.wait_for_lines(count);
        pretty.wait_for_lines(count);
        let [json, pretty] = [json, pretty].map(Process::terminate);
        json.check(json.stdout.lines().count() == count, &format!("{count} lines"));

        rtcomm("tail - --json").stdin(&json.stdout).run().has_status(0).prints(&json.stdout);
        let again = rtcomm("tail - --root law").stdin(&json.stdout).run().has_status(0);
        again.check(
            timeless(&again.stdout) == timeless(&pretty.stdout),
            &format!("but for the time\n{}", pretty.stdout),
        );
        again.check(again.stderr.is_empty(), "no error");
    }
}
on_every_broker!(recorded_and_live_output_are_equal);
