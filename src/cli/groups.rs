//! Groups of flags that several commands share.

use std::fmt;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser as _};

use super::profile::{Profile, ProfileName};
use super::values::{
    alpn, client_id, duration, file_to_write, keepalive, mqtt_version, number, packet_size, qos, seconds, share_group,
    summary_by, switch,
};
use crate::exit::{Failure, Status};
use crate::output::ColorChoice;
use crate::protocol::cdr::{CallSelection, CallSelectionError, SummaryBy};
use crate::protocol::filter::{EventPart, Filter, FilterError, FilterSpec, SessionIdPrefix};
use crate::protocol::service::Services;
use crate::protocol::text_pattern::TextPattern;
use crate::protocol::topic::{Action, Category, EndpointId, Root, TopicName, Topics};
use crate::transport::options::MqttVersion;

/// Flags that select events.
#[derive(Debug, Args)]
#[command(next_help_heading = "Filters (categories, actions and repeated flags are ORed, all else is ANDed)")]
#[expect(clippy::struct_excessive_bools, reason = "one flag for each category and action")]
pub(crate) struct FilterArgs {
    /// Select registrations
    #[arg(long)]
    registration: bool,

    /// Select sessions
    #[arg(long)]
    session: bool,

    /// Select presence: who is registered
    #[arg(long)]
    pub(crate) presence: bool,

    /// Select what started
    #[arg(long)]
    started: bool,

    /// Select what was modified
    #[arg(long)]
    modified: bool,

    /// Select what stopped
    #[arg(long)]
    stopped: bool,

    /// Select what failed
    #[arg(long)]
    failed: bool,

    /// Select registrations of ID, and sessions from it
    #[arg(long, value_name = "ID")]
    pub(crate) from: Vec<EndpointId>,

    /// Select sessions to ID
    #[arg(long, value_name = "ID")]
    to: Vec<EndpointId>,

    /// Select ID as FROM or TO
    #[arg(long, value_name = "ID")]
    endpoint: Vec<EndpointId>,

    /// Select events of this application
    #[arg(long, value_name = "TEXT")]
    app_context: Vec<String>,

    /// Select a session by 4 or more digits of its ID
    #[arg(long, value_name = "UUID")]
    session_id: Vec<SessionIdPrefix>,

    /// Select reasons that match a regular expression
    #[arg(long, value_name = "REGEX")]
    reason: Vec<TextPattern>,

    /// Select presence with this state, such as busy
    #[arg(long, value_name = "STATE", requires = "presence", hide_short_help = true)]
    state: Vec<String>,
}

impl FilterArgs {
    /// Returns the filter of these flags.
    ///
    /// # Errors
    /// If nothing can match.
    pub(crate) fn filter(self) -> Result<Filter, Failure> {
        Filter::new(self.spec()).map_err(|error| match error {
            FilterError::ToOfRegistration => {
                Failure::usage(format!("--to cannot be combined with only --registration: {error}"))
                    .hint("add --session, or name the registering endpoint with --from")
            }
            FilterError::EventPart(part) => {
                let flag = match part {
                    EventPart::Action(action) => action.as_str(),
                    EventPart::To => "to",
                    EventPart::SessionId => "session-id",
                    EventPart::Reason => "reason",
                };
                Failure::usage(format!("--{flag} cannot be combined with only --presence: {error}"))
                    .hint("select documents with --from, --endpoint, --app-context and --state")
            }
            FilterError::StateOfEvent => Failure::usage(format!("--state selects nothing here: {error}"))
                .hint("select documents with --presence, --from, --endpoint, --app-context and --state alone"),
            FilterError::Nothing => Failure::usage(error.to_string())
                .hint("--endpoint must be FROM or TO; check it against --from and --to"),
        })
    }

    /// Returns the selection of call records of these flags. `flag` is the one that requests call records.
    ///
    /// # Errors
    /// If a flag selects something other than whole calls.
    pub(crate) fn call_selection(self, flag: &str) -> Result<CallSelection, Failure> {
        CallSelection::new(self.spec()).map_err(|error| {
            let other = match error {
                CallSelectionError::Registration => "registration",
                CallSelectionError::Presence => "presence",
                CallSelectionError::Action(action) => action.as_str(),
            };
            Failure::usage(format!("{flag} cannot be combined with --{other}: {error}"))
                .hint("--stopped selects completed calls, --failed selects failed and dropped ones")
        })
    }

