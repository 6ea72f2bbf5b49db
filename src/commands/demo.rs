//! `rtcomm demo`: an embedded broker and a simulated server, watched here or served to other clients.

use anyhow::Result;

use super::stream::{DeliveryOptions, Scope, Stream};
use super::ui::{self, Ui};
use crate::cli::DemoArgs;
use crate::demo::{self, DEFAULT_ADDRESS, Demo, DemoError, DemoOptions, Listen};
use crate::event_loop::{EventLoop, LoopEvent};
use crate::exit::{Failure, Status};
use crate::protocol::filter::Filter;
use crate::transport::options::Options;

/// Runs the demo until a limit is reached, the reader closes the pipe, or a signal arrives.
///
/// # Errors
/// If the address is in use, the demo fails, or standard output cannot be written to.
pub(crate) fn run(args: DemoArgs, ui: Ui) -> Result<Status> {
    let DemoArgs { listen, interval, seed, calls, serve, json, display: _, window, topics } = args;
    let topics = topics.topics();
    let is_default = listen.is_none();
    let listen = listen.map_or(Listen::Default, Listen::At);
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    let options = DemoOptions { listen, interval, seed, calls, topics: topics.clone() };
    let demo = demo::start(options).map_err(|error| demo_failure(&error).context("cannot start the demo"))?;
    let url = format!("mqtt://{}", demo.address());
    if is_default && demo.address() != DEFAULT_ADDRESS {
        ui.report.info(format_args!("{DEFAULT_ADDRESS} is in use; using another port"));
    }
    ui.report.info(format_args!("broker at {url}"));
    ui.report.info(format_args!("seed {seed}"));
    if serve {
        return self::serve(demo, &url);
    }
    ui.report.info("in another terminal:");
    if demo.address() == DEFAULT_ADDRESS {
        ui.report.example("rtcomm call iggy_pop david_bowie");
    } else {
        ui.report.example("rtcomm call iggy_pop david_bowie \\");
        ui.report.example(format_args!("    -b {url}"));
    }
    let filter = Filter::default();
    let stream = Stream {
        options: Options::for_local(demo.address()),
        profile: None,
        filters: filter.subscriptions(&topics),
        format: ui.format(json, &topics),
        topics,
        presence: None,
        scope: Scope::Events(filter),
        window,
    };
    stream.run(DeliveryOptions::to_stdout()?, ui.report)
}

/// Prints the broker's URL, and serves until a signal arrives or the demo fails.
///
/// The reader of the URL may close the pipe.
fn serve(demo: Demo, url: &str) -> Result<Status> {
    let event_loop = EventLoop::new()?;
    ui::print(&format!("RTCOMM_BROKER={url}\n"))?;
    let send = event_loop.sender();
    std::thread::spawn(move || send(demo.wait()));
    loop {
        match event_loop.next(None) {
            Some(LoopEvent::Signal(signal)) => return Ok(signal.status()),
            Some(LoopEvent::Custom(Err(error))) => return Err(demo_failure(&error).into()),
            Some(LoopEvent::Custom(Ok(()))) | None => return Ok(Status::Success),
            Some(LoopEvent::ReaderGone) => {}
        }
    }
}

/// The failure of a demo.
fn demo_failure(error: &DemoError) -> Failure {
    let failure = |message: String| Failure::new(Status::Failure, message);
    match error {
        DemoError::Listen { address, error } => failure(format!("cannot listen on {address}: {error}"))
            .hint("use another address with --listen; port 0 is any free port"),
        DemoError::UnsupportedTopic(topic) => {
            Failure::usage(format!("the demo's broker does not support topics such as '{topic}'"))
                .hint("use a --root that does not begin with '$' and has at most 100 levels")
        }
        DemoError::BrokerGone => failure("the embedded MQTT broker is gone".to_owned()),
        DemoError::ServerPanicked => failure("the simulated server panicked".to_owned()),
        DemoError::Other(error) => failure(format!("{error:#}")),
    }
}
