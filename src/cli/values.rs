//! Parsers for the values of flags.

use std::ffi::OsString;
use std::num::{IntErrorKind, ParseIntError};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

use crate::output::ColorChoice;
use crate::protocol::cdr::SummaryBy;
use crate::protocol::topic::TopicFilter;
use crate::transport::options::{MqttVersion, Options};

/// The values of `--color`. Not derived, so that `output` does not depend on clap.
impl ValueEnum for ColorChoice {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Auto, Self::Always, Self::Never]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            Self::Auto => PossibleValue::new("auto").help("On a terminal, unless NO_COLOR is set"),
            Self::Always => PossibleValue::new("always").help("Also in files and pipes"),
            Self::Never => PossibleValue::new("never").help("Never"),
        })
    }
}

/// The value of `--lines`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineCount {
    /// The whole file.
    All,
    /// The last lines.
    Last(u64),
}

impl FromStr for LineCount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "all" {
            return Ok(Self::All);
        }
        // For `tail`, a plus sign means "from that line on", which is not supported.
        let unsigned = !text.starts_with('+');
        let count = text.parse().ok().filter(|_| unsigned);
        count.map(Self::Last).ok_or_else(|| "expected a number of lines, or 'all'".to_owned())
    }
}

/// The value of `call --follow`: how long the session may take, or `None` for no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FollowLimit(pub(crate) Option<Duration>);

impl FromStr for FollowLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" { Ok(Self(None)) } else { duration(text).map(|limit| Self(Some(limit))) }
    }
}

/// The value of `--rate`: a number per second, minute or hour.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rate {
    per_second: f64,
}

impl Rate {
    /// Returns the time between two calls.
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
            _ => Err("expected a number and a unit, such as 50/s, 100/m or 1000/h".to_owned()),
        }
    }
}

/// Maximum duration: ten years. Clocks and the MQTT library support more.
const MAX_DURATION: Duration = Duration::from_secs(10 * YEAR_SECONDS);

/// The length of a year as a unit of durations: 365.25 days.
const YEAR_SECONDS: u64 = 31_557_600;

/// Parses a duration that is greater than zero and at most [`MAX_DURATION`].
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    match duration_in_units(text)? {
        Ok(Duration::ZERO) => Err("must be greater than zero".to_owned()),
        Ok(duration) if duration > MAX_DURATION => Err("must be at most 10 years".to_owned()),
        Ok(duration) => Ok(duration),
        Err(_) => Err("expected a duration such as 500ms, 45s or '1h 30m'".to_owned()),
    }
}

/// Parses a duration in units. Rejects the unit `M`, which [`humantime`] reads as months.
pub(super) fn duration_in_units(text: &str) -> Result<Result<Duration, humantime::DurationError>, String> {
    let mut units = text.split(|c: char| !c.is_alphabetic());
    if units.any(|unit| unit == "M") {
        return Err("M could be minutes or months: write m or months".to_owned());
    }
    Ok(humantime::parse_duration(text))
}

/// Parses the name of an output file. Rejects `-`, which users expect to be standard output.
pub(super) fn file_to_write(name: OsString) -> Result<PathBuf, String> {
    match name.to_str() {
        Some("") => Err("expected a file name".to_owned()),
        Some("-") => {
            Err("records go to standard output without --output; for a file with this name, write ./-".to_owned())
        }
        _ => Ok(name.into()),
    }
}

/// Parses a number without sign and fraction.
pub(super) fn number<N: FromStr<Err = ParseIntError>>(text: &str) -> Result<N, String> {
    text.parse().map_err(|error: ParseIntError| match error.kind() {
        IntErrorKind::PosOverflow => "too large".to_owned(),
        IntErrorKind::Zero => "must be at least 1".to_owned(),
        _ => "expected a number such as 10".to_owned(),
    })
}

/// Parses a quality of service.
pub(super) fn qos(text: &str) -> Result<u8, String> {
    text.parse().ok().filter(|qos| *qos <= 2).ok_or_else(|| "expected 0, 1 or 2".to_owned())
}

/// Parses the maximum number of concurrent calls.
pub(super) fn jobs(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|jobs| (1..=10_000).contains(jobs))
        .ok_or_else(|| "expected a number from 1 to 10000".to_owned())
}

/// Reads an MQTT version.
pub(super) fn mqtt_version() -> impl TypedValueParser<Value = MqttVersion> {
    let values = [
        PossibleValue::new("auto").help("5, or 3.1.1 if the broker refuses 5"),
        PossibleValue::new("3.1.1").help("3.1.1"),
        PossibleValue::new("5").help("5"),
    ];
    PossibleValuesParser::new(values).map(|text| match text.as_str() {
        "3.1.1" => MqttVersion::V311,
        "5" => MqttVersion::V5,
        _ => MqttVersion::Auto,
    })
}