    fn spec(self) -> FilterSpec {
        let Self {
            registration,
            session,
            presence,
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
            state: states,
        } = self;
        let categories = selected([(registration, Category::Registration), (session, Category::Session)]);
        let actions = selected([
            (started, Action::Started),
            (modified, Action::Modified),
            (stopped, Action::Stopped),
            (failed, Action::Failed),
        ]);
        FilterSpec { categories, presence, actions, from, to, endpoints, app_contexts, session_ids, reasons, states }
    }
}

/// Returns the values whose flags are set.
fn selected<T, const N: usize>(flags: [(bool, T); N]) -> Vec<T> {
    flags.into_iter().filter(|(is_set, _)| *is_set).map(|(_, value)| value).collect()
}

/// Flags for call records.
#[derive(Debug, Args)]
#[command(next_help_heading = DisplayArgs::HEADING)]
pub(crate) struct CallRecordArgs {
    /// Print one record per call, at its end
    #[arg(long)]
    cdr: bool,

    /// Print totals of all calls, by endpoint, app or reason
    #[arg(long, value_name = "BY", num_args = 0..=1, require_equals = true, default_missing_value = "all",
          value_parser = summary_by(), hide_possible_values = true)]
    summary: Option<SummaryBy>,

    /// Print only the N rows with the most calls, and the total
    #[arg(long, value_name = "N", requires = "summary", value_parser = number::<NonZeroUsize>, allow_hyphen_values = true,
          hide_short_help = true)]
    top: Option<NonZeroUsize>,

    /// A call whose end is not seen for this long is lost [default: 12h]
    #[arg(long, value_name = "DURATION", value_parser = duration, allow_hyphen_values = true, hide_short_help = true)]
    max_age: Option<Duration>,
}

/// The meaning of the flags for call records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CallRecordSettings {
    /// The flag that requests call records.
    pub(crate) flag: &'static str,
    /// Print a summary instead of records: what its rows have in common, and their maximum number.
    pub(crate) summary: Option<(SummaryBy, Option<usize>)>,
    /// How long the end of a call may take.
    pub(crate) max_age: Duration,
}

impl CallRecordArgs {
    /// Default of `--max-age`.
    const MAX_AGE: Duration = Duration::from_hours(12);

    /// Returns the settings, or `None` if no call records are requested.
    ///
    /// # Errors
    /// If a flag has no effect.
    pub(crate) fn settings(&self) -> Result<Option<CallRecordSettings>, Failure> {
        let flag = match self {
            Self { cdr: true, .. } => "--cdr",
            Self { summary: Some(_), .. } => "--summary",
            Self { max_age: Some(_), .. } => {
                return Err(Failure::usage("--max-age is for call records").hint("add --cdr or --summary"));
            }
            Self { .. } => return Ok(None),
        };
        let summary = self.summary.map(|by| (by, self.top.map(NonZeroUsize::get)));
        Ok(Some(CallRecordSettings { flag, summary, max_age: self.max_age.unwrap_or(Self::MAX_AGE) }))
    }
}

/// Flags that end the command by itself.
#[derive(Debug, Args)]
#[command(next_help_heading = WindowArgs::HEADING)]
pub(crate) struct WindowArgs {
    /// Exit after N printed records
    #[arg(short, long, value_name = "N", value_parser = number::<NonZeroU64>, allow_hyphen_values = true)]
    pub(crate) count: Option<NonZeroU64>,

    /// Exit after this time
    ///
    /// The status is 124 if --count was not reached, 5 if there was no subscription, or else 0.
    #[arg(long = "for", id = "for_duration", value_name = "DURATION", value_parser = duration, allow_hyphen_values = true)]
    pub(crate) duration: Option<Duration>,

    /// Exit with 7 if nothing matched
    #[arg(long, hide_short_help = true)]
    pub(crate) fail_empty: bool,
}

impl WindowArgs {
    /// The heading of the flags for the first and the last record, in help.
    pub(super) const HEADING: &'static str = "Window";

    /// Ends the run after `most` records, if `--count` does not end it before.
    pub(crate) fn limit_count(&mut self, most: usize) {
        let most = u64::try_from(most).ok().and_then(NonZeroU64::new);
        self.count = self.count.into_iter().chain(most).min();
    }

