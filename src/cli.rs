//! What can be typed: the commands, their flags, and how a flag's text becomes a value. No I/O.
//!
//! Each command's arguments are one struct, put together from groups that several commands share. What they mean is
//! worked out by the commands, and by [`FilterArgs::filter`] and [`TopicArgs::topics`].

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use clap::error::ErrorKind;
use clap::{ArgMatches, Args, FromArgMatches, Parser, Subcommand, ValueEnum};
use jiff::Timestamp;
use regex::Regex;
use uuid::Uuid;

use crate::exit::Failure;
use crate::protocol::filter::{Filter, FilterError, Wanted};
use crate::protocol::topic::{Action, Category, EndpointId, Root, TopicFilter, TopicName, Topics};

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
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20, allow_hyphen_values = true)]
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
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) seed: Option<u64>,

    /// How the call service behaves: answer, fail, silent, or delay=DURATION
    #[arg(long, value_name = "HOW", default_value = "answer")]
    pub(crate) calls: crate::demo::Calls,

    /// Print RTCOMM_BROKER=URL once the broker accepts connections, and serve until interrupted
    #[arg(long, conflicts_with_all = ["json", "count", "for_duration"])]
    pub(crate) serve: bool,

    /// Print one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) window: WindowArgs,

    #[command(flatten)]
    pub(crate) topics: TopicArgs,
}

/// Which events are wanted.
#[derive(Debug, Args)]
#[command(next_help_heading = "Filters (one hit within a group, every group; none of a group is all of it)")]
#[expect(clippy::struct_excessive_bools, reason = "one flag for each word of the protocol")]
pub(crate) struct FilterArgs {
    /// Registrations of endpoints
    #[arg(long)]
    registration: bool,

    /// Sessions between endpoints
    #[arg(long)]
    session: bool,

    /// What began
    #[arg(long)]
    started: bool,

    /// What changed
    #[arg(long)]
    modified: bool,

    /// What ended
    #[arg(long)]
    stopped: bool,

    /// What failed
    #[arg(long)]
    failed: bool,

    /// Registrations of, and calls from, this endpoint (repeatable)
    #[arg(long, value_name = "ID")]
    from: Vec<EndpointId>,

    /// Calls to this endpoint (repeatable)
    #[arg(long, value_name = "ID")]
    to: Vec<EndpointId>,

    /// This endpoint on either side (repeatable)
    #[arg(long, value_name = "ID")]
    endpoint: Vec<EndpointId>,

    /// Events of this application (repeatable)
    #[arg(long, value_name = "TEXT")]
    app_context: Vec<String>,

    /// Events of this session (repeatable)
    #[arg(long, value_name = "UUID")]
    session_id: Vec<Uuid>,

    /// Events whose reason this regular expression finds (repeatable)
    #[arg(long, value_name = "REGEX")]
    reason: Vec<Regex>,
}

impl FilterArgs {
    /// The filter that the flags ask for.
    ///
    /// # Errors
    /// A usage error where nothing could ever match.
    pub(crate) fn filter(self) -> Result<Filter, Failure> {
        let Self {
            registration,
            session,
            started,
            modified,
            stopped,
            failed,
            from,
            to,
            endpoint: endpoints,
            app_context: app_contexts,
            session_id: session_ids,
            reason: reasons,
        } = self;
        let categories = given([(registration, Category::Registration), (session, Category::Session)]);
        let actions = given([
            (started, Action::Started),
            (modified, Action::Modified),
            (stopped, Action::Stopped),
            (failed, Action::Failed),
        ]);
        Filter::new(Wanted { categories, actions, from, to, endpoints, app_contexts, session_ids, reasons }).map_err(
            |error| match error {
                FilterError::ToOfRegistration => Failure::usage(format!("--to with --registration alone: {error}"))
                    .hint("add --session, or name the registering endpoint with --from"),
                FilterError::Nothing => Failure::usage(error.to_string())
                    .hint("--endpoint names either side; --from and --to must leave room for it"),
            },
        )
    }
}

/// The values whose flags were given.
fn given<T, const N: usize>(flags: [(bool, T); N]) -> Vec<T> {
    flags.into_iter().filter(|(is_given, _)| *is_given).map(|(_, value)| value).collect()
}

/// When the command ends by itself.
#[derive(Debug, Args)]
#[command(next_help_heading = "Windows")]
pub(crate) struct WindowArgs {
    /// End after N printed records
    #[arg(short, long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) count: Option<NonZeroU64>,

