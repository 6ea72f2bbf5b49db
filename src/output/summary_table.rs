//! The summary of call records as a table for people.
//!
//! A line per row, with aligned columns: numbers to the right, and the row's key at the end, because reasons are long. If that
//! does not fit a terminal, each row is a paragraph: its key, then names and numbers. Text from the network is escaped.

use std::time::Duration;

use jiff::Timestamp;
use unicode_width::UnicodeWidthStr as _;

use super::clock::Clock;
use super::escape::escaped;
use super::width::shortened;
use super::{EMPTY_CELL, duration_text};
use crate::protocol::cdr::{SummaryBy, SummaryRow};

/// The header. The last column has the name of what the rows have in common.
const HEADER: [&str; 14] =
    ["CALLS", "EST", "FAIL", "DROP", "OPEN", "LOST", "INC", "ASR", "ACD", "MIN", "MAX", "FIRST", "LAST", "GAPS"];

/// The space between two columns.
const GAP: &str = "  ";

/// The cells of a line without its key.
type Cells = [String; HEADER.len()];

/// Appends the rows as a table, with a header. `room` is the width of the terminal.
pub(super) fn write(rows: &[SummaryRow], clock: &mut Clock, room: Option<usize>, out: &mut Vec<u8>) {
    let by = rows.first().map_or(SummaryBy::All, |row| row.by);
    let header = if by == SummaryBy::All { String::new() } else { by.as_str().to_uppercase() };
    let mut lines = vec![(HEADER.map(str::to_owned), header)];
    lines.extend(rows.iter().map(|row| (cells(row, clock), key(row))));
    let mut widths = [0; HEADER.len()];
    for (cells, _) in &lines {
        for (width, cell) in widths.iter_mut().zip(cells) {
            *width = cell.width().max(*width);
        }
    }
    let longest_key = lines.iter().map(|(_, key)| key.width()).max().unwrap_or_default();
    let total = widths.iter().map(|width| width + GAP.len()).sum::<usize>() + longest_key;
    if let Some(room) = room.filter(|room| total > *room) {
        lines.iter().skip(1).for_each(|(cells, key)| paragraph(key, cells, room, out));
        return;
    }
    for (cells, key) in &lines {
        let mut line = String::new();
        for (cell, width) in cells.iter().zip(widths) {
            line.extend(std::iter::repeat_n(' ', width - cell.width()));
            line.push_str(cell);
            line.push_str(GAP);
        }
        line.push_str(key);
        out.extend_from_slice(line.trim_end().as_bytes());
        out.push(b'\n');
    }
}

/// Appends a row as a key, and below it names and values in lines of at most `room` cells.
fn paragraph(key: &str, cells: &Cells, room: usize, out: &mut Vec<u8>) {
    let mut text = shortened(key, room).into_owned();
    let mut used = room;
    for (name, cell) in HEADER.iter().zip(cells) {
        let pair = format!("{GAP}{name} {cell}");
        used += pair.width();
        if used > room {
            text.push('\n');
            used = pair.width();
        }
        text.push_str(&pair);
    }
    out.extend_from_slice(text.as_bytes());
    out.push(b'\n');
}

fn cells(row: &SummaryRow, clock: &mut Clock) -> Cells {
    let counters = &row.counters;
    let mut time = |at: Option<Timestamp>| {
        const SECONDS_LEN: usize = "2026-11-23 04:34:12".len();
        at.map_or(EMPTY_CELL.to_owned(), |at| clock.time(at).chars().take(SECONDS_LEN).collect())
    };
    let duration = |it: Option<Duration>| it.map_or(EMPTY_CELL.to_owned(), duration_text);
    let ratio = counters.answer_seizure_ratio().map(|ratio| format!("{:.1}%", ratio * 100.0));
    [
        counters.attempts.to_string(),
        counters.established().to_string(),
        counters.failed.to_string(),
        counters.dropped.to_string(),
        counters.open.to_string(),
        counters.lost.to_string(),
        counters.incomplete.to_string(),
        ratio.unwrap_or_else(|| EMPTY_CELL.to_owned()),
        duration(counters.average_duration()),
        duration(counters.shortest),
        duration(counters.longest),
        time(counters.first),
        time(counters.last),
        row.gaps.to_string(),
    ]
}

fn key(row: &SummaryRow) -> String {
    match (&row.key, row.by) {
        (Some(key), _) => escaped(key).into_owned(),
        (None, SummaryBy::All) => "total".to_owned(),
        (None, _) => EMPTY_CELL.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::cdr::{CallRecord, Summary};
    use crate::protocol::record::Entry;
    use jiff::tz::TimeZone;

    fn call(json: &str) -> CallRecord {
        match Entry::parse(json.as_bytes()) {
            Ok(Entry::Call(call)) => *call,
            other => panic!("a call record: {other:?}"),
        }
    }

    fn table(by: SummaryBy, calls: &[CallRecord]) -> String {
        table_in(None, by, calls)
    }

    fn table_in(room: Option<usize>, by: SummaryBy, calls: &[CallRecord]) -> String {
        let mut summary = Summary::new(by);
        for call in calls {
            summary.add(call);
        }
        let mut out = Vec::new();
        write(&summary.rows(None, 1), &mut Clock::new(TimeZone::UTC), room, &mut out);
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn columns_are_aligned_and_the_key_is_at_the_end() {
        let calls = [
            call(
                r#"{"cdr":"completed","from":"björk","to":"b","started":"2026-11-23T03:34:12Z","ended":"2026-11-23T04:36:12Z","duration_s":3720,"clock":"received"}"#,
            ),
            call(r#"{"cdr":"failed","from":"björk","to":"日本語\n","incomplete":["start"]}"#),
        ];
        assert_eq!(
            table(SummaryBy::Endpoint, &calls),
            "\
CALLS  EST  FAIL  DROP  OPEN  LOST  INC     ASR    ACD    MIN    MAX                FIRST                 LAST  GAPS  ENDPOINT
    2    1     1     0     0     0    1   50.0%  1h 2m  1h 2m  1h 2m  2026-11-23 03:34:12  2026-11-23 04:36:12     1  björk
    1    1     0     0     0     0    0  100.0%  1h 2m  1h 2m  1h 2m  2026-11-23 03:34:12  2026-11-23 04:36:12     1  b
    1    0     1     0     0     0    1    0.0%      -      -      -                    -                    -     1  日本語\\n
    2    1     1     0     0     0    1   50.0%  1h 2m  1h 2m  1h 2m  2026-11-23 03:34:12  2026-11-23 04:36:12     1  total
"
        );
        assert_eq!(
            table(SummaryBy::All, &[]),
            "\
CALLS  EST  FAIL  DROP  OPEN  LOST  INC  ASR  ACD  MIN  MAX  FIRST  LAST  GAPS
    0    0     0     0     0     0    0    -    -    -    -      -     -     1  total
"
        );
        assert!(table(SummaryBy::App, &calls).contains("  1  -\n"), "calls without an application");
    }

    #[test]
    fn what_does_not_fit_a_terminal_is_a_paragraph() {
        let calls = [call(r#"{"cdr":"failed","from":"björk","to":"日本語","incomplete":["start"]}"#)];
        assert_eq!(
            table_in(Some(40), SummaryBy::All, &calls),
            "\
total
  CALLS 1  EST 0  FAIL 1  DROP 0  OPEN 0
  LOST 0  INC 1  ASR 0.0%  ACD -  MIN -
  MAX -  FIRST -  LAST -  GAPS 1
"
        );
        assert_eq!(table_in(Some(200), SummaryBy::All, &calls), table(SummaryBy::All, &calls));
    }
}
