//! Live messages, printed as they arrive: shared by `watch`, `tail` and `demo`.
//!
//! The relay's reader thread decodes and prints each message ([`recorder`]). It acknowledges a message to the broker after its
//! record is written. If the output blocks, that thread stops reading, and the broker waits. The session's thread keeps the
//! connection alive and reports its changes ([`reporter`]). The command's thread waits for the end of the run.
//!
//! | file | contents |
//! | --- | --- |
//! | `mod` | flags to configuration, and the wait for the end |
//! | `recorder` | handles messages |
//! | `reporter` | reports connection changes |

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use jiff::Timestamp;

use super::transport_error::{connect_failures, session_failure};
use super::ui::{self, CANNOT_WRITE};
use crate::cli::{DeliveryArgs, ProfileName, WindowArgs};
use crate::event_loop::{EventLoop, FORCED_EXIT_GRACE, LoopEvent, deadline_in};
use crate::exit::{Failure, Status};
use crate::output::report::Report;
use crate::output::target::Target;
use crate::output::{Format, Printer, ignore_broken_pipe, whole_millis};
use crate::protocol::topic::{TopicFilter, Topics, disjoint};
use crate::transport::options::Options;
use crate::transport::relay::{Ack, MessageHandler, PacketSize, Publish};
use crate::transport::session::{self, Retries, Session, SessionError, SessionEvent};
use crate::transport::subscription::Subscription;

mod recorder;
mod reporter;

use recorder::{Counters, Recorder, RecorderOptions};
pub(crate) use recorder::{PresenceMode, Scope};
use reporter::ConnectionReporter;

/// Maximum time to disconnect. Writing the rest may take half as long.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

/// A live stream that is ready to run.
pub(crate) struct Stream {
    pub(crate) options: Options,
    /// The profile of the options.
    pub(crate) profile: Option<ProfileName>,
    pub(crate) filters: Vec<TopicFilter>,
    pub(crate) topics: Topics,
    pub(crate) scope: Scope,
    /// What is printed of presence documents, if they are watched.
    pub(crate) presence: Option<PresenceMode>,
    pub(crate) format: Format,
    pub(crate) window: WindowArgs,
}

/// How messages are delivered.
pub(crate) struct DeliveryOptions {
    /// The quality of service to subscribe with.
    pub(crate) qos: u8,
    /// The group that shares the subscription.
    pub(crate) group: Option<String>,
    /// Whether to accept a partial grant.
    pub(crate) allow_partial: bool,
    /// Maximum number of reconnects.
    pub(crate) retries: Retries,
    /// Destination of the records.
    pub(crate) target: Target,
    /// Whether connection changes are printed as records too.
    pub(crate) records_status: bool,
}

impl DeliveryOptions {
    /// Returns the defaults of the flags, with standard output.
    ///
    /// # Errors
    /// If standard output is closed.
    #[cfg(feature = "demo")]
    pub(crate) fn to_stdout() -> Result<Self> {
        Ok(Self {
            qos: 1,
            group: None,
            allow_partial: false,
            retries: Retries::Unlimited,
            target: Target::stdout().context(CANNOT_WRITE)?,
            records_status: false,
        })
    }
}

/// An event from the stream's threads.
#[derive(Debug)]
enum StreamEvent {
    /// The broker has granted the subscriptions.
    Ready,
    /// The session has ended.
    SessionEnded(Result<(), SessionError>),
    /// SIGHUP: log rotation renamed the output file.
    Rotated,
    /// The last record of `--count` is printed.
    Full,
    /// All retained presence documents are printed.
    Listed,
    /// Records cannot be written. No further message is acknowledged.
    CannotWrite(io::Error),
    /// All records are written.
    Finished(Counters),
}

/// How the stream ended.
enum End {
    Full,
    Listed,
    Deadline,
    ReaderGone,
    Signal(Status),
    SessionFailed(Failure),
}