    /// End after this long: with 0, or with 124 where --count was not reached
    #[arg(long = "for", id = "for_duration", value_name = "DURATION", value_parser = duration, allow_hyphen_values = true)]
    pub(crate) duration: Option<Duration>,

    /// Exit with 7 where nothing matched
    #[arg(long)]
    pub(crate) fail_empty: bool,
}

/// How messages are delivered.
#[derive(Debug, Args)]
#[command(next_help_heading = "Delivery")]
#[expect(clippy::struct_excessive_bools, reason = "flags that mean nothing to one another")]
pub(crate) struct DeliveryArgs {
    /// Quality of service to subscribe with: 0, 1 or 2
    #[arg(long, value_name = "QOS", default_value_t = 1, value_parser = clap::value_parser!(u8).range(..=2),
          allow_hyphen_values = true)]
    pub(crate) qos: u8,

    /// Have the broker keep the session of this name: what is published while we are away waits for us
    #[arg(long, value_name = "NAME", value_parser = client_id, conflicts_with = "client_id")]
    pub(crate) durable: Option<String>,

    /// How long the broker keeps the session while we are away; MQTT 3.1.1 brokers decide that themselves
    #[arg(long, value_name = "DURATION", default_value = "1d", value_parser = duration, allow_hyphen_values = true)]
    pub(crate) durable_expiry: Duration,

    /// Make the broker forget the session of this name, and end
    #[arg(long, value_name = "NAME", value_parser = client_id, conflicts_with_all = ["durable", "client_id"])]
    pub(crate) durable_delete: Option<String>,

    /// Divide the messages among all who give this group's name (a shared subscription)
    #[arg(long, value_name = "GROUP", value_parser = share_group)]
    pub(crate) share: Option<String>,

    /// Go on where the broker refuses some of several subscriptions
    #[arg(long)]
    pub(crate) allow_partial: bool,

    /// Append to this file instead of standard output; SIGHUP opens it anew
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    /// Acknowledge a message only when the file is safe from a loss of power
    #[arg(long, requires = "output")]
    pub(crate) fsync: bool,

    /// End with 5 when the connection is lost
    #[arg(long, conflicts_with = "max_retries")]
    pub(crate) no_reconnect: bool,

    /// End with 5 when N tries in a row could not mend a lost connection [default: no end]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) max_retries: Option<u32>,

    /// Print what becomes of the connection as records too: connected, ready, disconnected, gap
    #[arg(long)]
    pub(crate) status_events: bool,
}

/// How to reach the broker.
#[derive(Debug, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ConnectionArgs {
    /// The broker: mqtt://, mqtts://, ws:// or wss://, host and port
    // Parsed later: a URL that is refused because it holds a password must not be shown, and clap shows what it refuses.
    #[arg(
        short,
        long,
        value_name = "URL",
        default_value = "mqtt://localhost:1883",
        env = "RTCOMM_BROKER",
        hide_env_values = true
    )]
    pub(crate) broker: String,

    /// User name; the password comes from --password-file or RTCOMM_PASSWORD
    #[arg(short, long, value_name = "NAME", env = "RTCOMM_USERNAME", hide_env_values = true)]
    pub(crate) username: Option<String>,

    /// File whose first line is the password (`-` is standard input)
    #[arg(long, value_name = "FILE", env = "RTCOMM_PASSWORD_FILE", hide_env_values = true)]
    pub(crate) password_file: Option<PathBuf>,

    /// Trust the certificate authorities in this PEM file instead of the system's
    #[arg(long, value_name = "FILE", env = "RTCOMM_CAFILE", hide_env_values = true)]
    pub(crate) cafile: Option<PathBuf>,

    /// Trust the certificate authorities in this folder of hashed PEM files instead of the system's
    #[arg(long, value_name = "FOLDER", env = "RTCOMM_CAPATH", hide_env_values = true)]
    pub(crate) capath: Option<PathBuf>,

    /// Client certificate, PEM
    #[arg(long, value_name = "FILE", env = "RTCOMM_CERT", hide_env_values = true)]
    pub(crate) cert: Option<PathBuf>,

    /// The client certificate's private key, PEM
    #[arg(long, value_name = "FILE", requires = "cert", env = "RTCOMM_KEY", hide_env_values = true)]
    pub(crate) key: Option<PathBuf>,

    /// File whose first line is the passphrase of the private key (`-` is standard input)
    #[arg(long, value_name = "FILE", requires = "cert", env = "RTCOMM_KEY_PASSWORD_FILE", hide_env_values = true)]
    pub(crate) key_password_file: Option<PathBuf>,

    /// Application protocol to offer in the TLS handshake (repeatable), such as mqtt
    #[arg(long, value_name = "PROTOCOL", env = "RTCOMM_ALPN", hide_env_values = true, value_parser = alpn)]
    pub(crate) alpn: Vec<String>,

    /// HTTP proxy to connect through: http://HOST:PORT [default for TLS: the environment's https_proxy]
    #[arg(long, value_name = "URL", env = "RTCOMM_PROXY", hide_env_values = true)]
    pub(crate) proxy: Option<String>,

    /// Do not check the broker's certificate
    #[arg(long, env = "RTCOMM_INSECURE", hide_env_values = true, value_parser = FalseyValueParser::new())]
    pub(crate) insecure: bool,

    /// MQTT client identifier [default: a fresh one]
    #[arg(long, value_name = "ID", env = "RTCOMM_CLIENT_ID", hide_env_values = true, value_parser = client_id)]
    pub(crate) client_id: Option<String>,

    /// MQTT version; auto is 5, and 3.1.1 where the broker refuses 5
    #[arg(long, value_name = "VERSION", default_value = "auto", env = "RTCOMM_MQTT_VERSION", hide_env_values = true)]
    pub(crate) mqtt_version: MqttVersion,

    /// How long the connection may be silent before it is probed
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = keepalive, allow_hyphen_values = true,
          env = "RTCOMM_KEEPALIVE", hide_env_values = true)]
    pub(crate) keepalive: Duration,

    /// How long to wait for a connection
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration, allow_hyphen_values = true,
          env = "RTCOMM_CONNECT_TIMEOUT", hide_env_values = true)]
    pub(crate) connect_timeout: Duration,
}

