//! Counts call records per endpoint, application or reason, and in total.
//!
//! A row as a JSON line, with its keys in this order. A value that is not defined is `null`: `key` of the total, `asr`
//! without attempts, durations without a call whose both ends were seen, and times if none is known.
//!
//! ```json
//! {"summary":"endpoint","key":"iggy_pop","attempts":4,"established":3,"failed":1,"dropped":0,"open":1,"lost":0,"incomplete":1,"asr":0.75,"acd_s":61.5,"shortest_s":3,"longest_s":120,"gaps":0,"from":"2026-11-23T03:34:12.798558Z","until":"2026-11-23T04:12:01.000000Z"}
//! ```

use std::borrow::Cow;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher as _;
use std::iter;
use std::time::Duration;

use jiff::Timestamp;

use super::CallRecord;
use super::by_hash::ByHash;
use super::mask::ReasonMask;
use crate::protocol::record::{SessionOutcome, seconds, write_string};
use crate::protocol::timestamp;

/// How a summary groups calls into rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SummaryBy {
    /// All calls in one row.
    All,
    /// A row for each endpoint. A call counts for both of its sides.
    Endpoint,
    /// A row for each application.
    App,
    /// A row for each reason. UUIDs, dates and numbers in it are masked.
    Reason,
}

impl SummaryBy {
    /// All groupings.
    pub const ALL: [Self; 4] = [Self::All, Self::Endpoint, Self::App, Self::Reason];

    /// Returns the value of `summary` in a JSON line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Endpoint => "endpoint",
            Self::App => "app",
            Self::Reason => "reason",
        }
    }
}

impl fmt::Display for SummaryBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Counts call records.
#[derive(Debug)]
pub struct Summary {
    by: SummaryBy,
    /// The index of each key by its hash.
    indexes: ByHash<usize>,
    keys: Vec<String>,
    /// The counters of each key. They are apart from the keys, which are read at the end only.
    counters: Vec<CallCounters>,
    hashing: RandomState,
    /// The row of calls without a key, such as calls without an application.
    keyless: CallCounters,
    total: CallCounters,
    /// Set with [`SummaryBy::Reason`].
    mask: Option<ReasonMask>,
}

/// The counters of a row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallCounters {
    /// Number of sessions.
    pub attempts: u64,
    /// Number of sessions that failed without a start.
    pub failed: u64,
    /// Number of sessions that failed after they started.
    pub dropped: u64,
    /// Number of sessions that had not ended at the end of the input.
    pub open: u64,
    /// Number of sessions whose end was not seen for too long.
    pub lost: u64,
    /// Number of sessions of which something was not seen.
    pub incomplete: u64,
    /// Number of sessions with a duration.
    timed: u64,
    total_duration: Duration,
    /// The shortest duration.
    pub shortest: Option<Duration>,
    /// The longest duration.
    pub longest: Option<Duration>,
    /// When the first event was received.
    pub first: Option<Timestamp>,
    /// When the last event was received.
    pub last: Option<Timestamp>,
}

impl CallCounters {
    fn add(&mut self, record: &CallRecord) {
        self.attempts += 1;
        match record.outcome {
            SessionOutcome::Completed => {}
            SessionOutcome::Failed => self.failed += 1,
            SessionOutcome::Dropped => self.dropped += 1,
            SessionOutcome::Open => self.open += 1,
            SessionOutcome::Lost => self.lost += 1,
        }
        self.incomplete += u64::from(!record.incomplete.is_empty());
        if let Some(duration) = record.duration {
            self.timed += 1;
            self.total_duration = self.total_duration.saturating_add(duration);
            self.shortest = Some(self.shortest.map_or(duration, |it| it.min(duration)));
            self.longest = self.longest.max(Some(duration));
        }
        if let Some(first) = record.first_received {
            self.first = Some(self.first.map_or(first, |it| it.min(first)));
        }
        self.last = self.last.max(record.last_received);
    }

    /// Returns the number of sessions that did not fail at once.
    #[must_use]
    pub fn established(&self) -> u64 {
        self.attempts - self.failed
    }

    /// Returns the answer-seizure ratio (ITU-T E.411): established sessions per attempt. `None` without attempts.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a ratio needs no more than 52 bits")]
    pub fn answer_seizure_ratio(&self) -> Option<f64> {
        (self.attempts > 0).then(|| self.established() as f64 / self.attempts as f64)
    }

    /// Returns the average duration of the sessions whose both ends were seen. `None` without such a session.
    #[must_use]
    pub fn average_duration(&self) -> Option<Duration> {
        let millis = self.total_duration.as_millis().checked_div(self.timed.into())?;
        Some(Duration::from_millis(millis.try_into().unwrap_or(u64::MAX)))
    }
}

