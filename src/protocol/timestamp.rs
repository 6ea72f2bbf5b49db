//! The timestamp format of JSON lines: RFC 3339 in UTC with microseconds, `2026-11-23T03:34:12.798558Z`.
//!
//! Every message needs one, so this code writes and reads the format directly, ten times as fast as the date library. All
//! other formats and times before 1970 go to the date library.

use std::io::{self, Write};

use jiff::Timestamp;

const TEMPLATE: [u8; 27] = *b"0000-00-00T00:00:00.000000Z";

const SECONDS_PER_DAY: i64 = 86_400;

/// Offset and number of digits of year, month, day, hour, minute, second and microsecond.
const DIGITS: [(usize, usize); 7] = [(0, 4), (5, 2), (8, 2), (11, 2), (14, 2), (17, 2), (20, 6)];

/// Appends a time, truncated to microseconds.
pub(super) fn write(out: &mut impl Write, at: Timestamp) -> io::Result<()> {
    if at < Timestamp::UNIX_EPOCH {
        return write!(out, "{at:.6}");
    }
    let (seconds, micros) = (at.as_second(), i64::from(at.subsec_microsecond()));
    let [year, month, day] = date(seconds / SECONDS_PER_DAY);
    let time = seconds % SECONDS_PER_DAY;
    let numbers = [year, month, day, time / 3_600, time / 60 % 60, time % 60, micros];
    let mut text = TEMPLATE;
    for ((offset, digits), mut number) in DIGITS.into_iter().zip(numbers) {
        for digit in text[offset..offset + digits].iter_mut().rev() {
            *digit = b'0' + u8::try_from(number % 10).unwrap_or_default();
            number /= 10;
        }
    }
    out.write_all(&text)
}

/// Reads a time in any RFC 3339 format.
pub(super) fn read(text: &str) -> Option<Timestamp> {
    read_fixed(text).or_else(|| text.parse().ok())
}

/// Reads a time from 1970 on in exactly the format that [`write()`] writes, else `None`.
fn read_fixed(text: &str) -> Option<Timestamp> {
    let text: &[u8; 27] = text.as_bytes().try_into().ok()?;
    let mut numbers = [0; 7];
    let mut end = 0;
    for (number, (offset, digits)) in numbers.iter_mut().zip(DIGITS) {
        if text[end..offset] != TEMPLATE[end..offset] {
            return None;
        }
        end = offset + digits;
        for digit in &text[offset..end] {
            *number = *number * 10 + i64::from(digit.checked_sub(b'0').filter(|digit| *digit < 10)?);
        }
    }
    let [year, month, day, hour, minute, second, micros] = numbers;
    let days = days(year, month, day);
    let is_date = year >= 1970 && date(days) == [year, month, day];
    let is_time = text[end] == b'Z' && hour < 24 && minute < 60 && second < 60;
    let seconds = days * SECONDS_PER_DAY + hour * 3_600 + minute * 60 + second;
    (is_date && is_time).then(|| Timestamp::from_microsecond(seconds * 1_000_000 + micros).ok()).flatten()
}

/// Reads a local time such as `2026-11-23 04:34:12.798`, as servers write it: the microseconds since 1970 by the local clock.
///
/// The separator of date and time can also be `T`. The fraction can have up to nine digits, or be missing.
pub(super) fn read_local(text: &str) -> Option<i64> {
    const SECONDS_LEN: usize = "2026-11-23 04:34:12".len();
    let (time, fraction) = text.as_bytes().split_at_checked(SECONDS_LEN)?;
    let mut numbers = [0; 6];
    let mut end = 0;
    for (number, (offset, digits)) in numbers.iter_mut().zip(DIGITS) {
        let is_separator = |at: usize| time[at] == TEMPLATE[at] || (TEMPLATE[at] == b'T' && time[at] == b' ');
        if !(end..offset).all(is_separator) {
            return None;
        }
        end = offset + digits;
        for digit in &time[offset..end] {
            *number = *number * 10 + i64::from(digit.checked_sub(b'0').filter(|digit| *digit < 10)?);
        }
    }
    let [year, month, day, hour, minute, second] = numbers;
    let micros = match fraction {
        [] => 0,
        [b'.', digits @ ..] if (1..=9).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit) => {
            (0..6).fold(0, |micros, at| micros * 10 + i64::from(digits.get(at).unwrap_or(&b'0') - b'0'))
        }
        _ => return None,
    };
    let is_leap_year = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last_day = match month {
        2 => 28 + i64::from(is_leap_year),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let is_date = (1..=12).contains(&month) && (1..=last_day).contains(&day);
    let is_valid = is_date && hour < 24 && minute < 60 && second < 60;
    let seconds = days(year, month, day) * SECONDS_PER_DAY + hour * 3_600 + minute * 60 + second;
    is_valid.then_some(seconds * 1_000_000 + micros)
}

