//! A call record: one session, from its first event to its end, as a JSON line.
//!
//! ```json
//! {"cdr":"completed","sigSessID":"…","from":"a","to":"b","appContext":"x","started":"2026-11-23 04:34:12.798","ended":"2026-11-23 04:35:02.300","duration_s":49.502,"clock":"server","modified":0,"duplicates":0,"incomplete":[]}
//! ```
//!
//! A key whose value is not known is absent. `modified`, `duplicates` and `incomplete` are always present.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::read::{LineError, required, string_of};
use super::write::write_string;
use crate::protocol::fields::{Field, key_table};
use crate::protocol::timestamp;

/// How a session ended, as far as its events were seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SessionOutcome {
    /// It was stopped.
    Completed,
    /// It failed, and its start was not seen.
    Failed,
    /// It failed after its start was seen.
    Dropped,
    /// The input ended before the session.
    Open,
    /// Its end was not seen for too long.
    Lost,
}

impl SessionOutcome {
    /// All outcomes.
    pub const ALL: [Self; 5] = [Self::Completed, Self::Failed, Self::Dropped, Self::Open, Self::Lost];

    /// Returns the value of `cdr` in a JSON line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
            Self::Open => "open",
            Self::Lost => "lost",
        }
    }
}

impl fmt::Display for SessionOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The clock of a call record's times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallClock {
    /// The server's: local time without a zone, as in the events' payloads.
    Server,
    /// This client's, when it received the events.
    Received,
}

impl CallClock {
    /// Both clocks.
    const ALL: [Self; 2] = [Self::Server, Self::Received];

    /// Returns the value of `clock` in a JSON line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Received => "received",
        }
    }
}

/// A part of a session that was not seen, or may not have been seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Missing {
    /// Its start.
    Start,
    /// Its end.
    End,
    /// Events between two connections of the recorder.
    Gap,
    /// Its ID. Its events were paired by their endpoints and application.
    Id,
}

impl Missing {
    /// Returns the element of `incomplete` in a JSON line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::End => "end",
            Self::Gap => "gap",
            Self::Id => "id",
        }
    }
}

/// One session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallRecord {
    /// How it ended.
    pub outcome: SessionOutcome,
    /// Its ID, `sigSessID`.
    pub session_id: Option<String>,
    /// The endpoint that called.
    pub from: String,
    /// The endpoint that was called: the TO of the first event.
    pub to: String,
    /// The TO endpoints of later events, if they differ: those that answered. Not in the JSON line.
    pub answered_by: Vec<String>,
    /// The application.
    pub app_context: Option<String>,
    /// When it started, by `clock`.
    pub started: Option<String>,
    /// When it ended, by `clock`.
    pub ended: Option<String>,
    /// The time from start to end, in whole milliseconds.
    pub duration: Option<Duration>,
    /// The clock of the times, if there are any.
    pub clock: Option<CallClock>,
    /// The reason in the event that ended it.
    pub reason: Option<String>,
    /// Number of `modified` events, without copies.
    pub modified: u64,
    /// Number of copies of its events that were delivered again.
    pub duplicates: u64,
    /// What was not seen, in the order of [`Missing`].
    pub incomplete: Vec<Missing>,
    /// When its first event was received. If read from a line, only known with [`CallClock::Received`].
    pub first_received: Option<Timestamp>,
    /// When its last event was received. If read from a line, only known with [`CallClock::Received`].
    pub last_received: Option<Timestamp>,
}

key_table! {
    /// The values of a call record's keys.
    pub(super) struct CallKeys, nulls absent:

    cdr: "cdr",
    session_id: "sigSessID",
    from: "from",
    to: "to",
    app_context: "appContext",
    started: "started",
    ended: "ended",
    duration: "duration_s",
    clock: "clock",
    reason: "reason",
    modified: "modified",
    duplicates: "duplicates",
    incomplete: "incomplete",
}

impl CallRecord {
    /// Appends the record as a JSON line, including the line end.
    pub fn write_line(&self, out: &mut Vec<u8>) {
        write_known(out, "{\"cdr\":", Some(self.outcome.as_str()));
        write_known(out, ",\"sigSessID\":", self.session_id.as_deref());
        write_known(out, ",\"from\":", Some(&self.from));
        write_known(out, ",\"to\":", Some(&self.to));
        write_known(out, ",\"appContext\":", self.app_context.as_deref());
        write_known(out, ",\"started\":", self.started.as_deref());
        write_known(out, ",\"ended\":", self.ended.as_deref());
        if let Some(duration) = self.duration {
            out.extend_from_slice(format!(",\"duration_s\":{}", seconds(duration)).as_bytes());
        }
        write_known(out, ",\"clock\":", self.clock.map(CallClock::as_str));
        write_known(out, ",\"reason\":", self.reason.as_deref());
        let missing: Vec<String> = self.incomplete.iter().map(|it| format!("\"{}\"", it.as_str())).collect();
        let Self { modified, duplicates, .. } = self;
        let missing = missing.join(",");
        let rest = format!(",\"modified\":{modified},\"duplicates\":{duplicates},\"incomplete\":[{missing}]}}\n");
        out.extend_from_slice(rest.as_bytes());
    }

