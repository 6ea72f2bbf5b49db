//! The registered endpoints as a table for people: a line per document, and their number.
//!
//! On a terminal, it fits the width. Text from the network is escaped, and credentials in URLs are masked.

use unicode_width::UnicodeWidthStr as _;

use super::EMPTY_CELL;
use super::escape::escaped;
use super::width::shortened;
use crate::protocol::credentials::masked;
use crate::protocol::fields::Field;
use crate::protocol::record::{Content, Record};
use crate::protocol::topic::Root;

const HEADER: [&str; 5] = ["ENDPOINT", "STATE", "APPLICATION", "ALIAS", "ADDRESS"];

/// Width of the space between two columns.
const GAP: usize = 2;

/// Width that a column needs on average to be readable.
const READABLE_WIDTH: usize = 12;

/// Number of columns that are always shown: endpoint, state and application.
const MIN_COLUMNS: usize = 3;

/// The cells of a line.
type Cells = [String; HEADER.len()];

/// Collects documents, and writes them as a table at the end.
#[derive(Debug)]
pub(crate) struct PresenceTable {
    sphere: Root,
    /// Returns the width of the terminal.
    columns: Option<fn() -> usize>,
    rows: Vec<Cells>,
}

impl PresenceTable {
    /// Makes an empty table for documents below `sphere`. On a terminal, `columns` returns its width.
    pub(crate) fn new(sphere: Root, columns: Option<fn() -> usize>) -> Self {
        Self { sphere, columns, rows: Vec::new() }
    }

    /// Adds a document. Other records are not part of the table.
    pub(crate) fn add(&mut self, record: &Record<'_>) {
        let Content::Presence(presence) = &record.content else { return };
        let Some(document) = presence.document else { return };
        let text = |field: Option<Field<'_>>| cell(&field.map(Field::text).unwrap_or_default());
        self.rows.push([
            cell(self.sphere.strip(record.topic).unwrap_or(presence.from)),
            text(document.state),
            text(document.app_context),
            text(document.alias),
            text(document.address_topic),
        ]);
    }

    /// Appends the table, sorted by endpoint, and forgets its rows.
    pub(crate) fn write(&mut self, out: &mut Vec<u8>) {
        let mut rows = std::mem::take(&mut self.rows);
        rows.sort_unstable();
        let count = format!("{} registered\n", rows.len());
        if !rows.is_empty() {
            rows.insert(0, HEADER.map(str::to_owned));
        }
        let mut widths: Vec<usize> = (0..HEADER.len())
            .map(|column| rows.iter().map(|row| row[column].width()).max().unwrap_or_default())
            .collect();
        if let Some(columns) = self.columns {
            fit(&mut widths, columns());
        }
        for row in &rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                let cell = shortened(cell, *width);
                let padding = width - cell.width() + GAP;
                line.push_str(&cell);
                line.extend(std::iter::repeat_n(' ', padding));
            }
            out.extend_from_slice(line.trim_end().as_bytes());
            out.push(b'\n');
        }
        out.extend_from_slice(count.as_bytes());
    }
}

/// Fits the columns into the width of a terminal: leaves out the last ones if it is narrow, and reduces the largest ones.
fn fit(widths: &mut Vec<usize>, columns: usize) {
    let used = |widths: &[usize]| widths.iter().sum::<usize>() + GAP * (widths.len() - 1);
    if used(widths) > columns {
        widths.truncate((columns / READABLE_WIDTH).max(MIN_COLUMNS));
    }
    while used(widths) > columns
        && let Some(largest) = widths.iter_mut().max().filter(|width| **width > 1)
    {
        *largest -= 1;
    }
}

fn cell(text: &str) -> String {
    if text.is_empty() { EMPTY_CELL.to_owned() } else { escaped(&masked(text)).into_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::record::Message;
    use crate::protocol::topic::Topics;

    #[test]
    fn documents_are_sorted_aligned_and_counted() {
        let topics = Topics::from("/rtcomm".parse::<Root>().expect("a root"));
        let mut table = PresenceTable::new(topics.sphere().clone(), None);
        let mut out = Vec::new();
        table.write(&mut out);
        for (endpoint, payload) in [
            ("iggy_pop", r#"{"method":"DOCUMENT","state":"available","alias":"Iggy","addressTopic":"/rtcomm/1"}"#),
            ("agents/日本", r#"{"method":"DOCUMENT","state":"busy","appContext":"a\nb","alias":"turn:me:pw@h"}"#),
            ("lemmy", ""),
            ("x", "[]"),
        ] {
            let (topic, received) = (format!("/rtcomm/sphere/{endpoint}"), jiff::Timestamp::UNIX_EPOCH);
            let message = Message { received, topic: &topic, qos: 0, retain: true, payload: payload.as_bytes() };
            table.add(&Record::of(&topics, &message));
        }
        table.write(&mut out);
        assert_eq!(
            String::from_utf8(out).expect("UTF-8"),
            "\
0 registered
ENDPOINT     STATE      APPLICATION  ALIAS           ADDRESS
agents/日本  busy       a\\nb         turn:***:***@h  -
iggy_pop     available  -            Iggy            /rtcomm/1
2 registered
"
        );
    }

    #[test]
    fn a_table_fits_its_terminal() {
        let topics = Topics::from("/rtcomm".parse::<Root>().expect("a root"));
        let mut table = PresenceTable::new(topics.sphere().clone(), Some(|| 40));
        let payload = r#"{"method":"DOCUMENT","state":"available","appContext":"XYZ video app","alias":"Iggy","addressTopic":"/rtcomm/1"}"#;
        let (topic, received) = ("/rtcomm/sphere/sip:dankojones@xyz.com", jiff::Timestamp::UNIX_EPOCH);
        let message = Message { received, topic, qos: 0, retain: true, payload: payload.as_bytes() };
        table.add(&Record::of(&topics, &message));
        let mut out = Vec::new();
        table.write(&mut out);
        let text = String::from_utf8(out).expect("UTF-8");
        assert!(text.lines().all(|line| line.width() <= 40), "{text}");
        let expected = "\
ENDPOINT        STATE      APPLICATION
sip:dan…yz.com  available  XYZ video app
1 registered
";
        assert_eq!(text, expected);
    }
}
