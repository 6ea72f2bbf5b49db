//! The command line: commands, flags and value parsers. It does no I/O.
//!
//! The commands give the flags their meaning; [`FilterArgs::filter`] and [`TopicArgs::topics`] convert two groups of them.
//!
//! | file | contents |
//! | --- | --- |
//! | `mod` | the commands and their own flags |
//! | `groups` | groups of flags that several commands share |
//! | `time` | points in time |
//! | `values` | parsers for values without a `FromStr` of their own |

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory as _, FromArgMatches, Parser, Subcommand};
use uuid::Uuid;

use crate::protocol::topic::{EndpointId, Root, TopicFilter};

mod groups;
mod time;
mod values;

pub(crate) use groups::{
    CallRecordArgs, CallRecordSettings, ConnectionArgs, DeliveryArgs, DisplayArgs, FilterArgs, TopicArgs, WindowArgs,
};
pub(crate) use time::TimeArg;
pub(crate) use values::{LineCount, Rate};
use values::{duration, jobs, number};

/// Watch Rtcomm events and place third-party calls over any MQTT broker.
#[derive(Debug, Parser)]
#[command(name = "rtcomm", version, arg_required_else_help = true, max_term_width = 100)]
#[command(after_help = "Run `rtcomm demo` to try it without a server. Each command has its own --help and man page.")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,

    #[command(flatten)]
    pub(crate) display: DisplayArgs,
}

/// Pairs of flags that conflict if both are typed.
///
/// clap would also reject a typed flag with one from the environment. Here, the typed flag wins.
const CONFLICTS: [(&str, &str); 3] = [("quiet", "verbose"), ("durable", "client_id"), ("durable_delete", "client_id")];

impl Cli {
    /// Parses the arguments. The first is the program's name.
    ///
    /// # Errors
    /// If the arguments are invalid. Help and version requests are also returned as errors.
    pub(crate) fn read(args: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let args: Vec<OsString> = args.into_iter().collect();
        let mut definition = Self::command();
        let matches = definition
            .try_get_matches_from_mut(&args)
            .map_err(|error| annotate_env_source(error, &definition, &args))?;
        if let Some(error) = conflict(&mut definition, &matches) {
            return Err(error);
        }
        let mut cli = Self::from_arg_matches(&matches)?;
        cli.display.quiet &= !is_typed(&matches, "verbose");
        cli.display.verbose &= !is_typed(&matches, "quiet");
        Ok(cli)
    }
}

/// Returns whether a flag is on the command line, not in the environment.
fn is_typed(matches: &ArgMatches, id: &str) -> bool {
    let flags = matches.subcommand().map_or(matches, |(_, flags)| flags);
    flags.ids().any(|it| it == id) && flags.value_source(id) == Some(ValueSource::CommandLine)
}

/// Returns an error if two conflicting flags are typed.
fn conflict(tool: &mut clap::Command, matches: &ArgMatches) -> Option<clap::Error> {
    let (command, flags) = matches.subcommand()?;
    let conflict = CONFLICTS.into_iter().find(|(one, other)| is_typed(matches, one) && is_typed(matches, other));
    let conflict = conflict.map(|(one, other)| (format!("--{one}"), other));
    let (one, other) = conflict.or_else(|| Some(("[FILE]".to_owned(), live_flag_with_file(flags)?)))?;
    let message = format!("the argument '{one}' cannot be used with '--{other}'").replace('_', "-");
    Some(tool.find_subcommand_mut(command)?.error(ErrorKind::ArgumentConflict, message))
}

/// Returns the first flag of delivery from a broker if a file is given too.
fn live_flag_with_file(flags: &ArgMatches) -> Option<&str> {
    const NOT_LIVE: [&str; 2] = ["output", "fsync"];
    let is_file_named = flags.try_contains_id("files").is_ok_and(|is_named| is_named);
    let delivery = flags.try_get_many::<clap::Id>("DeliveryArgs").ok().flatten();
    delivery.filter(|_| is_file_named)?.map(clap::Id::as_str).find(|flag| !NOT_LIVE.contains(flag))
}

/// Adds the environment variable to the error of an invalid value that was not typed.
fn annotate_env_source(mut error: clap::Error, tool: &clap::Command, args: &[OsString]) -> clap::Error {
    // As `--keepalive <DURATION>`.
    let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg) else { return error };
    let long = flag.strip_prefix("--").and_then(|flag| flag.split(' ').next());
    let mut flags = tool.get_subcommands().chain([tool]).flat_map(clap::Command::get_arguments);
    let Some(arg) = flags.find(|arg| long.is_some() && arg.get_long() == long) else { return error };
    let is_same_flag = |typed: &str| match typed.strip_prefix("--") {
        Some(typed) => typed.split('=').next() == long,
        None => typed.starts_with('-') && arg.get_short().is_some_and(|short| typed.contains(short)),
    };
    let is_typed = args.iter().any(|typed| typed.to_str().is_some_and(is_same_flag));
    if let Some(name) = arg.get_env().filter(|_| !is_typed) {
        let tip = format!("the value comes from the environment variable {}", name.to_string_lossy());
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    error
}

