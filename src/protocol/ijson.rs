//! Checks that every JSON parser can read a text.
//!
//! Payloads come from any client. If one of them were written as it is, a parser with limits would stop at its line, and
//! would not see the lines after it.

use memchr::{memchr, memchr2, memchr2_iter};

/// Maximum nesting of a payload. .NET reads 64 levels, serde_json 127 and jq 1.6 255; a line adds one level.
const MAX_DEPTH: usize = 60;

/// Returns whether every parser can read a payload: it has no lone surrogate [RFC 7493, 2.1] and is not nested deeply.
///
/// `json` must be valid JSON.
pub(super) fn is_readable_payload(json: &str) -> bool {
    is_readable(json.as_bytes(), MAX_DEPTH)
}

/// Returns whether every parser can read a recorded line. See [`is_readable_payload`].
pub(super) fn is_readable_line(json: &str) -> bool {
    is_readable(json.as_bytes(), MAX_DEPTH + 1)
}

fn is_readable(json: &[u8], max_depth: usize) -> bool {
    // Most payloads have no escapes and few brackets.
    let is_simple = memchr(b'\\', json).is_none() && memchr2_iter(b'{', b'[', json).count() <= max_depth;
    is_simple || is_readable_in_full(json, max_depth)
}

fn is_readable_in_full(json: &[u8], max_depth: usize) -> bool {
    let mut depth = 0;
    let mut at = 0;
    while let Some(byte) = json.get(at) {
        at += 1;
        match byte {
            b'{' | b'[' if depth == max_depth => return false,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => match string_len(&json[at..]) {
                Some(length) => at += length,
                None => return false,
            },
            _ => {}
        }
    }
    true
}

/// Returns the length of a string after its opening quote, or `None` if it contains a lone surrogate.
fn string_len(json: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(length) = memchr2(b'"', b'\\', &json[at..]) {
        at += length + 1;
        if json[at - 1] == b'"' {
            return Some(at);
        }
        // The length of the escape without its backslash.
        at += match &json[at..] {
            [b'u', digits @ ..] => match surrogate(digits) {
                None => 5,
                Some(Surrogate::High) if is_low_escape(&digits[4..]) => 11,
                Some(Surrogate::High | Surrogate::Low) => return None,
            },
            _ => 1,
        };
    }
    Some(json.len())
}

fn is_low_escape(json: &[u8]) -> bool {
    json.strip_prefix(br"\u").is_some_and(|digits| surrogate(digits) == Some(Surrogate::Low))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Surrogate {
    High,
    Low,
}

/// Returns which half of a surrogate pair four hexadecimal digits stand for, if any.
fn surrogate(digits: &[u8]) -> Option<Surrogate> {
    match digits.get(..4)? {
        [b'd' | b'D', b'8' | b'9' | b'a' | b'b' | b'A' | b'B', _, _] => Some(Surrogate::High),
        [b'd' | b'D', b'c'..=b'f' | b'C'..=b'F', _, _] => Some(Surrogate::Low),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_lone_surrogate_is_not_readable() {
        for (string, is_readable) in [
            (r"\ud83d\ude00", true),
            (r"a\uD83D\uDE00b\n\\ud83d\/", true),
            (r"\\\\ud83d \u00e9 \u0000", true),
            (r"\ud83d", false),
            (r"\ud83d\n", false),
            (r"\ud83dx\ude00", false),
            (r"\ud83d\ud83d\ude00", false),
            (r"\ude00", false),
            (r"\ude00\ud83d", false),
            (r"\\\ud83d", false),
            (r"\uDBFF", false),
            (r"\uDFFF", false),
            (r"\ud7ff\ue000", true),
        ] {
            for json in
                [format!("\"{string}\""), format!(r#"{{"{string}":1}}"#), format!(r#"[{{"a":["{string}"]}}, 1]"#)]
            {
                assert_eq!(is_readable_payload(&json), is_readable, "{json}");
            }
        }
    }

    #[test]
    fn deep_nesting_is_not_readable() {
        for (open, close) in [("[", "]"), (r#"{"a":"#, "}"), (r#"{"\n":"#, "}")] {
            let nested = |depth| format!("{}1{}", open.repeat(depth), close.repeat(depth));
            assert!(is_readable_payload(&nested(MAX_DEPTH)));
            assert!(!is_readable_payload(&nested(MAX_DEPTH + 1)));
            assert!(is_readable_line(&nested(MAX_DEPTH + 1)));
        }
        let wide = format!("[{}{{}}]", r#"[],{"[":"]"},"#.repeat(1_000));
        assert!(is_readable_payload(&wide));
    }

    proptest! {
        #[test]
        fn a_string_is_readable_if_serde_json_reads_it(
            pieces in prop::collection::vec(
                prop::sample::select(vec![
                    r"\ud83d", r"\ude00", r"\uD83D", r"\\", r"\n", r"\u0041", r#"\""#, "u", "d83d", "é", "[", "}",
                ]),
                0..8,
            ),
        ) {
            let json = format!("\"{}\"", pieces.concat());
            prop_assert_eq!(is_readable_payload(&json), serde_json::from_str::<String>(&json).is_ok(), "{}", json);
        }
    }
}
