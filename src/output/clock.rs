//! Times for people: the operator's local time, to the millisecond.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Milliseconds in a minute.
const MINUTE: i64 = 60_000;

/// Writes times, and remembers the minute: events that come one after the other mostly share it, and zones change their
/// offset at full minutes alone.
#[derive(Debug)]
pub(crate) struct Clock {
    zone: TimeZone,
    minute: Option<i64>,
    text: String,
}

impl Clock {
    /// Shows times in `zone`.
    pub(crate) fn new(zone: TimeZone) -> Self {
        Self { zone, minute: None, text: String::new() }
    }

    /// The time as `2026-11-23 04:34:12.798`.
    pub(crate) fn time(&mut self, at: Timestamp) -> &str {
        const UP_TO_MINUTE: usize = "2026-11-23 04:34:".len();
        let millis = at.as_microsecond().div_euclid(1_000);
        let minute = millis.div_euclid(MINUTE);
        if self.minute != Some(minute) {
            let local = self.zone.to_datetime(at);
            let (year, month, day) = (local.year(), local.month(), local.day());
            self.text = format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:", local.hour(), local.minute());
            self.minute = Some(minute).filter(|_| self.text.len() == UP_TO_MINUTE);
        }
        self.text.truncate(UP_TO_MINUTE);
        let rest = millis.rem_euclid(MINUTE);
        for (divisor, before) in [(10_000, ""), (1_000, ""), (100, "."), (10, ""), (1, "")] {
            self.text.push_str(before);
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
        fn times_are_those_of_the_zone(micros in -1_000_000_000_000_000..4_000_000_000_000_000_i64, step in 0..100_000_000_i64) {
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
