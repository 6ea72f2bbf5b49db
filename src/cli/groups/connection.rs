//! Flags for the connection to the broker.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::cli::profile::{Profile, ProfileName};
use crate::cli::values::{alpn, client_id, duration, keepalive, mqtt_version, packet_size, switch};
use crate::transport::options::MqttVersion;

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
