//! Events of a deployment with 100,000 endpoints. The sequence is seeded, so that every run has the same events.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;

use fastrand::Rng;

/// The endpoint with the most failed sessions: one in [`ONE_IN`] events.
pub(crate) const BUSY: &str = "help_desk";

/// The number of events per failed session of [`BUSY`].
pub(crate) const ONE_IN: u32 = 100;

const ENDPOINTS: u32 = 100_000;

const SEED: u64 = 20_261_123;

/// A published event.
#[derive(Clone)]
pub(crate) struct Event {
    pub(crate) topic: String,
    pub(crate) payload: String,
    action: &'static str,
    from: String,
    to: Option<String>,
}

/// Returns an infinite sequence of events: half registrations, half sessions.
pub(crate) fn events() -> impl Iterator<Item = Event> {
    let mut rng = Rng::with_seed(SEED);
    (1_u64..).map(move |number| {
        if number.is_multiple_of(ONE_IN.into()) {
            event(&mut rng, number, true, "failed", BUSY.to_owned())
        } else {
            let action = ["started", "started", "started", "stopped", "stopped", "stopped", "modified", "failed"];
            let action = rng.choice(action).unwrap_or_default();
            let from = endpoint(&mut rng);
            event(&mut rng, number, number.is_multiple_of(2), action, from)
        }
    })
}

/// Returns an infinite sequence of the events of calls. About ten thousand of them are open at a time.
pub(crate) fn calls() -> impl Iterator<Item = Event> {
    let mut rng = Rng::with_seed(SEED);
    // The first event of each open call, by the numbers of its last and first event.
    let mut open: BTreeMap<(u64, u64), Event> = BTreeMap::new();
    (1_u64..).map(move |number| {
        if let Some(entry) = open.first_entry().filter(|entry| entry.key().0 <= number) {
            let ((_, began), started) = entry.remove_entry();
            return end(started, began, number);
        }
        let from = endpoint(&mut rng);
        if number.is_multiple_of(10) {
            return event(&mut rng, number, true, "failed", from);
        }
        let started = event(&mut rng, number, true, "started", from);
        open.insert((number + rng.u64(1..40_000), number), started.clone());
        started
    })
}

/// Returns the last event of a call, of which this is the first one.
fn end(started: Event, began: u64, number: u64) -> Event {
    Event {
        topic: started.topic.replacen("/started/", "/stopped/", 1),
        payload: started.payload.replacen(&clock(began, 3), &clock(number, 3), 1),
        action: "stopped",
        ..started
    }
}

fn event(rng: &mut Rng, number: u64, is_session: bool, action: &'static str, from: String) -> Event {
    let context = rng.choice(["XYZ video app", "Click to call", "Branch office", "videosample"]).unwrap_or_default();
    let mut payload = format!(
        r#"{{"method":"RTCOMM_EVENT_FIRED","rtcommVer":"v1.0.0","timestamp":"2026-11-23 {}","appContext":"{context}""#,
        clock(number, 3),
    );
    let to = is_session.then(|| endpoint(rng));
    let (category, end) = match &to {
        Some(to) => ("session", format!("/{to}")),
        None => ("registration", String::new()),
    };
    let mut add = |key: &str, value: std::fmt::Arguments<'_>| {
        write!(payload, ",\"{key}\":\"{value}\"").expect("writing to a String does not fail");
    };
    if action == "failed" {
        let reason = rng.choice(["callee is busy", "no answer", "media negotiation failed: no common codec"]);
        add("reason", format_args!("{}", reason.unwrap_or_default()));
    }
    if is_session {
        add("sigSessID", format_args!("{}", uuid::Builder::from_random_bytes(rng.u128(..).to_be_bytes()).into_uuid()));
    } else {
        add("regTopic", format_args!("/rtcomm/{}", rng.u32(1_000_000_000..)));
    }
    payload.push('}');
    Event { topic: format!("/rtcomm/event/{category}/{action}/{from}{end}"), payload, action, from, to }
}

/// Returns a random endpoint, in one of three common forms.
fn endpoint(rng: &mut Rng) -> String {
    let number = rng.u32(..ENDPOINTS);
    match number % 4 {
        0 => format!("sip:user{number}@xyz.com"),
        1 => format!("Danko Jones {number}"),
        _ => format!("iggy_pop_{number}"),
    }
}

/// Returns the time of day of the n-th event (zero-based). There are twenty per millisecond.
fn clock(number: u64, digits: usize) -> String {
    let micros = 3 * 3_600_000_000 + number * 50;
    let (seconds, fraction) = (micros / 1_000_000, format!("{:06}", micros % 1_000_000));
    format!("{:02}:{:02}:{:02}.{}", seconds / 3600 % 24, seconds / 60 % 60, seconds % 60, &fraction[..digits])
}

/// Writes the first `count` events as `watch --json` records them, unless the file exists.
pub(crate) fn record(path: &Path, events: impl Iterator<Item = Event>, count: u32) -> io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    let unfinished = path.with_extension("unfinished");
    let mut file = BufWriter::with_capacity(1 << 20, File::create(&unfinished)?);
    for (event, number) in events.zip(1..=u64::from(count)) {
        let Event { topic, payload, action, from, to } = event;
        let (category, to) = match to {
            Some(to) => ("session", format!(",\"to\":\"{to}\"")),
            None => ("registration", String::new()),
        };
        writeln!(
            file,
            r#"{{"received":"2026-11-23T{}Z","category":"{category}","action":"{action}","from":"{from}"{to},"topic":"{topic}","qos":1,"retain":false,"payload":{payload}}}"#,
            clock(number, 6),
        )?;
    }
    file.into_inner()?.sync_all()?;
    std::fs::rename(unfinished, path)
}