/// Days in 400 years, the period of the calendar.
const DAYS_PER_ERA: i64 = 146_097;

/// Days from March 1 of year 0 to 1970-01-01.
const DAYS_TO_1970: i64 = 719_468;

/// Returns year, month and day of the n-th day after 1970-01-01 (zero-based).
///
/// Years count from March here, so that a leap day is the last day of its year.
fn date(days: i64) -> [i64; 3] {
    let days = days + DAYS_TO_1970;
    let (era, day) = (days.div_euclid(DAYS_PER_ERA), days.rem_euclid(DAYS_PER_ERA));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let is_next_year = month >= 10;
    let calendar_month = if is_next_year { month - 9 } else { month + 3 };
    [era * 400 + year + i64::from(is_next_year), calendar_month, day - (153 * month + 2) / 5 + 1]
}

/// Returns the days from 1970-01-01 to a valid date; the inverse of [`date`].
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, year) = (year.div_euclid(400), year.rem_euclid(400));
    let month = (month + 9) % 12;
    let day = (153 * month + 2) / 5 + day - 1;
    era * DAYS_PER_ERA + year * 365 + year / 4 - year / 100 + day - DAYS_TO_1970
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(at: Timestamp) -> String {
        let mut out = Vec::new();
        write(&mut out, at).expect("a Vec takes everything");
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
        fn every_written_time_is_read_back(micros in 0..=Timestamp::MAX.as_microsecond()) {
            let at = Timestamp::from_microsecond(micros).expect("a time");
            prop_assert_eq!(read_fixed(&written(at)), Some(at));
        }

        #[test]
        fn times_are_read_as_the_date_library_reads_them(
            numbers in (0..10_000, 0..14, 0..33, 0..26, 0..62, 0..62, 0..1_000_000),
            end in prop::sample::select(vec!["Z", "z", "+", ""]),
        ) {
            let (year, month, day, hour, minute, second, micros) = numbers;
            let text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}{end}");
            if let Some(at) = read_fixed(&text) {
                prop_assert_eq!(text.parse::<Timestamp>().ok(), Some(at), "{}", text);
            }
            prop_assert_eq!(read(&text), text.parse::<Timestamp>().ok(), "{}", text);
        }
    }

    proptest! {
        #[test]
        fn local_times_are_read_as_the_date_library_reads_them(
            numbers in (0..10_000, 0..14, 0..33, 0..26, 0..62, 0..60),
            separator in prop::sample::select(vec![" ", "T", "t", "-"]),
            fraction in prop::sample::select(vec!["", ".7", ".735", ".000001", ".1234567", ".", ".12345678901", "Z", " "]),
        ) {
            let (year, month, day, hour, minute, second) = numbers;
            let text = format!("{year:04}-{month:02}-{day:02}{separator}{hour:02}:{minute:02}:{second:02}{fraction}");
            if let Some(micros) = read_local(&text) {
                let expected: jiff::civil::DateTime = text.parse().expect(&text);
                let since_1970 = expected.duration_since(jiff::civil::date(1970, 1, 1).at(0, 0, 0, 0));
                prop_assert_eq!(i128::from(micros), since_1970.as_nanos().div_euclid(1_000), "{}", text);
            }
            let is_usual = (1..=12).contains(&month) && (1..=28).contains(&day) && hour < 24 && minute < 60;
            let is_read = is_usual && [" ", "T"].contains(&separator) && fraction.len() <= 8 && fraction.len() != 1;
            prop_assert_eq!(read_local(&text).is_some() || !is_read, true, "{}", text);
        }
    }

    #[test]
    fn leap_days_are_valid_in_leap_years_only() {
        for (text, is_valid) in [
            ("2000-02-29T00:00:00.000000Z", true),
            ("2024-02-29T23:59:59.999999Z", true),
            ("2100-02-29T00:00:00.000000Z", false),
            ("2023-02-29T00:00:00.000000Z", false),
            ("2023-04-31T00:00:00.000000Z", false),
            ("1970-01-01T00:00:00.000000Z", true),
        ] {
            assert_eq!(read_fixed(text).is_some(), is_valid, "{text}");
        }
    }
}