    /// Reads a JSON object that has the key `cdr`. Skips unknown keys, and accepts keys in any order.
    ///
    /// # Errors
    /// If a key is missing or has an invalid value.
    pub(super) fn parse(line: &str) -> Result<Self, LineError> {
        let keys: CallKeys<'_> =
            serde_json::from_str(line).map_err(|error| LineError::NotAnObject(error.to_string()))?;
        let clock = optional("clock", keys.clock, |it| CallClock::ALL.into_iter().find(|clock| it.is(clock.as_str())))?;
        let started = optional("started", keys.started, owned)?;
        let ended = optional("ended", keys.ended, owned)?;
        let received = |text: Option<&String>| {
            text.filter(|_| clock == Some(CallClock::Received)).and_then(|text| timestamp::read(text))
        };
        let (first, last) = (received(started.as_ref()), received(ended.as_ref()));
        let outcome = |it: Field<'_>| SessionOutcome::ALL.into_iter().find(|outcome| it.is(outcome.as_str()));
        let number = |it: Field<'_>| it.json().parse().ok();
        Ok(Self {
            outcome: required("cdr", keys.cdr, outcome)?,
            session_id: optional("sigSessID", keys.session_id, owned)?,
            from: required("from", keys.from, owned)?,
            to: required("to", keys.to, owned)?,
            answered_by: Vec::new(),
            app_context: optional("appContext", keys.app_context, owned)?,
            started,
            ended,
            duration: optional("duration_s", keys.duration, |it| duration_of(it.json()))?,
            clock,
            reason: optional("reason", keys.reason, owned)?,
            modified: optional("modified", keys.modified, number)?.unwrap_or_default(),
            duplicates: optional("duplicates", keys.duplicates, number)?.unwrap_or_default(),
            incomplete: optional("incomplete", keys.incomplete, |it| serde_json::from_str(it.json()).ok())?
                .unwrap_or_default(),
            first_received: first.or(last),
            last_received: last.or(first),
        })
    }
}

/// Appends `key`, which is JSON already, and its value if it is known.
fn write_known(out: &mut Vec<u8>, key: &str, value: Option<&str>) {
    if let Some(value) = value {
        write_string(out, key, value).expect("writing to a Vec never fails");
    }
}

/// Returns a duration in seconds as JSON, with as many decimals as it needs.
pub(in crate::protocol) fn seconds(duration: Duration) -> String {
    let (seconds, millis) = (duration.as_secs(), duration.subsec_millis());
    if millis == 0 {
        return seconds.to_string();
    }
    format!("{seconds}.{millis:03}").trim_end_matches('0').to_owned()
}

/// Reads a number of seconds, and rounds it to milliseconds.
fn duration_of(json: &str) -> Option<Duration> {
    let millis = (json.parse::<f64>().ok()? * 1_000.0).round();
    // Larger numbers are not exact.
    let is_valid = (0.0..=9e15).contains(&millis);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked")]
    is_valid.then(|| Duration::from_millis(millis as u64))
}

fn owned(field: Field<'_>) -> Option<String> {
    string_of(field).map(Into::into)
}

/// Reads the value of a key that may be absent, or returns an error that names the key.
fn optional<'a, T>(
    key: &'static str,
    field: Option<Field<'a>>,
    read: impl FnOnce(Field<'a>) -> Option<T>,
) -> Result<Option<T>, LineError> {
    field.map(|field| read(field).ok_or(LineError::Invalid(key))).transpose()
}

#[cfg(test)]
mod tests {
    use super::super::Entry;
    use super::*;
    use proptest::prelude::*;

    fn written(record: &CallRecord) -> String {
        let mut line = Vec::new();
        record.write_line(&mut line);
        String::from_utf8(line).expect("a line is UTF-8")
    }

    fn read(line: &str) -> CallRecord {
        match Entry::parse(line.as_bytes()) {
            Ok(Entry::Call(record)) => *record,
            other => panic!("not a call record: {other:?}"),
        }
    }

