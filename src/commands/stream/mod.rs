//! Live messages, printed as they come: what `watch`, `tail` and `demo` have in common.
//!
//! A message is handled and printed where it is read, on the relay's reader thread ([`recorder`]): it is acknowledged to the
//! broker after its record is written, so what was acknowledged was written. If the reader of the output stops, reading stops,
//! and so the broker waits. Another thread keeps the connection, and reports what happens to it ([`reporter`]). The command's
//! own thread only waits for what ends the run.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use jiff::Timestamp;

use super::transport_error::{connect_failures, session_failure};
use crate::cli::{DeliveryArgs, WindowArgs};
use crate::event_loop::{EventLoop, FORCED_EXIT_GRACE, LoopEvent, deadline_in};
use crate::exit::{Failure, Status};
use crate::output::report::Report;
use crate::output::target::Target;
use crate::output::{self, Format, Printer, whole_millis};
use crate::protocol::topic::{Root, TopicFilter, disjoint};
use crate::transport::options::Options;
use crate::transport::relay::{Ack, MessageHandler, PacketSize, Publish};
use crate::transport::session::{self, Retries, Session, SessionError, SessionEvent};
use crate::transport::subscription::Subscription;

mod recorder;
mod reporter;

pub(crate) use recorder::Scope;
use recorder::{Counters, Recorder};
use reporter::ConnectionReporter;

/// How long the end of the connection may take; what is left to write may take half of it.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

/// A live stream, ready to run.
pub(crate) struct Stream {
    pub(crate) options: Options,
    pub(crate) filters: Vec<TopicFilter>,
    pub(crate) events: Root,
    pub(crate) scope: Scope,
    pub(crate) format: Format,
    pub(crate) window: WindowArgs,
}

/// How messages are delivered.
pub(crate) struct Delivery {
    /// The quality of service to subscribe with.
    pub(crate) qos: u8,
    /// The group that shares the subscription.
    pub(crate) group: Option<String>,
    /// Whether it will do that the broker grants some of the subscriptions.
    pub(crate) allow_partial: bool,
    /// How often a lost connection is tried again.
    pub(crate) retries: Retries,
    /// Where records go.
    pub(crate) target: Target,
    /// Whether what becomes of the connection is a record too.
    pub(crate) tells_status: bool,
}

impl Delivery {
    /// To standard output, at least once for as long as the connection holds.
    ///
    /// # Errors
    /// Where standard output is closed.
    #[cfg(feature = "demo")]
    pub(crate) fn plain() -> Result<Self> {
        Ok(Self {
            qos: 1,
            group: None,
            allow_partial: false,
            retries: Retries::Unlimited,
            target: Target::stdout()?,
            tells_status: false,
        })
    }
}

/// What the stream's threads report to the command's.
#[derive(Debug)]
enum StreamEvent {
    /// The subscriptions stand.
    Ready,
    /// The session is over.
    SessionEnded(Result<(), SessionError>),
    /// The file that records go to was renamed.
    Rotated,
    /// The last requested record is printed.
    Full,
    /// Records cannot be written, so that nothing more is acknowledged.
    CannotWrite(io::Error),
    /// All that was left to write is written.
    Finished(Counters),
}

/// How the stream ended.
enum End {
    Full,
    Deadline,
    ReaderGone,
    Signal(Status),
    SessionFailed(Failure),
}

impl Stream {
    /// Runs as the delivery flags request.
    ///
    /// # Errors
    /// As [`Stream::run`]; a file that cannot be appended to.
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
            status_events: tells_status,
        } = args;
        if let Some(name) = durable_delete {
            let options = self.options.durable(name.clone(), durable_expiry);
            session::forget(options.clone(), Arc::new(Mutex::new(Discard)))
                .map_err(|failures| connect_failures(&failures, &options, report))?;
            report.info(format_args!("the broker now keeps no session named {name}"));
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
            Some(path) => Target::file(path, fsync)?,
            None => Target::stdout()?,
        };
        self.run(Delivery { qos, group, allow_partial, retries, target, tells_status }, report)
    }

    /// Prints until the window closes, the reader of the output goes away or a signal comes.
    ///
    /// # Errors
    /// If the broker cannot be reached or refuses us, or the records cannot be written.
    pub(crate) fn run(self, delivery: Delivery, report: Report) -> Result<Status> {
        let Self { options, filters, events, scope, format, window } = self;
        let Delivery { qos, group, allow_partial, retries, target, tells_status } = delivery;
        let began = Instant::now();
        let deadline = window.duration.and_then(deadline_in);
        let event_loop = EventLoop::new()?;
        match &target {
            Target::Stdout(stdout) => event_loop.watch_reader(stdout)?,
            Target::File { .. } => event_loop.on_hangup(|| StreamEvent::Rotated)?,
        }
        let name = target.to_string();
        let count = window.count.map(Into::into);
        let recorder = Recorder::new(Printer::new(target, format), events, scope, count, report, event_loop.sender());
        let mut reporter =
            ConnectionReporter::new(options.clone(), qos, group.is_some(), recorder.clone(), tells_status, report);
        let subscription = Subscription { filters, qos, group, allow_partial };
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
        let wait = Wait { event_loop, recorder, options, report, was_ready: false, is_over: false };
        let (end, counters) = wait.run(deadline, &session).with_context(|| format!("cannot write to {name}"))?;
        match counters {
            // Nothing can have been seen before there was a connection.
            Some(Counters { seen: 0, .. }) if matches!(end, End::SessionFailed(_)) => {}
            Some(counters) => report.info(counters.summary(began.elapsed())),
            None if matches!(end, End::ReaderGone) => {}
            None => report
                .warn(format_args!("{name} may be blocked: what waits there is not written, and not acknowledged")),
        }
        Ok(end.status(&window, counters.map(|counters| counters.printed))?)
    }
}