/// The command to run, with its flags.
#[derive(Debug)]
pub(crate) enum Command {
    Watch(Box<WatchArgs>),
    Call(Box<CallArgs>),
    Tail(Box<TailArgs>),
    #[cfg(feature = "demo")]
    Demo(Box<DemoArgs>),
}

/// Not derived: the derived code defines the flags of all commands at each start, which takes longer than parsing.
impl Subcommand for Command {
    fn augment_subcommands(tool: clap::Command) -> clap::Command {
        let tool = tool
            .subcommand_required(true)
            .subcommand(clap::Command::new("watch").about("Print live Rtcomm events").defer(with_flags::<WatchArgs>))
            .subcommand(
                clap::Command::new("call")
                    .about("Ask the server to connect two endpoints (3PCC), and wait for the reply")
                    .defer(with_flags::<CallArgs>),
            )
            .subcommand(
                clap::Command::new("tail")
                    .about("Print recorded JSON lines, or every live message under the root")
                    .defer(with_flags::<TailArgs>),
            );
        #[cfg(feature = "demo")]
        let tool = tool.subcommand(
            clap::Command::new("demo")
                .about("Run an embedded broker and a simulated Rtcomm server, and print their events")
                .defer(with_flags::<DemoArgs>),
        );
        tool
    }

    fn augment_subcommands_for_update(tool: clap::Command) -> clap::Command {
        Self::augment_subcommands(tool)
    }

    fn has_subcommand(name: &str) -> bool {
        Self::augment_subcommands(clap::Command::new("rtcomm")).find_subcommand(name).is_some()
    }
}

impl FromArgMatches for Command {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        match matches.subcommand() {
            Some(("watch", typed)) => FromArgMatches::from_arg_matches(typed).map(Self::Watch),
            Some(("call", typed)) => FromArgMatches::from_arg_matches(typed).map(Self::Call),
            Some(("tail", typed)) => FromArgMatches::from_arg_matches(typed).map(Self::Tail),
            #[cfg(feature = "demo")]
            Some(("demo", typed)) => FromArgMatches::from_arg_matches(typed).map(Self::Demo),
            _ => Err(clap::Error::new(ErrorKind::MissingSubcommand)),
        }
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        Self::from_arg_matches(matches).map(|command| *self = command)
    }
}

/// Adds flags to a command, and keeps its own description, which the struct's would replace.
fn with_flags<A: Args>(command: clap::Command) -> clap::Command {
    let about = command.get_about().cloned().unwrap_or_default();
    A::augment_args(command).about(about)
}

/// `rtcomm watch`.
#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// Print JSON lines
    #[arg(long)]
    pub(crate) json: bool,

    /// Print lines for people, also with --output [default: JSON lines with --output]
    #[arg(long, conflicts_with = "json")]
    pub(crate) pretty: bool,

    /// Print the topic filters to subscribe to, and do not connect
    #[arg(long)]
    pub(crate) dry_run: bool,

    #[command(flatten)]
    pub(crate) filter: FilterArgs,

    #[command(flatten)]
    pub(crate) calls: CallRecordArgs,

    #[command(flatten)]
    pub(crate) window: WindowArgs,

    #[command(flatten)]
    pub(crate) delivery: DeliveryArgs,

    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,

    #[command(flatten)]
    pub(crate) topics: TopicArgs,
}

/// `rtcomm call`.
#[derive(Debug, Args)]
pub(crate) struct CallArgs {
    /// Endpoint that places the call
    #[arg(required_unless_present = "batch", conflicts_with = "batch")]
    pub(crate) caller: Option<EndpointId>,

    /// Endpoint to call
    #[arg(required_unless_present = "batch", conflicts_with = "batch")]
    pub(crate) callee: Option<EndpointId>,

    /// Maximum time to wait for the reply, from the start of the command, or from each request of a batch
    #[arg(short, long, value_name = "DURATION", default_value = "45s", value_parser = duration, allow_hyphen_values = true)]
    pub(crate) timeout: Duration,

    /// ID for the new session; its events have it as sigSessID
    #[arg(long, value_name = "UUID", conflicts_with = "batch")]
    pub(crate) session_id: Option<Uuid>,

    /// Application that both endpoints are registered for
    #[arg(long, value_name = "TEXT")]
    pub(crate) app_context: Option<String>,

    /// Send as this endpoint: publish to TOPIC/ENDPOINT, for brokers that restrict each client to its own topic
    #[arg(long = "as", value_name = "ENDPOINT")]
    pub(crate) sender: Option<EndpointId>,

    /// Prefix of the reply topic, PREFIX/UUID [default: ROOT/reply]
    #[arg(long, value_name = "PREFIX", env = "RTCOMM_REPLY_PREFIX", hide_env_values = true)]
    pub(crate) reply_prefix: Option<Root>,

