//! The flags of `rtcomm demo`.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;

use super::definition::CommandDefinition;
use super::groups::{DisplayArgs, TopicArgs, WindowArgs};
use super::values::{duration, number};
use crate::demo::CallBehavior;

/// `rtcomm demo`.
#[derive(Debug, Args)]
#[command(next_help_heading = "Simulation")]
pub(crate) struct DemoArgs {
    /// Listen on this address; port 0 is any free port
    ///
    /// [default: 127.0.0.1:1883, or any free port if it is in use]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen: Option<SocketAddr>,

    /// Time between two events
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = duration, allow_hyphen_values = true)]
    pub(crate) interval: Duration,

    /// The same seed gives the same events [default: random]
    #[arg(long, value_name = "N", value_parser = number::<u64>, allow_hyphen_values = true)]
    pub(crate) seed: Option<u64>,

    /// Call service: answer, fail, silent, delay=DURATION
    #[arg(long, value_name = "HOW", default_value = "answer", value_parser = call_behavior)]
    pub(crate) calls: CallBehavior,

    /// Print RTCOMM_BROKER=URL instead of events
    ///
    /// The URL is printed once the broker accepts connections. The demo runs until it is interrupted.
    #[arg(long, conflicts_with_all = ["json", "count", "for_duration", "fail_empty"])]
    pub(crate) serve: bool,

    /// Print JSON lines
    #[arg(long, help_heading = DisplayArgs::HEADING)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) display: DisplayArgs,

    #[command(flatten)]
    pub(crate) window: WindowArgs,

    #[command(flatten)]
    pub(crate) topics: TopicArgs,
}

impl CommandDefinition for DemoArgs {
    const NAME: &'static str = "demo";
    const ABOUT: &'static str = "Run an embedded broker and a simulated Rtcomm server, and print their events";
    const EXAMPLES: &'static [&'static str] = &[
        "rtcomm demo                                # see what events look like",
        "rtcomm demo --seed 7 --interval 100ms -c 9 # few events, always the same",
        "rtcomm demo --calls silent                 # a call service that never answers",
    ];

    fn display(&self) -> DisplayArgs {
        self.display
    }
}

/// Parses the value of `--calls`.
fn call_behavior(text: &str) -> Result<CallBehavior, String> {
    match text {
        "answer" => Ok(CallBehavior::Answer),
        "fail" => Ok(CallBehavior::Fail),
        "silent" => Ok(CallBehavior::Silent),
        _ => match text.strip_prefix("delay=").map(humantime::parse_duration) {
            Some(Ok(delay)) => Ok(CallBehavior::Delay(delay)),
            Some(Err(error)) => Err(format!("invalid duration after 'delay=': {error}; write it as in 'delay=2s'")),
            None => Err("expected 'answer', 'fail', 'silent' or a delay such as 'delay=2s'".to_owned()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn call_behaviors_are_parsed() {
        assert_eq!(call_behavior("answer"), Ok(CallBehavior::Answer));
        assert_eq!(call_behavior("fail"), Ok(CallBehavior::Fail));
        assert_eq!(call_behavior("silent"), Ok(CallBehavior::Silent));
        assert_eq!(call_behavior("delay=2s"), Ok(CallBehavior::Delay(Duration::from_secs(2))));
        for wrong in ["", "no", "delay", "delay=", "delay=soon"] {
            assert!(call_behavior(wrong).expect_err(wrong).contains("'delay=2s'"));
        }
    }
}
