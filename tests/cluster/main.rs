//! Tests with a cluster: three nats-server nodes with JetStream, one of which is killed or frozen under load.
//!
//! `make test-cluster` runs these tests and prints their figures. Subscribers are on one node, publisher and responder
//! on another. NATS speaks MQTT 3.1.1.

mod nodes;
#[expect(dead_code, unused_imports, reason = "the other tests need more of it")]
#[path = "../faults/rig/mod.rs"]
mod rig;
#[expect(dead_code, unused_imports, unused_macros, reason = "the other tests need more of it")]
#[path = "../it/support/mod.rs"]
mod support;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};

use nodes::{Cluster, Failure};
use rig::publisher::Published;
use rig::{LONG, Load, Recording, figures, namespace, rtcomm_at, wait_on, wait_until};
use support::client::Client;
use support::service::{CALL_TOPIC, reply, request_of};
use support::{Process, Rtcomm};

const MANY: u64 = 6_000;
const PER_SECOND: u32 = 600;

/// The number of events that are published before the node fails.
const BEFORE: u64 = MANY / 3;

/// The number of events that are published after every subscriber is ready again.
const AFTER: u64 = 500;

/// How long a subscriber may take to be ready again: detection, backoff, election, and a busy machine.
const READY_AGAIN: Duration = Duration::from_secs(45);

/// If nothing arrives for this long, nothing will: several times the nodes' acknowledgement timeout.
const REDELIVERY: Duration = Duration::from_secs(20);

/// How a subscriber is configured with the other nodes.
#[derive(Debug, Clone, Copy)]
enum Addresses {
    /// With two `--broker` flags.
    SeveralBrokers,
    /// With one name that has two addresses.
    OneName,
}

/// A subscriber and its output.
struct Subscriber {
    process: Process,
    recording: Recording,
}

impl Subscriber {
    /// Starts a subscriber on the first node. It can move to the third one.
    fn start(cluster: &Cluster, addresses: Addresses, is_durable: bool) -> Option<Self> {
        let flags = if is_durable { "--durable archive" } else { "" };
        let words = format!("watch --json --status-events --keepalive 2s --connect-timeout 5s {flags}");
        let run = match addresses {
            Addresses::SeveralBrokers => rtcomm_at(&words, &format!("{} {}", cluster.url(0), cluster.url(2))),
            Addresses::OneName => {
                let run = rtcomm_at(&words, &format!("mqtt://rtcomm-cluster:{}", cluster.port()));
                namespace::with_hosts(run, "127.0.0.1 rtcomm-cluster\n127.0.0.3 rtcomm-cluster\n")?
            }
        };
        let recording = Recording::of(MANY);
        let process = run.start_onto(recording.open()).until_ready();
        Some(Self { process, recording })
    }
}

fn statuses(recording: &mut Recording, status: &str) -> Vec<Value> {
    recording.read().statuses.iter().filter(|it| it["status"] == status).cloned().collect()
}

fn time(value: &Value) -> Timestamp {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("a time, not {value}"))
}

