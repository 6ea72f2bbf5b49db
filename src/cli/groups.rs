//! The groups of flags that several commands share.

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::{FalseyValueParser, OsStringValueParser, TypedValueParser as _};
use regex::Regex;
use uuid::Uuid;

use super::values::{alpn, client_id, duration, file_to_write, keepalive, number, qos, seconds, share_group};
use crate::exit::{Failure, Status};
use crate::output::ColorChoice;
use crate::protocol::filter::{Filter, FilterError, FilterSpec};
use crate::protocol::topic::{Action, Category, EndpointId, Root, TopicName, Topics};
use crate::transport::broker::MqttVersion;

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
        Filter::new(FilterSpec { categories, actions, from, to, endpoints, app_contexts, session_ids, reasons })
            .map_err(|error| match error {
                FilterError::ToOfRegistration => Failure::usage(format!("--to with --registration alone: {error}"))
                    .hint("add --session, or name the registering endpoint with --from"),
                FilterError::Nothing => Failure::usage(error.to_string())
                    .hint("--endpoint names either side; --from and --to must leave room for it"),
            })
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
    #[arg(short, long, value_name = "N", value_parser = number::<NonZeroU64>, allow_hyphen_values = true)]
    pub(crate) count: Option<NonZeroU64>,

    /// End after this long: with 0, or with 124 where --count was not reached
    #[arg(long = "for", id = "for_duration", value_name = "DURATION", value_parser = duration, allow_hyphen_values = true)]
    pub(crate) duration: Option<Duration>,

    /// Exit with 7 where nothing matched
    #[arg(long)]
    pub(crate) fail_empty: bool,
}

impl WindowArgs {
    /// The status of a run that came to its end after so many printed records; `None` where that is not known.
    pub(crate) fn at_end(&self, printed: Option<u64>) -> Status {
        if self.fail_empty && printed == Some(0) { Status::Empty } else { Status::Success }
    }

    /// The status of a run that its deadline ended, after so many printed records.
    pub(crate) fn at_deadline(&self, printed: Option<u64>) -> Status {
        let is_short = |count: NonZeroU64| printed.is_none_or(|printed| printed < count.get());
        match self.at_end(printed) {
            Status::Success if self.count.is_some_and(is_short) => Status::Deadline,
            status => status,
        }
    }
}

/// How messages are delivered.
#[derive(Debug, Args)]
#[command(next_help_heading = "Delivery")]
#[expect(clippy::struct_excessive_bools, reason = "flags that mean nothing to one another")]
pub(crate) struct DeliveryArgs {
    /// Quality of service to subscribe with: 0, 1 or 2
    #[arg(long, value_name = "QOS", default_value_t = 1, value_parser = qos,
          allow_hyphen_values = true)]
    pub(crate) qos: u8,

    /// Have the broker keep the session of this name: what is published while we are away waits for us
    #[arg(long, value_name = "NAME", value_parser = client_id)]
    pub(crate) durable: Option<String>,

    /// How long the broker keeps the session while we are away; MQTT 3.1.1 brokers decide that themselves
    #[arg(long, value_name = "DURATION", default_value = "1d", value_parser = seconds, allow_hyphen_values = true)]
    pub(crate) durable_expiry: Duration,

    /// Make the broker forget the session of this name, and end
    #[arg(long, value_name = "NAME", value_parser = client_id, conflicts_with = "durable")]
    pub(crate) durable_delete: Option<String>,

    /// Divide the messages among all who give this group's name (a shared subscription)
    #[arg(long, value_name = "GROUP", value_parser = share_group)]
    pub(crate) share: Option<String>,

    /// Go on where the broker refuses some of several subscriptions
    #[arg(long)]
    pub(crate) allow_partial: bool,

    /// Append to this file instead of standard output; SIGHUP opens it anew
    #[arg(long, value_name = "FILE", value_parser = OsStringValueParser::new().try_map(file_to_write))]
    pub(crate) output: Option<PathBuf>,

    /// Acknowledge a message only when the file is safe from a loss of power
    #[arg(long, requires = "output")]
    pub(crate) fsync: bool,

    /// End with 5 when the connection is lost
    #[arg(long, conflicts_with = "max_retries")]
    pub(crate) no_reconnect: bool,

    /// End with 5 when N tries in a row could not mend a lost connection [default: no end]
    #[arg(long, value_name = "N", value_parser = number::<u32>, allow_hyphen_values = true)]
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
    #[arg(short, long, global = true, env = "RTCOMM_QUIET", hide_env_values = true,
          value_parser = FalseyValueParser::new())]
    pub(crate) quiet: bool,

    /// Say more about the run
    #[arg(short, long, global = true, env = "RTCOMM_VERBOSE", hide_env_values = true,
          value_parser = FalseyValueParser::new())]
    pub(crate) verbose: bool,
}