    /// Returns the status of a run that ended normally. `printed` is `None` if the number of records is unknown.
    pub(crate) fn at_end(&self, printed: Option<u64>) -> Status {
        if self.fail_empty && printed == Some(0) { Status::Empty } else { Status::Success }
    }

    /// Returns the status of a run that ended at its deadline.
    pub(crate) fn at_deadline(&self, printed: Option<u64>) -> Status {
        let is_short = |count: NonZeroU64| printed.is_none_or(|printed| printed < count.get());
        match self.at_end(printed) {
            Status::Success if self.count.is_some_and(is_short) => Status::Deadline,
            status => status,
        }
    }
}

/// Flags for subscription and output.
#[derive(Debug, Args)]
#[command(next_help_heading = "Delivery")]
#[expect(clippy::struct_excessive_bools, reason = "independent flags")]
pub(crate) struct DeliveryArgs {
    /// Subscribe with this quality of service: 0, 1 or 2
    #[arg(long, value_name = "QOS", default_value_t = 1, value_parser = qos,
          allow_hyphen_values = true, hide_short_help = true)]
    pub(crate) qos: u8,

    /// Have the broker keep a session with this name, and store messages between runs
    #[arg(long, value_name = "NAME", value_parser = client_id, hide_short_help = true)]
    pub(crate) durable: Option<String>,

    /// How long the broker keeps the session after a disconnect (MQTT 5 only)
    #[arg(long, value_name = "DURATION", default_value = "1d", value_parser = seconds, allow_hyphen_values = true,
          hide_short_help = true)]
    pub(crate) durable_expiry: Duration,

    /// Delete the session with this name from the broker, and exit
    #[arg(long, value_name = "NAME", value_parser = client_id, conflicts_with = "durable", hide_short_help = true)]
    pub(crate) durable_delete: Option<String>,

    /// Share the messages with all clients of this group (shared subscription)
    #[arg(long, value_name = "GROUP", value_parser = share_group, hide_short_help = true)]
    pub(crate) share: Option<String>,

    /// Accept a partial grant: continue if the broker refuses some of several subscriptions
    #[arg(long, hide_short_help = true)]
    pub(crate) allow_partial: bool,

    /// Append JSON lines to this file
    ///
    /// SIGHUP reopens it.
    #[arg(long, value_name = "FILE", value_parser = OsStringValueParser::new().try_map(file_to_write),
          help_heading = DisplayArgs::HEADING)]
    pub(crate) output: Option<PathBuf>,

    /// Sync the file to disk before acknowledging a message
    #[arg(long, requires = "output", hide_short_help = true, help_heading = DisplayArgs::HEADING)]
    pub(crate) fsync: bool,

    /// Exit with 5 if the connection is lost
    #[arg(long, conflicts_with = "max_retries", hide_short_help = true)]
    pub(crate) no_reconnect: bool,

    /// Exit with 5 after N failed reconnects in a row [default: no limit]
    #[arg(long, value_name = "N", value_parser = number::<u32>, allow_hyphen_values = true, hide_short_help = true)]
    pub(crate) max_retries: Option<u32>,

    /// Also print connection changes as records: connected, ready, settled, disconnected, gap
    #[arg(long, hide_short_help = true, help_heading = DisplayArgs::HEADING)]
    pub(crate) status_events: bool,
}

