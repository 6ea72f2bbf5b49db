//! Sample events, and a check that a command prints exactly the events that its filters select.

use serde_json::{Value, json};

use super::client::Client;
use super::{Outcome, Rtcomm, Setup};

pub(crate) const ENDPOINTS: [&str; 3] = ["iggy_pop", "mick_jagger", "Danko Jones"];
pub(crate) const ACTIONS: [&str; 4] = ["started", "modified", "stopped", "failed"];
pub(crate) const SESSIONS: [&str; 2] = ["6a1f9f3e-2d0b-4c35-8a53-0d9d5b1f5f10", "b8e3a5c2-91f4-4f0e-9d27-3c6a7e8f9012"];

/// An event of the protocol (sections 2 and 3).
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub(crate) category: &'static str,
    pub(crate) action: &'static str,
    pub(crate) from: &'static str,
    pub(crate) to: Option<&'static str>,
    pub(crate) app_context: Option<&'static str>,
    pub(crate) session: Option<&'static str>,
    pub(crate) reason: Option<&'static str>,
}

impl Sample {
    pub(crate) fn topic(&self) -> String {
        let Self { category, action, from, to, .. } = self;
        let to = to.map(|to| format!("/{to}")).unwrap_or_default();
        format!("/rtcomm/event/{category}/{action}/{from}{to}")
    }

    /// Returns the payload, with the number of the sample and of the round.
    pub(crate) fn payload(&self, number: usize, round: usize) -> String {
        let mut payload =
            json!({ "method": "RTCOMM_EVENT_FIRED", "rtcommVer": "v1.0.0", "number": number, "round": round });
        for (key, value) in [("appContext", self.app_context), ("sigSessID", self.session), ("reason", self.reason)] {
            if let Some(value) = value {
                payload[key] = value.into();
            }
        }
        payload.to_string()
    }

    pub(crate) fn is_of(&self, endpoint: &str) -> bool {
        self.from == endpoint || self.to == Some(endpoint)
    }
}

/// Returns samples of every category and action, with every endpoint on either side, including sessions of an endpoint with
/// itself.
pub(crate) fn samples() -> Vec<Sample> {
    let contexts = [None, Some("XYZ video app"), Some("ABC")];
    let reasons = [None, Some("callee is busy"), Some("Busy line"), Some("no answer")];
    let mut samples = Vec::new();
    for action in ACTIONS {
        for from in ENDPOINTS {
            for to in [None].into_iter().chain(ENDPOINTS.map(Some)) {
                let n = samples.len();
                samples.push(Sample {
                    category: if to.is_none() { "registration" } else { "session" },
                    action,
                    from,
                    to,
                    app_context: contexts[n % 3],
                    session: to.map(|_| SESSIONS[n / 2 % 2]),
                    reason: if action == "failed" { reasons[n % 4] } else { None },
                });
            }
        }
    }
    samples
}

/// Decides whether a filter selects a sample.
pub(crate) type Predicate = fn(&Sample) -> bool;

/// Filter flags, alone and combined, and the samples that they select.
pub(crate) const FILTERS: [(&str, Predicate); 17] = [
    ("--started", |it| it.action == "started"),
    ("--modified", |it| it.action == "modified"),
    ("--stopped --failed", |it| ["stopped", "failed"].contains(&it.action)),
    ("--started --modified --stopped --failed --registration --session", |_| true),
    ("--from iggy_pop", |it| it.from == "iggy_pop"),
    ("--from iggy_pop --from mick_jagger", |it| ["iggy_pop", "mick_jagger"].contains(&it.from)),
    ("--to iggy_pop", |it| it.to == Some("iggy_pop")),
    ("--from iggy_pop --to mick_jagger --to iggy_pop", |it| {
        it.from == "iggy_pop" && [Some("mick_jagger"), Some("iggy_pop")].contains(&it.to)
    }),
    ("--registration --session --to iggy_pop", |it| it.to == Some("iggy_pop")),
    ("--endpoint iggy_pop", |it| it.is_of("iggy_pop")),
    ("--endpoint iggy_pop --endpoint mick_jagger --failed", |it| {
        it.action == "failed" && (it.is_of("iggy_pop") || it.is_of("mick_jagger"))
    }),
    ("--endpoint iggy_pop --from mick_jagger", |it| it.from == "mick_jagger" && it.is_of("iggy_pop")),
    ("--app-context ABC", |it| it.app_context == Some("ABC")),
    ("--reason [Bb]usy", |it| it.reason.is_some_and(|reason| reason.to_lowercase().contains("busy"))),
    ("--reason ^no --reason ^Busy --session", |it| {
        it.category == "session" && it.reason.is_some_and(|it| it.starts_with("no") || it.starts_with("Busy"))
    }),
    ("--session-id B8E3A5C2-91F4-4F0E-9D27-3C6A7E8F9012 --from iggy_pop --stopped", |it| {
        it.session == Some(SESSIONS[1]) && it.from == "iggy_pop" && it.action == "stopped"
    }),
    ("--session-id b8e3", |it| it.session == Some(SESSIONS[1])),
];

/// Starts each command, publishes all samples twice, and checks that each command prints its events once.
///
/// The second round proves that all events of the first have arrived.
pub(crate) fn check_what_is_printed(setup: &Setup, commands: Vec<(Rtcomm, Predicate)>) {
    let samples = samples();
    let running: Vec<_> = commands.into_iter().map(|(command, selects)| (command.start(), selects)).collect();
    let running: Vec<_> = running.into_iter().map(|(process, selects)| (process.until_ready(), selects)).collect();
    publish_all(&mut setup.broker.client(), &samples);
    for (process, selects) in running {
        let expected: Vec<usize> = (0..samples.len()).filter(|&n| selects(&samples[n])).collect();
        assert!(!expected.is_empty(), "every filter selects a sample");
        process.wait_for_lines(2 * expected.len());
        let outcome = process.terminate();
        let printed = numbers(&outcome, 1);
        outcome.check(printed == expected, &format!("the numbers {expected:?} of round 1, not {printed:?}"));
    }
}

fn publish_all(client: &mut Client, samples: &[Sample]) {
    for round in [1, 2] {
        for (number, sample) in samples.iter().enumerate() {
            client.publish(&sample.topic(), sample.payload(number, round));
        }
    }
}

/// Returns the numbers of the printed samples of a round.
pub(crate) fn numbers(outcome: &Outcome, round: usize) -> Vec<usize> {
    let lines = outcome.json_lines();
    let payloads = lines.iter().map(|line| &line["payload"]).filter(|payload| payload["round"] == round);
    payloads.filter_map(|payload| payload["number"].as_u64()).filter_map(|it| it.try_into().ok()).collect()
}

/// Returns an event's payload with these keys and the method.
pub(crate) fn event(more: &Value) -> String {
    let mut payload = json!({ "method": "RTCOMM_EVENT_FIRED" });
    for (key, value) in more.as_object().expect("an object of keys") {
        payload[key] = value.clone();
    }
    payload.to_string()
}
