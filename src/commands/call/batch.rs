//! `rtcomm call --batch`: many calls over one connection, with one output line per input line, in the order of the input.
//!
//! One thread reads the input, another places calls and writes results; the command's thread waits for signals. Memory is
//! bounded: `--jobs` limits the calls in flight, and no call starts while too many results wait for an earlier one.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, Write as _};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use indicatif::ProgressBar;
use uuid::Uuid;

use super::client::{CallClient, CallConfig, CallEvent};
use super::incoming::{EventReceiver, Waker};
use super::indicator::batch_bar;
use super::input::{self, InputLine, Parser};
use super::ordered_writer::{OrderedWriter, OutputLine};
use super::rate_limiter::RateLimiter;
use super::result::{CallResult, Outcome, followed_status_of, open_calls, session_end, status_of};
use crate::cli::Rate;
use crate::commands::ui::CANNOT_WRITE;
use crate::event_loop::{EventLoop, LoopEvent};
use crate::exit::{Failure, Status};
use crate::output::report::Report;
use crate::output::{self, ignore_broken_pipe, json};
use crate::protocol::call::{INVALID, NoReplyCause};
use crate::protocol::topic::EndpointId;
use crate::recording::{Input, Stop};

/// Maximum number of results that wait for an earlier one, per job.
const MAX_WAITING_PER_JOB: usize = 64;

/// Maximum time to shut down after a signal: to disconnect, and to write the results.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

/// The calls to place.
pub(super) struct Batch {
    pub(super) input: Input,
    /// Number of lines to skip.
    pub(super) skip: u64,
    pub(super) parser: Parser,
}

impl Batch {
    /// Returns the callers, each once.
    ///
    /// Returns `None` if there are more than `max`, or if they are not known before the calls are placed, as in a pipe.
    pub(super) fn callers(&self, max: usize) -> Option<Vec<EndpointId>> {
        let mut callers = BTreeSet::new();
        let mut lines = input::reopen(&self.input)?;
        let mut number = 0;
        while let Some(line) = input::next_line(&mut lines).ok()? {
            number += 1;
            if number > self.skip
                && let Ok(request) = self.parser.request(&line)
            {
                callers.insert(request.caller);
            }
            if callers.len() > max {
                return None;
            }
        }
        Some(callers.into_iter().collect())
    }
}

/// How fast calls are placed.
#[derive(Clone, Copy)]
pub(super) struct BatchLimits {
    /// Maximum number of calls that are not over.
    pub(super) jobs: usize,
    pub(super) rate: Option<Rate>,
}

/// Places the calls and prints their results. Returns the worst status.
///
/// # Errors
/// If the input cannot be read, the broker is unreachable, refuses the client or is lost, or standard output cannot be
/// written to.
pub(super) fn run(batch: Batch, config: CallConfig, limits: BatchLimits) -> Result<Status> {
    let Batch { input, skip, parser } = batch;
    let BatchLimits { jobs, rate } = limits;
    let report = config.report;
    let (stop, reader) = input::open(&input)?;
    let bar = batch_bar(report, || Some(input::count_lines(&input)?.saturating_sub(skip)));
    let event_loop = EventLoop::new()?;
    let stdout = output::stdout().context(CANNOT_WRITE)?;
    event_loop.watch_reader(&stdout)?;
    let receiver = EventReceiver::new();
    let waker = receiver.waker();
    let lines = input::read_ahead(reader, skip, report, stop.clone(), waker.clone());
    let writer = OrderedWriter::new(stdout, skip);
    let progress = writer.progress().clone();
    let worker = BatchWorker {
        lines,
        parser,
        writer,
        positions: HashMap::new(),
        jobs,
        rate_limiter: rate.map(RateLimiter::new),
        is_following: config.follow.is_some(),
        stop: stop.clone(),
        worst: Status::Success,
        has_denied_call: false,
        input_end: None,
        bar,
        skip,
        report,
    };
    let send = event_loop.sender();
    thread::spawn(move || send(worker.run(config, receiver)));
    match wait(&event_loop, &stop, &waker)? {
        WaitResult::Finished(status) => Ok(status),
        WaitResult::TimedOut(status) => {
            progress.warn_if_unfinished(report);
            Ok(status)
        }
    }
}

/// How the wait for the worker ended.
enum WaitResult {
    /// The worker has finished, or the reader of standard output is gone.
    Finished(Status),
    /// The worker did not finish in time after a signal.
    TimedOut(Status),
}