impl Stream {
    /// Runs the stream with the delivery flags.
    ///
    /// # Errors
    /// See [`Stream::run`]. Also if the output file cannot be opened.
    pub(crate) fn deliver(mut self, args: DeliveryArgs, report: Report) -> Result<Status> {
        let DeliveryArgs {
            qos,
            durable,
            durable_expiry,
            durable_delete,
            share: group,
            allow_partial,
            output,
            fsync,
            no_reconnect,
            max_retries,
            status_events: records_status,
        } = args;
        if let Some(name) = durable_delete {
            let options = self.options.durable(name.clone(), durable_expiry);
            session::forget(options.clone(), Arc::new(Mutex::new(Discard)))
                .map_err(|failures| connect_failures(&failures, &options, report))?;
            report.info(format_args!("the broker now keeps no session named '{name}'"));
            return Ok(Status::Success);
        }
        if let Some(name) = durable {
            self.options = self.options.durable(name, durable_expiry);
        }
        let retries = match (no_reconnect, max_retries) {
            (true, _) => Retries::AtMost(0),
            (false, Some(most)) => Retries::AtMost(most),
            (false, None) => Retries::Unlimited,
        };
        let target = match output {
            Some(path) => ui::open_output(path, fsync)?,
            None => Target::stdout().context(CANNOT_WRITE)?,
        };
        self.run(DeliveryOptions { qos, group, allow_partial, retries, target, records_status }, report)
    }

    /// Prints messages until a limit is reached, the reader closes the pipe or a signal arrives.
    ///
    /// # Errors
    /// If the broker is unreachable or refuses the client, or records cannot be written.
    pub(crate) fn run(self, delivery: DeliveryOptions, report: Report) -> Result<Status> {
        let Self { options, profile, filters, topics, scope, presence, format, window } = self;
        let DeliveryOptions { qos, group, allow_partial, retries, target, records_status } = delivery;
        let began = Instant::now();
        let deadline = window.duration.and_then(deadline_in);
        let event_loop = EventLoop::new()?;
        match &target {
            Target::Stdout(stdout) => event_loop.watch_reader(stdout)?,
            Target::File { .. } => event_loop.on_hangup(|| StreamEvent::Rotated)?,
        }
        let name = target.to_string();
        let count = window.count.map(Into::into);
        let printer = Printer::new(target, format);
        let listing = presence.is_some().then(|| topics.sphere().everything());
        let ends_after_list = presence == Some(PresenceMode::Now);
        let recorded = RecorderOptions { topics, scope, presence, count, prints_status: records_status };
        let recorder = Recorder::new(printer, recorded, report, event_loop.sender());
        recorder.end_lost_calls();
        let mut reporter =
            ConnectionReporter::new(options.clone(), profile, qos, group.is_some(), recorder.clone(), report);
        let subscription = Subscription { filters, qos, listing, group, allow_partial };
        let (ready, ended) = (event_loop.sender(), event_loop.sender());
        let follow = move |event: SessionEvent| {
            if let SessionEvent::Ready { .. } = event {
                ready(StreamEvent::Ready);
            }
            reporter.follow(event);
        };
        let session = Session::start(
            options.clone(),
            subscription,
            retries,
            Arc::new(Mutex::new(recorder.clone())),
            follow,
            move |end| ended(StreamEvent::SessionEnded(end)),
        );
        let wait = Wait { event_loop, recorder, options, report, ends_after_list, was_ready: false, is_over: false };
        let (end, counters) = wait.run(deadline, &session).with_context(|| format!("cannot write to {name}"))?;
        match counters {
            // The session failed before the first message: the error says enough.
            Some(Counters { seen: 0, .. }) if matches!(end, End::SessionFailed(_)) => {}
            Some(counters) => report.info(counters.summary(began.elapsed())),
            None if matches!(end, End::ReaderGone) => {}
            None => report.warn(format_args!(
                "{name} may be blocked: the remaining records are not written and not acknowledged"
            )),
        }
        Ok(end.status(&window, counters.map(|counters| counters.printed))?)
    }
}

