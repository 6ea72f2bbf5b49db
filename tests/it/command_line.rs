//! The command line: help, flags before the command's name, and errors about invalid variables.

use crate::support::{Broker, rtcomm, terminal};

const COMMANDS: [&str; 5] = ["watch", "call", "tail", "check", "demo"];

#[test]
fn short_help_fits_two_screens() {
    for command in COMMANDS {
        let outcome = terminal(80, &format!("rtcomm {command} -h")).run().has_status(0);
        let text = without_styles(&outcome.stdout);
        outcome.check(text.lines().count() <= 48, "at most two screens of 24 lines");
        outcome.check(text.lines().all(|line| line.chars().count() <= 80), "at most 80 columns");
    }
}

#[test]
fn help_begins_with_usage_and_examples_and_ends_with_the_connection() {
    for command in COMMANDS {
        for flag in ["-h", "--help"] {
            let outcome = rtcomm(command).arg(flag).run().has_status(0);
            let position = |heading: &str| outcome.stdout.lines().position(|line| line.starts_with(heading));
            let usage = position("Usage: ");
            let examples = position("Examples:");
            outcome.check(usage.is_some() && usage < examples, "usage, then examples");
            let headings: Vec<&str> =
                outcome.stdout.lines().filter(|line| !line.starts_with(' ') && line.ends_with(':')).collect();
            outcome.check(headings[0] == "Examples:" && headings.last() == Some(&"Connection:"), "the connection last");
            let filters = headings.iter().position(|heading| heading.starts_with("Filters"));
            let is_first = |at: usize| headings[1..at].iter().all(|heading| *heading == "Arguments:");
            outcome.check(filters.is_some_and(is_first) == matches!(command, "watch" | "tail"), "filters first");
        }
    }
}

#[test]
fn long_help_has_every_flag_and_explains_the_environment() {
    for (command, rare) in [("watch", "--fsync"), ("call", "--max-payload"), ("tail", "--key-password-file")] {
        let short = rtcomm(command).arg("-h").run().has_status(0);
        short.check(!short.stdout.contains(rare), "flags of every day");
        let long = rtcomm(command).arg("--help").run().has_status(0);
        long.check(long.stdout.contains(rare) && long.stdout.contains("RTCOMM_BROKER"), "all flags");
    }
}

#[test]
fn flags_of_the_connection_may_stand_before_the_command() {
    let broker = Broker::demo_with("--interval 10ms");
    let url = broker.url();
    for flags in ["-b", "-q -b", "--root /rtcomm -qb"] {
        rtcomm(&format!("{flags} {url} watch -c 1 --for 20s")).run().has_status(0);
        // The endpoints of the first demo are sometimes busy, and so are those of a call.
        let idle = Broker::demo();
        rtcomm(&format!("{flags} {} call iggy_pop david_bowie", idle.url())).run().has_status(0);
    }
    // Flags before and after the name add up: another broker, a repeated flag, a quiet and a verbose run.
    let outcome = rtcomm(&format!("-b mqtt://127.0.0.1:1 watch -b {url} -c 1")).run().has_status(0);
    drop(outcome.says("cannot connect to mqtt://127.0.0.1:1: ").says("trying the next broker"));
    rtcomm("--root /a watch --root /b").run().has_status(2).says("'--root <TOPIC>' cannot be used multiple times");
    rtcomm("-q watch -v").run().has_status(2).says("'--quiet' cannot be used with '--verbose'");
    let outcome = rtcomm("-b mqtt://127.0.0.1:1 watch").env("RTCOMM_BROKER", &url).run().has_status(5);
    outcome.says("mqtt://127.0.0.1:1");
    rtcomm("-b mqtt://h demo").run().has_status(2).says("unexpected argument '-b'");
    rtcomm("-b mqtt://h").run().has_status(2).prints("").says("Commands:");
}

#[test]
fn a_variable_of_a_flag_without_a_value_is_a_yes_or_a_no() {
    for name in ["RTCOMM_QUIET", "RTCOMM_VERBOSE", "RTCOMM_INSECURE"] {
        let outcome = rtcomm("watch --dry-run").env(name, "maybe").run().has_status(2).prints("");
        drop(outcome.says("invalid value 'maybe'").says(name));
        for (value, is_on) in [("1", true), ("Yes", true), ("0", false), ("", false), ("off", false)] {
            let outcome = rtcomm("watch --broker mqtt://127.0.0.1:1").env(name, value).run();
            let is_accepted = outcome.status_code() == Some(5);
            // Without TLS, --insecure is an error.
            outcome.check(is_accepted || (name == "RTCOMM_INSECURE" && is_on), value);
        }
    }
}

#[test]
fn an_invalid_variable_has_one_hint() {
    let outcome = rtcomm("watch").env("RTCOMM_MQTT_VERSION", "5.0").run().has_status(2);
    let hint = "  hint: a similar value exists: '5'; the value comes from the environment variable RTCOMM_MQTT_VERSION";
    outcome.check(outcome.stderr.lines().nth(1) == Some(hint), hint);
}

