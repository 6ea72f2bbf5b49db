//! Writes the results of a batch in the order of its input, although calls finish in any order.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::output::report::Report;
use crate::output::whole_millis;

/// The output for one line of the input.
pub(super) struct OutputLine {
    /// The text, including the line end.
    pub(super) text: String,
    /// The value of `outcome` in the text.
    pub(super) outcome: &'static str,
    /// How the session of a followed call ended.
    pub(super) session: Option<&'static str>,
    /// Whether the call is placed or may be placed.
    pub(super) may_be_placed: bool,
}

/// The progress of a batch, readable from any thread, even if the writer is blocked.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Whether a line is being written.
    is_writing: AtomicBool,
    /// Number of input lines that were skipped or whose output is written.
    done: AtomicU64,
    /// Number of calls that may have been placed and whose output is not written.
    unreported: AtomicU64,
}

impl Progress {
    /// Warns of what is unfinished when a run ends before its writer does.
    pub(super) fn warn_if_unfinished(&self, report: Report) {
        if self.is_writing.load(Ordering::SeqCst) {
            report.warn("standard output may be blocked");
        }
        self.warn_of_unreported(report);
        report.warn(self.resume_hint());
    }

    /// Returns how to resume the batch.
    pub(super) fn resume_hint(&self) -> String {
        let done = self.done.load(Ordering::SeqCst);
        let plural = if done == 1 { "line is" } else { "lines are" };
        format!("{done} {plural} done: resume with --skip {done}")
    }

    /// Warns of calls that may have been placed and have no output, if there are any.
    pub(super) fn warn_of_unreported(&self, report: Report) {
        let unreported = self.unreported.load(Ordering::SeqCst);
        if unreported > 0 {
            report.warn(format_args!("{unreported} calls may have been placed but have no output line"));
        }
    }
}

/// Writes lines in the order of the input.
pub(super) struct OrderedWriter {
    out: File,
    progress: Arc<Progress>,
    /// The lines that are not written yet, from position `first`; `None` until a line's output is known.
    lines: VecDeque<Option<OutputLine>>,
    /// Zero-based position of the first of them, counted after the skipped lines.
    first: u64,
    /// Number of written lines per outcome.
    written: BTreeMap<&'static str, u64>,
    /// Number of those with a session, per end of the session.
    sessions: BTreeMap<&'static str, u64>,
}

impl OrderedWriter {
    /// Makes a writer for the input after its first `skip` lines.
    pub(super) fn new(out: File, skip: u64) -> Self {
        let progress = Arc::new(Progress { done: AtomicU64::new(skip), ..Progress::default() });
        Self { out, progress, lines: VecDeque::new(), first: 0, written: BTreeMap::new(), sessions: BTreeMap::new() }
    }

    /// Returns the progress, to be shared with other threads.
    pub(super) fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// Returns the number of reserved lines that are not written yet.
    pub(super) fn pending(&self) -> usize {
        self.lines.len()
    }

    /// Returns the number of written lines.
    pub(super) fn written(&self) -> u64 {
        self.first
    }

    /// Reserves the next position, for the next line of the input.
    pub(super) fn reserve(&mut self) -> u64 {
        self.lines.push_back(None);
        self.progress.unreported.fetch_add(1, Ordering::SeqCst);
        self.first + self.lines.len() as u64 - 1
    }

    /// Sets the output of a position, and writes all lines up to the first unknown one.
    ///
    /// Each line is written on its own, so that after an error it is known which lines were written.
    ///
    /// # Errors
    /// If a line cannot be written.
    pub(super) fn put(&mut self, position: u64, line: OutputLine) -> io::Result<()> {
        if let Some(slot) = usize::try_from(position - self.first).ok().and_then(|i| self.lines.get_mut(i)) {
            if !line.may_be_placed {
                self.progress.unreported.fetch_sub(1, Ordering::SeqCst);
            }
            *slot = Some(line);
        }
        while let Some(Some(next)) = self.lines.front() {
            self.progress.is_writing.store(true, Ordering::SeqCst);
            self.out.write_all(next.text.as_bytes())?;
            self.progress.is_writing.store(false, Ordering::SeqCst);
            self.progress.done.fetch_add(1, Ordering::SeqCst);
            if next.may_be_placed {
                self.progress.unreported.fetch_sub(1, Ordering::SeqCst);
            }
            *self.written.entry(next.outcome).or_default() += 1;
            if let Some(session) = next.session {
                *self.sessions.entry(session).or_default() += 1;
            }
            self.lines.pop_front();
            self.first += 1;
        }
        Ok(())
    }

    /// Returns one line with the number of written lines, in total, per outcome and per end of the session.
    pub(super) fn summary(&self, elapsed: Duration) -> String {
        let counts = |prefix: &str, counts: &BTreeMap<&str, u64>| {
            let counts: Vec<String> = counts.iter().map(|(name, count)| format!("{count} {name}")).collect();
            if counts.is_empty() { String::new() } else { format!("{prefix}{}", counts.join(", ")) }
        };
        let (outcomes, sessions) = (counts(": ", &self.written), counts("; sessions: ", &self.sessions));
        let plural = if self.first == 1 { "" } else { "s" };
        let elapsed = humantime::format_duration(whole_millis(elapsed));
        format!("{} line{plural} done{outcomes}{sessions}, in {elapsed}", self.first)
    }
}