/// Discards all messages: for a connection without subscriptions.
struct Discard;

impl MessageHandler for Discard {
    fn message(&mut self, _: &Publish<'_>, _: Timestamp) -> Ack {
        Ack::Send
    }

    fn oversized(&mut self, _: &Publish<'_>, _: PacketSize, _: Timestamp) -> Ack {
        Ack::Send
    }

    fn commit(&mut self) -> Ack {
        Ack::Send
    }
}

/// What the command's thread needs to wait for the end.
struct Wait {
    event_loop: EventLoop<StreamEvent>,
    recorder: Recorder,
    options: Options,
    report: Report,
    /// Whether the run ends once all retained presence documents are printed.
    ends_after_list: bool,
    /// Whether the subscriptions were ever granted.
    was_ready: bool,
    /// Whether the session has ended on its own.
    is_over: bool,
}

impl Wait {
    /// Waits for the end, disconnects and writes the rest. A further signal shortens both. Without counters, the rest was
    /// not written.
    ///
    /// # Errors
    /// If records cannot be written.
    fn run(mut self, deadline: Option<Instant>, session: &Session) -> io::Result<(End, Option<Counters>)> {
        let end = self.await_end(deadline);
        let is_connected = session.stop() && !self.is_over;
        let is_forced = is_connected && self.await_disconnect();
        let end = end?;
        if matches!(end, End::ReaderGone) {
            return Ok((end, None));
        }
        self.recorder.finish();
        let counters =
            if is_forced { self.await_flush(FORCED_EXIT_GRACE) } else { self.await_flush(SHUTDOWN_TIMEOUT / 2) }?;
        Ok((self.checked(end, counters), counters))
    }

    fn await_end(&mut self, deadline: Option<Instant>) -> io::Result<End> {
        loop {
            match self.event_loop.next(deadline) {
                None => return Ok(End::Deadline),
                Some(LoopEvent::Signal(signal)) => return Ok(End::Signal(signal.status())),
                Some(LoopEvent::ReaderGone) => return Ok(End::ReaderGone),
                Some(LoopEvent::Custom(StreamEvent::Rotated)) => self.recorder.reopen(),
                Some(LoopEvent::Custom(StreamEvent::Ready)) => self.was_ready = true,
                Some(LoopEvent::Custom(StreamEvent::SessionEnded(end))) => {
                    self.is_over = true;
                    if let Err(error) = end {
                        return Ok(End::SessionFailed(session_failure(&error, &self.options, self.report)));
                    }
                }
                Some(LoopEvent::Custom(StreamEvent::Full)) => return Ok(End::Full),
                Some(LoopEvent::Custom(StreamEvent::Listed)) if self.ends_after_list => return Ok(End::Listed),
                Some(LoopEvent::Custom(StreamEvent::CannotWrite(error))) => {
                    return ignore_broken_pipe(Err(error)).map(|()| End::ReaderGone);
                }
                Some(LoopEvent::Custom(StreamEvent::Listed | StreamEvent::Finished(_))) => {}
            }
        }
    }

    /// Turns the deadline of a run without any granted subscription into a failure, because no messages is not the same as
    /// no subscription. A kept session may deliver before the subscriptions are granted.
    fn checked(&self, end: End, counters: Option<Counters>) -> End {
        let has_printed = counters.is_none_or(|counters| counters.printed > 0);
        match end {
            End::Deadline if !self.was_ready && !has_printed => {
                let broker = &self.options.brokers[0];
                End::SessionFailed(
                    Failure::unreachable(format!("--for ended before {broker} granted the subscription"))
                        .hint("check host and port, or use a longer --for: connecting takes up to --connect-timeout"),
                )
            }
            End::Deadline if self.ends_after_list => {
                let what = "--for ended before all presence documents were listed";
                End::SessionFailed(Failure::new(Status::Deadline, what).hint("use a longer --for"))
            }
            end => end,
        }
    }

