//! The result of a check: as the line of a monitoring plugin, as JSON, and as shell assignments.
//!
//! The line is `RTCOMM STATUS - TEXT | PERFDATA`, with perfdata as `NAME=VALUE[UNIT];WARNING;CRITICAL;0`. What comes from the
//! network contains no `|`, no line ends and no other control characters, and credentials are masked.
//!
//! ```json
//! {"check":"ok","message":"…","broker":"mqtt://…","connect_s":0.012,"query_s":0.003,"servers":1,"registered":4,"services":[{}]}
//! ```

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::Thresholds;
use crate::cli::Metric;
use crate::exit::CheckStatus;
use crate::output::duration_text;
use crate::output::escape::without_unsafe;
use crate::protocol::credentials::masked;
use crate::protocol::service::Services;
use crate::transport::url::BrokerUrl;

/// Maximum number of characters of the text. Monitoring systems read a few kilobytes.
const MAX_CHARS: usize = 1_500;

/// What a check found out. Values that are not known are `None`.
#[derive(Debug, Default)]
pub(super) struct CheckResult {
    problems: Vec<(CheckStatus, String)>,
    /// The broker that accepted the connection.
    broker: Option<BrokerUrl>,
    /// How long it took to connect.
    pub(super) connect: Option<Duration>,
    /// How long the first answer took.
    pub(super) query: Option<Duration>,
    /// Number of servers that answered.
    pub(super) servers: Option<u64>,
    /// Number of registered endpoints.
    pub(super) registered: Option<u64>,
    /// The services of the answers that differ.
    pub(super) services: Vec<Services>,
    /// Whether two servers answer differently.
    pub(super) is_ambiguous: bool,
}

impl CheckResult {
    /// Returns the result of a check that did not get any further.
    pub(super) fn of_problem(status: CheckStatus, problem: impl Into<String>) -> Self {
        Self { problems: vec![(status, problem.into())], ..Self::default() }
    }

    /// Returns the result of a check that has connected in this time.
    pub(super) fn of_connection(broker: BrokerUrl, connect: Duration) -> Self {
        Self { broker: Some(broker), connect: Some(connect), ..Self::default() }
    }

    /// Adds what is wrong.
    pub(super) fn add_problem(&mut self, status: CheckStatus, problem: String) {
        self.problems.push((status, problem));
    }

    /// Returns the status: that of the worst problem.
    pub(super) fn status(&self) -> CheckStatus {
        const WORST_FIRST: [CheckStatus; 3] = [CheckStatus::Critical, CheckStatus::Warning, CheckStatus::Unknown];
        let has = |status: &CheckStatus| self.problems.iter().any(|(problem, _)| problem == status);
        WORST_FIRST.into_iter().find(has).unwrap_or(CheckStatus::Ok)
    }

    /// Returns the line for a monitoring system.
    pub(super) fn line(&self, thresholds: &Thresholds) -> String {
        let perfdata: Vec<String> =
            Metric::ALL.into_iter().filter_map(|metric| self.perfdata(metric, thresholds)).collect();
        let separator = if perfdata.is_empty() { "" } else { " | " };
        format!("RTCOMM {} - {}{separator}{}", self.status().as_str(), self.message(), perfdata.join(" "))
    }

    fn perfdata(&self, metric: Metric, thresholds: &Thresholds) -> Option<String> {
        let value = match metric {
            Metric::Connect => format!("{:.6}s", self.connect?.as_secs_f64()),
            Metric::Query => format!("{:.6}s", self.query?.as_secs_f64()),
            Metric::Servers => self.servers?.to_string(),
            Metric::Registered => self.registered?.to_string(),
        };
        let [warning, critical] =
            [&thresholds.warning, &thresholds.critical].map(|thresholds| Thresholds::text(thresholds, metric));
        Some(format!("{}={value};{warning};{critical};0", metric.as_str()))
    }

    /// Returns the problems, the worst first, and what is known.
    fn message(&self) -> String {
        let of = |status: CheckStatus| self.problems.iter().filter(move |(problem, _)| *problem == status);
        let problems = [CheckStatus::Critical, CheckStatus::Warning, CheckStatus::Unknown].into_iter().flat_map(of);
        let parts: Vec<String> = problems.map(|(_, problem)| problem.clone()).chain(self.facts()).collect();
        let text = without_unsafe(&masked(&parts.join("; "))).replace('|', "");
        match text.char_indices().nth(MAX_CHARS) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        }
    }

    fn facts(&self) -> Option<String> {
        let (broker, connect) = (self.broker.as_ref()?, self.connect?);
        let servers = self.query.zip(self.servers).map(|(query, servers)| {
            let servers = if servers == 1 { "1 server".to_owned() } else { format!("{servers} servers") };
            format!(", {servers} answered in {}", duration_text(query))
        });
        let registered = self.registered.map(|count| format!(", {count} registered"));
        let [servers, registered] = [servers, registered].map(Option::unwrap_or_default);
        Some(format!("connected to {broker} in {}{servers}{registered}", duration_text(connect)))
    }

    /// Returns the JSON line, without its end.
    pub(super) fn json(&self) -> String {
        #[derive(Serialize)]
        struct CheckLine {
            check: String,
            message: String,
            #[serde(skip_serializing_if = "Option::is_none")]
            broker: Option<String>,
            #[serde(skip_serializing_if = "Option::is_none")]
            connect_s: Option<f64>,
            #[serde(skip_serializing_if = "Option::is_none")]
            query_s: Option<f64>,
            #[serde(skip_serializing_if = "Option::is_none")]
            servers: Option<u64>,
            #[serde(skip_serializing_if = "Option::is_none")]
            registered: Option<u64>,
            #[serde(skip_serializing_if = "Vec::is_empty")]
            services: Vec<Value>,
        }
        let seconds = |duration: Duration| (duration.as_secs_f64() * 1e6).round() / 1e6;
        let line = CheckLine {
            check: self.status().as_str().to_lowercase(),
            message: self.message(),
            broker: self.broker.as_ref().map(ToString::to_string),
            connect_s: self.connect.map(seconds),
            query_s: self.query.map(seconds),
            servers: self.servers,
            registered: self.registered,
            services: self.services.iter().map(Services::masked).collect(),
        };
        serde_json::to_string(&line).expect("text and numbers always serialize")
    }

    /// Returns shell assignments of the topics that all servers name, one per line. Values are quoted: a shell takes them as
    /// they are. Topics with control characters are left out.
    pub(super) fn assignments(&self) -> String {
        let [services] = &self.services[..] else { return String::new() };
        if self.is_ambiguous {
            return String::new();
        }
        let topics = [
            ("RTCOMM_EVENT_ROOT", services.events().map(|root| root.to_string())),
            ("RTCOMM_CALL_TOPIC", services.calls().map(|topic| topic.to_string())),
        ];
        let safe = topics.into_iter().filter_map(|(name, topic)| Some((name, topic?)));
        let safe = safe.filter(|(_, topic)| !topic.contains(char::is_control));
        let lines: Vec<String> =
            safe.map(|(name, topic)| format!("{name}='{}'\n", topic.replace('\'', r"'\''"))).collect();
        lines.concat()
    }
}