    /// Ignore replies that are larger than this
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20, value_parser = number::<usize>, allow_hyphen_values = true)]
    pub(crate) max_payload: usize,

    /// Print the result as a JSON line; a batch always does
    #[arg(long)]
    pub(crate) json: bool,

    /// Print the request, and do not connect
    #[arg(long)]
    pub(crate) dry_run: bool,

    #[command(flatten)]
    pub(crate) batch: BatchArgs,

    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,

    #[command(flatten)]
    pub(crate) topics: TopicArgs,
}

/// Flags for many calls.
#[derive(Debug, Args)]
#[command(next_help_heading = "Batch")]
pub(crate) struct BatchArgs {
    /// Place the calls in this file (`-` is standard input), one JSON object per line:
    /// {"caller":ID,"callee":ID}, optionally with "session_id" and "app_context"
    #[arg(long, value_name = "FILE")]
    pub(crate) batch: Option<PathBuf>,

    /// Maximum number of calls waiting for replies
    #[arg(long, value_name = "N", default_value = "64", requires = "batch", conflicts_with = "caller", value_parser = jobs, allow_hyphen_values = true)]
    pub(crate) jobs: usize,

    /// Maximum rate of calls, such as 50/s or 100/m [default: limited by --jobs only]
    #[arg(long, value_name = "N/UNIT", requires = "batch", conflicts_with = "caller", allow_hyphen_values = true)]
    pub(crate) rate: Option<Rate>,

    /// Skip the first N lines, to resume an interrupted batch
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        requires = "batch",
        conflicts_with = "caller",
        value_parser = number::<u64>,
        allow_hyphen_values = true
    )]
    pub(crate) skip: u64,
}

/// `rtcomm tail`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "independent flags")]
pub(crate) struct TailArgs {
    /// Recorded JSON lines, several files merged by time (`-` is standard input) [default: live messages from the broker]
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,

    /// Start with the last N records that match, or with all [default: all; 10 with --follow]
    #[arg(short = 'n', long, value_name = "N|all", requires = "files", allow_hyphen_values = true)]
    pub(crate) lines: Option<LineCount>,

    /// Wait for appended lines, also after truncation and rotation
    #[arg(short, long, requires = "files")]
    pub(crate) follow: bool,

    /// Skip records received before this time: '2026-11-23 04:34', 04:34, today, yesterday, RFC 3339, or 1h (ago)
    #[arg(long, value_name = "WHEN", requires = "files", allow_hyphen_values = true)]
    pub(crate) since: Option<TimeArg>,

    /// Skip records received after this time, written as for --since
    #[arg(long, value_name = "WHEN", requires = "files", allow_hyphen_values = true)]
    pub(crate) until: Option<TimeArg>,

    /// Live: subscribe to this topic filter instead of everything under the root (repeatable)
    #[arg(long = "topic", value_name = "FILTER", conflicts_with = "files")]
    pub(crate) filters: Vec<TopicFilter>,

    /// Print JSON lines
    #[arg(long)]
    pub(crate) json: bool,

    /// Print lines for people, also with --output [default: JSON lines with --output]
    #[arg(long, conflicts_with = "json")]
    pub(crate) pretty: bool,

    /// Replace names by pseudonyms, so that the recording can be shared (needs --json)
    #[arg(long, requires = "files", conflicts_with_all = ["cdr", "summary", "pretty"])]
    pub(crate) anonymize: bool,

    /// Live: print the topic filters to subscribe to, and do not connect
    #[arg(long, conflicts_with = "files")]
    pub(crate) dry_run: bool,

    #[command(flatten)]
    pub(crate) filter: FilterArgs,

    #[command(flatten)]
    pub(crate) calls: CallRecordArgs,

    #[command(flatten)]
    pub(crate) window: WindowArgs,

    #[command(flatten)]
    pub(crate) delivery: DeliveryArgs,

    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,

    #[command(flatten)]
    pub(crate) topics: TopicArgs,
}

/// `rtcomm demo`.
#[cfg(feature = "demo")]
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Listen on this address; port 0 is any free port [default: 127.0.0.1:1883, or any free port if it is in use]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen: Option<std::net::SocketAddr>,

    /// Time between two events
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = duration, allow_hyphen_values = true)]
    pub(crate) interval: Duration,

    /// Seed of the simulation; the same seed gives the same events [default: random]
    #[arg(long, value_name = "N", value_parser = number::<u64>, allow_hyphen_values = true)]
    pub(crate) seed: Option<u64>,

    /// Behavior of the call service: answer, fail, silent, or delay=DURATION
    #[arg(long, value_name = "HOW", default_value = "answer")]
    pub(crate) calls: crate::demo::CallBehavior,

    /// Print RTCOMM_BROKER=URL once the broker accepts connections, and run until interrupted
    #[arg(long, conflicts_with_all = ["json", "count", "for_duration", "fail_empty"])]
    pub(crate) serve: bool,

    /// Print JSON lines
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) window: WindowArgs,

    #[command(flatten)]
    pub(crate) topics: TopicArgs,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clap_accepts_the_definition() {
        Cli::command().debug_assert();
    }
}
