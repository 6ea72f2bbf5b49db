//! `rtcomm call --batch`: many calls over one connection, one line out for each line in, in the order of the input.
//!
//! A thread reads the input, another places calls and prints their outcomes; the command's own waits for signals. At most
//! `--jobs` calls wait for their answers at a time, and no call begins while too many finished ones wait for an earlier
//! one to be printed: so memory is bounded.

use std::collections::VecDeque;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use uuid::Uuid;

use super::Failure;
use super::client::{CallClient, CallConfig, CallEvent, DISCONNECT_TIMEOUT, EventReceiver, Waker};
use super::in_order::{InOrder, Output};
use super::result::{CallResult, status_of};
use super::wishes::{self, Line, Parser};
use crate::cli::Rate;
use crate::event_loop::{EventLoop, FORCED_EXIT_GRACE, LoopEvent, deadline_in};
use crate::exit::Status;
use crate::output::report::Report;
use crate::output::{self, json};
use crate::protocol::call::INVALID;
use crate::recording::{Input, Stop};

/// How many finished calls may wait for an earlier one, for each that may be in flight.
const FINISHED_PER_JOB: usize = 64;

/// What was being done where writing fails.
const CANNOT_WRITE: &str = "cannot write to standard output";

/// The calls that an input asks for, one a line.
pub(super) struct Batch {
    pub(super) input: Input,
    /// How many of its lines are left out.
    pub(super) skip: u64,
    pub(super) parser: Parser,
}

/// How fast calls are placed, and how long each is waited for.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub(super) jobs: usize,
    pub(super) rate: Option<Rate>,
    pub(super) timeout: Duration,
}

/// Places the calls.
///
/// # Errors
/// An input that cannot be read; a broker that cannot be reached, refuses us or is lost; standard output that cannot be
/// written to.
pub(super) fn run(batch: Batch, config: CallConfig, limits: Limits) -> Result<Status> {
    let Batch { input, skip, parser } = batch;
    let Limits { jobs, rate, timeout } = limits;
    let (stop, reader) = wishes::open(&input)?;
    let progress = progress(config.report, || Some(wishes::count_lines(&input)?.saturating_sub(skip)));
    let event_loop = EventLoop::new()?;
    let stdout = output::stdout().context(CANNOT_WRITE)?;
    event_loop.watch_reader(&stdout)?;
    let receiver = EventReceiver::new();
    let waker = receiver.waker();
    let read = wishes::read_ahead(reader, skip, config.report, stop.clone(), waker.clone());
    let printer = InOrder::onto(stdout, skip);
    let (mark, report) = (printer.mark().clone(), config.report);
    let (news, ended) = (event_loop.sender(), stop.clone());
    let run = Run {
        read,
        parser,
        printer,
        deadlines: VecDeque::new(),
        jobs,
        pace: rate.map(Pace::new),
        timeout,
        stop: ended,
        worst: Status::Success,
        end: None,
        progress,
        skip,
        report,
    };
    thread::spawn(move || news(run.place(config, receiver)));
    match wait(&event_loop, &stop, &waker)? {
        Ended::InOrder(status) => Ok(status),
        Ended::OutOfTime(status) => {
            mark.tell(report);
            Ok(status)
        }
    }
}

/// How the wait for a batch ended.
enum Ended {
    /// All that was to be told was told, or nobody reads it.
    InOrder(Status),
    /// By a signal, after which not all was told in time.
    OutOfTime(Status),
}

/// Waits for the end, or for a signal, which has the calls given up and told.
fn wait(event_loop: &EventLoop<Result<Status>>, stop: &Stop, waker: &Waker) -> Result<Ended> {
    let mut interrupted = None;
    let mut until = None;
    loop {
        match (event_loop.next(until), interrupted) {
            (Some(LoopEvent::ReaderGone), _) => return Ok(Ended::InOrder(Status::Success)),
            (Some(LoopEvent::Custom(status)), None) => return status.map(Ended::InOrder),
            (Some(LoopEvent::Custom(ended)), Some(status)) => return ended.map(|_| Ended::InOrder(status)),
            (None, status) => return Ok(Ended::OutOfTime(status.unwrap_or(Status::Failure))),
            (Some(LoopEvent::Signal(signal)), None) => {
                interrupted = Some(signal.status());
                until = deadline_in(2 * DISCONNECT_TIMEOUT);
                stop.stop();
                waker.cancel();
            }
            (Some(LoopEvent::Signal(_)), Some(_)) => until = until.min(deadline_in(FORCED_EXIT_GRACE)),
        }
    }
}

