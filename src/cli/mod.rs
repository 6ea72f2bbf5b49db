//! What can be typed: the commands, their flags ([`groups`] has those of several commands), and how a flag's text becomes a
//! value ([`values`], where the type does not say it itself). No I/O.
//!
//! What the flags mean is worked out by the commands, and by [`FilterArgs::filter`] and [`TopicArgs::topics`].

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory as _, FromArgMatches, Parser, Subcommand};
use uuid::Uuid;

use crate::protocol::topic::{EndpointId, Root, TopicFilter};

mod groups;
mod values;

pub(crate) use groups::{ConnectionArgs, DeliveryArgs, DisplayArgs, FilterArgs, TopicArgs, WindowArgs};
pub(crate) use values::{Lines, Rate, When};
use values::{duration, jobs, number};

/// Watch Rtcomm events and place third-party calls over any MQTT broker.
#[derive(Debug, Parser)]
#[command(name = "rtcomm", version, arg_required_else_help = true, max_term_width = 100)]
#[command(after_help = "Try it with nothing installed: `rtcomm demo`. Each command has its own --help and man page.")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,

    #[command(flatten)]
    pub(crate) display: DisplayArgs,
}

/// Flags that exclude each other where both are typed. Of one that the environment gives and one that is typed, the typed
/// one counts, which clap cannot say.
const APART: [(&str, &str); 3] = [("quiet", "verbose"), ("durable", "client_id"), ("durable_delete", "client_id")];

impl Cli {
    /// Reads the arguments, the program's name first.
    ///
    /// # Errors
    /// What was wrong with them; or help or version, where that was asked for.
    pub(crate) fn read(args: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let args: Vec<OsString> = args.into_iter().collect();
        let mut definition = Self::command();
        let matches =
            definition.try_get_matches_from_mut(&args).map_err(|error| from_where(error, &definition, &args))?;
        if let Some(error) = conflict(&mut definition, &matches) {
            return Err(error);
        }
        let mut cli = Self::from_arg_matches(&matches)?;
        cli.display.quiet &= !is_typed(&matches, "verbose");
        cli.display.verbose &= !is_typed(&matches, "quiet");
        Ok(cli)
    }
}

/// Whether a flag stands on the command line.
fn is_typed(matches: &ArgMatches, id: &str) -> bool {
    let flags = matches.subcommand().map_or(matches, |(_, flags)| flags);
    flags.ids().any(|it| it == id) && flags.value_source(id) == Some(ValueSource::CommandLine)
}

/// The error where flags are typed that exclude each other.
fn conflict(tool: &mut clap::Command, matches: &ArgMatches) -> Option<clap::Error> {
    let (command, flags) = matches.subcommand()?;
    let apart = APART.into_iter().find(|(one, other)| is_typed(matches, one) && is_typed(matches, other));
    let apart = apart.map(|(one, other)| (format!("--{one}"), other));
    let (one, other) = apart.or_else(|| Some(("[FILE]".to_owned(), delivery_of_a_file(flags)?)))?;
    let words = format!("the argument '{one}' cannot be used with '--{other}'").replace('_', "-");
    Some(tool.find_subcommand_mut(command)?.error(ErrorKind::ArgumentConflict, words))
}

/// The first flag on delivery where a file is named too: what is recorded is delivered already.
fn delivery_of_a_file(flags: &ArgMatches) -> Option<&str> {
    let is_file_named = flags.try_contains_id("file").is_ok_and(|is_named| is_named);
    let delivery = flags.try_get_many::<clap::Id>("DeliveryArgs").ok().flatten();
    delivery.filter(|_| is_file_named)?.next().map(clap::Id::as_str)
}

/// The error of a wrong value; where that was not typed, with its name in the environment.
fn from_where(mut error: clap::Error, tool: &clap::Command, args: &[OsString]) -> clap::Error {
    // As `--keepalive <DURATION>`.
    let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg) else { return error };
    let long = flag.strip_prefix("--").and_then(|flag| flag.split(' ').next());
    let mut flags = tool.get_subcommands().chain([tool]).flat_map(clap::Command::get_arguments);
    let Some(arg) = flags.find(|arg| long.is_some() && arg.get_long() == long) else { return error };
    let is_it = |typed: &str| match typed.strip_prefix("--") {
        Some(typed) => typed.split('=').next() == long,
        None => typed.starts_with('-') && arg.get_short().is_some_and(|short| typed.contains(short)),
    };
    let is_typed = args.iter().any(|typed| typed.to_str().is_some_and(is_it));
    if let Some(name) = arg.get_env().filter(|_| !is_typed) {
        let tip = format!("the value is that of {} in the environment", name.to_string_lossy());
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    error
}

/// What the tool does.
#[derive(Debug)]
pub(crate) enum Command {
    Watch(Box<WatchArgs>),
    Call(Box<CallArgs>),
    Tail(Box<TailArgs>),
    #[cfg(feature = "demo")]
    Demo(Box<DemoArgs>),
}