    /// Waits until the session has disconnected. Returns whether a further signal arrived.
    ///
    /// Ignores write errors: [`Wait::await_flush`] reports them again.
    fn await_disconnect(&self) -> bool {
        let until = deadline_in(SHUTDOWN_TIMEOUT);
        loop {
            match self.event_loop.next(until) {
                Some(LoopEvent::Signal(_)) => return true,
                None | Some(LoopEvent::Custom(StreamEvent::SessionEnded(_))) => return false,
                Some(LoopEvent::ReaderGone | LoopEvent::Custom(_)) => {}
            }
        }
    }

    /// Waits until the rest is written. Returns `None` at the timeout or if the reader is gone.
    fn await_flush(&self, timeout: Duration) -> io::Result<Option<Counters>> {
        let end = self.event_loop.await_shutdown(timeout, |event| match event {
            LoopEvent::Custom(StreamEvent::Finished(counters)) => Some(Ok(Some(counters))),
            LoopEvent::Custom(StreamEvent::CannotWrite(error)) => Some(ignore_broken_pipe(Err(error)).map(|()| None)),
            LoopEvent::ReaderGone => Some(Ok(None)),
            LoopEvent::Signal(_) | LoopEvent::Custom(_) => None,
        });
        end.unwrap_or(Ok(None))
    }
}

impl End {
    /// Returns the run's status. `printed` is `None` if the number of records is unknown.
    fn status(self, window: &WindowArgs, printed: Option<u64>) -> Result<Status, Failure> {
        match self {
            Self::Signal(status) => Ok(status),
            Self::Full | Self::ReaderGone => Ok(Status::Success),
            Self::Listed => Ok(window.at_end(printed)),
            Self::Deadline => Ok(window.at_deadline(printed)),
            Self::SessionFailed(failure) => Err(failure),
        }
    }
}

impl Counters {
    /// Returns a one-line summary.
    fn summary(self, elapsed: Duration) -> String {
        let Self { seen, printed, undecodable } = self;
        let plural = if seen == 1 { "" } else { "s" };
        let skipped = if undecodable == 0 { String::new() } else { format!(", {undecodable} skipped as undecodable") };
        let elapsed = humantime::format_duration(whole_millis(elapsed));
        format!("{seen} message{plural} seen, {printed} printed{skipped}, in {elapsed}")
    }
}

/// Rejects delivery that gives an incomplete list of presence documents.
///
/// # Errors
/// If the broker would send some of them to other members of a group, or none to a session that it kept.
pub(crate) fn check_presence_delivery(delivery: &DeliveryArgs) -> Result<(), Failure> {
    let (other, why) = match delivery {
        DeliveryArgs { share: Some(_), .. } => ("share", "a broker sends no retained messages to a group"),
        DeliveryArgs { durable: Some(_), .. } => {
            ("durable", "a broker sends no retained messages to a session that it kept")
        }
        _ => return Ok(()),
    };
    Err(Failure::usage(format!("--presence cannot be combined with --{other}: {why}"))
        .hint(format!("watch presence in a process without --{other}")))
}

/// Prints the topic filters to subscribe to, one per line.
///
/// The filters of a group are made disjoint: if two matched the same topic, two members could get a copy of one message.
///
/// # Errors
/// If standard output cannot be written to.
pub(crate) fn print_filters(filters: &[TopicFilter], share: Option<&str>) -> Result<Status> {
    let filters = match share {
        Some(group) => disjoint(filters).iter().map(|filter| filter.shared_by(group)).collect(),
        None => filters.to_vec(),
    };
    let lines: Vec<&str> = filters.iter().flat_map(|filter| [filter.as_str(), "\n"]).collect();
    ui::print(&lines.concat())
}