/// A row of a summary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SummaryRow {
    /// The grouping of the row. For the total, this is [`SummaryBy::All`].
    pub by: SummaryBy,
    /// The endpoint, application or masked reason. `None` for the total, and for calls without one.
    pub key: Option<String>,
    /// The counters.
    pub counters: CallCounters,
    /// Number of gaps in the whole input. Each can have hidden calls of any row.
    pub gaps: u64,
}

impl Summary {
    /// Makes an empty summary.
    #[must_use]
    pub fn new(by: SummaryBy) -> Self {
        Self {
            by,
            indexes: ByHash::default(),
            keys: Vec::new(),
            counters: Vec::new(),
            hashing: RandomState::new(),
            keyless: CallCounters::default(),
            total: CallCounters::default(),
            mask: (by == SummaryBy::Reason).then(ReasonMask::new),
        }
    }

    /// Counts a call.
    pub fn add(&mut self, record: &CallRecord) {
        self.total.add(record);
        match self.by {
            SummaryBy::All => {}
            SummaryBy::Endpoint => {
                self.row(Some(&record.from)).add(record);
                if record.to != record.from {
                    self.row(Some(&record.to)).add(record);
                }
            }
            SummaryBy::App => self.row(record.app_context.as_deref()).add(record),
            SummaryBy::Reason => {
                let masked = match (&self.mask, record.reason.as_deref()) {
                    (Some(mask), Some(reason)) => Some(mask.mask(reason)),
                    (_, reason) => reason.map(Cow::Borrowed),
                };
                self.row(masked.as_deref()).add(record);
            }
        }
    }

    fn row(&mut self, key: Option<&str>) -> &mut CallCounters {
        let Some(key) = key else { return &mut self.keyless };
        let index = *self.indexes.entry(self.hashing.hash_one(key)).or_insert_with(|| {
            self.keys.push(key.to_owned());
            self.counters.push(CallCounters::default());
            self.counters.len() - 1
        });
        &mut self.counters[index]
    }

    /// Returns the number of calls.
    #[must_use]
    pub fn attempts(&self) -> u64 {
        self.total.attempts
    }

    /// Returns the rows with the most attempts, at most `top`, and the total as the last row.
    #[must_use]
    pub fn rows(&self, top: Option<usize>, gaps: u64) -> Vec<SummaryRow> {
        let by = self.by;
        let row = |key: Option<&String>, counters: &CallCounters| SummaryRow {
            by,
            key: key.cloned(),
            counters: counters.clone(),
            gaps,
        };
        let mut rows: Vec<_> =
            iter::zip(&self.keys, &self.counters).map(|(key, counters)| row(Some(key), counters)).collect();
        if self.keyless.attempts > 0 {
            rows.push(row(None, &self.keyless));
        }
        rows.sort_unstable_by(|a, b| b.counters.attempts.cmp(&a.counters.attempts).then_with(|| a.key.cmp(&b.key)));
        rows.truncate(top.unwrap_or(usize::MAX));
        rows.push(SummaryRow { by: SummaryBy::All, ..row(None, &self.total) });
        rows
    }
}

impl SummaryRow {
    /// Appends the row as a JSON line, including the line end.
    pub fn write_line(&self, out: &mut Vec<u8>) {
        let Self { by, key, counters, gaps } = self;
        out.extend_from_slice(format!("{{\"summary\":\"{by}\",\"key\":").as_bytes());
        match key {
            Some(key) => write_string(out, "", key).expect("writing to a Vec never fails"),
            None => out.extend_from_slice(b"null"),
        }
        let CallCounters { attempts, failed, dropped, open, lost, incomplete, .. } = counters;
        let established = counters.established();
        let ratio = counters.answer_seizure_ratio().map(|ratio| (ratio * 10_000.0).round() / 10_000.0);
        let [acd, shortest, longest] =
            [counters.average_duration(), counters.shortest, counters.longest].map(|it| or_null(it.map(seconds)));
        let [from, until] = [counters.first, counters.last].map(|it| or_null(it.map(quoted_time)));
        let rest = format!(
            ",\"attempts\":{attempts},\"established\":{established},\"failed\":{failed},\"dropped\":{dropped},\
             \"open\":{open},\"lost\":{lost},\"incomplete\":{incomplete},\"asr\":{},\"acd_s\":{acd},\
             \"shortest_s\":{shortest},\"longest_s\":{longest},\"gaps\":{gaps},\"from\":{from},\"until\":{until}}}\n",
            or_null(ratio),
        );
        out.extend_from_slice(rest.as_bytes());
    }
}

fn or_null(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "null".to_owned(), |value| value.to_string())
}

