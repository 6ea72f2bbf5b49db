//! Bad networks: connections are cut, stalled, delayed, split into pieces, or lose packets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::Value;

use crate::rig::lossy::{Link, NEAR};
use crate::rig::{EventCounts, LONG, Load, Mosquitto, Recording, figures, has_ended, rtcomm_at, started_by, wait_on};
use crate::support::relay::{Plan, Relay};
use crate::support::{Process, Rtcomm};

/// The seed of the proxy's faults and of the link's losses.
const SEED: u64 = 0x5eed_0003;

/// How long the proxy causes faults.
const FAULT_DURATION: Duration = Duration::from_mins(1);

/// Tolerance for clocks and buffers when a cut is compared with the reported gaps.
const SLACK: Duration = Duration::from_secs(2);

/// Returns the faults of the n-th connection (zero-based). The first ones are cut during CONNECT, CONNACK and SUBACK.
fn fault_plan(nth: usize) -> Plan {
    let mut random = fastrand::Rng::with_seed(SEED + nth as u64);
    let mut plan = match (nth, nth % 6) {
        (0, _) => Plan::cut_after_up(9),
        (1, _) => Plan::cut_after_down(2),
        // mosquitto's CONNACK has at least 11 bytes; the SUBACK follows.
        (2, _) => Plan::cut_after_down(14),
        // During the handshake.
        (_, 0) => Plan::cut_after_up(random.usize(0..60)),
        (_, 1) => Plan::cut_after_down(random.usize(0..40)),
        // During a message or an acknowledgement.
        (_, 2 | 3) => Plan::cut_after_down(random.usize(1_000..400_000)),
        (_, 4) => Plan::cut_after_up(random.usize(100..6_000)),
        _ => {
            let stall = Some((random.usize(0..20_000), Duration::from_millis(random.u64(3_000..8_000))));
            Plan { stall, cut_after_down: Some(400_000), ..Plan::default() }
        }
    };
    plan.piece = Some(random.usize(1..1_500));
    plan.delay = random.bool().then(|| Duration::from_millis(random.u64(0..8)));
    plan
}

/// A durable run that is restarted if its first connection fails, as a service manager does.
struct Supervised<'a> {
    url: String,
    recording: &'a Recording,
    process: Process,
    starts: usize,
}

impl<'a> Supervised<'a> {
    fn start(url: String, recording: &'a Recording) -> Self {
        let process = Self::run(&url, recording);
        Self { url, recording, process, starts: 1 }
    }

    fn run(url: &str, recording: &Recording) -> Process {
        let words = "watch --json --durable archive --status-events --keepalive 2s --connect-timeout 2s";
        rtcomm_at(words, url).start_onto(recording.open())
    }

    fn look_after(&mut self) {
        if has_ended(&mut self.process) {
            let next = Self::run(&self.url, self.recording);
            std::mem::replace(&mut self.process, next).end().has_status(5);
            self.starts += 1;
        }
    }
}

