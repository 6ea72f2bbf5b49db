//! One call: places it on a thread of its own, and waits for its end, the deadline or a signal.

use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, Result};

use super::client::{CallClient, CallConfig, CallEvent, CallUpdate};
use super::incoming::{EventReceiver, Waker};
use super::indicator::Spinner;
use super::printer::CallPrinter;
use super::result::{
    CallResult, CallTimes, Continuation, Outcome, followed_end, lost_session, not_sent, not_sent_in_time, status_of,
    timed_out, unknown,
};
use crate::commands::cancellation::DISCONNECT_TIMEOUT;
use crate::commands::ui::CANNOT_WRITE;
use crate::event_loop::{EventLoop, LoopEvent, Signal};
use crate::exit::{self, Failure, Status};
use crate::output;
use crate::output::report::Report;
use crate::protocol::call::{Request, WaitLimit};

/// Places a call and prints its result. Returns its status: that of the reply, or of the session if the call is followed.
/// All times count from `began`.
///
/// # Errors
/// If there is no reply, if the end of a followed session was not seen, or if standard output cannot be written to.
pub(super) fn run(config: CallConfig, began: Instant, request: &Request, mut printer: CallPrinter) -> Result<Status> {
    let CallConfig { report, times, .. } = config;
    let is_followed = config.follow.is_some();
    let wait = Wait { began, times, is_followed, report };
    match wait.run(config, request, &mut printer)? {
        End::ReaderGone => Ok(Status::Success),
        End::NotSent(signal) => {
            report.info("nothing was sent");
            Ok(signal.status())
        }
        End::Interrupted(signal, result) => {
            warn_of_open_call(&result, report);
            // Lines for people are printed as they come.
            if matches!(printer, CallPrinter::Json) {
                printer.result(&result)?;
            }
            Ok(signal.status())
        }
        End::Lost(why, result) => {
            printer.result(&result)?;
            Err(lost_session(*result, &why).into())
        }
        End::Finished(result) => {
            printer.result(&result)?;
            if is_followed {
                return Ok(followed_end(*result, times)?);
            }
            match result.outcome {
                Outcome::Unanswered(_, failure) => Err(failure.into()),
                answered @ Outcome::Answered { .. } => Ok(status_of(&answered)),
            }
        }
    }
}

/// Prints the result of a call whose topics could not be learned (`--discover`), and returns the error. `times` are those of a
/// followed call.
///
/// # Errors
/// Always.
pub(super) fn fail_undiscovered(
    request: Request,
    error: &anyhow::Error,
    began: Instant,
    times: Option<CallTimes>,
    json: bool,
) -> Result<Status> {
    let failure = Failure::new(exit::status_of(error), format!("{error:#}: nothing was sent"));
    let failure = match exit::hint_of(error) {
        Some(hint) => failure.hint(hint),
        None => failure,
    };
    if json {
        let elapsed = began.elapsed();
        let limit =
            times.map(CallTimes::until_sent).filter(|(duration, _)| *duration <= elapsed).map(|(_, limit)| limit);
        let outcome = not_sent(failure.clone());
        CallPrinter::Json.result(&CallResult { request, outcome, elapsed, session: None, limit })?;
    }
    Err(failure.into())
}

/// Warns that the call continues, or may have been placed, after a signal.
fn warn_of_open_call(result: &CallResult, report: Report) {
    let CallResult { request, .. } = result;
    let continues = match Continuation::of(result) {
        Continuation::Over => return,
        Continuation::Continues => "continues",
        Continuation::MayContinue => "may continue",
        Continuation::MayBePlaced => {
            report.warn(format_args!("the call may have been placed (transID {})", request.trans_id));
            return;
        }
    };
    let id = request.session_id.map_or_else(|| format!("transID {}", request.trans_id), |id| format!("session {id}"));
    report.warn(format_args!("interrupted: the call {continues} ({id})"));
}

/// How the wait for the call ended.
enum End {
    /// With a result, perhaps a timeout.
    Finished(Box<CallResult>),
    /// The connection was lost for good, with the reason.
    Lost(String, Box<CallResult>),
    /// With a signal before the request was sent.
    NotSent(Signal),
    /// With a signal after it, and what is known until then.
    Interrupted(Signal, Box<CallResult>),
    /// The reader of the updates closed the pipe.
    ReaderGone,
}

/// What the thread that places the call sends. Each but an update is the last, after the connection is closed.
enum ThreadEvent {
    Update(CallUpdate),
    Finished(Box<CallResult>),
    Lost(String, Box<CallResult>),
    /// Cancelled, with what is known if the request was sent.
    Cancelled(Option<Box<CallResult>>),
}

/// Whether the request is sent. The thread that places the call and the one that waits both try to set it; the first wins.
/// So nothing is sent after "nothing was sent" is reported.
type SharedDecision = OnceLock<SendDecision>;

/// A decision on a request.
#[derive(Debug, PartialEq, Eq)]
enum SendDecision {
    /// Send it: from now on, the call may be placed.
    Send,
    /// Do not send it.
    Cancel,
}

