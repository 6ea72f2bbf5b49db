//! `rtcomm tail`: prints recorded lines, or every live message under the root.
//!
//! | file | contents |
//! | --- | --- |
//! | `mod` | live messages |
//! | `recorded` | recorded lines: turns flags into a worker, and waits for its end |
//! | `worker` | the thread that reads and prints |
//! | `merge_input` | an input among several, which are merged by time |
//! | `record_printer` | prints selected records, as what the flags request |
//! | `selection` | which records are printed, and how the last of them are found |
//! | `last_records` | the last records of a pipe |
//! | `skipped` | warnings about lines that are not records |

use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::thread;

use anyhow::Result;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{FileType, fstat};
use rustix::io::{Errno, ioctl_fionread};

use super::connection::{self, Prompt};
use super::discovery;
use super::stream::{self, Scope, Stream};
use super::ui::Ui;
use crate::cli::{CallRecordSettings, ConnectionArgs, TailArgs};
use crate::exit::{Failure, Status};
use crate::output::report::Report;

mod last_records;
mod merge_input;
mod record_printer;
mod recorded;
mod selection;
mod skipped;
mod worker;

/// Prints the recorded lines of files, or live messages without a file.
///
/// # Errors
/// If the usage is wrong, a file cannot be read, the broker is unreachable or refuses the client, or the output cannot be
/// written to.
pub(crate) fn run(args: TailArgs, ui: Ui) -> Result<Status> {
    if args.files.is_empty() { print_live(args, ui) } else { recorded::run(args, ui) }
}

fn print_live(args: TailArgs, ui: Ui) -> Result<Status> {
    let TailArgs {
        files: _,
        lines: _,
        follow: _,
        since: _,
        until: _,
        filters,
        format,
        anonymize: _,
        dry_run,
        display: _,
        filter,
        calls,
        mut window,
        delivery,
        connection,
        topics,
    } = args;
    if let Some(CallRecordSettings { flag, .. }) = calls.settings()? {
        let failure = Failure::usage(format!("{flag} needs a FILE"));
        return Err(failure.hint(format!("for live calls, use: rtcomm watch {flag}")).into());
    }
    let scope = Scope::Messages(filter.filter()?);
    if scope.selects_presence() {
        stream::check_presence_delivery(&delivery)?;
    }
    let is_stdin_used = reads_stdin(&connection);
    let profile = connection.profile.clone();
    // To delete a session, no topics are needed.
    let discover = connection.discover && delivery.durable_delete.is_none();
    discovery::check_dry_run(discover, dry_run)?;
    let options = connection::options(connection, Prompt::unless(dry_run))?;
    let topics = match discovery::stream_topics(topics, discover, &options, &mut window, ui.report)? {
        ControlFlow::Continue(topics) => topics,
        ControlFlow::Break(status) => return Ok(status),
    };
    let filters = if filters.is_empty() { topics.everything() } else { filters };
    if dry_run {
        return stream::print_filters(&filters, delivery.share.as_deref());
    }
    if !is_stdin_used {
        warn_of_unread_stdin(ui.report);
    }
    let json = format.is_json(delivery.output.is_some());
    let format = match delivery.output {
        Some(_) => ui.file_format(json, &topics),
        None => ui.format(json, &topics),
    };
    Stream { options, profile, filters, topics, scope, presence: None, format, window }.deliver(delivery, ui.report)
}

/// Returns whether a secret is read from standard input.
fn reads_stdin(connection: &ConnectionArgs) -> bool {
    let files = [&connection.password_file, &connection.key_password_file];
    files.into_iter().flatten().any(|file| file == Path::new("-"))
}

/// Warns once if there is something on standard input, which is not read without `-`.
///
/// An empty pipe means nothing: cron, ssh and loops of a shell provide one.
fn warn_of_unread_stdin(report: Report) {
    let file_type = fstat(io::stdin()).map(|stat| FileType::from_raw_mode(stat.st_mode));
    if !matches!(file_type, Ok(FileType::Fifo | FileType::Socket | FileType::RegularFile)) {
        return;
    }
    thread::spawn(move || {
        let stdin = io::stdin();
        let mut fds = [PollFd::new(&stdin, PollFlags::IN)];
        while let Err(Errno::INTR) = poll(&mut fds, None) {}
        if ioctl_fionread(&stdin).is_ok_and(|bytes| bytes > 0) {
            report.warn("standard input is not read; to print recorded lines from it, write: rtcomm tail -");
        }
    });
}