/// Waits until the worker finishes. A signal stops it.
fn wait(event_loop: &EventLoop<Result<Status>>, stop: &Stop, waker: &Waker) -> Result<WaitResult> {
    let status = match event_loop.next(None) {
        Some(LoopEvent::ReaderGone) | None => return Ok(WaitResult::Finished(Status::Success)),
        Some(LoopEvent::Custom(end)) => return end.map(WaitResult::Finished),
        Some(LoopEvent::Signal(signal)) => signal.status(),
    };
    stop.stop();
    waker.cancel();
    let end = event_loop.await_shutdown(SHUTDOWN_TIMEOUT, |event| match event {
        LoopEvent::ReaderGone => Some(Ok(Status::Success)),
        LoopEvent::Custom(end) => Some(end.map(|_| status)),
        LoopEvent::Signal(_) => None,
    });
    end.map_or(Ok(WaitResult::TimedOut(status)), |end| end.map(WaitResult::Finished))
}

/// Prints the requests without sending them.
///
/// # Errors
/// If the input cannot be read, or standard output cannot be written to.
pub(super) fn print_requests(batch: Batch, report: Report) -> Result<Status> {
    let Batch { input, skip, parser } = batch;
    let (_, mut reader) = input::open(&input)?;
    let mut out = io::BufWriter::new(output::stdout().context(CANNOT_WRITE)?);
    let mut number = 0;
    let mut worst = Status::Success;
    while let Some(line) = input::next_line(&mut reader)? {
        number += 1;
        if number <= skip {
            continue;
        }
        let text = match parser.request(&line) {
            Ok(request) => request.payload() + "\n",
            Err(reason) => {
                worst = Status::Failure;
                json::invalid_request(number, &reason)
            }
        };
        if let Err(error) = out.write_all(text.as_bytes()) {
            ignore_broken_pipe(Err(error)).context(CANNOT_WRITE)?;
            return Ok(Status::Success);
        }
    }
    input::warn_of_skip(skip, number, report);
    ignore_broken_pipe(out.flush()).context(CANNOT_WRITE)?;
    Ok(worst)
}

/// Why the worker stops before the input ends.
enum Abort {
    /// Standard output cannot be written to.
    Write(io::Error),
    /// The connection was lost.
    Lost(Failure),
}

impl From<io::Error> for Abort {
    fn from(error: io::Error) -> Self {
        Self::Write(error)
    }
}

/// The thread that places calls and writes results.
struct BatchWorker {
    lines: Receiver<Result<InputLine>>,
    parser: Parser,
    writer: OrderedWriter,
    /// The positions of the output of the calls in flight.
    positions: HashMap<Uuid, u64>,
    jobs: usize,
    rate_limiter: Option<RateLimiter>,
    /// Whether the sessions of the calls decide on the status.
    is_following: bool,
    stop: Stop,
    worst: Status,
    has_denied_call: bool,
    /// How the input ended. The calls read before an error are still placed.
    input_end: Option<Result<()>>,
    bar: ProgressBar,
    skip: u64,
    report: Report,
}

impl BatchWorker {
    /// Places calls until the input has ended and every call has a result. Returns the worst status.
    fn run(mut self, config: CallConfig, receiver: EventReceiver) -> Result<Status> {
        let began = Instant::now();
        let mut client = match CallClient::connect(config, receiver) {
            Ok(client) => client,
            // A signal cancelled the attempt.
            Err(_) if self.stop.is_stopped() => {
                self.bar.suspend(|| self.report.warn(self.resume_hint()));
                return Ok(self.worst);
            }
            Err(not_sent) => return Err(not_sent.failure.into()),
        };
        let result = self.place_all(&mut client);
        self.bar.finish_and_clear();
        if let Err(Abort::Write(error)) = result {
            let result = self.cannot_write(error);
            client.close();
            return result;
        }
        client.close();
        self.report.info(self.writer.summary(began.elapsed()));
        match result {
            Err(Abort::Lost(failure)) => Err(failure.into()),
            Ok(()) | Err(Abort::Write(_)) => self.input_result().map(|()| self.worst),
        }
    }

    /// Returns the result of a run whose output cannot be written.
    fn cannot_write(&self, error: io::Error) -> Result<Status> {
        if let Err(error) = ignore_broken_pipe(Err(error)) {
            self.writer.progress().warn_of_unreported(self.report);
            let error = anyhow::Error::new(error).context(CANNOT_WRITE);
            return Err(self.with_resume_hint(&error));
        }
        Ok(Status::Success)
    }

    fn with_resume_hint(&self, error: &anyhow::Error) -> anyhow::Error {
        Failure::new(Status::Failure, format!("{error:#}")).hint(self.resume_hint()).into()
    }