#[test]
#[ignore = "takes 85 s; make test-faults"]
fn a_minute_of_faults_loses_nothing_and_every_gap_is_reported() {
    let broker = Mosquitto::unlimited();
    let count = 400 * FAULT_DURATION.as_secs();
    let is_calm = Arc::new(AtomicBool::new(false));
    let calm = is_calm.clone();
    let policy = move |nth| if calm.load(Ordering::SeqCst) { Plan::default() } else { fault_plan(nth) };
    let proxy = Relay::before(broker.address(), SEED, policy);
    let mut reader = Recording::of(count);
    let recording = Recording::at(reader.path(), EventCounts::of(count));
    let mut run = Supervised::start(proxy.url(), &recording);
    // The session must exist before the first message.
    crate::rig::wait_until("the first subscription", LONG, String::new, || {
        run.look_after();
        reader.read().statuses.iter().any(|it| it["status"] == "ready")
    });
    let began = Instant::now();
    let publisher = Load::to(broker.address(), 0..count).per_second(400).start();
    let (mut latest, mut longest) = ((0, Instant::now()), Duration::ZERO);
    let mut watch = |run: &mut Supervised, reader: &mut Recording| {
        run.look_after();
        let came = reader.read().distinct();
        if came > latest.0 {
            longest = longest.max(latest.1.elapsed());
            latest = (came, Instant::now());
        }
        assert!(latest.1.elapsed() < LONG, "it hangs\n{}", run.process.so_far("running"));
        longest
    };
    crate::rig::wait_until("the end of the faults", 2 * FAULT_DURATION, String::new, || {
        watch(&mut run, &mut reader);
        began.elapsed() > FAULT_DURATION
    });
    is_calm.store(true, Ordering::SeqCst);
    publisher.finish(LONG);
    let story = || format!("{:?}", proxy.traffic().len());
    crate::rig::wait_until("the rest", LONG, story, || {
        watch(&mut run, &mut reader);
        reader.counts.is_complete()
    });
    let longest = watch(&mut run, &mut reader);
    let starts = run.starts;
    run.process.terminate();
    let counts = reader.read();
    counts.check_is_whole();
    let traffic = proxy.traffic();
    let cuts: Vec<Timestamp> = traffic.iter().filter(|it| it.passed_down > 100).filter_map(|it| it.cut).collect();
    let gaps = gaps(&counts.statuses);
    let unreported: Vec<_> = cuts.iter().filter(|cut| !gaps.iter().any(|gap| gap.holds(**cut))).collect();
    figures(format_args!(
        "a minute of faults (seed {SEED:#x}): {} connections, {} cut, {} of them while messages came, {} stalled; {} \
         starts; {count} messages, {} missing, {} duplicates; {} gaps reported; longest silence {longest:.1?}",
        traffic.len(),
        traffic.iter().filter(|it| it.cut.is_some()).count(),
        cuts.len(),
        traffic.iter().filter(|it| it.stalled.is_some()).count(),
        starts,
        counts.missing().len(),
        counts.duplicates(),
        gaps.len(),
    ));
    assert!(cuts.len() > 5, "connections were cut");
    assert!(unreported.is_empty(), "cuts that were not reported: {unreported:?}, of {gaps:?}\n{:?}", counts.statuses);
    check_order(&counts.statuses);
}

/// A reported gap.
#[derive(Debug)]
struct Gap {
    from: Timestamp,
    until: Timestamp,
}

impl Gap {
    fn holds(&self, time: Timestamp) -> bool {
        let away = if time < self.from { self.from.duration_since(time) } else { time.duration_since(self.until) };
        away.as_secs_f64() <= SLACK.as_secs_f64()
    }
}

fn gaps(statuses: &[Value]) -> Vec<Gap> {
    let time = |value: &Value| -> Timestamp {
        value.as_str().and_then(|text| text.parse::<Timestamp>().ok()).expect("a gap has two times")
    };
    let gaps = statuses.iter().filter(|it| it["status"] == "gap");
    gaps.map(|it| Gap { from: time(&it["from"]), until: time(&it["until"]) }).collect()
}

/// Records have this order: the loss, connections, the gap, `ready`. A new run starts over.
#[track_caller]
fn check_order(statuses: &[Value]) {
    let words: Vec<&str> = statuses.iter().filter_map(|it| it["status"].as_str()).collect();
    for (before, after) in words.iter().zip(&words[1..]) {
        let fits = match *after {
            "connected" => *before != "gap",
            "ready" => ["connected", "gap"].contains(before),
            "gap" => *before == "connected",
            "disconnected" => ["ready", "connected"].contains(before),
            _ => false,
        };
        assert!(fits, "'{after}' after '{before}' in {words:?}");
    }
}