/// Flags for the connection to the broker.
#[derive(Debug, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ConnectionArgs {
    /// Broker URL
    ///
    /// The scheme is mqtt, mqtts, ws or wss. Several brokers are tried in order.
    // Parsed later, because clap quotes invalid values, and a URL with a password must not be printed.
    #[arg(
        short,
        long,
        value_name = "URL",
        default_value = "mqtt://localhost:1883",
        env = "RTCOMM_BROKER",
        hide_env_values = true,
        value_delimiter = ' '
    )]
    pub(crate) broker: Vec<String>,

    /// Read settings from ~/.config/rtcomm/NAME.env
    ///
    /// See PROFILES in `man rtcomm`.
    #[arg(long, value_name = "NAME", env = "RTCOMM_PROFILE", hide_env_values = true, hide_short_help = true)]
    pub(crate) profile: Option<ProfileName>,

    /// Ask the server for its topics
    ///
    /// It is asked at ROOT/management. Topics that are set with --event-root and --call-topic win.
    #[arg(long, env = "RTCOMM_DISCOVER", hide_env_values = true, hide_short_help = true, value_parser = switch)]
    pub(crate) discover: bool,

    /// The settings of the profile that nothing overrides.
    #[arg(skip)]
    pub(crate) settings: Option<Profile>,

    /// User name
    ///
    /// Give the password with --password-file or RTCOMM_PASSWORD.
    #[arg(short, long, value_name = "NAME", env = "RTCOMM_USERNAME", hide_env_values = true)]
    pub(crate) username: Option<String>,

    /// File whose first line is the password
    ///
    /// `-` is standard input.
    #[arg(long, value_name = "FILE", env = "RTCOMM_PASSWORD_FILE", hide_env_values = true)]
    pub(crate) password_file: Option<PathBuf>,

    /// Trust the authorities in this PEM file
    ///
    /// Without this flag and --capath, those of the system are trusted.
    #[arg(long, value_name = "FILE", env = "RTCOMM_CAFILE", hide_env_values = true, hide_short_help = true)]
    pub(crate) cafile: Option<PathBuf>,

    /// Trust the certificate authorities in this directory of hashed PEM files instead of the system's
    #[arg(long, value_name = "DIR", env = "RTCOMM_CAPATH", hide_env_values = true, hide_short_help = true)]
    pub(crate) capath: Option<PathBuf>,

    /// Client certificate (PEM)
    #[arg(long, value_name = "FILE", env = "RTCOMM_CERT", hide_env_values = true, hide_short_help = true)]
    pub(crate) cert: Option<PathBuf>,

    /// Private key of the client certificate (PEM)
    #[arg(long, value_name = "FILE", env = "RTCOMM_KEY", hide_env_values = true, hide_short_help = true)]
    pub(crate) key: Option<PathBuf>,

    /// Read the passphrase of the private key from the first line of this file (`-` is standard input)
    #[arg(long, value_name = "FILE", env = "RTCOMM_KEY_PASSWORD_FILE", hide_env_values = true, hide_short_help = true)]
    pub(crate) key_password_file: Option<PathBuf>,

    /// Application protocol to offer in the TLS handshake, such as mqtt (repeatable)
    #[arg(long, value_name = "PROTOCOL", env = "RTCOMM_ALPN", hide_env_values = true, hide_short_help = true, value_parser = alpn)]
    pub(crate) alpn: Vec<String>,

    /// Connect through this HTTP proxy: http://HOST:PORT [default for TLS: https_proxy from the environment]
    #[arg(long, value_name = "URL", env = "RTCOMM_PROXY", hide_env_values = true, hide_short_help = true)]
    pub(crate) proxy: Option<String>,

    /// Do not verify the broker's certificate
    #[arg(long, env = "RTCOMM_INSECURE", hide_env_values = true, hide_short_help = true, value_parser = switch)]
    pub(crate) insecure: bool,

    /// MQTT client identifier [default: random]
    #[arg(long, value_name = "ID", env = "RTCOMM_CLIENT_ID", hide_env_values = true, hide_short_help = true, value_parser = client_id)]
    pub(crate) client_id: Option<String>,

    /// MQTT version; auto tries 5, then 3.1.1
    #[arg(long, value_name = "VERSION", default_value = "auto", env = "RTCOMM_MQTT_VERSION", hide_env_values = true, hide_short_help = true,
          value_parser = mqtt_version())]
    pub(crate) mqtt_version: MqttVersion,

    /// MQTT keep-alive interval
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = keepalive, allow_hyphen_values = true,
          env = "RTCOMM_KEEPALIVE", hide_env_values = true, hide_short_help = true)]
    pub(crate) keepalive: Duration,

    /// Maximum time to connect
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration, allow_hyphen_values = true,
          env = "RTCOMM_CONNECT_TIMEOUT", hide_env_values = true, hide_short_help = true)]
    pub(crate) connect_timeout: Duration,

    /// Largest MQTT packet to accept from the broker
    #[arg(long, value_name = "BYTES", default_value_t = 16 * 1024 * 1024, value_parser = packet_size,
          allow_hyphen_values = true, env = "RTCOMM_MAX_PACKET_SIZE", hide_env_values = true, hide_short_help = true)]
    pub(crate) max_packet_size: u32,
}