/// Where the deployment keeps its topics.
#[derive(Debug, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct TopicArgs {
    /// Root of the deployment's topics
    #[arg(long, value_name = "TOPIC", default_value = "/rtcomm", env = "RTCOMM_ROOT", hide_env_values = true)]
    root: Root,

    /// Root of the events [default: ROOT/event]
    #[arg(long, value_name = "TOPIC", env = "RTCOMM_EVENT_ROOT", hide_env_values = true)]
    event_root: Option<Root>,

    /// Topic of the call service [default: ROOT/callControl]
    #[arg(long, value_name = "TOPIC", env = "RTCOMM_CALL_TOPIC", hide_env_values = true)]
    call_topic: Option<TopicName>,
}

impl TopicArgs {
    /// The deployment's topics.
    pub(crate) fn topics(self) -> Topics {
        let Self { root, event_root, call_topic } = self;
        let defaults = Topics::from(root);
        Topics {
            events: event_root.unwrap_or(defaults.events),
            calls: call_topic.unwrap_or(defaults.calls),
            root: defaults.root,
        }
    }
}

/// How the run talks; for every command.
#[derive(Debug, Args)]
#[command(next_display_order = 100)]
pub(crate) struct DisplayArgs {
    /// When to use colour
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "auto",
        global = true,
        env = "RTCOMM_COLOR",
        hide_env_values = true
    )]
    pub(crate) color: ColorChoice,

    /// Say nothing but warnings and errors
    #[arg(short, long, global = true, conflicts_with = "verbose", env = "RTCOMM_QUIET", hide_env_values = true,
          value_parser = FalseyValueParser::new())]
    pub(crate) quiet: bool,

    /// Say more about the run
    #[arg(short, long, global = true, env = "RTCOMM_VERBOSE", hide_env_values = true,
          value_parser = FalseyValueParser::new())]
    pub(crate) verbose: bool,
}

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set
    Auto,
    /// Also in a pipe
    Always,
    /// Nowhere
    Never,
}

/// Which MQTT version to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum MqttVersion {
    /// 5, and 3.1.1 where the broker refuses 5
    Auto,
    /// 3.1.1
    #[value(name = "3.1.1")]
    V311,
    /// 5
    #[value(name = "5")]
    V5,
}

/// How much of a file to begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lines {
    /// The whole file.
    All,
    /// Its last lines.
    Last(u64),
}

impl FromStr for Lines {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => Ok(Self::All),
            number => number.parse().map(Self::Last).map_err(|_| "write a number of lines, or 'all'".to_owned()),
        }
    }
}

/// How often something may happen: a number in a second, a minute or an hour.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rate {
    per_second: f64,
}

