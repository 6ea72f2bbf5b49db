//! Which records are printed, and how the last of them are found.

use std::convert::Infallible;

use jiff::Timestamp;

use crate::protocol::filter::{Filter, Prefilter};
use crate::protocol::record::{Content, Entry, LineError, split_values};
use crate::recording::{LineClass, LineSearch};

/// Which records are printed.
pub(super) struct Selection {
    filter: Filter,
    prefilter: Option<Prefilter>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
}

impl Selection {
    /// Selects the records that pass `filter` and were received in this period.
    pub(super) fn new(filter: Filter, since: Option<Timestamp>, until: Option<Timestamp>) -> Self {
        Self { prefilter: filter.prefilter(), filter, since, until }
    }

    /// Has all lines parsed, also those that are not printed.
    pub(super) fn without_prefilter(self) -> Self {
        Self { prefilter: None, ..self }
    }

    /// Returns a fast test for lines, if there is one.
    pub(super) fn prefilter(&self) -> Option<&Prefilter> {
        self.prefilter.as_ref()
    }

    /// Returns whether an entry is printed. Connection changes pass every filter, because they affect all messages.
    pub(super) fn includes(&self, entry: &Entry<'_>) -> bool {
        entry.received().is_none_or(|received| self.includes_time(received))
            && match entry {
                _ if self.filter.matches_everything() => true,
                Entry::Message(message) => match &message.record().content {
                    Content::Event(event) => self.filter.matches(event),
                    Content::Presence(presence) => self.filter.matches_presence(presence),
                    Content::Malformed(_) | Content::Other => false,
                },
                Entry::Connection(_) => true,
                Entry::Absence(absence) => self.filter.matches_endpoint(&absence.from),
                Entry::Call(_) => false,
            }
    }

    /// Returns whether a time is in the period.
    pub(super) fn includes_time(&self, received: Timestamp) -> bool {
        self.since.is_none_or(|since| received >= since) && self.until.is_none_or(|until| received <= until)
    }

    /// Returns whether a time is before the period.
    pub(super) fn begins_after(&self, received: Timestamp) -> bool {
        self.since.is_some_and(|since| received < since)
    }

    /// Returns whether an entry that is printed counts as one of the last. With a filter, connection changes do not.
    pub(super) fn counts(&self, entry: &Entry<'_>) -> bool {
        !matches!(entry, Entry::Connection(_)) || self.filter.matches_everything()
    }
}

/// Parses a line, and passes its bytes and the entry or the error.
///
/// A line has several entries if the end of a line is missing, as between two files that were joined. Then each is passed
/// with its own bytes, up to the first error.
///
/// # Errors
/// The first error that `on_entry` returns.
pub(super) fn for_each_entry<E>(
    line: &[u8],
    mut on_entry: impl FnMut(&[u8], Result<&Entry<'_>, LineError>) -> Result<(), E>,
) -> Result<(), E> {
    let error = match Entry::parse(line) {
        Ok(entry) => return on_entry(line, Ok(&entry)),
        Err(error) => error,
    };
    let is_joined = matches!(split_values(line).next(), Some(Ok(first)) if Entry::parse(first).is_ok());
    if !is_joined {
        return on_entry(line, Err(error));
    }
    for value in split_values(line) {
        match value.and_then(|value| Ok((value, Entry::parse(value)?))) {
            Ok((value, entry)) => on_entry(value, Ok(&entry))?,
            Err(error) => return on_entry(line, Err(error)),
        }
    }
    Ok(())
}

/// Searches for the records that count as the last ones.
pub(super) struct RecordSearch<'a> {
    selection: &'a Selection,
    /// Whether a line was a record. Before that, all lines are parsed: the file may not be a recording.
    has_record: bool,
}

impl<'a> RecordSearch<'a> {
    pub(super) fn new(selection: &'a Selection) -> Self {
        Self { selection, has_record: false }
    }

    /// Returns whether a line was a record.
    pub(super) fn has_record(&self) -> bool {
        self.has_record
    }
}

impl LineSearch for RecordSearch<'_> {
    fn find(&self, lines: &[u8]) -> Option<usize> {
        match self.selection.prefilter() {
            Some(prefilter) if self.has_record => prefilter.find(lines),
            _ => Some(0),
        }
    }

    /// Damaged lines and, with a filter, connection changes are relevant, but do not count.
    fn classify(&mut self, line: &[u8]) -> LineClass {
        if line.trim_ascii().is_empty() {
            return LineClass::Irrelevant;
        }
        let (mut is_relevant, mut count) = (false, 0);
        let Ok(()) = for_each_entry::<Infallible>(line, |_, entry| {
            match entry {
                Ok(entry) => {
                    self.has_record = true;
                    if self.selection.includes(entry) {
                        is_relevant = true;
                        count += u64::from(self.selection.counts(entry));
                    }
                }
                Err(_) => is_relevant = true,
            }
            Ok(())
        });
        if is_relevant { LineClass::Relevant(count) } else { LineClass::Irrelevant }
    }
}
