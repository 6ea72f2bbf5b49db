//! The one form in which lines tell a time: RFC 3339 in UTC, to the microsecond, `2026-11-23T03:34:12.798558Z`.
//!
//! Written and read for each message, so without the general ways of the date library, which take ten times as long; what
//! does not fit the form is left to those.

use std::io::Write as _;

use jiff::Timestamp;

const FORM: [u8; 27] = *b"0000-00-00T00:00:00.000000Z";

const SECONDS_A_DAY: i64 = 86_400;

/// Where the form has its numbers, and how many digits each: year, month, day, hour, minute, second, microsecond.
const PLACES: [(usize, usize); 7] = [(0, 4), (5, 2), (8, 2), (11, 2), (14, 2), (17, 2), (20, 6)];

/// Appends a time. What is below a microsecond is cut off.
pub(super) fn write(out: &mut Vec<u8>, at: Timestamp) {
    if at < Timestamp::UNIX_EPOCH {
        return write!(out, "{at:.6}").expect("a Vec takes all that is written to it");
    }
    let (seconds, micros) = (at.as_second(), i64::from(at.subsec_microsecond()));
    let [year, month, day] = date(seconds / SECONDS_A_DAY);
    let time = seconds % SECONDS_A_DAY;
    let numbers = [year, month, day, time / 3_600, time / 60 % 60, time % 60, micros];
    let mut text = FORM;
    for ((place, digits), mut number) in PLACES.into_iter().zip(numbers) {
        for digit in text[place..place + digits].iter_mut().rev() {
            *digit = b'0' + u8::try_from(number % 10).unwrap_or_default();
            number /= 10;
        }
    }
    out.extend_from_slice(&text);
}

/// Reads a time, in this form or any other of RFC 3339.
pub(super) fn read(text: &str) -> Option<Timestamp> {
    in_form(text).or_else(|| text.parse().ok())
}

/// `None` where it is not in the form, or no time from 1970 on.
fn in_form(text: &str) -> Option<Timestamp> {
    let text: &[u8; 27] = text.as_bytes().try_into().ok()?;
    let mut numbers = [0; 7];
    let mut end = 0;
    for (number, (place, digits)) in numbers.iter_mut().zip(PLACES) {
        if text[end..place] != FORM[end..place] {
            return None;
        }
        end = place + digits;
        for digit in &text[place..end] {
            *number = *number * 10 + i64::from(digit.checked_sub(b'0').filter(|digit| *digit < 10)?);
        }
    }
    let [year, month, day, hour, minute, second, micros] = numbers;
    let days = days(year, month, day);
    let is_date = year >= 1970 && date(days) == [year, month, day];
    let is_time = text[end] == b'Z' && hour < 24 && minute < 60 && second < 60;
    let seconds = days * SECONDS_A_DAY + hour * 3_600 + minute * 60 + second;
    (is_date && is_time).then(|| Timestamp::from_microsecond(seconds * 1_000_000 + micros).ok()).flatten()
}

/// Days in 400 years, after which the calendar begins anew, and the days from the 1st of March of year 0 to 1970.
const ERA: i64 = 146_097;
const TO_1970: i64 = 719_468;

/// Year, month and day of the so-manieth day after 1970-01-01. Counts years from March on, so that the day that not every
/// year has is the last of its year.
fn date(days: i64) -> [i64; 3] {
    let days = days + TO_1970;
    let (era, day) = (days.div_euclid(ERA), days.rem_euclid(ERA));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let is_next_year = month >= 10;
    let shown = if is_next_year { month - 9 } else { month + 3 };
    [era * 400 + year + i64::from(is_next_year), shown, day - (153 * month + 2) / 5 + 1]
}

/// The reverse of [`date`], for a date that there is.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, year) = (year.div_euclid(400), year.rem_euclid(400));
    let month = (month + 9) % 12;
    let day = (153 * month + 2) / 5 + day - 1;
    era * ERA + year * 365 + year / 4 - year / 100 + day - TO_1970
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(at: Timestamp) -> String {
        let mut out = Vec::new();
        write(&mut out, at);
        String::from_utf8(out).expect("text")
    }

    proptest! {
        #[test]
        fn times_are_written_as_the_date_library_writes_them(
            nanos in Timestamp::MIN.as_nanosecond()..=Timestamp::MAX.as_nanosecond(),
            near in -10_000_000_000_i128..10_000_000_000,
        ) {
            for nanos in [nanos, near] {
                let at = Timestamp::from_nanosecond(nanos).expect("a time");
                prop_assert_eq!(written(at), format!("{at:.6}"));
            }
        }

        #[test]
        fn every_time_is_read_again(micros in 0..=Timestamp::MAX.as_microsecond()) {
            let at = Timestamp::from_microsecond(micros).expect("a time");
            prop_assert_eq!(in_form(&written(at)), Some(at));
        }

        #[test]
        fn what_is_read_is_what_the_date_library_reads(
            numbers in (0..10_000, 0..14, 0..33, 0..26, 0..62, 0..62, 0..1_000_000),
            end in prop::sample::select(vec!["Z", "z", "+", ""]),
        ) {
            let (year, month, day, hour, minute, second, micros) = numbers;
            let text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}{end}");
            if let Some(at) = in_form(&text) {
                prop_assert_eq!(text.parse::<Timestamp>().ok(), Some(at), "{}", text);
            }
            prop_assert_eq!(read(&text), text.parse::<Timestamp>().ok(), "{}", text);
        }
    }

    #[test]
    fn days_that_not_every_year_has_are_read_where_they_are() {
        for (text, is_one) in [
            ("2000-02-29T00:00:00.000000Z", true),
            ("2024-02-29T23:59:59.999999Z", true),
            ("2100-02-29T00:00:00.000000Z", false),
            ("2023-02-29T00:00:00.000000Z", false),
            ("2023-04-31T00:00:00.000000Z", false),
            ("1970-01-01T00:00:00.000000Z", true),
        ] {
            assert_eq!(in_form(text).is_some(), is_one, "{text}");
        }
    }
}