/// What the wait for a call depends on.
struct Wait {
    began: Instant,
    times: CallTimes,
    is_followed: bool,
    report: Report,
}

impl Wait {
    /// Starts the thread that places the call, and waits for its result, the deadline or a signal.
    fn run(self, config: CallConfig, request: &Request, printer: &mut CallPrinter) -> Result<End> {
        let Self { began, times, is_followed, report } = self;
        let (until_sent, limit) = times.until_sent();
        let event_loop = EventLoop::new()?;
        if is_followed {
            event_loop.watch_reader(&output::stdout().context(CANNOT_WRITE)?)?;
        }
        let mut spinner = Some(Spinner::start(request, report));
        let receiver = EventReceiver::new();
        let waker = receiver.waker();
        let broker = config.options.brokers[0].to_string();
        let decision: Arc<SharedDecision> = Arc::default();
        let send = event_loop.sender();
        thread::spawn({
            let (request, decision) = (request.clone(), decision.clone());
            move || send(connect_and_place(config, receiver, request, began, &decision, &send))
        });
        // Decides to cancel, if nothing is decided yet.
        let is_sent = || *decision.get_or_init(|| SendDecision::Cancel) == SendDecision::Send;
        let mut deadline = began.checked_add(until_sent);
        let signal = loop {
            match event_loop.next(deadline) {
                Some(LoopEvent::Custom(ThreadEvent::Update(update))) => {
                    spinner = None;
                    printer.update(&update)?;
                }
                Some(LoopEvent::Custom(ThreadEvent::Finished(result))) => return Ok(End::Finished(result)),
                Some(LoopEvent::Custom(ThreadEvent::Lost(why, result))) => return Ok(End::Lost(why, result)),
                Some(LoopEvent::Custom(ThreadEvent::Cancelled(_))) => {}
                Some(LoopEvent::ReaderGone) if is_followed => return Ok(End::ReaderGone),
                Some(LoopEvent::ReaderGone) => {}
                Some(LoopEvent::Signal(signal)) => break Some(signal),
                // The thread knows the deadlines of a followed call.
                None if is_followed && is_sent() => deadline = None,
                None => break None,
            }
        };
        drop(spinner);
        let is_sent = is_sent();
        let elapsed = began.elapsed();
        let result = cancel_and_wait(&waker, &event_loop);
        let finish =
            |outcome| Box::new(CallResult { request: request.clone(), outcome, elapsed, session: None, limit: None });
        Ok(match signal {
            None if is_sent => End::Finished(finish(timed_out(request, &broker, WaitLimit::Timeout))),
            None => {
                let result = finish(not_sent_in_time(&broker, limit));
                End::Finished(Box::new(CallResult { limit: is_followed.then_some(limit), ..*result }))
            }
            Some(signal) if !is_sent => End::NotSent(signal),
            Some(signal) => End::Interrupted(signal, result.unwrap_or_else(|| finish(unknown(request, "interrupted")))),
        })
    }
}

/// Cancels the call, and waits until the connection is closed. Returns what is known of the call.
fn cancel_and_wait(waker: &Waker, event_loop: &EventLoop<ThreadEvent>) -> Option<Box<CallResult>> {
    waker.cancel();
    let end = event_loop.await_shutdown(DISCONNECT_TIMEOUT, |event| match event {
        LoopEvent::Custom(ThreadEvent::Update(_)) | LoopEvent::ReaderGone | LoopEvent::Signal(_) => None,
        LoopEvent::Custom(end) => Some(end),
    });
    match end? {
        ThreadEvent::Cancelled(result) => result,
        ThreadEvent::Finished(result) | ThreadEvent::Lost(_, result) => Some(result),
        ThreadEvent::Update(_) => None,
    }
}

/// Connects, places the call, waits for its result and disconnects.
fn connect_and_place(
    config: CallConfig,
    receiver: EventReceiver,
    request: Request,
    began: Instant,
    decision: &SharedDecision,
    send: &impl Fn(ThreadEvent),
) -> ThreadEvent {
    let mut client = match CallClient::connect(config, receiver) {
        Ok(client) => client,
        Err(not_sent) => {
            let (outcome, elapsed) = (not_sent.into(), began.elapsed());
            return ThreadEvent::Finished(Box::new(CallResult {
                request,
                outcome,
                elapsed,
                session: None,
                limit: None,
            }));
        }
    };
    if decision.set(SendDecision::Send).is_err() {
        client.close();
        return ThreadEvent::Cancelled(None);
    }
    client.place(request, began);
    let end = loop {
        match client.next_event(None) {
            CallEvent::Update(update) => send(ThreadEvent::Update(update)),
            CallEvent::Finished(result) => break ThreadEvent::Finished(result),
            CallEvent::Lost(reason) => {
                let why = format!("lost {} ({reason})", client.broker());
                let result = client.abandon_all(&why).pop();
                break result.map_or(ThreadEvent::Cancelled(None), |result| ThreadEvent::Lost(why, Box::new(result)));
            }
            CallEvent::Woken | CallEvent::Timeout => {
                break ThreadEvent::Cancelled(client.abandon_all("interrupted").pop().map(Box::new));
            }
        }
    };
    client.close();
    end
}
