//! Live messages, printed as they come: what `watch`, `tail` and `demo` have in common.
//!
//! A message is judged and printed where it arrives, on the MQTT library's thread ([`sink`]): it is acknowledged to the
//! broker when that is done, so what was acknowledged was written. A reader that stops stops us, and so the broker.
//! Another thread keeps the connection, and tells what becomes of it ([`link`]). The command's own thread only waits for
//! what ends the run.

use std::io;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::cli::{DeliveryArgs, WindowArgs};
use crate::event_loop::{EventLoop, FORCED_EXIT_GRACE, LoopEvent, deadline_in};
use crate::exit::{Failure, Status};
use crate::output::report::Report;
use crate::output::target::Target;
use crate::output::{self, Format, Printer, whole_millis};
use crate::protocol::topic::{Root, TopicFilter, disjoint};
use crate::transport::broker::Options;
use crate::transport::mqtt::Subscription;
use crate::transport::session::{self, Retries, Session, Stage};

mod link;
mod sink;

use link::Link;
pub(crate) use sink::Scope;
use sink::{Sink, Tally};

/// How long the goodbye to the broker may take; what is left to write may take half of it.
const PATIENCE: Duration = Duration::from_secs(1);

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

/// What the stream's threads tell the command's.
#[derive(Debug)]
enum News {
    /// Whether a connection stands, from now on.
    Stands(bool),
    /// The subscriptions stand.
    Ready,
    /// The session is over.
    SessionEnded(Result<(), Failure>),
    /// The file that records go to was renamed.
    Rotated,
    /// The last record that was asked for is printed.
    Full,
    /// Records cannot be written, so that nothing more is acknowledged.
    CannotWrite(io::Error),
    /// All that was left to write is written.
    Finished(Tally),
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
    /// Runs as the flags on delivery ask for.
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
            session::forget(&self.options.durable(name.clone(), durable_expiry))?;
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

    /// Prints until the window closes, the reader goes away or a signal comes.
    ///
    /// # Errors
    /// Where the broker cannot be reached or refuses us, or the records cannot be written.
    pub(crate) fn run(self, delivery: Delivery, report: Report) -> Result<Status> {
        let Self { options, filters, events, scope, format, window } = self;
        let Delivery { qos, group, allow_partial, retries, target, tells_status } = delivery;
        let began = Instant::now();
        let deadline = window.duration.and_then(deadline_in);
        let event_loop = EventLoop::new()?;
        match &target {
            Target::Stdout(stdout) => event_loop.watch_reader(stdout)?,
            Target::File { .. } => event_loop.on_hangup(|| News::Rotated)?,
        }
        let (name, broker) = (target.to_string(), options.broker.to_string());
        let count = window.count.map(Into::into);
        let sink = Sink::start(Printer::new(target, format), events, scope, count, report, event_loop.sender());
        let mut link = Link::new(options.clone(), qos, sink.clone(), tells_status, report);
        let subscription = Subscription { filters, qos, group, allow_partial };
        let (handler, news) = (sink.handler(), event_loop.sender());
        let stands = event_loop.sender();
        let tell = move |stage| {
            match &stage {
                Stage::Connected { .. } => stands(News::Stands(true)),
                Stage::Ready { .. } => stands(News::Ready),
                Stage::Lost(_) => stands(News::Stands(false)),
                Stage::Retrying(_) => {}
            }
            link.follow(stage);
        };
        let session =
            Session::start(options, subscription, retries, handler, tell, move |end| news(News::SessionEnded(end)));
        let wait = Wait { event_loop, sink, broker, stands: false, was_ready: false };
        let (end, tally) = wait.run(deadline, &session).with_context(|| format!("cannot write to {name}"))?;
        match tally {
            // Nothing can have been seen before there was a connection.
            Some(Tally { seen: 0, .. }) if matches!(end, End::SessionFailed(_)) => {}
            Some(tally) => report.info(tally.summary(began.elapsed())),
            None if matches!(end, End::ReaderGone) => {}
            None => report
                .warn(format_args!("{name} may be blocked: what waits there is not written, and not acknowledged")),
        }
        Ok(end.status(&window, tally.map(|tally| tally.printed))?)
    }
}

/// The command's own thread, waiting.
struct Wait {
    event_loop: EventLoop<News>,
    sink: Sink,
    broker: String,
    /// Whether a connection stands.
    stands: bool,
    /// Whether the subscriptions ever stood.
    was_ready: bool,
}