#[test]
fn a_handshake_that_breaks_anywhere_is_repeated() {
    let broker = Mosquitto::unlimited();
    // The session is clean, so that there is a SUBACK.
    let start = |proxy: &Relay, recording: &Recording| {
        rtcomm_at("watch --json --status-events", &proxy.url()).start_onto(recording.open()).until_ready()
    };
    let whole = Relay::before(broker.address(), SEED, |_| Plan::default());
    start(&whole, &Recording::of(0)).terminate();
    // The size of CONNACK and SUBACK.
    let handshake = whole.traffic()[0].passed_down;
    // A run for each byte, because the pauses between many early losses of one run would grow.
    let mut runs: Vec<_> = (0..=handshake)
        .map(|bytes| {
            let proxy = Relay::before(broker.address(), SEED, move |nth| match nth {
                1 => Plan::cut_after_down(bytes),
                _ => Plan::default(),
            });
            let recording = Recording::of(1);
            let process = start(&proxy, &recording);
            (process, proxy, recording)
        })
        .collect();
    for (_, proxy, _) in &runs {
        proxy.cut();
    }
    for (process, proxy, recording) in &mut runs {
        wait_on(process, "two more connections", LONG, || proxy.traffic().len() >= 3);
        wait_on(process, "the subscription", LONG, || {
            let statuses = &recording.read().statuses;
            let last = statuses.iter().rev().find_map(|it| it["status"].as_str());
            last == Some("ready") && statuses.iter().any(|it| it["status"] == "gap")
        });
    }
    Load::to(broker.address(), 0..1).start().finish(LONG);
    for (process, _proxy, mut recording) in runs {
        wait_on(&process, "the message", LONG, || recording.read().is_complete());
        process.terminate();
        check_order(&recording.read().statuses);
    }
    figures(format_args!("cut after each of the {handshake} bytes of CONNACK and SUBACK: ready again each time"));
}

#[test]
#[ignore = "takes 10 s; make test-faults"]
fn loss_and_delay_lose_no_message() {
    const LOSS: f64 = 0.05;
    const DELAY: Duration = Duration::from_millis(200);
    // With the default of 20 unacknowledged messages, the delay would make the test take minutes.
    const CONFIG: &str = "allow_anonymous true\nmax_inflight_messages 200\n";
    const WORDS: &str = "watch --json --durable archive --keepalive 10s --connect-timeout 30s";
    match Link::new(LOSS, DELAY, SEED) {
        Ok(link) => {
            let broker = Mosquitto::unlimited_within(&link.near(), "0.0.0.0", CONFIG);
            let run = started_by(&link.far(), rtcomm_at(WORDS, &format!("mqtt://{NEAR}:{}", broker.port())));
            let delivered = deliver(10_000, (link.near_outside(), broker.port()).into(), run);
            let (passed, lost) = link.packets();
            figures(format_args!(
                "between two namespaces, {:.0} % loss, {DELAY:?} delay: {delivered}; {passed} packets passed, {lost} lost",
                LOSS * 100.0
            ));
        }
        Err(why) => {
            let broker = Mosquitto::unlimited_with(CONFIG);
            let proxy = Relay::before(broker.address(), SEED, |nth| Plan {
                stall: Some((20_000 * (nth + 1), Duration::from_secs(3))),
                delay: Some(2 * DELAY),
                ..Plan::default()
            });
            let delivered = deliver(3_000, broker.address(), rtcomm_at(WORDS, &proxy.url()));
            figures(format_args!("no lossy link here ({why}); through a proxy that stalls and delays: {delivered}"));
        }
    }
}

/// Publishes `count` messages, and checks that the run prints them all. Returns a summary.
fn deliver(count: u64, to: SocketAddr, run: Rtcomm) -> String {
    let mut recording = Recording::of(count);
    let process = run.start_onto(recording.open()).until_ready();
    let began = Instant::now();
    Load::to(to, 0..count).start().finish(LONG);
    wait_on(&process, "every message", LONG, || recording.read().is_complete());
    let took = began.elapsed();
    process.terminate();
    recording.read().check_is_whole();
    format!("{count} messages in {took:.1?}, 0 missing, {} duplicates", recording.counts.duplicates())
}