/// Flags for the topics of the deployment.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct TopicArgs {
    /// Root of all topics
    #[arg(long, value_name = "TOPIC", default_value = "/rtcomm", env = "RTCOMM_ROOT", hide_env_values = true)]
    root: Root,

    /// Root of the event topics [default: ROOT/event]
    #[arg(long, value_name = "TOPIC", env = "RTCOMM_EVENT_ROOT", hide_env_values = true, hide_short_help = true)]
    event_root: Option<Root>,

    /// Topic of the call service [default: ROOT/callControl]
    #[arg(long, value_name = "TOPIC", env = "RTCOMM_CALL_TOPIC", hide_env_values = true, hide_short_help = true)]
    call_topic: Option<TopicName>,
}

impl TopicArgs {
    /// Returns the topics of these flags.
    pub(crate) fn topics(self) -> Topics {
        let Self { root, event_root, call_topic } = self;
        let mut topics = Topics::from(root);
        topics.events = event_root.unwrap_or(topics.events);
        topics.calls = call_topic.unwrap_or(topics.calls);
        topics
    }

    /// Returns the topics of these flags, and those of a server in place of defaults.
    pub(crate) fn discovered(self, services: &Services) -> DiscoveredTopics {
        let Self { root, event_root, call_topic } = self;
        let source = |is_set: bool, is_named: bool| match (is_set, is_named) {
            (true, _) => TopicSource::Flag,
            (_, true) => TopicSource::Server,
            _ => TopicSource::Default,
        };
        let events = source(event_root.is_some(), services.events().is_some());
        let calls = source(call_topic.is_some(), services.calls().is_some());
        let sphere = source(false, services.sphere().is_some());
        let (event_root, call_topic) = (event_root.or(services.events()), call_topic.or(services.calls()));
        let mut topics = Self { root, event_root, call_topic }.topics();
        if let Some(sphere) = services.sphere() {
            topics.set_sphere(sphere);
        }
        DiscoveredTopics { topics, events, calls, sphere }
    }
}

/// Topics, and where they come from.
#[derive(Debug)]
pub(crate) struct DiscoveredTopics {
    pub(crate) topics: Topics,
    events: TopicSource,
    calls: TopicSource,
    sphere: TopicSource,
}

/// Where a topic comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TopicSource {
    Server,
    Default,
    /// A flag, the environment or a profile.
    Flag,
}

impl fmt::Display for DiscoveredTopics {
    /// Writes the topics by source: `topics of the server: events /e, presence /s; default: calls /c`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topics, events, calls, sphere } = self;
        let every = [
            (events, format!("events {}", topics.events)),
            (calls, format!("calls {}", topics.calls)),
            (sphere, format!("presence {}", topics.sphere())),
        ];
        let of = |wanted: TopicSource| {
            let topics = every.iter().filter(move |(source, _)| **source == wanted);
            topics.map(|(_, topic)| topic.as_str()).collect::<Vec<_>>().join(", ")
        };
        let named = of(TopicSource::Server);
        write!(f, "topics of the server: {}", if named.is_empty() { "none" } else { &named })?;
        for (source, label) in [(TopicSource::Flag, "set"), (TopicSource::Default, "default")] {
            let topics = of(source);
            if !topics.is_empty() {
                write!(f, "; {label}: {topics}")?;
            }
        }
        Ok(())
    }
}

/// Flags for color and messages, for every command.
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = DisplayArgs::HEADING)]
pub(crate) struct DisplayArgs {
    /// When to use color
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "auto",
        env = "RTCOMM_COLOR",
        hide_env_values = true,
        hide_short_help = true
    )]
    pub(crate) color: ColorChoice,

    /// Print only warnings and errors
    #[arg(short, long, env = "RTCOMM_QUIET", hide_env_values = true, value_parser = switch)]
    pub(crate) quiet: bool,

    /// Print more messages about the run
    #[arg(short, long, env = "RTCOMM_VERBOSE", hide_env_values = true, hide_short_help = true, value_parser = switch)]
    pub(crate) verbose: bool,
}

impl DisplayArgs {
    /// The heading of the flags for the output, in help.
    pub(super) const HEADING: &'static str = "Output";
}
