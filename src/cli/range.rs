//! Ranges of acceptable values, as monitoring plugins write them (Monitoring Plugins Development Guidelines).
//!
//! | range | alert if the value is |
//! | --- | --- |
//! | `10` | below 0 or above 10 |
//! | `10:` | below 10 |
//! | `~:10` | above 10 |
//! | `10:20` | below 10 or above 20 |
//! | `@10:20` | 10 to 20 |

use std::fmt;
use std::str::FromStr;

/// A value that `check` measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Metric {
    /// Seconds to connect.
    Connect,
    /// Seconds from the query to the first answer.
    Query,
    /// Number of servers that answer.
    Servers,
    /// Number of registered endpoints.
    Registered,
}

impl Metric {
    /// All of them, in the order of the output.
    pub(crate) const ALL: [Self; 4] = [Self::Connect, Self::Query, Self::Servers, Self::Registered];

    /// Returns the name in flags and output.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Query => "query",
            Self::Servers => "servers",
            Self::Registered => "registered",
        }
    }
}

/// A range of acceptable values.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Range {
    /// As it was typed.
    text: String,
    start: f64,
    end: f64,
    /// Whether the values inside are not acceptable, instead of those outside.
    is_inverted: bool,
}

impl Range {
    /// Returns whether a value is acceptable.
    pub(crate) fn accepts(&self, value: f64) -> bool {
        (self.start..=self.end).contains(&value) != self.is_inverted
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let invalid = || format!("'{text}' is not a range: expected N, N:, ~:N, N:M or @N:M");
        let (is_inverted, bounds) = text.strip_prefix('@').map_or((false, text), |bounds| (true, bounds));
        let (start, end) = match bounds.split_once(':') {
            None => (0.0, number(bounds).ok_or_else(invalid)?),
            Some((start, end)) => {
                let start = match start {
                    "~" => f64::NEG_INFINITY,
                    "" if !end.is_empty() => 0.0,
                    start => number(start).ok_or_else(invalid)?,
                };
                let end = if end.is_empty() { f64::INFINITY } else { number(end).ok_or_else(invalid)? };
                (start, end)
            }
        };
        if start > end {
            return Err(format!("'{text}' is not a range: {start} is greater than {end}"));
        }
        Ok(Self { text: text.to_owned(), start, end, is_inverted })
    }
}

/// Parses a decimal number. Names such as `inf` are not numbers here.
fn number(text: &str) -> Option<f64> {
    let is_decimal = text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+'));
    text.parse().ok().filter(|_| is_decimal)
}

/// The acceptable range of a metric: `NAME=RANGE`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Threshold {
    pub(crate) metric: Metric,
    pub(crate) range: Range,
}

impl FromStr for Threshold {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, range) = text.split_once('=').ok_or("expected NAME=RANGE, such as connect=0.5")?;
        let metric = Metric::ALL.into_iter().find(|metric| metric.as_str() == name);
        let metric = metric.ok_or_else(|| format!("'{name}' is not one of connect, query, servers and registered"))?;
        Ok(Self { metric, range: range.parse()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_the_guidelines() {
        for (text, accepted, rejected) in [
            ("10", &[0.0, 5.5, 10.0][..], &[-1.0, 10.1][..]),
            ("10:", &[10.0, 1e9], &[9.9, -10.0]),
            (":10", &[0.0, 10.0], &[-0.1, 11.0]),
            ("~:10", &[-1e9, 10.0], &[10.1]),
            ("10:20", &[10.0, 20.0], &[9.9, 20.1]),
            ("@10:20", &[9.9, 20.1], &[10.0, 15.0, 20.0]),
            ("@1", &[-0.1, 1.1], &[0.0, 1.0]),
            ("-5:-1.5", &[-5.0, -1.5], &[-6.0, 0.0]),
            ("0:0", &[0.0], &[0.5]),
            ("~:", &[-1e9, 1e9], &[]),
        ] {
            let range: Range = text.parse().expect(text);
            assert!(accepted.iter().all(|value| range.accepts(*value)), "{text}");
            assert!(!rejected.iter().any(|value| range.accepts(*value)), "{text}");
            assert_eq!(range.to_string(), text);
        }
    }

    #[test]
    fn other_texts_are_rejected() {
        for text in ["", ":", "@", "~", "a", "10:5", "1:2:3", "inf", "nan", "1e3", "10 ", "@@1", "~10", "1:~"] {
            assert!(text.parse::<Range>().is_err(), "{text}");
        }
        for text in ["connect", "connect=", "latency=1", "=1", "Connect=1"] {
            assert!(text.parse::<Threshold>().is_err(), "{text}");
        }
        let threshold: Threshold = "servers=1:".parse().expect("a threshold");
        assert_eq!((threshold.metric, threshold.range.accepts(0.0)), (Metric::Servers, false));
    }
}
