//! Points in time, as users type them.

use std::str::FromStr;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp, ToSpan as _, ZonedDateTime, civil};

use super::values::duration_in_units;

/// A point in time, as typed: the value of `--since` and `--until`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimeArg {
    time: TypedTime,
    /// Whether it has milliseconds, which is how the tool prints times. The rest of a printed time is truncated.
    has_millis: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TypedTime {
    /// A duration before the start of the command.
    Ago(Duration),
    /// A time with a zone.
    At(Timestamp),
    /// A local date, with or without a time.
    Local(civil::DateTime),
    /// A local time of the day on which the command starts.
    Today(civil::Time),
    /// The start of the day before, in local time.
    Yesterday,
}

impl TimeArg {
    /// Returns the first moment of the time; `now` is the start of the command in the local zone.
    pub(crate) fn first(self, now: &ZonedDateTime) -> Timestamp {
        let local = |at: civil::DateTime| now.time_zone().to_timestamp(at);
        match self.time {
            TypedTime::Ago(duration) => now.timestamp().checked_sub(duration).unwrap_or(Timestamp::MIN),
            TypedTime::At(time) => time,
            TypedTime::Local(at) => {
                local(at).unwrap_or(if at < now.datetime() { Timestamp::MIN } else { Timestamp::MAX })
            }
            TypedTime::Today(time) => local(now.date().to_datetime(time)).unwrap_or(Timestamp::MAX),
            TypedTime::Yesterday => {
                let yesterday = now.date().saturating_sub(1.day());
                local(yesterday.to_datetime(civil::Time::midnight())).unwrap_or(Timestamp::MIN)
            }
        }
    }

    /// Returns the last moment of the time. A time with milliseconds ends with its millisecond.
    pub(crate) fn last(self, now: &ZonedDateTime) -> Timestamp {
        const REST_OF_MILLISECOND: SignedDuration = SignedDuration::from_nanos(999_999);
        let first = self.first(now);
        if self.has_millis { first.checked_add(REST_OF_MILLISECOND).unwrap_or(first) } else { first }
    }
}

impl FromStr for TimeArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fraction = text.split_once('.').map_or("", |(_, fraction)| fraction);
        let has_millis = fraction.bytes().take_while(u8::is_ascii_digit).count() == 3;
        Ok(Self { time: TypedTime::parse(text)?, has_millis })
    }
}

impl TypedTime {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "today" => return Ok(Self::Today(civil::Time::midnight())),
            "yesterday" => return Ok(Self::Yesterday),
            _ => {}
        }
        let time = if let Ok(time) = text.parse() {
            Some(Self::At(time))
        } else if text.contains('[') {
            // A local time would ignore the zone.
            text.parse::<ZonedDateTime>().ok().map(|time| Self::At(time.timestamp()))
        } else if text.contains('-') {
            text.parse().ok().map(Self::Local)
        } else if text.contains(':') {
            text.parse().ok().map(Self::Today)
        } else {
            duration_in_units(text)?.ok().map(Self::Ago)
        };
        time.ok_or_else(|| {
            "expected a local time such as '2026-11-23 04:34', 2026-11-23, 04:34, today or yesterday, a time with a zone \
             such as 2026-11-23T03:34:12Z, or a duration back such as 90s or '1h 30m'"
                .to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::TimeZone;

    fn parse(text: &str) -> TimeArg {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn noon(zone: &str) -> ZonedDateTime {
        let zone = TimeZone::get(zone).expect("a time zone");
        "2026-11-23T12:00:00Z".parse::<Timestamp>().expect("a time").to_zoned_datetime(zone)
    }

    #[test]
    fn a_time_without_a_zone_is_local() {
        for (text, in_berlin) in [
            ("1h 30m", "2026-11-23T10:30:00Z"),
            ("2026-11-23T12:00:00+01:00", "2026-11-23T11:00:00Z"),
            ("2026-11-23T03:34:12.798558Z", "2026-11-23T03:34:12.798558Z"),
            ("2026-11-23T12:00[America/New_York]", "2026-11-23T17:00:00Z"),
            ("2026-11-23 04:34:12.798", "2026-11-23T03:34:12.798Z"),
            ("2026-11-23 04:34:12", "2026-11-23T03:34:12Z"),
            ("2026-11-23T04:34", "2026-11-23T03:34:00Z"),
            ("2026-11-23", "2026-11-22T23:00:00Z"),
            ("2026-07-01", "2026-06-30T22:00:00Z"),
            ("04:34", "2026-11-23T03:34:00Z"),
            ("23:59:59.5", "2026-11-23T22:59:59.5Z"),
            ("today", "2026-11-22T23:00:00Z"),
            ("yesterday", "2026-11-21T23:00:00Z"),
            // The clock skips from 02:00 to 03:00.
            ("2026-03-29 02:30", "2026-03-29T01:30:00Z"),
        ] {
            assert_eq!(parse(text).first(&noon("Europe/Berlin")).to_string(), in_berlin, "{text}");
        }
        assert_eq!(parse("today").first(&noon("Pacific/Kiritimati")).to_string(), "2026-11-23T10:00:00Z");
    }

    #[test]
    fn times_out_of_range_are_the_first_or_the_last() {
        for (text, time) in
            [("99999y", Timestamp::MIN), ("-009999-01-01", Timestamp::MIN), ("9999-12-31 23:59:59", Timestamp::MAX)]
        {
            assert_eq!(parse(text).first(&noon("UTC")), time, "{text}");
        }
    }

    #[test]
    fn a_printed_time_lasts_a_millisecond() {
        for (text, last) in [
            ("2026-11-23 04:34:12.798", "2026-11-23T04:34:12.798999999Z"),
            ("04:34:12.798", "2026-11-23T04:34:12.798999999Z"),
            ("2026-11-23T04:34:12.798Z", "2026-11-23T04:34:12.798999999Z"),
            ("2026-11-23T04:34:12.798558Z", "2026-11-23T04:34:12.798558Z"),
            ("2026-11-23 04:34:12", "2026-11-23T04:34:12Z"),
            ("2026-11-23", "2026-11-23T00:00:00Z"),
        ] {
            assert_eq!(parse(text).last(&noon("UTC")).to_string(), last, "{text}");
        }
    }

    #[test]
    fn other_texts_are_rejected() {
        for text in [
            "",
            "tomorrow",
            "12",
            "1130",
            "2026-13-01",
            "2026-11-23 25:00",
            "25:00",
            "04:34Z",
            "5",
            "-5m",
            "1M",
            "2026",
            "2026-11-23T12:00[Nowhere/At_All]",
            "20261123",
        ] {
            assert!(text.parse::<TimeArg>().is_err(), "{text:?} is {:?}", text.parse::<TimeArg>());
        }
        assert!("1M".parse::<TimeArg>().is_err_and(|error| error.contains("write m or months")));
    }
}
