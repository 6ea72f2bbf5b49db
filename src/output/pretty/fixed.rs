//! The layout of lines in a pipe or a file: full and fixed.
//!
//! The columns are `TIME  KIND  STATE  PARTIES  APPLICATION  DETAIL`. Nothing is cut off: cells are padded to a usual width,
//! and a longer value moves the rest of its line.

use super::row::{Detail, LineTime, Parties, Row, shown};
use crate::output::EMPTY_CELL;
use crate::output::clock::Clock;
use crate::output::color::{AnsiPair, Palette, Style};
use crate::output::escape::escaped;
use crate::output::width::width;

/// Minimum width of each column in terminal cells. The last column is not padded.
const WIDTHS: [usize; 5] = [23, 12, 9, 36, 16];

/// The separator of FROM and TO, and its width in terminal cells.
const ARROW: &str = " → ";
const ARROW_WIDTH: usize = 3;

/// Appends a line, including the line end.
pub(super) fn write(
    palette: Option<&Palette>,
    clock: &mut Clock,
    time: LineTime<'_>,
    row: &Row<'_>,
    out: &mut Vec<u8>,
) {
    let Row { kind, state, style, parties, context, detail } = row;
    let [time_width, kind_width, state_width, parties_width, context_width] = WIDTHS;
    let used = push_shown(out, &escaped(time.text(clock)), palette.and_then(|palette| palette.of(Style::Time)));
    pad(out, time_width, used);
    let used = push_shown(out, kind.as_str(), None);
    pad(out, kind_width, used);
    let used = push_shown(out, &shown(state), palette.and_then(|palette| palette.of(*style)));
    pad(out, state_width, used);
    let used = push_parties(out, parties, clock);
    pad(out, parties_width, used);
    let used = push_cell(out, context.as_deref().unwrap_or(EMPTY_CELL));
    pad(out, context_width, used);
    push_detail(out, detail);
    out.push(b'\n');
}

/// Appends the endpoints, and returns their width.
fn push_parties(out: &mut Vec<u8>, parties: &Parties<'_>, clock: &mut Clock) -> usize {
    match parties {
        Parties::One(one) => push_cell(out, one),
        Parties::FromTo(from, to) => {
            let from = push_cell(out, from);
            out.extend_from_slice(ARROW.as_bytes());
            from + ARROW_WIDTH + push_cell(out, to)
        }
        Parties::Period(from, until) => [clock.time(*from).to_owned().as_str(), " to ", clock.time(*until)]
            .map(|text| push_cell(out, text))
            .iter()
            .sum(),
    }
}

fn push_detail(out: &mut Vec<u8>, detail: &Detail<'_>) {
    let Detail { text, id, brief: _, note } = detail;
    push_cell(out, text.as_deref().or(id.as_deref()).unwrap_or(EMPTY_CELL));
    if let (Some(_), Some(id)) = (text, id) {
        out.extend_from_slice(b", ");
        push_cell(out, id);
    }
    out.extend_from_slice(note.text().as_bytes());
}

/// Appends a cell's text, and returns its width in terminal cells.
fn push_cell(out: &mut Vec<u8>, text: &str) -> usize {
    push_shown(out, &shown(text), None)
}

/// Appends a text that is safe to show, colored if `color` is given, and returns its width in terminal cells.
fn push_shown(out: &mut Vec<u8>, text: &str, color: Option<&AnsiPair>) -> usize {
    let (before, after) = color.map_or(("", ""), |(before, after)| (before, after));
    for piece in [before, text, after] {
        out.extend_from_slice(piece.as_bytes());
    }
    width(text)
}

/// Pads a column of `width` cells, of which `used` are used, and adds the space between columns.
fn pad(out: &mut Vec<u8>, width: usize, used: usize) {
    out.resize(out.len() + width.saturating_sub(used) + 2, b' ');
}