#[test]
fn a_known_mistake_has_a_hint() {
    for (typed, hint) in [
        ("watch --form iggy_pop", "a similar flag exists: --from"),
        ("watch --regstration", "a similar flag exists: --registration"),
        ("call a b --timout=3s", "a similar flag exists: --timeout"),
        ("tail -5 events.jsonl", "for that number of records, use -n 5"),
        ("tail -120", "for that number of records, use -n 120"),
        ("watch -5", "for that number of records, use -c 5"),
        ("watch iggy_pop", "to select an endpoint, use --endpoint iggy_pop"),
        ("watch failed", "to select it, use --failed"),
        ("watch --summary endpoint", "for a value of --summary, use --summary=endpoint"),
        ("call a b --follow 1m", "for a value of --follow, use --follow=1m"),
        ("watch mqtt://h", "to name the broker, use --broker mqtt://h"),
        ("watch -t /x/#", "for topics, use: rtcomm tail --topic '/x/#'"),
        ("tail -t a", "use --topic a"),
        ("watch -p 1884", "write the port in the broker's URL: -b mqtt://HOST:1884"),
        ("watch -P secret", "give the password with --password-file or RTCOMM_PASSWORD: other users can read flags"),
        (
            "call a b --password secret",
            "give the password with --password-file or RTCOMM_PASSWORD: other users can read flags",
        ),
        ("watch -C 3", "use -c 3"),
        ("watch -W 3", "use --for 3s"),
        ("watch -h localhost -t x", "name the broker with -b mqtt://localhost"),
        ("watch -h localhost -p 8883", "name the broker with -b mqtts://localhost:8883"),
        ("watch --xyzzy", "usage: rtcomm watch [OPTIONS]"),
        ("watch -b localhost", "did you mean mqtt://localhost?"),
        ("watch -b host:1884", "did you mean mqtt://host:1884?"),
        ("watch -b host:8883", "did you mean mqtts://host:8883?"),
        ("watch -b tcp://host", "did you mean mqtt://host?"),
        ("call a b -b ssl://host:8883", "did you mean mqtts://host:8883?"),
        ("tail -b https://host/mqtt", "did you mean wss://host/mqtt?"),
        ("watch -b ssl://host:99999", "write --broker (or RTCOMM_BROKER) as mqtt://HOST:1883 or mqtts://HOST:8883"),
    ] {
        let outcome = rtcomm(typed).run().has_status(2).prints("");
        let expected = format!("  hint: {hint}");
        outcome.check(outcome.stderr.lines().nth(1) == Some(&expected), &expected);
        outcome.check(outcome.stderr.lines().count() == 2 && !outcome.stderr.contains("secret"), "nothing else");
    }
    rtcomm("watch").arg("Danko Jones").run().has_status(2).says("--endpoint 'Danko Jones'");
    rtcomm("watch").env("RTCOMM_BROKER", "localhost").run().has_status(2).says("did you mean mqtt://localhost?");
    // Help of a command, not a host.
    rtcomm("-h watch").run().has_status(0);
    rtcomm("watch -h -q").run().has_status(0);
}

#[test]
fn ready_and_call_name_the_broker() {
    let broker = Broker::demo_with("--interval 10ms");
    let url = broker.url();
    rtcomm("watch -c 1").at(&broker).run().has_status(0).says(&format!("rtcomm: ready at {url}\n"));
    let call = "rtcomm call nobody iggy_pop";
    let outcome = terminal(80, call).at(&broker).run().has_status(3);
    outcome.check(outcome.stdout.contains(&format!("rtcomm: calling at {url}\r\n")), "the broker");
    let quiet = terminal(80, &format!("{call} --quiet")).at(&broker).run().has_status(3);
    quiet.check(!quiet.stdout.contains(&url), "nothing but the result");
    let outcome = rtcomm("call nobody iggy_pop").at(&broker).run().has_status(3);
    outcome.check(outcome.stderr.is_empty(), "nothing in a script");
}

#[test]
fn a_file_that_cannot_be_used_is_wrong_usage_and_its_name_is_quoted() {
    for (flags, said) in [
        ("tail missing", "cannot open 'missing': No such file or directory"),
        ("tail missing/too", "cannot open 'missing/too': No such file or directory"),
        ("tail /", "cannot open '/': is a directory"),
        ("call --batch missing", "cannot open 'missing': No such file or directory"),
        ("call --batch /", "cannot open '/': is a directory"),
        ("watch --password-file missing", "cannot read 'missing' (--password-file): No such file or directory"),
        ("watch --password-file /", "cannot read '/' (--password-file): Is a directory"),
        ("watch -b mqtts://h --cafile missing", "cannot read 'missing' (--cafile): No such file or directory"),
        ("watch -b mqtts://h --cafile /", "cannot read '/' (--cafile): Is a directory"),
        ("watch --output /", "cannot open '/' for appending: Is a directory"),
        ("watch --output missing/file", "cannot open 'missing/file' for appending: No such file or directory"),
        ("tail --output / missing", "cannot open 'missing': No such file or directory"),
    ] {
        rtcomm(flags).run().has_status(2).prints("").says(&format!("rtcomm: error: {said}"));
    }
}

/// Removes the escape sequences of styles.
fn without_styles(text: &str) -> String {
    let mut pieces = text.split('\u{1b}');
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |plain, piece| plain + piece.split_once('m').map_or(piece, |(_, rest)| rest))
}
