//! A closed pipe ends a run at once, without an error. Other write errors are reported.

use std::io::{BufRead as _, BufReader};

use serde_json::json;

use crate::support::events::event;
use crate::support::{Broker, Setup, on_every_broker, rtcomm};

fn a_closed_pipe_ends_the_run_without_messages(setup: &Setup) {
    for command in ["watch", "watch --json", "tail", "tail --json"] {
        let (process, stdout) = setup.rtcomm(command).start_unread();
        let process = process.until_ready();
        drop(stdout);
        let outcome = process.end().has_status(0);
        outcome.check(!outcome.stderr.contains("error") && !outcome.stderr.contains("warning"), "no error");
    }
}
on_every_broker!(a_closed_pipe_ends_the_run_without_messages);

#[test]
fn a_pipe_closed_after_a_line_ends_the_run() {
    let broker = Broker::mosquitto();
    for command in ["watch", "watch --json", "tail", "tail --json"] {
        let (process, stdout) = rtcomm(command).at(&broker).start_unread();
        let process = process.until_ready();
        broker.client().publish("/rtcomm/event/registration/started/iggy_pop", event(&json!({})));
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("the line comes");
        assert!(line.contains("iggy_pop"), "{line}");
        let outcome = process.end().has_status(0);
        outcome.check(!outcome.stderr.contains("error") && !outcome.stderr.contains("warning"), "no error");
    }
}

#[test]
fn a_pipe_closed_before_the_start_ends_the_run() {
    let broker = Broker::mosquitto();
    for command in ["watch", "tail --json", "watch --dry-run", "call a b --dry-run", "--help", "watch --help"] {
        let command = rtcomm(command);
        let command = command.env("RTCOMM_BROKER", broker.url());
        let (process, stdout) = command.start_unread();
        drop(stdout);
        process.end().has_status(0).never_says("panicked");
    }
}

#[test]
fn a_closed_pipe_ends_the_demo_too() {
    let (process, stdout) = rtcomm("demo --listen 127.0.0.1:0 --interval 1h").start_unread();
    let process = process.until_ready();
    drop(stdout);
    process.end().has_status(0);
}

#[test]
fn help_that_cannot_be_written_is_an_error() {
    for words in ["--help", "--version", "watch --help"] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("the system has it");
        rtcomm(words).start_onto(full).end().has_status(1).says("cannot write to standard output");
    }
}

#[test]
fn a_full_disk_is_an_error() {
    let broker = Broker::mosquitto();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has /dev/full");
    let process = rtcomm("watch --json").at(&broker).start_onto(full).until_ready();
    broker.client().publish("/rtcomm/event/registration/started/iggy_pop", event(&json!({})));
    process.end().has_status(1).says("cannot write to standard output").never_says("panicked");
}
