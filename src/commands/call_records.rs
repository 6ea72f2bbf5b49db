//! Call records of a live or recorded stream: printed when their end is known, or counted for a summary.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::cli::CallRecordSettings;
use crate::output::Printer;
use crate::protocol::cdr::{CallRecord, CallRecorder, CallSelection, Summary};
use crate::protocol::record::{ConnectionStatus, Content, Entry, Record, SessionOutcome, leading_time};
use crate::protocol::topic::{TopicFilter, Topics};

/// Turns the events of a stream into call records, and prints the selected ones or their summary.
#[derive(Debug)]
pub(crate) struct CallRecords {
    recorder: CallRecorder,
    selection: CallSelection,
    max_age: SignedDuration,
    /// Records of calls that ended before are not printed.
    since: Option<Timestamp>,
    summary: Option<(Summary, Option<usize>)>,
    last: Option<LastCalls>,
}

/// The last records, while older input is read.
#[derive(Debug)]
struct LastCalls {
    limit: u64,
    records: VecDeque<CallRecord>,
}

impl LastCalls {
    fn push(&mut self, record: CallRecord) {
        self.records.push_back(record);
        if self.records.len() as u64 > self.limit {
            self.records.pop_front();
        }
    }
}

impl CallRecords {
    /// Makes call records of the calls that `selection` selects.
    pub(crate) fn new(settings: &CallRecordSettings, selection: CallSelection) -> Self {
        let CallRecordSettings { flag: _, summary, max_age } = *settings;
        Self {
            recorder: CallRecorder::new(max_age),
            selection,
            max_age: max_age.try_into().unwrap_or(SignedDuration::MAX),
            since: None,
            summary: summary.map(|(by, top)| (Summary::new(by), top)),
            last: None,
        }
    }

    /// Leaves out the calls that ended before this time. Returns the time from which on the input is to be read.
    pub(crate) fn since(&mut self, since: Timestamp) -> Timestamp {
        self.since = Some(since);
        self.recorder.count_gaps_since(since);
        since.checked_sub(self.max_age).unwrap_or(Timestamp::MIN)
    }

    /// Keeps the last `limit` records until [`CallRecords::release`] is called.
    pub(crate) fn keep_last(&mut self, limit: u64) {
        self.last = Some(LastCalls { limit, records: VecDeque::new() });
    }

    /// Returns how long the end of a call may take.
    pub(crate) fn max_age(&self) -> Duration {
        self.max_age.unsigned_abs()
    }

    /// Returns the topic filters that cover the events to read.
    pub(crate) fn subscriptions(&self, topics: &Topics) -> Vec<TopicFilter> {
        self.selection.subscriptions(topics)
    }

    /// Reads a live or recorded message.
    pub(crate) fn message(&mut self, record: &Record<'_>) {
        match &record.content {
            Content::Event(event) if !self.selection.may_belong(&event.topic) => self.recorder.pass(record.received),
            Content::Event(_) | Content::Presence(_) | Content::Malformed(_) | Content::Other => {
                self.recorder.message(record);
            }
        }
    }

    /// Reads a change of the connection.
    pub(crate) fn connection(&mut self, status: &ConnectionStatus<'_>) {
        self.recorder.connection(status);
    }

    /// Reads the time of a recorded line whose entry does not matter. Returns `None` if the line must be parsed.
    pub(crate) fn time_of_other_line(&self, line: &[u8]) -> Option<Timestamp> {
        if self.selection.may_matter(line) { None } else { leading_time(line) }
    }

    /// Notes that the input goes on at this time.
    pub(crate) fn pass(&mut self, received: Timestamp) {
        self.recorder.pass(received);
    }

    /// Notes that the input reaches back to this time, although its first entries are not read.
    pub(crate) fn reach_back(&mut self, received: Timestamp) {
        self.recorder.reach_back(received);
    }

    /// Chooses the source of the next entries among several that are merged, by its number.
    pub(crate) fn select_source(&mut self, number: usize) {
        self.recorder.select_source(number);
    }

    /// Reads a recorded entry.
    pub(crate) fn entry(&mut self, entry: &Entry<'_>) {
        match entry {
            Entry::Message(message) => self.message(&message.record()),
            Entry::Connection(_) | Entry::Absence(_) | Entry::Call(_) => self.recorder.entry(entry),
        }
    }

    /// Ends the calls that are lost at this time.
    pub(crate) fn advance(&mut self, now: Timestamp) {
        self.recorder.advance(now);
    }

    /// Prints or counts the records whose end is known, at most `limit`. Returns their number.
    ///
    /// # Errors
    /// If a record cannot be written.
    pub(crate) fn print<W: Write>(&mut self, printer: &mut Printer<W>, limit: Option<u64>) -> io::Result<u64> {
        let mut count = 0;
        while limit.is_none_or(|limit| count < limit)
            && let Some(record) = self.recorder.next_record()
        {
            if !self.is_recent(&record) || !self.selection.matches(&record) {
                continue;
            }
            if let Some(last) = &mut self.last {
                last.push(record);
            } else {
                count += 1;
                self.print_record(&record, printer)?;
            }
        }
        Ok(count)
    }

    /// Prints or counts the last records, at most `limit`, and keeps no further ones. Returns their number.
    ///
    /// # Errors
    /// If a record cannot be written.
    pub(crate) fn release<W: Write>(&mut self, printer: &mut Printer<W>, limit: Option<u64>) -> io::Result<u64> {
        let mut count = 0;
        let records = self.last.take().map(|last| last.records).unwrap_or_default();
        for record in records {
            if limit.is_some_and(|limit| count == limit) {
                break;
            }
            count += 1;
            self.print_record(&record, printer)?;
        }
        Ok(count)
    }

    /// Prints or counts what is left at the end of the input, at most `limit` records, and prints the summary. Returns the
    /// number of records.
    ///
    /// # Errors
    /// If a record cannot be written.
    pub(crate) fn finish<W: Write>(&mut self, printer: &mut Printer<W>, limit: Option<u64>) -> io::Result<u64> {
        self.recorder.finish();
        let mut count = self.print(printer, limit)?;
        count += self.release(printer, limit.map(|limit| limit - count))?;
        if let Some((summary, top)) = &self.summary {
            printer.summary(&summary.rows(*top, self.recorder.gaps()))?;
        }
        Ok(count)
    }

    fn print_record<W: Write>(&mut self, record: &CallRecord, printer: &mut Printer<W>) -> io::Result<()> {
        match &mut self.summary {
            Some((summary, _)) => {
                summary.add(record);
                Ok(())
            }
            None => printer.call(record),
        }
    }

    /// Returns whether a call had not ended before the requested time.
    fn is_recent(&self, record: &CallRecord) -> bool {
        let ended = match record.outcome {
            SessionOutcome::Completed | SessionOutcome::Failed | SessionOutcome::Dropped => record.last_received,
            SessionOutcome::Lost => record.first_received.and_then(|first| first.checked_add(self.max_age).ok()),
            SessionOutcome::Open => None,
        };
        let (Some(since), Some(ended)) = (self.since, ended) else { return true };
        ended >= since
    }
}