/// Makes the subscriber's node fail under load, and checks which events arrive.
///
/// Each cluster has one subscriber: with several QoS 1 subscribers, nats-server 2.9 does not send some messages at all.
fn survives(failure: Failure, addresses: Addresses, is_durable: bool) {
    let mut cluster = Cluster::start();
    let Some(mut subscriber) = Subscriber::start(&cluster, addresses, is_durable) else { return };
    let limit = Arc::new(AtomicU64::new(MANY - AFTER));
    let load = Load::to(cluster.address(1), 0..MANY).per_second(PER_SECOND).up_to(limit.clone()).timed();
    let publisher = load.start();
    let Subscriber { process, recording } = &mut subscriber;
    wait_on(process, "the first messages", LONG, || {
        publisher.acknowledged() > BEFORE && recording.read().distinct() > BEFORE / 2
    });
    cluster.fail(0, failure);
    let failed = Timestamp::now();
    wait_on(process, "another connection", READY_AGAIN, || statuses(recording, "ready").len() > 1);
    limit.store(MANY, Ordering::SeqCst);
    let sent = publisher.finish(LONG);
    let last = usize::try_from(MANY - 1).expect("it fits");
    wait_on(process, "the last message", LONG, || !recording.read().missing().contains(&last));
    // Messages that the failed node had sent are delivered again later.
    let mut latest = (0, Instant::now());
    wait_on(process, "the end", LONG, || {
        let distinct = recording.read().distinct();
        if distinct > latest.0 {
            latest = (distinct, Instant::now());
        }
        distinct == MANY || latest.1.elapsed() > REDELIVERY
    });
    let ready = time(&statuses(recording, "ready").last().expect("it was ready")["received"]);
    let gaps: Vec<_> = statuses(recording, "gap").iter().map(|gap| (time(&gap["from"]), time(&gap["until"]))).collect();
    let counts = &recording.counts;
    let missing: Vec<(usize, Published)> =
        counts.missing().into_iter().map(|number| (number, sent.times[number])).collect();
    let outside: Vec<_> = missing
        .iter()
        .filter(|(_, it)| !gaps.iter().any(|(from, until)| *from <= it.acknowledged && it.sent <= *until))
        .collect();
    let name = if is_durable { "durable" } else { "plain" };
    figures(format_args!(
        "{failure}, {addresses:?}, {name}: {MANY} published ({} again), {} missing, {} of them outside {} gaps ({:.1} s \
         in all), {} duplicates, ready again {:.1} s after the failure",
        sent.again,
        missing.len(),
        outside.len(),
        gaps.len(),
        gaps.iter().map(|(from, until)| until.duration_since(*from).as_secs_f64()).sum::<f64>(),
        counts.duplicates(),
        ready.duration_since(failed).as_secs_f64()
    ));
    assert!(counts.unexpected.is_empty(), "{:?}", counts.unexpected);
    assert!(!gaps.is_empty(), "the loss is reported");
    assert!(outside.is_empty(), "outside {gaps:?} {outside:?}");
    assert!(!is_durable || missing.is_empty(), "{} missing: {missing:?}", missing.len());
    subscriber.process.terminate();
}

#[test]
#[ignore = "takes 50 s; make test-cluster"]
fn a_durable_run_loses_nothing_when_a_node_is_killed() {
    survives(Failure::Killed, Addresses::SeveralBrokers, true);
}

#[test]
#[ignore = "takes 20 s; make test-cluster"]
fn a_durable_run_loses_nothing_when_a_node_freezes() {
    survives(Failure::Frozen, Addresses::SeveralBrokers, true);
}

#[test]
#[ignore = "takes 45 s; make test-cluster"]
fn a_plain_run_loses_only_events_of_its_gap_when_a_node_is_killed() {
    survives(Failure::Killed, Addresses::SeveralBrokers, false);
}

#[test]
#[ignore = "takes 70 s; make test-cluster"]
fn a_plain_run_loses_only_events_of_its_gap_when_a_node_freezes() {
    survives(Failure::Frozen, Addresses::SeveralBrokers, false);
}

#[test]
#[ignore = "takes 45 s; make test-cluster"]
fn a_run_moves_to_another_address_of_a_name_when_a_node_is_killed() {
    survives(Failure::Killed, Addresses::OneName, true);
}

#[test]
#[ignore = "takes 25 s; make test-cluster"]
fn a_run_moves_to_another_address_of_a_name_when_a_node_freezes() {
    survives(Failure::Frozen, Addresses::OneName, true);
}

const CALLS: usize = 2_000;

/// The number of parallel calls.
const JOBS: usize = 32;

fn batch(url: &str) -> Rtcomm {
    let line = |number| format!("{}\n", json!({ "caller": format!("c{number}"), "callee": "b" }));
    let lines: Vec<_> = (0..CALLS).map(line).collect();
    rtcomm_at(&format!("call --batch - --jobs {JOBS} --timeout 30s --keepalive 10s"), url).stdin(lines.concat())
}

/// The transactions of each caller.
type Requests = HashMap<String, HashSet<String>>;

