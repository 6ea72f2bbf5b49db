//! Which failures are retried, how often, and how much CPU time that takes.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::rig::process_stats::busy;
use crate::rig::{Mosquitto, figures, rtcomm_at, started_by};
use crate::support::Process;
use crate::support::broker::password_file;
use crate::support::mqtt::{Packet, SUBSCRIBE};
use crate::support::relay::{Plan, Relay, fill_backlog};

/// How long a process is observed. A process that polls without waiting uses a core all that time.
const OBSERVATION_TIME: Duration = Duration::from_secs(3);
const LITTLE: Duration = Duration::from_millis(600);

#[test]
fn without_reconnects_a_loss_ends_the_run() {
    let mut broker = Mosquitto::unlimited();
    let process = broker.rtcomm("watch --json --status-events --no-reconnect").start().until_ready();
    broker.stop(Signal::KILL);
    let outcome = process.end().has_status(5).says("lost ");
    let statuses: Vec<_> = outcome.json_lines().iter().map(|line| line["status"].clone()).collect();
    outcome.check(statuses == ["connected", "ready", "disconnected"], "each change once");
}

#[test]
fn max_retries_ends_the_run_and_the_reason_is_reported_once() {
    let mut broker = Mosquitto::unlimited();
    let process = broker.rtcomm("watch --max-retries 4").start().until_ready();
    broker.stop(Signal::TERM);
    let outcome = process.end().has_status(5).says("rtcomm: error: cannot connect to ").says("connection refused");
    outcome.check(outcome.stderr.matches("trying again").count() == 1, "the reason once, not for each attempt");
}