/// Reads what the rows of a summary have in common.
pub(super) fn summary_by() -> impl TypedValueParser<Value = SummaryBy> {
    let values = [
        PossibleValue::new("all").help("The total alone"),
        PossibleValue::new("endpoint").help("A row for each endpoint; a call counts for both sides"),
        PossibleValue::new("app").help("A row for each application"),
        PossibleValue::new("reason").help("A row for each reason, with UUIDs, dates and numbers masked"),
    ];
    PossibleValuesParser::new(values).map(|text| match text.as_str() {
        "endpoint" => SummaryBy::Endpoint,
        "app" => SummaryBy::App,
        "reason" => SummaryBy::Reason,
        _ => SummaryBy::All,
    })
}

/// Parses the value that an environment variable gives to a flag without a value.
pub(super) fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "" | "0" | "false" | "no" | "off" => Ok(false),
        _ => Err("expected 1, true, yes or on, or for the opposite 0, false, no, off or nothing".to_owned()),
    }
}

/// Reads the size of a packet: at least a short event, at most what MQTT can carry.
pub(super) fn packet_size(text: &str) -> Result<u32, String> {
    let size = number::<u32>(text)?;
    let range = 1024..=Options::MAX_PACKET_SIZE;
    if range.contains(&size) { Ok(size) } else { Err(format!("write a number from 1024 to {}", range.end())) }
}

/// Parses a duration in whole seconds, the unit of MQTT.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let duration = duration(text)?;
    if duration.subsec_nanos() == 0 { Ok(duration) } else { Err("must be whole seconds".to_owned()) }
}

/// Parses a keep-alive interval, which MQTT limits to 65535 seconds.
pub(super) fn keepalive(text: &str) -> Result<Duration, String> {
    let duration = seconds(text)?;
    let fits = u16::try_from(duration.as_secs()).is_ok();
    if fits { Ok(duration) } else { Err("must be at most 65535s".to_owned()) }
}

/// Parses the name of an application protocol [RFC 7301, 3.1].
pub(super) fn alpn(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > 255 || text.contains('\0') {
        Err("must have 1 to 255 bytes and no NUL".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

/// Parses the group name of a shared subscription [MQTT-4.8.2-1], [MQTT-4.8.2-2].
pub(super) fn share_group(text: &str) -> Result<String, String> {
    match format!("$share/{text}/#").parse::<TopicFilter>() {
        Ok(_) if !text.contains('/') => Ok(text.to_owned()),
        _ => Err("must not be empty or contain '/', '+' or '#'".to_owned()),
    }
}

/// Parses a client identifier, which MQTT limits to 65535 bytes.
pub(super) fn client_id(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains('\0') || text.len() > usize::from(u16::MAX) {
        Err("must have 1 to 65535 bytes and no NUL".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use super::*;

    #[test]
    fn a_duration_is_greater_than_zero() {
        assert_eq!(duration("1h 30m"), Ok(Duration::from_mins(90)));
        for text in ["0s", "-5s", "soon", "", "5", "1e400s", "1M", "2h 1M"] {
            assert!(duration(text).is_err(), "{text:?}");
        }
        assert_eq!(duration("1month"), humantime::parse_duration("1M").map_err(|error| error.to_string()));
        assert!(keepalive("500ms").is_err() && keepalive("19h").is_err() && keepalive("18h").is_ok());
    }

    #[test]
    fn the_error_of_a_number_says_what_is_expected() {
        assert_eq!((number("7"), qos("2"), jobs("10000")), (Ok(7_u32), Ok(2), Ok(10_000)));
        assert_eq!(number::<NonZeroU64>("0"), Err("must be at least 1".to_owned()));
        assert_eq!(number::<u32>("4294967296"), Err("too large".to_owned()));
        for text in ["", "x", "-1", "1.5", "1 "] {
            assert_eq!(number::<u32>(text), Err("expected a number such as 10".to_owned()), "{text:?}");
            assert_eq!(qos(text), Err("expected 0, 1 or 2".to_owned()), "{text:?}");
        }
        assert!(qos("3").is_err() && jobs("0").is_err() && jobs("10001").is_err());
    }

    #[test]
    fn a_switch_is_on_or_off() {
        for (text, is_on) in [("1", true), ("TRUE", true), ("yes", true), ("On", true), ("", false), ("0", false)] {
            assert_eq!(switch(text), Ok(is_on), "{text:?}");
        }
        for text in ["maybe", "2", " ", "yes please", "-1"] {
            assert!(switch(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_rate_is_a_number_per_unit() {
        let interval = |text: &str| text.parse().map(Rate::interval);
        assert_eq!(interval("50/s"), Ok(Duration::from_millis(20)));
        assert_eq!(interval("30/m"), Ok(Duration::from_secs(2)));
        for text in ["50", "0/s", "-1/s", "50/d", "/s", "nan/s", "inf/s"] {
            assert!(interval(text).is_err(), "{text:?}");
        }
    }
}