/// Starts a service that answers every request with SUCCESS. A node may deliver a request again; that is the same
/// transaction.
fn respond(cluster: &Cluster) -> Arc<Mutex<Requests>> {
    let mut client = Client::connect_at(cluster.address(1));
    client.subscribe(CALL_TOPIC);
    let requests: Arc<Mutex<Requests>> = Arc::default();
    let all = requests.clone();
    thread::spawn(move || {
        while let Some(message) = client.next_until_closed() {
            let request = request_of(&message);
            let text = |key: &str| request[key].as_str().unwrap_or_default().to_owned();
            all.lock().expect("nobody panicked").entry(text("callerEndpoint")).or_default().insert(text("transID"));
            client.send_message(&reply(&message, &json!({})).with_qos(0));
        }
    });
    requests
}

/// The maximum number of times that a batch is continued.
const ROUNDS: usize = 10;

/// Runs a batch, continues it with --skip whenever its connection breaks, and checks the line of every call.
fn completes(failure: Failure, brokers: impl Fn(&Cluster) -> String, what: &str) {
    let mut cluster = Cluster::start();
    let requests = respond(&cluster);
    let brokers = brokers(&cluster);
    let mut lines: Vec<Value> = Vec::new();
    let (mut rounds, mut failed) = (0, None);
    while lines.len() < CALLS {
        assert!(rounds < ROUNDS, "{} of {CALLS} lines after {ROUNDS} rounds", lines.len());
        let process = batch(&brokers).arg("--skip").arg(lines.len().to_string()).start();
        if failed.is_none() {
            process.wait_for_lines(CALLS / 4);
            cluster.fail(0, failure);
            failed = Some(Instant::now());
        }
        wait_until("the end", LONG, || process.so_far("running"), || process.has_ended());
        let outcome = process.end();
        let more = outcome.json_lines();
        let is_done = more.len() == CALLS - lines.len();
        outcome.check(is_done || more.is_empty() || outcome.stderr.contains("--skip"), "how to go on");
        lines.extend(more);
        rounds += 1;
        cluster.wait_for(2);
    }
    let mut outcomes: HashMap<&str, usize> = HashMap::new();
    for line in &lines {
        *outcomes.entry(line["outcome"].as_str().unwrap_or_default()).or_default() += 1;
    }
    let requests = requests.lock().expect("nobody panicked");
    let twice = requests.values().filter(|transactions| transactions.len() > 1).count();
    figures(format_args!(
        "{failure} while a batch of {CALLS} ran over {what}: {outcomes:?} in {rounds} rounds, {twice} placed twice, done \
         {:.1?} after the failure",
        failed.map(|failed| failed.elapsed()).unwrap_or_default()
    ));
    let number = |outcome| outcomes.get(outcome).copied().unwrap_or_default();
    let known = number("success") + number("unknown");
    assert_eq!(known, CALLS, "each call is placed, or said to be perhaps placed: {outcomes:?}");
    assert!(number("unknown") <= JOBS * (rounds - 1), "only pending calls are unknown: {outcomes:?}");
    assert!(number("success") <= requests.len(), "no success without a request");
    assert_eq!(twice, 0, "no call is placed twice");
    let callers: Vec<_> = lines.iter().map(|line| line["caller"].as_str().unwrap_or_default().to_owned()).collect();
    assert!((0..CALLS).all(|number| callers[number] == format!("c{number}")), "a line for each call, in order");
}

#[test]
#[ignore = "takes 40 s; make test-cluster"]
fn a_batch_completes_if_another_node_is_killed() {
    completes(Failure::Killed, |cluster| cluster.url(2), "a node that lived");
}

#[test]
#[ignore = "takes 35 s; make test-cluster"]
fn a_batch_completes_if_another_node_freezes() {
    completes(Failure::Frozen, |cluster| cluster.url(2), "a node that lived");
}

#[test]
#[ignore = "takes 50 s; make test-cluster"]
fn a_batch_completes_if_its_node_is_killed() {
    completes(Failure::Killed, |cluster| format!("{} {}", cluster.url(0), cluster.url(2)), "that node");
}

#[test]
#[ignore = "takes 80 s; make test-cluster"]
fn a_batch_completes_if_its_node_freezes() {
    completes(Failure::Frozen, |cluster| format!("{} {}", cluster.url(0), cluster.url(2)), "that node");
}