/// Draws where somebody looks, and wants to: how far it is, how fast, and how long it will take where `total` knows how
/// many calls there are. Not where the outcomes come out on a terminal: they show how far it is, and must not be drawn
/// over.
fn progress(report: Report, total: impl FnOnce() -> Option<u64>) -> ProgressBar {
    let canvas = if io::stdout().is_terminal() { ProgressDrawTarget::hidden() } else { super::canvas(report) };
    let bar = ProgressBar::with_draw_target(None, canvas);
    if bar.is_hidden() {
        return bar;
    }
    let template = match total() {
        Some(total) => {
            bar.set_length(total);
            "{wide_bar} {pos}/{len} calls, {per_sec}, {eta} left"
        }
        None => "{spinner} {pos} calls, {per_sec}",
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Prints the requests that would be published.
///
/// # Errors
/// An input that cannot be read; standard output that cannot be written to.
pub(super) fn print_requests(batch: Batch, report: Report) -> Result<Status> {
    let Batch { input, skip, parser } = batch;
    let (_, mut reader) = wishes::open(&input)?;
    let mut out = io::BufWriter::new(output::stdout().context(CANNOT_WRITE)?);
    let mut number = 0;
    let mut worst = Status::Success;
    while let Some(line) = wishes::next_line(&mut reader)? {
        number += 1;
        if number <= skip {
            continue;
        }
        let text = match parser.request(&line) {
            Ok(request) => request.payload() + "\n",
            Err(why) => {
                worst = Status::Failure;
                json::invalid_request(number, &why)
            }
        };
        if let Err(error) = out.write_all(text.as_bytes()) {
            return gone_or(error);
        }
    }
    wishes::warn_of_skip(skip, number, report);
    out.flush().map_or_else(gone_or, |()| Ok(worst))
}

/// A reader that went away is a normal end; any other error of writing is one.
fn gone_or(error: io::Error) -> Result<Status> {
    if error.kind() == io::ErrorKind::BrokenPipe { Ok(Status::Success) } else { Err(error).context(CANNOT_WRITE) }
}

/// When the next call may begin, where that is limited.
struct Pace {
    interval: Duration,
    next: Instant,
}

impl Pace {
    fn new(rate: Rate) -> Self {
        Self { interval: rate.interval(), next: Instant::now() }
    }
}

/// The thread that places calls.
struct Run {
    read: Receiver<Result<Line>>,
    parser: Parser,
    printer: InOrder,
    /// The calls in flight: deadline where the clock reaches as far, transaction, position. All have the same time, so the
    /// first sent is the first due.
    deadlines: VecDeque<(Option<Instant>, Uuid, u64)>,
    jobs: usize,
    pace: Option<Pace>,
    timeout: Duration,
    stop: Stop,
    worst: Status,
    /// How the input ended, once it has: an error ends it too, since what was asked for before it is asked for.
    end: Option<Result<()>>,
    progress: ProgressBar,
    skip: u64,
    report: Report,
}

impl Run {
    /// Places calls until the input ends and every call has; returns the worst outcome.
    fn place(mut self, config: CallConfig, receiver: EventReceiver) -> Result<Status> {
        let began = Instant::now();
        let mut client = match CallClient::connect(config, receiver) {
            // A signal ended the attempt.
            Err(_) if self.stop.is_stopped() => {
                self.report.warn(self.where_to_go_on());
                return Ok(self.worst);
            }
            connected => connected?,
        };
        let result = self.work(&mut client);
        self.progress.finish_and_clear();
        let Err(error) = result else {
            client.close();
            self.report.info(self.printer.summary(began.elapsed()));
            return self.read_to_its_end().map(|()| self.worst);
        };
        if let Some(kind) = error.downcast_ref::<io::Error>().map(io::Error::kind) {
            let ended = self.cannot_write(&error, kind);
            client.close();
            return ended;
        }
        client.close();
        self.report.info(self.printer.summary(began.elapsed()));
        Err(error)
    }

    /// The end where standard output takes no more. A reader that went away is a normal one.
    fn cannot_write(&self, error: &anyhow::Error, kind: io::ErrorKind) -> Result<Status> {
        if kind == io::ErrorKind::BrokenPipe {
            return Ok(Status::Success);
        }
        self.printer.mark().warn_of_untold(self.report);
        Err(self.ended_by(error))
    }

    /// What is told of an error that ends the run early.
    fn ended_by(&self, error: &anyhow::Error) -> anyhow::Error {
        Failure::new(Status::Failure, format!("{error:#}")).hint(self.where_to_go_on()).into()
    }

    fn work(&mut self, client: &mut CallClient) -> Result<()> {
        while self.end.is_none() || client.pending() > 0 {
            if self.stop.is_stopped() {
                self.give_up(client, "interrupted")?;
                self.report.warn(self.where_to_go_on());
                return Ok(());
            }
            let turn = self.begin_calls(client)?;
            if self.end.is_some() && client.pending() == 0 {
                break;
            }
            let due = self.deadlines.front().and_then(|(due, ..)| *due);
            match client.next_event([due, turn].into_iter().flatten().min()) {
                CallEvent::Ended(called) => self.ended(&called)?,
                CallEvent::Lost(reason) => {
                    let was_denied = self.worst == Status::Refused;
                    self.give_up(client, &format!("lost the broker ({reason})"))?;
                    return Err(self.lost(was_denied, &reason).into());
                }
                CallEvent::Woken | CallEvent::Timeout => {}
            }
            self.end_overdue(client)?;
        }
        Ok(())
    }

    /// The failure of a batch whose broker is lost.
    fn lost(&self, was_denied: bool, reason: &str) -> Failure {
        let denied = if was_denied { ": it denied a call, and may have closed the connection over that" } else { "" };
        Failure::unreachable(format!("lost the broker before the batch was done ({reason}){denied}"))
            .hint(self.where_to_go_on())
    }

    /// Fails where the input ended with an error, unless a signal ended the run first.
    fn read_to_its_end(&mut self) -> Result<()> {
        match self.end.take() {
            Some(Err(error)) if !self.stop.is_stopped() => Err(self.ended_by(&error)),
            _ => Ok(()),
        }
    }

    /// Begins as many calls as may be in flight now. Returns when the next may begin, where it is only the rate that
    /// holds it back.
    fn begin_calls(&mut self, client: &mut CallClient) -> Result<Option<Instant>> {
        while self.end.is_none()
            && client.pending() < self.jobs
            && self.printer.waiting() < self.jobs * FINISHED_PER_JOB
        {
            if let Some(next) = self.pace.as_ref().map(|pace| pace.next).filter(|next| Instant::now() < *next) {
                return Ok(Some(next));
            }
            match self.read.try_recv() {
                Err(TryRecvError::Empty) => return Ok(None),
                Err(TryRecvError::Disconnected) => self.end = Some(Ok(())),
                Ok(Err(error)) => self.end = Some(Err(error)),
                Ok(Ok(line)) => self.begin(&line, client)?,
            }
        }
        Ok(None)
    }

    fn begin(&mut self, line: &Line, client: &mut CallClient) -> Result<()> {
        let position = self.printer.reserve();
        match self.parser.request(line) {
            Ok(request) => {
                let now = Instant::now();
                if let Some(pace) = &mut self.pace {
                    pace.next = pace.next.max(now.checked_sub(pace.interval).unwrap_or(now)) + pace.interval;
                }
                self.deadlines.push_back((now.checked_add(self.timeout), request.trans_id, position));
                client.place(request, now);
                Ok(())
            }
            Err(why) => {
                self.worst = self.worst.worse(Status::Failure);
                let text = json::invalid_request(self.skip + position + 1, &why);
                self.print(position, Output { text, outcome: INVALID, may_be_placed: false })
            }
        }
    }

    fn end_overdue(&mut self, client: &mut CallClient) -> Result<()> {
        while let Some((Some(due), id, _)) = self.deadlines.front() {
            if *due > Instant::now() {
                break;
            }
            match client.give_up(*id) {
                Some(called) => self.ended(&called)?,
                None => drop(self.deadlines.pop_front()),
            }
        }
        Ok(())
    }

    fn where_to_go_on(&self) -> String {
        self.printer.mark().where_to_go_on()
    }

    /// Tells of every call in flight that its end is not known, because of `what`.
    fn give_up(&mut self, client: &mut CallClient, what: &str) -> Result<()> {
        client.give_up_all(what).iter().try_for_each(|called| self.ended(called))
    }

    fn ended(&mut self, called: &CallResult) -> Result<()> {
        self.worst = self.worst.worse(status_of(&called.outcome));
        let Some(i) = self.deadlines.iter().position(|(_, id, _)| *id == called.request.trans_id) else {
            return Ok(());
        };
        match self.deadlines.remove(i) {
            Some((_, _, position)) => {
                let may_be_placed = called.outcome.may_be_placed();
                let (text, outcome) = (json::call_result(called), called.outcome.name());
                self.print(position, Output { text, outcome, may_be_placed })
            }
            None => Ok(()),
        }
    }

    fn print(&mut self, position: u64, output: Output) -> Result<()> {
        self.printer.put(position, output).context(CANNOT_WRITE)?;
        self.progress.set_position(self.printer.printed());
        Ok(())
    }
}