    fn record() -> CallRecord {
        CallRecord {
            outcome: SessionOutcome::Dropped,
            session_id: Some("6a1f".to_owned()),
            from: "a \"b\"".to_owned(),
            to: "björk".to_owned(),
            answered_by: vec![],
            app_context: Some("x".to_owned()),
            started: Some("2026-11-23 04:34:12.798".to_owned()),
            ended: Some("2026-11-23 04:35:02.3".to_owned()),
            duration: Some(Duration::from_millis(49_502)),
            clock: Some(CallClock::Server),
            reason: Some("line\nbroken".to_owned()),
            modified: 2,
            duplicates: 1,
            incomplete: vec![Missing::Gap, Missing::Id],
            first_received: None,
            last_received: None,
        }
    }

    #[test]
    fn a_record_is_a_line_with_its_keys_in_order() {
        assert_eq!(
            written(&record()),
            concat!(
                r#"{"cdr":"dropped","sigSessID":"6a1f","from":"a \"b\"","to":"björk","appContext":"x","#,
                r#""started":"2026-11-23 04:34:12.798","ended":"2026-11-23 04:35:02.3","duration_s":49.502,"#,
                r#""clock":"server","reason":"line\nbroken","modified":2,"duplicates":1,"incomplete":["gap","id"]}"#,
                "\n"
            )
        );
    }

    #[test]
    fn keys_with_unknown_values_are_absent() {
        let record = CallRecord {
            outcome: SessionOutcome::Lost,
            session_id: None,
            app_context: None,
            started: None,
            ended: None,
            duration: None,
            clock: None,
            reason: None,
            modified: 0,
            duplicates: 0,
            incomplete: vec![],
            ..record()
        };
        assert_eq!(
            written(&record),
            "{\"cdr\":\"lost\",\"from\":\"a \\\"b\\\"\",\"to\":\"björk\",\"modified\":0,\"duplicates\":0,\"incomplete\":[]}\n"
        );
        assert_eq!(read(&written(&record)), record);
    }

    #[test]
    fn the_error_of_a_damaged_record_names_the_key() {
        let whole = written(&record());
        for (from, to, error) in [
            ("dropped", "gone", LineError::Invalid("cdr")),
            ("\"from\"", "\"form\"", LineError::Missing("from")),
            ("\"server\"", "\"sun\"", LineError::Invalid("clock")),
            ("49.502", "-1", LineError::Invalid("duration_s")),
            ("49.502", "1e99", LineError::Invalid("duration_s")),
            ("\"gap\"", "\"hole\"", LineError::Invalid("incomplete")),
            ("\"modified\":2", "\"modified\":-2", LineError::Invalid("modified")),
            ("\"6a1f\"", "7", LineError::Invalid("sigSessID")),
        ] {
            let damaged = whole.replace(from, to);
            assert_eq!(Entry::parse(damaged.as_bytes()).err(), Some(error), "{damaged}");
        }
    }

    #[test]
    fn times_of_the_receiving_clock_are_known_when_read() {
        let line = r#"{"cdr":"open","from":"a","to":"b","started":"2026-11-23T03:34:12.5Z","clock":"received","x":1}"#;
        let started = "2026-11-23T03:34:12.5Z".parse().expect("a time");
        assert_eq!((read(line).first_received, read(line).last_received), (Some(started), Some(started)));
        assert_eq!(read(&line.replace("received\"", "server\"")).first_received, None);
    }

    fn text() -> impl Strategy<Value = String> {
        ".{1,8}"
    }

    fn maybe_text() -> impl Strategy<Value = Option<String>> {
        prop::option::of(text())
    }

    proptest! {
        #[test]
        fn a_record_that_is_written_and_read_stays_the_same(
            outcome in prop::sample::select(SessionOutcome::ALL.to_vec()),
            (from, to) in (text(), text()),
            (session_id, app_context, started, ended, reason) in (maybe_text(), maybe_text(), maybe_text(), maybe_text(), maybe_text()),
            millis in prop::option::of(0..9_000_000_000_u64),
            (modified, duplicates) in any::<(u64, u64)>(),
            incomplete in prop::sample::subsequence(vec![Missing::Start, Missing::End, Missing::Gap, Missing::Id], 0..=4),
        ) {
            let record = CallRecord {
                outcome, session_id, from, to, answered_by: vec![], app_context, started, ended,
                duration: millis.map(Duration::from_millis),
                clock: Some(CallClock::Server),
                reason, modified, duplicates, incomplete, first_received: None, last_received: None,
            };
            let line = written(&record);
            prop_assert_eq!(line.matches('\n').count(), 1);
            prop_assert_eq!(read(&line), record);
        }
    }
}
