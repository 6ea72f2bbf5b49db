//! Compares the samples of output in README and `docs/` with what the program prints.
//!
//! Records below a prompt must be what `rtcomm tail` prints for `tests/data/samples.jsonl` on a terminal, with the filter flags of
//! the prompt. Results of calls and messages about a run differ in numbers, so these are compared in shape.

use super::readme::{Shown, documents, samples_of};
use crate::support::{Broker, rtcomm, shell};

/// The width of the terminal in the samples.
const COLUMNS: usize = 110;

const RECORDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/samples.jsonl");

#[test]
fn samples_of_records_are_what_the_program_prints_for_them() {
    let mut count = 0;
    for (name, text) in documents() {
        for Shown { at, command, sample, .. } in samples_of(&name, &text) {
            let records: Vec<&str> = sample.into_iter().filter(|line| is_record(line)).collect();
            if records.is_empty() {
                continue;
            }
            let mut printed = on_a_terminal(&format!("rtcomm tail {RECORDS} {}", filter_flags(&command)));
            if command.contains("--follow") {
                printed += &on_a_terminal(&format!("rtcomm tail {RECORDS} --cdr"));
            }
            let mut rest = printed.lines();
            for record in records {
                assert!(rest.any(|line| line == record), "{at}: `{command}` does not print\n{record}\nbut\n{printed}");
                count += 1;
            }
        }
    }
    assert!(count >= 10, "only {count} records are found in samples: has the form of the documents changed?");
}

#[test]
fn samples_of_results_have_the_shape_of_real_ones() {
    let mut count = 0;
    for (name, text) in documents() {
        for Shown { at, command, sample, .. } in samples_of(&name, &text) {
            let is_result = command.starts_with("rtcomm call ") && !command.contains("--follow");
            if command == "rtcomm check" || is_result {
                let outcome = shell(&command).at(&Broker::demo()).run();
                let shown: Vec<_> = sample.iter().map(|line| shape(line)).collect();
                let printed: Vec<_> = outcome.stdout.lines().map(shape).collect();
                outcome.check(shown == printed, &format!("the shape of {at}: {shown:?}, not {printed:?}"));
                count += 1;
            }
        }
    }
    assert!(count >= 3, "only {count} results are found in samples");
}

#[test]
fn samples_of_messages_about_a_run_have_the_shape_of_real_ones() {
    let broker = Broker::demo_with("--interval 50ms --seed 1");
    let watch = rtcomm("watch -c 2").at(&broker).run().has_status(0).stderr;
    let demo = rtcomm("demo --listen 127.0.0.1:0 --seed 7 --interval 50ms -c 1").run().has_status(0).stderr;
    let real: Vec<String> = watch.lines().chain(demo.lines()).map(shape).collect();
    for (name, text) in documents() {
        for Shown { at, sample, .. } in samples_of(&name, &text) {
            for line in sample.iter().filter(|line| line.starts_with("rtcomm: ")) {
                assert!(real.contains(&shape(line)), "{at}: no message has the shape of\n{line}\nThere are {real:#?}");
            }
        }
    }
}

/// Whether a line of a sample is a record: it begins with a date or a time.
fn is_record(line: &str) -> bool {
    let shape = line.get(..8).map(|start| start.replace(|c: char| c.is_ascii_digit(), "0"));
    matches!(shape.as_deref(), Some("00:00:00" | "0000-00-"))
}

/// The flags of a command that select records.
fn filter_flags(command: &str) -> String {
    let mut words = command.split_whitespace().skip(2).peekable();
    let mut flags = Vec::new();
    while let Some(word) = words.next() {
        match word {
            "--session" | "--registration" | "--presence" | "--started" | "--modified" | "--stopped" | "--failed"
            | "--cdr" => {
                flags.push(word);
            }
            "--from" | "--to" | "--endpoint" => flags.extend([word, words.peek().copied().unwrap_or_default()]),
            _ => {}
        }
    }
    flags.join(" ")
}

/// What a command prints to a terminal, without color.
fn on_a_terminal(command: &str) -> String {
    let inside = format!("stty cols {COLUMNS} rows 40 && exec {command} --color never");
    let run = shell(r#"exec script -qefc "$INSIDE" /dev/null"#).env("INSIDE", inside).env("TERM", "xterm");
    run.run().has_status(0).stdout.replace('\r', "")
}

/// A line in which numbers, durations, IDs and ports are all the same.
fn shape(line: &str) -> String {
    let line = line.split_once(", in ").map_or(line, |(before, _)| before);
    let is_part = |c: char| c.is_alphanumeric() || "-._".contains(c);
    let mut shape = String::new();
    for (nth, group) in line.split('(').enumerate() {
        // A group in parentheses that begins with a digit is a duration.
        let is_duration = nth > 0 && group.starts_with(|c: char| c.is_ascii_digit());
        let group = if is_duration { group.split_once(')').map_or("", |(_, rest)| rest) } else { group };
        for piece in group.split_inclusive(|c| !is_part(c)) {
            let word = piece.trim_end_matches(|c| !is_part(c));
            shape.push_str(if word.contains(|c: char| c.is_ascii_digit()) { "#" } else { word });
            shape.push_str(&piece[word.len()..]);
        }
    }
    shape
}
