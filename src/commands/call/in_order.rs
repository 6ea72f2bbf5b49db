//! The output of a batch: its lines in the order of the input, and how far it is.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::output::report::Report;
use crate::output::whole_millis;

/// What is printed for a line of the input.
pub(super) struct Output {
    pub(super) text: String,
    /// The word for its outcome.
    pub(super) outcome: &'static str,
    /// Whether it tells of a call that is placed, or may be.
    pub(super) may_be_placed: bool,
}

/// How far a batch is, for whoever ends the run while the one who prints cannot tell it.
#[derive(Debug, Default)]
pub(super) struct Mark {
    /// Whether a line is being written.
    is_writing: AtomicBool,
    /// How many lines of the input were left out, or are done and printed.
    done: AtomicU64,
    /// How many calls are placed, or may be, and not printed.
    untold: AtomicU64,
}

impl Mark {
    /// Tells of a run that ends where it is: it writes, or it waits for the broker.
    pub(super) fn tell(&self, report: Report) {
        if self.is_writing.load(Ordering::SeqCst) {
            report.warn("standard output may be blocked");
        }
        self.warn_of_untold(report);
        report.warn(self.where_to_go_on());
    }

    /// For whoever wants to go on after what is done.
    pub(super) fn where_to_go_on(&self) -> String {
        let done = self.done.load(Ordering::SeqCst);
        format!("{done} lines are done: --skip {done} goes on after them")
    }

    /// Warns of calls that will have no line, where there are any.
    pub(super) fn warn_of_untold(&self, report: Report) {
        let untold = self.untold.load(Ordering::SeqCst);
        if untold > 0 {
            report.warn(format_args!("{untold} calls may have been placed that have no line"));
        }
    }
}

/// Prints lines in the order of the input, whatever the order in which they come.
pub(super) struct InOrder {
    out: File,
    mark: Arc<Mark>,
    /// The lines from the first that is not printed on; `None` where a line has not come.
    lines: VecDeque<Option<Output>>,
    /// Which line of the input is the first of them, from 0.
    first: u64,
    /// How many lines were printed with each outcome.
    printed: BTreeMap<&'static str, u64>,
}

impl InOrder {
    /// Prints onto `out` the lines after the first `skip` of the input.
    pub(super) fn onto(out: File, skip: u64) -> Self {
        let mark = Arc::new(Mark { done: AtomicU64::new(skip), ..Mark::default() });
        Self { out, mark, lines: VecDeque::new(), first: 0, printed: BTreeMap::new() }
    }

    /// How far it is, for others to see.
    pub(super) fn mark(&self) -> &Arc<Mark> {
        &self.mark
    }

    /// How many lines wait to be printed, or to come.
    pub(super) fn waiting(&self) -> usize {
        self.lines.len()
    }

    /// How many lines are printed.
    pub(super) fn printed(&self) -> u64 {
        self.first
    }

    /// Makes room for the next line of the input, and returns which it is.
    pub(super) fn reserve(&mut self) -> u64 {
        self.lines.push_back(None);
        self.mark.untold.fetch_add(1, Ordering::SeqCst);
        self.first + self.lines.len() as u64 - 1
    }

    /// Takes what is printed for `position`, and prints all that can be printed: each on its own, so that where one cannot
    /// be written it is known which were.
    pub(super) fn put(&mut self, position: u64, output: Output) -> io::Result<()> {
        if let Some(slot) = usize::try_from(position - self.first).ok().and_then(|i| self.lines.get_mut(i)) {
            if !output.may_be_placed {
                self.mark.untold.fetch_sub(1, Ordering::SeqCst);
            }
            *slot = Some(output);
        }
        while let Some(Some(next)) = self.lines.front() {
            self.mark.is_writing.store(true, Ordering::SeqCst);
            self.out.write_all(next.text.as_bytes())?;
            self.mark.is_writing.store(false, Ordering::SeqCst);
            self.mark.done.fetch_add(1, Ordering::SeqCst);
            if next.may_be_placed {
                self.mark.untold.fetch_sub(1, Ordering::SeqCst);
            }
            *self.printed.entry(next.outcome).or_default() += 1;
            self.lines.pop_front();
            self.first += 1;
        }
        Ok(())
    }

    /// One line: how many lines were printed, and of each outcome how many.
    pub(super) fn summary(&self, elapsed: Duration) -> String {
        let each: Vec<String> = self.printed.iter().map(|(outcome, count)| format!("{count} {outcome}")).collect();
        let plural = if self.first == 1 { "" } else { "s" };
        let colon = if each.is_empty() { "" } else { ": " };
        let elapsed = humantime::format_duration(whole_millis(elapsed));
        format!("{} line{plural} done{colon}{}, in {elapsed}", self.first, each.join(", "))
    }
}