/// Handles no message: for a connection that is subscribed to nothing.
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

/// The command's own thread, waiting.
struct Wait {
    event_loop: EventLoop<StreamEvent>,
    recorder: Recorder,
    options: Options,
    report: Report,
    /// Whether the subscriptions ever stood.
    was_ready: bool,
    /// Whether the session has ended by itself.
    is_over: bool,
}

impl Wait {
    /// Waits for the end, then ends the session in order and has the rest written. After a further signal it waits no longer
    /// for what takes time. If the rest is not written there are no counters.
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
                Some(LoopEvent::Custom(StreamEvent::CannotWrite(error))) => {
                    let is_gone = error.kind() == io::ErrorKind::BrokenPipe;
                    return if is_gone { Ok(End::ReaderGone) } else { Err(error) };
                }
                Some(LoopEvent::Custom(StreamEvent::Finished(_))) => {}
            }
        }
    }

    /// A run whose subscriptions never stood did not see silence: who relies on the status must know. A kept session may
    /// have delivered all the same.
    fn checked(&self, end: End, counters: Option<Counters>) -> End {
        let has_printed = counters.is_none_or(|counters| counters.printed > 0);
        match end {
            End::Deadline if !self.was_ready && !has_printed => {
                let broker = &self.options.brokers[0];
                End::SessionFailed(
                    Failure::unreachable(format!(
                        "the time of --for was over before {broker} had granted the subscription"
                    ))
                    .hint("check its host and port, or give it longer: a connection may take as long as --connect-timeout"),
                )
            }
            end => end,
        }
    }

    /// Waits until the session has disconnected; whether a further signal came. What cannot be written meanwhile cannot be
    /// written afterwards either, and is reported then.
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

    /// Waits until the rest is written, for at most this long.
    fn await_flush(&self, timeout: Duration) -> io::Result<Option<Counters>> {
        let mut until = deadline_in(timeout);
        loop {
            match self.event_loop.next(until) {
                Some(LoopEvent::Custom(StreamEvent::Finished(counters))) => return Ok(Some(counters)),
                Some(LoopEvent::Custom(StreamEvent::CannotWrite(error)))
                    if error.kind() != io::ErrorKind::BrokenPipe =>
                {
                    return Err(error);
                }
                None | Some(LoopEvent::ReaderGone | LoopEvent::Custom(StreamEvent::CannotWrite(_))) => return Ok(None),
                Some(LoopEvent::Signal(_)) => until = until.min(deadline_in(FORCED_EXIT_GRACE)),
                Some(LoopEvent::Custom(_)) => {}
            }
        }
    }
}

impl End {
    /// The run's status, after so many printed records; `None` if that is not known.
    fn status(self, window: &WindowArgs, printed: Option<u64>) -> Result<Status, Failure> {
        match self {
            Self::Signal(status) => Ok(status),
            Self::Full | Self::ReaderGone => Ok(Status::Success),
            Self::Deadline => Ok(window.at_deadline(printed)),
            Self::SessionFailed(failure) => Err(failure),
        }
    }
}

impl Counters {
    /// One line: how many of what, and how long.
    fn summary(self, elapsed: Duration) -> String {
        let Self { seen, printed, undecodable } = self;
        let plural = if seen == 1 { "" } else { "s" };
        let elapsed = humantime::format_duration(whole_millis(elapsed));
        format!("{seen} message{plural} seen, {printed} printed, {undecodable} skipped as undecodable, in {elapsed}")
    }
}

/// Prints the topic filters that would be subscribed to, one a line: those of a group no two of which match the same
/// topic, because each copy of a message might go to another member.
///
/// # Errors
/// Where standard output cannot be written to.
pub(crate) fn print_filters(filters: &[TopicFilter], share: Option<&str>) -> Result<Status> {
    let filters = match share {
        Some(group) => disjoint(filters).iter().map(|filter| filter.shared_by(group)).collect(),
        None => filters.to_vec(),
    };
    let lines: Vec<&str> = filters.iter().flat_map(|filter| [filter.as_str(), "\n"]).collect();
    output::print(&lines.concat())
}
