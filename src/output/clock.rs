//! Times in pretty output: local time with milliseconds.

use jiff::Timestamp;
use jiff::tz::TimeZone;

const MILLIS_PER_MINUTE: i64 = 60_000;

/// Formats times, and caches the text of the last minute.
///
/// Most events share the minute with the one before, and time zones change their offset only at full minutes.
#[derive(Debug)]
pub(crate) struct Clock {
    zone: TimeZone,
    minute: Option<i64>,
    text: String,
}

impl Clock {
    /// Makes a clock for times in `zone`.
    pub(crate) fn new(zone: TimeZone) -> Self {
        Self { zone, minute: None, text: String::new() }
    }

    /// Formats a time as `2026-11-23 04:34:12.798`.
    pub(crate) fn time(&mut self, at: Timestamp) -> &str {
        const PREFIX_LEN: usize = "2026-11-23 04:34:".len();
        let millis = at.as_microsecond().div_euclid(1_000);
        let minute = millis.div_euclid(MILLIS_PER_MINUTE);
        if self.minute != Some(minute) {
            let local = self.zone.to_datetime(at);
            let (year, month, day) = (local.year(), local.month(), local.day());
            self.text = format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:", local.hour(), local.minute());
            self.minute = Some(minute).filter(|_| self.text.len() == PREFIX_LEN);
        }
        self.text.truncate(PREFIX_LEN);
        let rest = millis.rem_euclid(MILLIS_PER_MINUTE);
        for (divisor, separator) in [(10_000, ""), (1_000, ""), (100, "."), (10, ""), (1, "")] {
            self.text.push_str(separator);
            self.text.push(char::from(b'0' + u8::try_from(rest / divisor % 10).unwrap_or_default()));
        }
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn times_are_shown_in_the_zone(micros in -1_000_000_000_000_000..4_000_000_000_000_000_i64, step in 0..100_000_000_i64) {
            let zone = TimeZone::get("Europe/Berlin").unwrap_or(TimeZone::UTC);
            let mut clock = Clock::new(zone.clone());
            for micros in [micros, micros + step] {
                let at = Timestamp::from_microsecond(micros).expect("a time");
                let expected = at.to_zoned_datetime(zone.clone()).strftime("%Y-%m-%d %H:%M:%S%.3f").to_string();
                prop_assert_eq!(clock.time(at), expected);
            }
        }
    }
}