/// Not derived: that would define the flags of every command at each start, which takes longer than to read those that
/// were typed.
impl Subcommand for Command {
    fn augment_subcommands(tool: clap::Command) -> clap::Command {
        let tool = tool
            .subcommand_required(true)
            .subcommand(
                clap::Command::new("watch")
                    .about("Print live Rtcomm events, chosen by flags in Rtcomm's own words")
                    .defer(with_flags::<WatchArgs>),
            )
            .subcommand(
                clap::Command::new("call")
                    .about("Ask the server to connect two endpoints (3PCC), and wait for its reply")
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
                .about("Run an embedded broker and a simulated Rtcomm server, and show what happens there")
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

/// A command with its flags, and with its own words about it, which those of the struct would replace.
fn with_flags<A: Args>(command: clap::Command) -> clap::Command {
    let about = command.get_about().cloned().unwrap_or_default();
    A::augment_args(command).about(about)
}

/// `rtcomm watch`.
#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// Print one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,

    /// Print the topic filters that would be subscribed to, and connect nowhere
    #[arg(long)]
    pub(crate) dry_run: bool,

    #[command(flatten)]
    pub(crate) filter: FilterArgs,

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
    /// Endpoint that is to place the call
    #[arg(required_unless_present = "batch", conflicts_with = "batch")]
    pub(crate) caller: Option<EndpointId>,

    /// Endpoint that is to be called
    #[arg(required_unless_present = "batch", conflicts_with = "batch")]
    pub(crate) callee: Option<EndpointId>,

    /// How long to wait for the reply, from the start of the command; of a batch, from each request
    #[arg(short, long, value_name = "DURATION", default_value = "45s", value_parser = duration, allow_hyphen_values = true)]
    pub(crate) timeout: Duration,

    /// The ID that the session is to have; its events carry it as sigSessID
    #[arg(long, value_name = "UUID", conflicts_with = "batch")]
    pub(crate) session_id: Option<Uuid>,

    /// The application whose registrations are meant
    #[arg(long, value_name = "TEXT")]
    pub(crate) app_context: Option<String>,

    /// Send as this endpoint: publish to TOPIC/ENDPOINT, where the broker holds each client to its own name
    #[arg(long = "as", value_name = "ENDPOINT")]
    pub(crate) sender: Option<EndpointId>,

    /// Where the reply is asked for: PREFIX/UUID [default: ROOT/reply]
    #[arg(long, value_name = "PREFIX", env = "RTCOMM_REPLY_PREFIX", hide_env_values = true)]
    pub(crate) reply_prefix: Option<Root>,

    /// Ignore replies of more than this many bytes
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20, value_parser = number::<usize>, allow_hyphen_values = true)]
    pub(crate) max_payload: usize,

    /// Print the outcome as one JSON object, as a batch always does
    #[arg(long)]
    pub(crate) json: bool,

    /// Print the request that would be published, and connect nowhere
    #[arg(long)]
    pub(crate) dry_run: bool,

    #[command(flatten)]
    pub(crate) batch: BatchArgs,

    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,

    #[command(flatten)]
    pub(crate) topics: TopicArgs,
}

/// Many calls at once.
#[derive(Debug, Args)]
#[command(next_help_heading = "Batch")]
pub(crate) struct BatchArgs {
    /// Place the calls of this file (`-` is standard input), a JSON object a line:
    /// {"caller":ID,"callee":ID} and perhaps "session_id" and "app_context"
    #[arg(long, value_name = "FILE")]
    pub(crate) batch: Option<PathBuf>,

    /// How many calls may wait for their replies at a time
    #[arg(long, value_name = "N", default_value = "64", requires = "batch", conflicts_with = "caller", value_parser = jobs, allow_hyphen_values = true)]
    pub(crate) jobs: usize,

    /// How many calls may begin in a time, such as 50/s or 100/m [default: as many as --jobs allows]
    #[arg(long, value_name = "N/UNIT", requires = "batch", conflicts_with = "caller", allow_hyphen_values = true)]
    pub(crate) rate: Option<Rate>,

    /// Leave out the first N lines, to go on with a batch that was interrupted
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
pub(crate) struct TailArgs {
    /// Recorded JSON lines (`-` is standard input); without it, live messages from the broker
    pub(crate) file: Option<PathBuf>,

    /// Begin with the last N recorded lines, or with all of them [default: all; with --follow 10]
    #[arg(short = 'n', long, value_name = "N|all", requires = "file", allow_hyphen_values = true)]
    pub(crate) lines: Option<Lines>,

    /// Go on with what is appended, through truncation and rotation
    #[arg(short, long, requires = "file")]
    pub(crate) follow: bool,

    /// Leave out what was received before this: a duration back from now, or an RFC 3339 time
    #[arg(long, value_name = "WHEN", requires = "file", allow_hyphen_values = true)]
    pub(crate) since: Option<When>,

    /// Leave out what was received after this
    #[arg(long, value_name = "WHEN", requires = "file", allow_hyphen_values = true)]
    pub(crate) until: Option<When>,

    /// Live: subscribe to this topic filter instead of everything under the root (repeatable)
    #[arg(long = "topic", value_name = "FILTER", conflicts_with = "file")]
    pub(crate) filters: Vec<TopicFilter>,

    /// Print one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,

    /// Live: print the topic filters that would be subscribed to, and connect nowhere
    #[arg(long, conflicts_with = "file")]
    pub(crate) dry_run: bool,

    #[command(flatten)]
    pub(crate) filter: FilterArgs,

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
    /// Address of the broker; port 0 is any free one [default: 127.0.0.1:1883, or any free port where it is taken]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen: Option<std::net::SocketAddr>,

    /// How often something happens
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = duration, allow_hyphen_values = true)]
    pub(crate) interval: Duration,

    /// The same seed tells the same story [default: another one each time]
    #[arg(long, value_name = "N", value_parser = number::<u64>, allow_hyphen_values = true)]
    pub(crate) seed: Option<u64>,

    /// How the call service behaves: answer, fail, silent, or delay=DURATION
    #[arg(long, value_name = "HOW", default_value = "answer")]
    pub(crate) calls: crate::demo::Calls,

    /// Print RTCOMM_BROKER=URL once the broker accepts connections, and serve until interrupted
    #[arg(long, conflicts_with_all = ["json", "count", "for_duration", "fail_empty"])]
    pub(crate) serve: bool,

    /// Print one JSON object a line
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
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }
}
