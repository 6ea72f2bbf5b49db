//! Live messages, printed as they come: what `watch`, `tail` and `demo` have in common.
//!
//! A message is judged and printed where it arrives, on the MQTT library's thread: it is acknowledged to the broker when
//! that is done, so what was acknowledged was written. A reader that stops stops us, and so the broker. The command's
//! own thread only waits for what ends the run.

use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use jiff::Timestamp;

use crate::cli::WindowArgs;
use crate::exit::{Failure, Status};
use crate::inbox::{Inbox, Notice, deadline_in};
use crate::output::report::Report;
use crate::output::{self, Format, Printer, whole_millis};
use crate::protocol::filter::Filter;
use crate::protocol::record::{Content, Message, Record};
use crate::protocol::topic::{Root, TopicFilter};
use crate::transport::broker::Options;
use crate::transport::mqtt::{Handler, Packet};
use crate::transport::session::{Session, Stage, Subscription};

/// The quality of service that is asked for.
pub(crate) const QOS: u8 = 1;

/// How long a line of a message that needs no acknowledgement may wait for others before it is written.
const LINGER: Duration = Duration::from_millis(3);

/// How long the end may take once it is decided: the goodbye to the broker, and what is left to write.
const PATIENCE: Duration = Duration::from_secs(1);

/// Which messages are printed.
pub(crate) enum Scope {
    /// Events that pass the filter; what is no event is reported.
    Events(Filter),
    /// Everything, where the filter is open; else the events that pass it.
    Messages(Filter),
}

/// A live stream, ready to run.
pub(crate) struct Stream {
    pub(crate) options: Options,
    pub(crate) subscription: Subscription,
    pub(crate) events: Root,
    pub(crate) scope: Scope,
    pub(crate) format: Format,
    pub(crate) window: WindowArgs,
}

/// What the stream's threads tell the command's.
enum News {
    Session(Stage),
    /// The last record that was asked for is printed.
    Full,
    /// A message came that must not be acknowledged, so the MQTT library stands still from here on.
    Parked,
    CannotWrite(io::Error),
}

/// How the stream ended.
enum End {
    Full,
    Deadline,
    ReaderGone,
    Signal(Status),
}

impl Stream {
    /// Prints until the window closes, the reader goes away or a signal comes.
    ///
    /// # Errors
    /// Where the broker cannot be reached or refuses us, or standard output cannot be written to.
    pub(crate) fn run(self, report: Report) -> Result<Status> {
        let Self { options, subscription, events, scope, format, window } = self;
        let began = Instant::now();
        let deadline = window.duration.and_then(deadline_in);
        let inbox = Inbox::open()?;
        let stdout = output::stdout().context("cannot write to standard output")?;
        inbox.watch_reader(&stdout)?;
        let broker = options.broker.to_string();
        let sink = Sink::start(stdout, format, events, scope, window.count.map(Into::into), report, inbox.news());
        let news = inbox.news();
        let session = Session::start(options, subscription, sink.handler(), move |stage| news(News::Session(stage)));
        let end = wait_for_end(&inbox, deadline, &broker, report)?;
        if matches!(end, End::ReaderGone) {
            return Ok(Status::Success);
        }
        session.stop();
        wait_for_goodbye(&inbox);
        let tally = sink.finish()?;
        report.note(tally.summary(began.elapsed()));
        Ok(end.status(&window, tally.printed))
    }
}

