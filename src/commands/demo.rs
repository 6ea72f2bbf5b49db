//! `rtcomm demo`: an embedded broker and a simulated server, watched as `watch` does or served to others.

use anyhow::{Context as _, Result};

use super::Voice;
use super::stream::{Delivery, Scope, Stream};
use crate::cli::DemoArgs;
use crate::demo::{self, DEFAULT_ADDRESS, Demo, Listen};
use crate::exit::Status;
use crate::inbox::{Inbox, Notice};
use crate::output;
use crate::protocol::filter::Filter;
use crate::transport::broker::Options;

/// Runs the demo until a window closes, the reader goes away or a signal comes.
///
/// # Errors
/// Where the address is taken, the demo breaks, or standard output cannot be written to.
pub(crate) fn run(args: DemoArgs, voice: Voice) -> Result<Status> {
    let DemoArgs { listen, interval, seed, calls, serve, json, window, topics } = args;
    let topics = topics.topics();
    let is_default = listen.is_none();
    let listen = listen.map_or(Listen::Default, Listen::At);
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    let options = demo::Options { listen, interval, seed, calls, topics: topics.clone() };
    let demo = demo::start(options).context("cannot start the demo")?;
    let url = Options::for_local(demo.address()).broker.to_string();
    if is_default && demo.address() != DEFAULT_ADDRESS {
        voice.report.info(format_args!("{DEFAULT_ADDRESS} is taken, so the broker listens elsewhere"));
    }
    voice.report.info(format_args!("broker at {url}, seed {seed}"));
    if serve {
        return self::serve(demo, &url);
    }
    voice.report.info(format_args!("in another terminal: rtcomm call iggy_pop david_bowie --broker {url}"));
    let filter = Filter::default();
    let stream = Stream {
        options: Options::for_local(demo.address()),
        filters: filter.subscriptions(&topics.events),
        format: voice.format(json, &topics),
        events: topics.events,
        scope: Scope::Events(filter),
        window,
    };
    stream.run(Delivery::plain()?, voice.report)
}

/// Says where the broker is, and serves until a signal comes or the demo breaks. Whoever read the address may go away.
fn serve(demo: Demo, url: &str) -> Result<Status> {
    let inbox = Inbox::open()?;
    output::print(&format!("RTCOMM_BROKER={url}\n"))?;
    let news = inbox.news();
    std::thread::spawn(move || news(demo.wait()));
    loop {
        match inbox.next(None) {
            Some(Notice::Signal(signal)) => return Ok(signal.status()),
            Some(Notice::News(Err(error))) => return Err(error),
            Some(Notice::News(Ok(()))) | None => return Ok(Status::Success),
            Some(Notice::ReaderGone) => {}
        }
    }
}