    fn place_all(&mut self, client: &mut CallClient) -> Result<(), Abort> {
        while self.input_end.is_none() || !client.is_idle() {
            if self.stop.is_stopped() {
                let open_calls = self.abandon_all(client, "interrupted")?.filter(|_| self.is_following);
                self.bar.suspend(|| {
                    if let Some(open_calls) = open_calls {
                        self.report.warn(format_args!("interrupted: {open_calls}"));
                    }
                    self.report.warn(self.resume_hint());
                });
                return Ok(());
            }
            let next_call = self.start_calls(client)?;
            if self.input_end.is_some() && client.is_idle() {
                break;
            }
            match client.next_event(next_call) {
                CallEvent::Finished(result) => self.finish(&result)?,
                CallEvent::Lost(reason) => {
                    let failure = self.lost(&reason);
                    self.abandon_all(client, &format!("lost the broker ({reason})"))?;
                    return Err(Abort::Lost(failure.hint(self.resume_hint())));
                }
                CallEvent::Update(_) | CallEvent::Woken | CallEvent::Timeout => {}
            }
        }
        Ok(())
    }

    /// Makes the error of a batch that loses its broker. Brokers may deny a publication by closing the connection.
    fn lost(&self, reason: &str) -> Failure {
        let denied =
            if self.has_denied_call { "; it may have closed the connection because it denied a call" } else { "" };
        Failure::unreachable(format!("lost the broker before the batch was done ({reason}){denied}"))
    }

    /// Returns the error that ended the input, unless a signal ended the run first.
    fn input_result(&mut self) -> Result<()> {
        match self.input_end.take() {
            Some(Err(error)) if !self.stop.is_stopped() => Err(self.with_resume_hint(&error)),
            _ => Ok(()),
        }
    }

    /// Starts as many calls as the limits allow. Returns when the rate allows the next one, if only the rate prevents it.
    fn start_calls(&mut self, client: &mut CallClient) -> Result<Option<Instant>, Abort> {
        while self.input_end.is_none()
            && client.is_connected()
            && client.pending() < self.jobs
            && self.writer.pending() < self.jobs * MAX_WAITING_PER_JOB
        {
            if let Some(next) = self.rate_limiter.as_ref().and_then(|limiter| limiter.wait_until(Instant::now())) {
                return Ok(Some(next));
            }
            match self.lines.try_recv() {
                Err(TryRecvError::Empty) => return Ok(None),
                Err(TryRecvError::Disconnected) => self.input_end = Some(Ok(())),
                Ok(Err(error)) => self.input_end = Some(Err(error)),
                Ok(Ok(line)) => self.start_call(&line, client)?,
            }
        }
        Ok(None)
    }

    fn start_call(&mut self, line: &InputLine, client: &mut CallClient) -> Result<(), Abort> {
        let position = self.writer.reserve();
        match self.parser.request(line) {
            Ok(request) => {
                let now = Instant::now();
                if let Some(limiter) = &mut self.rate_limiter {
                    limiter.count(now);
                }
                self.positions.insert(request.trans_id, position);
                client.place(request, now);
                Ok(())
            }
            Err(reason) => {
                self.worst = self.worst.worse(Status::Failure);
                let text = json::invalid_request(self.skip + position + 1, &reason);
                self.write(position, OutputLine { text, outcome: INVALID, session: None, may_be_placed: false })
            }
        }
    }

    fn resume_hint(&self) -> String {
        self.writer.progress().resume_hint()
    }

    /// Ends all calls in flight because of `event`. Returns the numbers of those that continue or may continue, if any.
    fn abandon_all(&mut self, client: &mut CallClient, event: &str) -> Result<Option<String>, Abort> {
        let results = client.abandon_all(event);
        results.iter().try_for_each(|result| self.finish(result))?;
        Ok(open_calls(&results))
    }

    /// Writes the result of a call.
    fn finish(&mut self, result: &CallResult) -> Result<(), Abort> {
        let CallResult { request, outcome, .. } = result;
        let status = if self.is_following { followed_status_of(result) } else { status_of(outcome) };
        self.worst = self.worst.worse(status);
        self.has_denied_call |= matches!(outcome, Outcome::Unanswered(NoReplyCause::Denied, _));
        let Some(position) = self.positions.remove(&request.trans_id) else { return Ok(()) };
        let line = OutputLine {
            text: json::call_result(result),
            outcome: outcome.name(),
            session: if self.is_following { session_end(result) } else { None },
            may_be_placed: outcome.may_be_placed(),
        };
        self.write(position, line)
    }

    fn write(&mut self, position: u64, line: OutputLine) -> Result<(), Abort> {
        self.writer.put(position, line)?;
        self.bar.set_position(self.writer.written());
        Ok(())
    }
}