/// Waits until something ends the stream, and tells meanwhile how the connection does.
fn wait_for_end(inbox: &Inbox<News>, deadline: Option<Instant>, broker: &str, report: Report) -> Result<End> {
    let mut lost: Option<Instant> = None;
    loop {
        match inbox.next(deadline) {
            None => return Ok(End::Deadline),
            Some(Notice::Signal(signal)) => return Ok(End::Signal(signal.status())),
            Some(Notice::ReaderGone) => return Ok(End::ReaderGone),
            Some(Notice::News(News::Full)) => return Ok(End::Full),
            Some(Notice::News(News::Parked)) => {}
            Some(Notice::News(News::CannotWrite(error))) if error.kind() == io::ErrorKind::BrokenPipe => {
                return Ok(End::ReaderGone);
            }
            Some(Notice::News(News::CannotWrite(error))) => {
                return Err(error).context("cannot write to standard output");
            }
            Some(Notice::News(News::Session(stage))) => follow(stage, &mut lost, broker, report)?,
        }
    }
}

/// Tells how the connection does. `lost` is since when it is lost.
fn follow(stage: Stage, lost: &mut Option<Instant>, broker: &str, report: Report) -> Result<(), Failure> {
    match stage {
        Stage::Connected(version) => report.detail(format_args!("connected to {broker} with MQTT {version}")),
        Stage::Ready => match lost.take() {
            None => report.note("ready"),
            Some(since) => {
                let gap = humantime::format_duration(whole_millis(since.elapsed()));
                report.warn(format_args!("messages of the last {gap} may be missing"));
                report.note("ready");
            }
        },
        Stage::Lost(reason) => {
            lost.get_or_insert_with(Instant::now);
            report.warn(format_args!("lost {broker}: {reason}; connecting again"));
        }
        Stage::Retrying(failure) => report.warn(format_args!("{failure}; trying again")),
        Stage::Failed(failure) => return Err(failure),
        Stage::Stopped => {}
    }
    Ok(())
}

/// Waits for the session to say goodbye, for as long as somebody has the patience: a further signal ends the wait.
fn wait_for_goodbye(inbox: &Inbox<News>) {
    let deadline = deadline_in(PATIENCE);
    while let Some(Notice::News(
        News::Session(Stage::Ready | Stage::Connected(_) | Stage::Retrying(_) | Stage::Lost(_)) | News::Full,
    )) = inbox.next(deadline)
    {}
}

impl End {
    fn status(&self, window: &WindowArgs, printed: u64) -> Status {
        match self {
            Self::Signal(status) => *status,
            Self::Full | Self::ReaderGone => Status::Success,
            Self::Deadline if window.fail_empty && printed == 0 => Status::Empty,
            Self::Deadline if window.count.is_some() => Status::Deadline,
            Self::Deadline => Status::Success,
        }
    }
}

/// What was seen.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    printed: u64,
    undecodable: u64,
}

impl Tally {
    /// One line: how many of what, and how long.
    fn summary(self, elapsed: Duration) -> String {
        let Self { printed, undecodable } = self;
        let plural = if printed == 1 { "" } else { "s" };
        let elapsed = humantime::format_duration(whole_millis(elapsed));
        format!("{printed} record{plural} printed, {undecodable} skipped as undecodable, in {elapsed}")
    }
}

/// Judges messages and prints records; shared between the thread that brings messages and the one that writes what
/// lingers.
struct Sink {
    state: Arc<Mutex<State>>,
    flusher: Thread,
    tell: Arc<dyn Fn(News) + Send + Sync>,
}

struct State {
    printer: Printer<File>,
    judge: Judge,
    left: Option<u64>,
    tally: Tally,
}

/// Decides what is printed.
struct Judge {
    events: Root,
    scope: Scope,
    report: Report,
}

impl Sink {
    fn start(
        stdout: File,
        format: Format,
        events: Root,
        scope: Scope,
        count: Option<u64>,
        report: Report,
        tell: impl Fn(News) + Clone + Send + 'static,
    ) -> Self {
        let state = State {
            printer: Printer::new(stdout, format),
            judge: Judge { events, scope, report },
            left: count,
            tally: Tally::default(),
        };
        let state = Arc::new(Mutex::new(state));
        let tell: Arc<dyn Fn(News) + Send + Sync> = {
            let tell = Mutex::new(tell);
            Arc::new(move |news| lock(&tell)(news))
        };
        let flusher = {
            let (state, tell) = (state.clone(), tell.clone());
            thread::spawn(move || flush_what_lingers(&state, &*tell)).thread().clone()
        };
        Self { state, flusher, tell }
    }