#[test]
fn retries_are_counted_from_the_last_success() {
    let broker = Mosquitto::unlimited();
    // Each lost connection is followed by two failed attempts.
    let proxy = Relay::before(broker.address(), 1, |nth| match nth % 3 {
        0 => Plan::default(),
        _ => Plan::cut_after_down(2),
    });
    let process =
        rtcomm_at("watch --json --status-events --max-retries 3 --mqtt-version 5", &proxy.url()).start().until_ready();
    // Two rounds are enough: the pauses grow, because the connections do not last.
    for round in 1..=2 {
        proxy.cut();
        process.wait_for_stdout("a gap and then ready", |text| text.matches(r#""status":"ready""#).count() > round);
    }
    process.terminate();
    // Without a successful attempt, all attempts count.
    let late =
        Relay::before(broker.address(), 1, |nth| if nth == 0 { Plan::default() } else { Plan::cut_after_down(2) });
    let process = rtcomm_at("watch --max-retries 3 --mqtt-version 5", &late.url()).start().until_ready();
    late.cut();
    process.end().has_status(5);
    assert_eq!(late.traffic().len(), 4, "the connection that was lost, and three tries");
}

#[test]
fn a_wrong_password_after_a_reconnect_ends_the_run() {
    let dir = TempDir::new().expect("a temporary directory");
    let users = password_file(dir.path(), "operator", "old");
    let mut broker = Mosquitto::unlimited_with(&format!("allow_anonymous false\npassword_file {}\n", users.display()));
    let command = broker.rtcomm("watch --username operator").env("RTCOMM_PASSWORD", "old");
    let process = command.start().until_ready();
    broker.stop(Signal::TERM);
    password_file(dir.path(), "operator", "new");
    broker.start_again();
    process.end().has_status(4).says("refuses user 'operator': not authorized");
}

#[test]
fn only_a_broker_without_the_session_is_subscribed_to_again() {
    for (flags, expected) in [("", [1, 1, 1]), (" --durable archive", [1, 0, 0])] {
        let broker = Mosquitto::unlimited();
        let proxy = Relay::before(broker.address(), 1, |_| Plan::default());
        let command = format!("watch --json --status-events{flags}");
        let process = rtcomm_at(&command, &proxy.url()).start().until_ready();
        for round in 1..=2 {
            proxy.cut();
            process.wait_for_stdout("ready again", |text| text.matches(r#""status":"ready""#).count() > round);
        }
        process.terminate();
        let subscriptions: Vec<usize> = proxy.traffic().iter().map(|story| count(&story.up, SUBSCRIBE)).collect();
        assert_eq!(subscriptions, expected, "SUBSCRIBE packets over each connection of `{command}`");
    }
}

/// Returns the number of packets of a kind that a client sent.
fn count(mut bytes: &[u8], kind: u8) -> usize {
    std::iter::from_fn(|| Packet::read(&mut bytes).ok()).filter(|packet| packet.kind() == kind).count()
}

/// Checks that a process uses little CPU time while it waits for an address that does not answer.
fn is_idle(process: &Process, what: &str) {
    let before = busy(process);
    thread::sleep(OBSERVATION_TIME);
    let took = busy(process).saturating_sub(before);
    figures(format_args!("{what}: busy for {took:?} of {OBSERVATION_TIME:?}"));
    assert!(took < LITTLE, "it is busy for {took:?} of {OBSERVATION_TIME:?}\n{}", process.so_far("running"));
}

#[test]
fn an_address_that_drops_packets_costs_no_cpu_and_is_reported() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("the system has a free port");
    let _waiting = fill_backlog(&listener);
    let url = format!("mqtt://{}", listener.local_addr().expect("it is bound"));
    let process = rtcomm_at("watch --connect-timeout 5s", &url).start();
    is_idle(&process, "nobody answers the first connection");
    process.end().has_status(5).says("no answer within 5s");
}

#[test]
fn a_silent_address_costs_no_cpu_and_is_reported() {
    let silent = crate::support::peer::Peer::silent();
    let process = rtcomm_at("watch --connect-timeout 5s", &silent.url()).start();
    silent.wait_for_packets(1);
    is_idle(&process, "a silent broker");
    process.end().has_status(5).says("does not answer within 5s");
}

#[test]
fn a_broker_that_drops_packets_costs_no_cpu_and_max_retries_ends_the_run() {
    let broker = Mosquitto::unlimited();
    let proxy = Relay::before(broker.address(), 1, |_| Plan::default());
    let words = "watch --json --status-events --connect-timeout 1s --max-retries 3";
    let process = rtcomm_at(words, &proxy.url()).start().until_ready();
    proxy.fail_network();
    process.wait_for_stderr("the loss", |text| text.contains("lost "));
    is_idle(&process, "nobody answers the reconnect");
    process.end().has_status(5).says("no answer within 1s");
}

#[test]
fn a_name_is_resolved_for_each_attempt() {
    let hosts = tempfile::NamedTempFile::new().expect("a temporary file");
    let point_to = |address: &str| fs::write(hosts.path(), format!("{address} broker.test\n")).expect("it is ours");
    point_to("127.0.0.1");
    let mut old = Mosquitto::unlimited();
    let new = Mosquitto::unlimited_with(&format!("allow_anonymous true\nlistener {} 127.0.0.2\n", old.port()));
    // A mount namespace in which our file is the system's hosts file.
    let within = |script: &'static str| ["unshare", "--mount", "sh", "-c", script, "sh"];
    let mut probe = Command::new("unshare");
    let works = probe.args(&within("mount --bind /etc/hosts /etc/hosts")[1..]).output();
    if !works.is_ok_and(|output| output.status.success()) {
        figures("not tested: this system does not allow changing host names");
        return;
    }
    let command = rtcomm_at("watch --json --status-events", &format!("mqtt://broker.test:{}", old.port()));
    let script = r#"mount --bind "$HOSTS" /etc/hosts && exec "$@""#;
    let command = started_by(&within(script), command.env("HOSTS", hosts.path()));
    let process = command.start().until_ready();
    point_to("127.0.0.2");
    old.stop(Signal::TERM);
    process.wait_for_stdout("ready again", |text| text.matches(r#""status":"ready""#).count() > 1);
    new.publish(1);
    process.wait_for_stdout("an event of the new broker", |text| text.contains(r#""n":0"#));
    process.terminate();
}

#[test]
#[ignore = "takes 10 s; make test-faults"]
fn a_broker_that_returns_is_reconnected_to() {
    let mut broker = Mosquitto::unlimited();
    let process = broker.rtcomm("watch --json --durable archive --status-events").start().until_ready();
    broker.stop(Signal::TERM);
    let before = busy(&process);
    thread::sleep(Duration::from_secs(8));
    let took = busy(&process).saturating_sub(before);
    broker.start_again();
    let began = Instant::now();
    process.wait_for_stdout("ready again", |text| text.matches(r#""status":"ready""#).count() > 1);
    figures(format_args!("away for 8 s: busy for {took:?}, ready {:.1?} after it came back", began.elapsed()));
    assert!(took < LITTLE, "{took:?}");
    process.terminate().has_status(143);
}
