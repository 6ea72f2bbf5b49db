//! One call: places it on a thread of its own, waits for the result, the deadline or a signal, and prints the result.

use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::client::{self, CallClient, CallConfig, CallEvent, DISCONNECT_TIMEOUT, EventReceiver, Waker};
use super::indicator::Spinner;
use super::result::{CallResult, Outcome, ResultFormat, status_of};
use crate::commands::ui;
use crate::event_loop::{EventLoop, LoopEvent};
use crate::exit::Status;
use crate::output::{json, pretty};
use crate::protocol::call::Request;

/// Places a call and prints its result.
///
/// # Errors
/// If there is no reply, or standard output cannot be written to.
pub(super) fn run(config: CallConfig, request: &Request, timeout: Duration, format: ResultFormat) -> Result<Status> {
    let began = Instant::now();
    let result = match wait(config, request, began, timeout)? {
        WaitResult::Interrupted(status, result) => {
            if let Some(result) = result.filter(|_| format == ResultFormat::Json) {
                ui::print(&json::call_result(&result))?;
            }
            return Ok(status);
        }
        WaitResult::Finished(result) => result,
    };
    match (&result.outcome, format) {
        (_, ResultFormat::Json) => ui::print(&json::call_result(&result))?,
        (Outcome::Answered { .. }, ResultFormat::Text { color }) => ui::print(&pretty::call_result(&result, color))?,
        (Outcome::Unanswered(..), ResultFormat::Text { .. }) => Status::Success,
    };
    match result.outcome {
        Outcome::Unanswered(_, failure) => Err(failure.into()),
        answered @ Outcome::Answered { .. } => Ok(status_of(&answered)),
    }
}

/// How the wait for the call ended.
enum WaitResult {
    /// With a result, perhaps a timeout.
    Finished(Box<CallResult>),
    /// With a signal. There is a result only if the request was sent.
    Interrupted(Status, Option<Box<CallResult>>),
}

/// What the thread that places the call sends at its end, when the connection is closed.
enum ThreadEnd {
    Finished(Box<CallResult>),
    Cancelled,
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

/// Starts the thread that places the call, and waits for its result, the deadline or a signal.
fn wait(config: CallConfig, request: &Request, began: Instant, timeout: Duration) -> Result<WaitResult> {
    let event_loop = EventLoop::new()?;
    let _spinner = Spinner::start(request, config.report);
    let receiver = EventReceiver::new();
    let waker = receiver.waker();
    let (broker, report) = (config.options.brokers[0].to_string(), config.report);
    let decision: Arc<SharedDecision> = Arc::default();
    let send = event_loop.sender();
    thread::spawn({
        let (request, decision) = (request.clone(), decision.clone());
        move || send(connect_and_place(config, receiver, request, began, &decision))
    });
    let deadline = began.checked_add(timeout);
    let signal = loop {
        match event_loop.next(deadline) {
            Some(LoopEvent::Custom(ThreadEnd::Finished(result))) => return Ok(WaitResult::Finished(result)),
            Some(LoopEvent::ReaderGone | LoopEvent::Custom(ThreadEnd::Cancelled)) => {}
            Some(LoopEvent::Signal(signal)) => break Some(signal),
            None => break None,
        }
    };
    let is_sent = decision.set(SendDecision::Cancel).is_err();
    let elapsed = began.elapsed();
    cancel_and_wait(&waker, &event_loop);
    let finish = |outcome| Box::new(CallResult { request: request.clone(), outcome, elapsed });
    let Some(signal) = signal else {
        return Ok(WaitResult::Finished(finish(client::timed_out(request, &broker, is_sent))));
    };
    if is_sent {
        report.warn(format_args!("the call may have been placed (transID {})", request.trans_id));
    } else {
        report.info("nothing was sent");
    }
    let result = is_sent.then(|| finish(client::unknown(request, "interrupted")));
    Ok(WaitResult::Interrupted(signal.status(), result))
}

/// Cancels the call, and waits until the connection is closed.
fn cancel_and_wait(waker: &Waker, event_loop: &EventLoop<ThreadEnd>) {
    waker.cancel();
    let _ = event_loop.await_shutdown(DISCONNECT_TIMEOUT, |event| match event {
        LoopEvent::Custom(_) => Some(()),
        LoopEvent::ReaderGone | LoopEvent::Signal(_) => None,
    });
}

/// Connects, places the call, waits for its result and disconnects.
fn connect_and_place(
    config: CallConfig,
    receiver: EventReceiver,
    request: Request,
    began: Instant,
    decision: &SharedDecision,
) -> ThreadEnd {
    let finish =
        |outcome, request| ThreadEnd::Finished(Box::new(CallResult { request, outcome, elapsed: began.elapsed() }));
    let mut client = match CallClient::connect(config, receiver) {
        Ok(client) => client,
        Err(not_sent) => return finish(not_sent.into(), request),
    };
    if decision.set(SendDecision::Send).is_err() {
        client.close();
        return ThreadEnd::Cancelled;
    }
    client.place(request.clone(), began);
    let end = match client.next_event(None) {
        CallEvent::Finished(result) => ThreadEnd::Finished(result),
        CallEvent::Lost(reason) => {
            let event = format!("lost {} ({reason})", client.broker());
            finish(client::unknown(&request, &event), request)
        }
        CallEvent::Woken | CallEvent::Timeout => ThreadEnd::Cancelled,
    };
    client.close();
    end
}