    /// What the transport hands messages to.
    fn handler(&self) -> Handler {
        let (state, flusher, tell) = (self.state.clone(), self.flusher.clone(), self.tell.clone());
        Arc::new(move |packet| {
            let mut state = lock(&state);
            if state.left == Some(0) {
                drop(state);
                tell(News::Parked);
                park_for_good();
            }
            let was_pending = state.printer.has_pending();
            match state.take(packet) {
                Ok(()) if state.left == Some(0) => tell(News::Full),
                Ok(()) if state.printer.has_pending() && !was_pending => flusher.unpark(),
                Ok(()) => {}
                Err(error) => {
                    drop(state);
                    tell(News::CannotWrite(error));
                    tell(News::Parked);
                    park_for_good();
                }
            }
        })
    }

    /// Writes what is left, unless somebody is still at it: then the reader has stopped, and what waits was not
    /// acknowledged.
    fn finish(&self) -> Result<Tally> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.state.try_lock() {
                Ok(mut state) => {
                    match state.printer.flush() {
                        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                            return Err(error).context("cannot write to standard output");
                        }
                        _ => {}
                    }
                    return Ok(state.tally);
                }
                Err(_) if Instant::now() < deadline => thread::sleep(Duration::from_millis(1)),
                Err(_) => anyhow::bail!("standard output is blocked: its reader does not read"),
            }
        }
    }
}

impl State {
    /// Prints a message where it is wanted. What is acknowledged to the broker is written before this returns.
    fn take(&mut self, packet: Packet<'_>) -> io::Result<()> {
        let Packet { topic, payload, qos, retain } = packet;
        let message = Message { received: Timestamp::now(), topic, qos, retain, payload };
        let record = Record::of(&self.judge.events, &message);
        if self.judge.is_wanted(&record, &mut self.tally) {
            self.printer.record(&record)?;
            self.tally.printed += 1;
            self.left = self.left.map(|left| left - 1);
        }
        if qos > 0 || self.left == Some(0) { self.printer.flush() } else { Ok(()) }
    }
}

impl Judge {
    fn is_wanted(&self, record: &Record<'_>, tally: &mut Tally) -> bool {
        match (&record.content, &self.scope) {
            (Content::Event(event), Scope::Events(filter) | Scope::Messages(filter)) => filter.matches(event),
            (Content::Malformed(error), Scope::Events(_)) => {
                tally.undecodable += 1;
                self.report.warn(format_args!("skipped a message on {}: {error}", record.topic));
                false
            }
            (Content::Other, Scope::Events(_)) => false,
            (Content::Malformed(_) | Content::Other, Scope::Messages(filter)) => filter.is_open(),
        }
    }
}

/// Writes, a moment after the first of them came, the lines of messages that need no acknowledgement.
fn flush_what_lingers(state: &Mutex<State>, tell: &dyn Fn(News)) {
    loop {
        thread::park();
        thread::sleep(LINGER);
        if let Err(error) = lock(state).printer.flush() {
            tell(News::CannotWrite(error));
            return;
        }
    }
}

/// Never returns: the message at hand is not acknowledged, and the process ends soon.
fn park_for_good() -> ! {
    loop {
        thread::park();
    }
}

/// Locks. A thread that panicked while it held the lock left nothing half done that matters at the end of a run.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Prints the topic filters that would be subscribed to, one a line.
///
/// # Errors
/// Where standard output cannot be written to.
pub(crate) fn print_filters(filters: &[TopicFilter]) -> Result<Status> {
    let lines: Vec<&str> = filters.iter().flat_map(|filter| [filter.as_str(), "\n"]).collect();
    output::print(&lines.concat())
}