/// Returns a time as a JSON string.
fn quoted_time(at: Timestamp) -> String {
    let mut text = Vec::new();
    timestamp::write(&mut text, at).expect("writing to a Vec never fails");
    format!("\"{}\"", String::from_utf8_lossy(&text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::record::Missing;

    fn time(text: &str) -> Timestamp {
        format!("2026-11-23T{text}Z").parse().expect("a time")
    }

    fn call(outcome: SessionOutcome, from: &str, to: &str, seconds: Option<u64>) -> CallRecord {
        CallRecord {
            outcome,
            session_id: None,
            from: from.to_owned(),
            to: to.to_owned(),
            answered_by: vec![],
            app_context: None,
            started: None,
            ended: None,
            duration: seconds.map(Duration::from_secs),
            clock: None,
            reason: None,
            modified: 0,
            duplicates: 0,
            incomplete: if seconds.is_some() { vec![] } else { vec![Missing::Start] },
            first_received: Some(time("03:00:00")),
            last_received: Some(time("04:00:00")),
        }
    }

    fn lines(summary: &Summary, top: Option<usize>) -> Vec<String> {
        let mut out = Vec::new();
        summary.rows(top, 2).iter().for_each(|row| row.write_line(&mut out));
        String::from_utf8(out).expect("UTF-8").lines().map(str::to_owned).collect()
    }

    /// Returns key and attempts of each row.
    fn attempts(summary: &Summary, top: Option<usize>) -> Vec<(Option<String>, u64)> {
        summary.rows(top, 0).into_iter().map(|row| (row.key, row.counters.attempts)).collect()
    }

    #[test]
    fn the_total_counts_every_outcome() {
        use SessionOutcome::{Completed, Dropped, Failed, Lost, Open};
        let mut summary = Summary::new(SummaryBy::All);
        let first = CallRecord { first_received: Some(time("02:00:00")), ..call(Completed, "a", "b", Some(3)) };
        summary.add(&first);
        for (outcome, seconds) in
            [(Dropped, Some(60)), (Completed, Some(121)), (Failed, None), (Open, None), (Lost, None)]
        {
            summary.add(&call(outcome, "a", "b", seconds));
        }
        assert_eq!(
            lines(&summary, None),
            [concat!(
                r#"{"summary":"all","key":null,"attempts":6,"established":5,"failed":1,"dropped":1,"open":1,"lost":1,"#,
                r#""incomplete":3,"asr":0.8333,"acd_s":61.333,"shortest_s":3,"longest_s":121,"gaps":2,"#,
                r#""from":"2026-11-23T02:00:00.000000Z","until":"2026-11-23T04:00:00.000000Z"}"#
            )]
        );
    }

    #[test]
    fn undefined_values_are_null() {
        assert_eq!(
            lines(&Summary::new(SummaryBy::Reason), None),
            [concat!(
                r#"{"summary":"all","key":null,"attempts":0,"established":0,"failed":0,"dropped":0,"open":0,"lost":0,"#,
                r#""incomplete":0,"asr":null,"acd_s":null,"shortest_s":null,"longest_s":null,"gaps":2,"#,
                r#""from":null,"until":null}"#
            )]
        );
    }

    #[test]
    fn a_call_counts_for_both_endpoints_and_once_in_the_total() {
        let mut summary = Summary::new(SummaryBy::Endpoint);
        for (from, to) in [("a", "b"), ("b", "c"), ("c", "c"), ("d", "b")] {
            summary.add(&call(SessionOutcome::Completed, from, to, Some(1)));
        }
        let row = |key: &str, attempts| (Some(key.to_owned()), attempts);
        assert_eq!(attempts(&summary, None), [row("b", 3), row("c", 2), row("a", 1), row("d", 1), (None, 4)]);
        assert_eq!(attempts(&summary, Some(2)), [row("b", 3), row("c", 2), (None, 4)]);
        assert!(lines(&summary, Some(1))[0].starts_with(r#"{"summary":"endpoint","key":"b","attempts":3"#));
    }

    #[test]
    fn calls_without_an_application_have_a_row() {
        let mut summary = Summary::new(SummaryBy::App);
        let without = call(SessionOutcome::Completed, "a", "b", None);
        let with = CallRecord { app_context: Some("x".to_owned()), ..without.clone() };
        for record in [&with, &without, &without] {
            summary.add(record);
        }
        assert_eq!(attempts(&summary, None), [(None, 2), (Some("x".to_owned()), 1), (None, 3)]);
        assert_eq!(summary.attempts(), 3);
    }

    #[test]
    fn reasons_are_masked_in_the_key() {
        let mut summary = Summary::new(SummaryBy::Reason);
        for reason in ["Busy", "timed out after 5000", "timed out after 45"] {
            let reason = Some(reason.to_owned());
            summary.add(&CallRecord { reason, ..call(SessionOutcome::Failed, "a", "b", None) });
        }
        assert_eq!(
            attempts(&summary, None),
            [(Some("timed out after <number>".to_owned()), 2), (Some("Busy".to_owned()), 1), (None, 3)]
        );
    }
}
