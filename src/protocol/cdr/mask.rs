//! Makes reasons comparable: UUIDs, dates and numbers, which differ from call to call, become placeholders.

use std::borrow::Cow;

use crate::protocol::text_pattern::{TextMatch, TextPattern};

/// The parts of a reason that are masked: one group each for UUIDs, dates and numbers.
///
/// Dates are RFC 3339 and similar formats, those of JavaScript, Java, C and mail headers, and a time of day alone. A number
/// can be followed by a unit, but is not a part of a name such as `agent7`. `{month}` stands for [`MONTH`].
const PATTERN: &str = r"(?x)
    ( [[:xdigit:]]{8} (?:-[[:xdigit:]]{4}){3} -[[:xdigit:]]{12} | \b[[:xdigit:]]{32}\b )
  | \b( \d{4}-\d\d-\d\d (?: [Tt\x20] \d\d:\d\d (?: :\d\d (?:[.,]\d+)? )? (?: \x20?[+-]\d\d:?\d\d | [Zz] )? )?
      | (?: (?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) ,?\x20 )?
        (?: {month} \x20{1,2} \d\d? | \d\d? \x20 {month} )
        (?: ,?\x20 \d{4} )?
        (?: ,?\x20 \d\d?:\d\d(?::\d\d)? (?:\x20[AP]M)? (?: \x20 [A-Z]{2,5} (?:[+-]\d\d:?\d\d)? (?:\x20 \([^)]*\))? )? (?:\x20 \d{4})? )?
      | \d\d?[/.]\d\d?[/.]\d{4} (?: ,?\x20 \d\d?:\d\d(?::\d\d)? (?:\x20[AP]M)? )?
      | \d\d?:\d\d (?: :\d\d (?:[.,]\d+)? )? (?:\x20[AP]M\b)?
    )
  | \b( 0x[[:xdigit:]]+ | \d+ (?: [.,dhm]\d+ )* )";

/// The name of a month.
const MONTH: &str = "(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sep(?:t(?:ember)?)?\
                     |Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)";

/// Replaces the parts of reasons that differ from call to call.
#[derive(Debug)]
pub(super) struct ReasonMask {
    pattern: TextPattern,
}

impl ReasonMask {
    pub(super) fn new() -> Self {
        Self { pattern: PATTERN.replace("{month}", MONTH).parse().expect("a valid pattern") }
    }

    /// Returns a reason with placeholders.
    pub(super) fn mask<'a>(&self, reason: &'a str) -> Cow<'a, str> {
        if !reason.bytes().any(|byte| byte.is_ascii_digit()) {
            return Cow::Borrowed(reason);
        }
        let mut masked = String::with_capacity(reason.len());
        let mut end = 0;
        for TextMatch { range, group } in self.pattern.matches(reason) {
            masked.push_str(&reason[end..range.start]);
            masked.push_str(match group {
                Some((1, _)) => "<uuid>",
                Some((2, _)) => "<date>",
                _ => "<number>",
            });
            end = range.end;
        }
        masked.push_str(&reason[end..]);
        Cow::Owned(masked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_dates_and_numbers_are_masked() {
        let mask = ReasonMask::new();
        for (reason, masked) in [
            ("Busy", "Busy"),
            ("", ""),
            ("not-found", "not-found"),
            (
                "request Timed out [6a1f9f3e-2d0b-4c35-8a53-0d9d5b1f5f10] after 5000: Fri Aug 01 2014 17:32:07 GMT+0200 (CEST)",
                "request Timed out [<uuid>] after <number>: <date>",
            ),
            ("session_6a1f9f3e-2d0b-4c35-8a53-0d9d5b1f5f10x", "session_<uuid>x"),
            ("id 6A1F9F3E2D0B4C358A530D9D5B1F5F10", "id <uuid>"),
            ("at 2014-08-01 17:32:07.735", "at <date>"),
            ("at 2014-08-01T17:32:07Z, 2014-08-01T17:32:07.1+02:00.", "at <date>, <date>."),
            ("on 2014-08-01", "on <date>"),
            ("Fri, 01 Aug 2014 17:32:07 GMT", "<date>"),
            ("Fri Aug 01 17:32:07 CEST 2014", "<date>"),
            ("Aug 1, 2014, 5:32:07 PM", "<date>"),
            ("Mon Jan  5 10:00:00 2026", "<date>"),
            ("on August 1, 2014", "on <date>"),
            ("8/1/2014, 5:32:07 PM and 01.08.2014", "<date> and <date>"),
            ("since 17:32", "since <date>"),
            ("SIP 486: Busy", "SIP <number>: Busy"),
            ("waited 1.5 s, 5000ms, 1,000 times", "waited <number> s, <number>ms, <number> times"),
            ("after 1h30m5s", "after <number>s"),
            ("code 0x1F", "code <number>"),
            ("agent7 at line_3 of v1", "agent7 at line_3 of v1"),
            ("May fail, Sunday", "May fail, Sunday"),
            ("10.0.0.7:5060 é7", "<number>:<number> é7"),
        ] {
            assert_eq!(mask.mask(reason), masked);
        }
    }
}