impl Wait {
    /// Waits for the end, has the session say goodbye, however it ended, and the rest written. After a further signal it
    /// waits no longer for what takes time. Where the rest is not written there is no tally.
    ///
    /// # Errors
    /// Where records cannot be written.
    fn run(mut self, deadline: Option<Instant>, session: &Session) -> io::Result<(End, Option<Tally>)> {
        let end = self.for_end(deadline);
        session.stop();
        let is_hurried = self.stands && self.for_goodbye();
        let end = end?;
        if matches!(end, End::ReaderGone) {
            return Ok((end, None));
        }
        self.sink.finish();
        let tally = if is_hurried { self.for_rest(FORCED_EXIT_GRACE) } else { self.for_rest(PATIENCE / 2) }?;
        Ok((end, tally))
    }

    fn for_end(&mut self, deadline: Option<Instant>) -> io::Result<End> {
        loop {
            match self.event_loop.next(deadline) {
                None if self.was_ready => return Ok(End::Deadline),
                None => return Ok(End::SessionFailed(self.never_ready())),
                Some(LoopEvent::Signal(signal)) => return Ok(End::Signal(signal.status())),
                Some(LoopEvent::ReaderGone) => return Ok(End::ReaderGone),
                Some(LoopEvent::Custom(News::Rotated)) => self.sink.reopen(),
                Some(LoopEvent::Custom(News::Stands(stands))) => self.stands = stands,
                Some(LoopEvent::Custom(News::Ready)) => self.was_ready = true,
                Some(LoopEvent::Custom(News::SessionEnded(end))) => {
                    self.stands = false;
                    if let Err(failure) = end {
                        return Ok(End::SessionFailed(failure));
                    }
                }
                // Messages came. A session that the broker kept delivers before it is told that the connection stands.
                Some(LoopEvent::Custom(News::Full)) => {
                    self.stands = true;
                    return Ok(End::Full);
                }
                Some(LoopEvent::Custom(News::CannotWrite(error))) => {
                    self.stands = true;
                    let is_gone = error.kind() == io::ErrorKind::BrokenPipe;
                    return if is_gone { Ok(End::ReaderGone) } else { Err(error) };
                }
                Some(LoopEvent::Custom(News::Finished(_))) => {}
            }
        }
    }

    /// Nothing was seen of what was to be seen: whoever relies on the status must not take that for silence.
    fn never_ready(&self) -> Failure {
        Failure::unreachable(format!("the time of --for was over before {} had taken the subscription", self.broker))
            .hint("check its host and port, or give it longer: a connection may take as long as --connect-timeout")
    }

    /// Waits for the session to say goodbye; whether a further signal came. What cannot be written meanwhile cannot be
    /// written afterwards either, and is told then.
    fn for_goodbye(&self) -> bool {
        let until = deadline_in(PATIENCE);
        loop {
            match self.event_loop.next(until) {
                Some(LoopEvent::Signal(_)) => return true,
                None | Some(LoopEvent::Custom(News::SessionEnded(_))) => return false,
                Some(LoopEvent::ReaderGone | LoopEvent::Custom(_)) => {}
            }
        }
    }

    /// Waits, for so long at the most, until the rest is written.
    fn for_rest(&self, patience: Duration) -> io::Result<Option<Tally>> {
        let mut until = deadline_in(patience);
        loop {
            match self.event_loop.next(until) {
                Some(LoopEvent::Custom(News::Finished(tally))) => return Ok(Some(tally)),
                Some(LoopEvent::Custom(News::CannotWrite(error))) if error.kind() != io::ErrorKind::BrokenPipe => {
                    return Err(error);
                }
                None | Some(LoopEvent::ReaderGone | LoopEvent::Custom(News::CannotWrite(_))) => return Ok(None),
                Some(LoopEvent::Signal(_)) => until = until.min(deadline_in(FORCED_EXIT_GRACE)),
                Some(LoopEvent::Custom(_)) => {}
            }
        }
    }
}

impl End {
    /// The run's status, after so many printed records; `None` where that is not known.
    fn status(self, window: &WindowArgs, printed: Option<u64>) -> Result<Status, Failure> {
        match self {
            Self::Signal(status) => Ok(status),
            Self::Full | Self::ReaderGone => Ok(Status::Success),
            Self::Deadline => Ok(window.at_deadline(printed)),
            Self::SessionFailed(failure) => Err(failure),
        }
    }
}

impl Tally {
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
