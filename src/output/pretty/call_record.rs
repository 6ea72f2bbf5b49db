//! Call records as lines for people, and their summary as a table.
//!
//! The line's time is when the session ended, or started if its end was not seen. The detail has the duration, the reason,
//! counts of changes and copies, what was not seen, and the session's ID.

use std::borrow::Cow;

use super::fitted::Fitted;
use super::row::{Brief, Detail, Kind, LineTime, Note, Parties, Row};
use super::{Pretty, Style, short_id};
use crate::output::{EMPTY_CELL, duration_text, summary_table};
use crate::protocol::cdr::SummaryRow;
use crate::protocol::record::{CallClock, CallRecord, Missing, SessionOutcome};

impl Pretty {
    /// Appends a call record as a line, including the line end.
    pub(crate) fn call(&mut self, call: &CallRecord, out: &mut Vec<u8>) {
        let time = call.ended.as_deref().or(call.started.as_deref());
        let received = time.filter(|_| call.clock == Some(CallClock::Received)).and_then(|time| time.parse().ok());
        // The server's local time has the same format, but no known zone.
        let time = received.map_or(LineTime::Text(time.unwrap_or(EMPTY_CELL)), LineTime::At);
        self.write(time, &call_row(call), out);
    }

    /// Appends a summary as a table.
    pub(crate) fn summary(&mut self, rows: &[SummaryRow], out: &mut Vec<u8>) {
        let room = self.fitted.as_ref().map(Fitted::columns);
        summary_table::write(rows, &mut self.clock, room, out);
    }
}

fn call_row(call: &CallRecord) -> Row<'_> {
    Row {
        kind: Kind::Call,
        state: call.outcome.as_str().into(),
        style: match call.outcome {
            SessionOutcome::Completed => Style::Success,
            SessionOutcome::Failed | SessionOutcome::Dropped => Style::Failure,
            SessionOutcome::Open => Style::Plain,
            SessionOutcome::Lost => Style::Change,
        },
        parties: Parties::FromTo((&call.from).into(), (&call.to).into()),
        context: call.app_context.as_deref().filter(|context| !context.is_empty()).map(Cow::Borrowed),
        detail: detail(call),
    }
}

fn detail(call: &CallRecord) -> Detail<'_> {
    let missing = call.incomplete.iter().map(|missing| match missing {
        Missing::Start => "start not seen",
        Missing::End => "end not seen",
        Missing::Gap => "gap",
        Missing::Id => "no session ID",
    });
    let count = |number: u64, what: &str| (number > 0).then(|| format!("{number} {what}").into());
    let main: Vec<Cow<'_, str>> = call
        .duration
        .map(|duration| duration_text(duration).into())
        .into_iter()
        .chain(call.reason.as_deref().filter(|reason| !reason.is_empty()).map(Cow::Borrowed))
        .collect();
    let all: Vec<Cow<'_, str>> = main
        .iter()
        .cloned()
        .chain(count(call.modified, "modified"))
        .chain(count(call.duplicates, if call.duplicates == 1 { "duplicate" } else { "duplicates" }))
        .chain(missing.map(Cow::Borrowed))
        .collect();
    let joined = |parts: &[Cow<'_, str>]| (!parts.is_empty()).then(|| parts.join(", ").into());
    let id = call.session_id.as_deref().map(|id| short_id(id.into()));
    let brief = Some(Brief { text: joined(&main), id: id.clone() });
    Detail { text: joined(&all), id, brief, note: Note::None }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use jiff::tz::TimeZone;

    use super::super::Clock;

    fn line(json: &str) -> String {
        let Ok(crate::protocol::record::Entry::Call(call)) = crate::protocol::record::Entry::parse(json.as_bytes())
        else {
            panic!("a call record: {json}")
        };
        let mut pretty = Pretty::new(super::super::Medium::Pipe, false, "/rtcomm/sphere".parse().expect("a root"));
        pretty.clock = Clock::new(TimeZone::UTC);
        let mut out = Vec::new();
        pretty.call(&call, &mut out);
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn every_kind_of_record_has_its_line() {
        for (json, expected) in [
            (
                r#"{"cdr":"completed","sigSessID":"6a1f9f3e-2d0b-4c35-8a53-0d9d5b1f5f10","from":"iggy_pop","to":"david_bowie","appContext":"XYZ video app","started":"2026-11-23 04:34:12.798","ended":"2026-11-23 04:37:24.9","duration_s":192.102,"clock":"server","modified":2,"duplicates":1,"incomplete":[]}"#,
                "2026-11-23 04:37:24.9    call          completed  iggy_pop → david_bowie                XYZ video app     3m 12s, 2 modified, 1 duplicate, 6a1f9f3e\n",
            ),
            (
                r#"{"cdr":"failed","from":"björk","to":"日本語","ended":"2026-11-23T03:34:12.798558Z","clock":"received","reason":"Busy\u001b[2J","incomplete":["start","id"]}"#,
                "2026-11-23 03:34:12.798  call          failed     björk → 日本語                        -                 Busy\\u{1b}[2J, start not seen, no session ID\n",
            ),
            (
                r#"{"cdr":"lost","from":"a","to":"b","incomplete":["start","end","gap","id"]}"#,
                "-                        call          lost       a → b                                 -                 start not seen, end not seen, gap, no session ID\n",
            ),
            (
                r#"{"cdr":"open","from":"a","to":"b","started":"2026-11-23T03:34:12Z","clock":"received"}"#,
                "2026-11-23 03:34:12.000  call          open       a → b                                 -                 -\n",
            ),
        ] {
            assert_eq!(line(json), expected);
        }
    }

    #[test]
    fn the_precision_of_a_duration_depends_on_its_length() {
        for (millis, text) in [
            (0, "0ms"),
            (999, "999ms"),
            (1_000, "1.0s"),
            (7_549, "7.5s"),
            (59_999, "59.9s"),
            (60_999, "1m"),
            (7_203_000, "2h 3s"),
        ] {
            assert_eq!(duration_text(Duration::from_millis(millis)), text);
        }
    }
}
