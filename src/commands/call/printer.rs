//! Prints a single call: one JSON line at its end, or lines for people as they come.

use std::fs::File;
use std::io::{BufWriter, Write as _};

use anyhow::{Context as _, Result};

use super::client::CallUpdate;
use super::result::{CallResult, Outcome};
use crate::commands::ui::{self, CANNOT_WRITE, Ui};
use crate::output::{self, Printer, ignore_broken_pipe, json, pretty};
use crate::protocol::topic::Topics;

/// Prints a call on standard output.
pub(super) enum CallPrinter {
    /// Prints the result.
    Json,
    /// Prints the reply, the events of a followed session, and its call record.
    Lines(Box<LinePrinter>),
}

/// Prints lines for people.
pub(super) struct LinePrinter {
    records: Printer<File>,
    topics: Topics,
    color: bool,
    is_reply_printed: bool,
}

impl CallPrinter {
    /// Makes a printer.
    ///
    /// # Errors
    /// If standard output is closed.
    pub(super) fn new(json: bool, ui: Ui, topics: Topics) -> Result<Self> {
        if json {
            return Ok(Self::Json);
        }
        let records = Printer::new(output::stdout().context(CANNOT_WRITE)?, ui.format(json, &topics));
        let lines = LinePrinter { records, topics, color: ui.uses_color(), is_reply_printed: false };
        Ok(Self::Lines(Box::new(lines)))
    }

    /// Prints an update of a followed call.
    ///
    /// # Errors
    /// If standard output cannot be written to.
    pub(super) fn update(&mut self, update: &CallUpdate) -> Result<()> {
        match (self, update) {
            (Self::Json, _) => Ok(()),
            (Self::Lines(lines), CallUpdate::Reply(reply)) => lines.reply(reply),
            (Self::Lines(lines), CallUpdate::Event(event)) => {
                lines.records(|records, topics| records.record(&event.record(topics)))
            }
        }
    }

    /// Prints the result.
    ///
    /// # Errors
    /// If standard output cannot be written to.
    pub(super) fn result(&mut self, result: &CallResult) -> Result<()> {
        match self {
            Self::Json => print_json(result),
            Self::Lines(lines) => {
                lines.reply(result)?;
                lines.records(|records, _| result.session.iter().try_for_each(|session| records.call(session)))
            }
        }
    }
}

fn print_json(result: &CallResult) -> Result<()> {
    let printed = output::stdout().and_then(|stdout| {
        let mut stdout = BufWriter::new(stdout);
        json::write_call_result(result, &mut stdout)?;
        stdout.flush()
    });
    ignore_broken_pipe(printed).context(CANNOT_WRITE)
}

impl LinePrinter {
    /// Prints the reply, if there is one, and only once.
    fn reply(&mut self, result: &CallResult) -> Result<()> {
        let is_answered = matches!(result.outcome, Outcome::Answered { .. });
        if !is_answered || std::mem::replace(&mut self.is_reply_printed, true) {
            return Ok(());
        }
        ui::print(&pretty::call_result(result, self.color)).map(drop)
    }

    fn records(&mut self, print: impl FnOnce(&mut Printer<File>, &Topics) -> std::io::Result<()>) -> Result<()> {
        let printed = print(&mut self.records, &self.topics).and_then(|()| self.records.flush());
        ignore_broken_pipe(printed).context(CANNOT_WRITE)
    }
}