impl Rate {
    /// How long it is from one time to the next.
    pub(crate) fn interval(self) -> Duration {
        Duration::from_secs_f64(1.0 / self.per_second)
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let seconds = |unit| match unit {
            "s" => Some(1.0),
            "m" => Some(60.0),
            "h" => Some(3_600.0),
            _ => None,
        };
        let (number, unit) = text.split_once('/').unwrap_or_default();
        match (number.parse::<f64>(), seconds(unit)) {
            (Ok(number), Some(seconds)) if (1e-3..=1e6).contains(&number) => Ok(Self { per_second: number / seconds }),
            _ => Err("write a number and a unit: 50/s, 100/m or 1000/h".to_owned()),
        }
    }
}

/// A point in time, as typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// So long before the command began.
    Ago(Duration),
    /// That very time.
    At(Timestamp),
}

impl When {
    /// The time meant, seen from `now`.
    pub(crate) fn seen_from(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Ago(duration) => now.checked_sub(duration).unwrap_or(Timestamp::MIN),
            Self::At(time) => time,
        }
    }
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(time) = text.parse() {
            return Ok(Self::At(time));
        }
        humantime::parse_duration(text)
            .map(Self::Ago)
            .map_err(|_| "write a duration (90s, 1h 30m) or a time with its zone (2026-11-23T03:34:12Z)".to_owned())
    }
}

/// Reads a duration that is longer than nothing.
fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Err("it must be longer than nothing".to_owned()),
        Ok(duration) => Ok(duration),
        Err(_) => Err("write a duration such as 500ms, 45s or '1h 30m'".to_owned()),
    }
}

/// Reads how many calls may be in flight.
fn jobs(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|jobs| (1..=10_000).contains(jobs))
        .ok_or_else(|| "write a number from 1 to 10000".to_owned())
}

/// Reads a keepalive: whole seconds that MQTT can carry.
fn keepalive(text: &str) -> Result<Duration, String> {
    let duration = duration(text)?;
    if duration.subsec_nanos() == 0 && u16::try_from(duration.as_secs()).is_ok() {
        Ok(duration)
    } else {
        Err("MQTT counts the keepalive in whole seconds, 65535 at the most".to_owned())
    }
}

/// Reads the name of an application protocol [RFC 7301, 3.1].
fn alpn(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > 255 || text.contains('\0') {
        Err("a protocol's name has 1 to 255 bytes".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

/// Reads the name of a group that shares a subscription [MQTT-4.8.2-1], [MQTT-4.8.2-2].
fn share_group(text: &str) -> Result<String, String> {
    match format!("$share/{text}/#").parse::<TopicFilter>() {
        Ok(_) if !text.contains('/') => Ok(text.to_owned()),
        _ => Err("a group's name has no '/', '+' or '#', and is not empty".to_owned()),
    }
}

/// Reads a client identifier: what MQTT can carry as a string.
fn client_id(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains('\0') || text.len() > usize::from(u16::MAX) {
        Err("a client identifier has 1 to 65535 bytes and no NUL".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_duration_is_longer_than_nothing() {
        assert_eq!(duration("1h 30m"), Ok(Duration::from_secs(5_400)));
        for text in ["0s", "-5s", "soon", "", "5", "1e400s"] {
            assert!(duration(text).is_err(), "{text:?}");
        }
        assert!(keepalive("500ms").is_err() && keepalive("19h").is_err() && keepalive("18h").is_ok());
    }

    #[test]
    fn a_rate_is_a_number_in_a_time() {
        let interval = |text: &str| text.parse().map(Rate::interval);
        assert_eq!(interval("50/s"), Ok(Duration::from_millis(20)));
        assert_eq!(interval("30/m"), Ok(Duration::from_secs(2)));
        for text in ["50", "0/s", "-1/s", "50/d", "/s", "nan/s", "inf/s"] {
            assert!(interval(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_time_is_a_duration_back_or_a_time_with_its_zone() {
        let now: Timestamp = "2026-11-23T12:00:00Z".parse().expect("a time");
        let seen = |text: &str| text.parse::<When>().map(|when| when.seen_from(now).to_string());
        assert_eq!(seen("1h 30m").as_deref(), Ok("2026-11-23T10:30:00Z"));
        assert_eq!(seen("2026-11-23T12:00:00+01:00").as_deref(), Ok("2026-11-23T11:00:00Z"));
        assert!(seen("yesterday").is_err() && seen("2026-11-23T12:00:00").is_err());
        assert_eq!(seen("99999y"), Ok(Timestamp::MIN.to_string()));
    }
}
