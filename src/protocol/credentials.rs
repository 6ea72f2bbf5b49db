//! User names and passwords in URLs, such as those of TURN servers in `iceURL`.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::LazyLock;

use super::text_pattern::TextPattern;

/// The parts of a text that are credentials, in groups:
///
/// - `turn:USER:PASSWORD@HOST` and `scheme://USER:PASSWORD@HOST`
/// - `turn:HOST:PORT:credential:PASSWORD`, as servers of the protocol write it
/// - `?username=USER&password=PASSWORD`
/// - `"username":"USER","credential":"PASSWORD"`
const PATTERN: &str = r#"(?xi)
    \b(?: (?:turn|stun)s?: (?://)? | [a-z][a-z0-9+.-]*:// ) ([^\s/?\#,;"']+) @
  | :(?:username|credential|password): ([^\s:,;"']+)
  | [?&;](?:user|username|credential|password|token|secret) = ([^\s&\#,;"']+)
  | "(?:username|credential|password)" \s* : \s* "((?:[^"\\]|\\.)*)"
"#;

static CREDENTIALS: LazyLock<TextPattern> = LazyLock::new(|| PATTERN.parse().expect("a valid pattern"));

/// Replaces credentials in texts for people.
const MASK: &str = "***";

/// Returns a text with `***` in place of each user name and password.
#[must_use]
pub fn masked(text: &str) -> Cow<'_, str> {
    let credentials = credentials(text);
    if credentials.is_empty() {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut end = 0;
    for range in credentials {
        out.push_str(&text[end..range.start]);
        out.push_str(MASK);
        end = range.end;
    }
    out.push_str(&text[end..]);
    Cow::Owned(out)
}

/// Returns the positions of all credentials in a text. User name and password are separate.
pub(super) fn credentials(text: &str) -> Vec<Range<usize>> {
    // Groups are allocated even if there is no match.
    if memchr::memchr3(b'@', b'=', b':', text.as_bytes()).is_none() || !CREDENTIALS.is_match(text) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (_, part) in CREDENTIALS.matches(text).into_iter().filter_map(|it| it.group) {
        match text[part.clone()].find(':') {
            Some(user_len) => {
                let middle = part.start + user_len;
                found.extend([part.start..middle, middle + 1..part.end]);
            }
            None => found.push(part),
        }
    }
    found.retain(|range| !range.is_empty());
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_names_and_passwords_are_found() {
        for (text, expected) in [
            ("stun:stun.example:3478", &[][..]),
            ("sip:dankojones@xyz.com", &[]),
            ("mail me@example.com: soon = now", &[]),
            ("turn:me@turn.example:3478", &["me"]),
            ("stun:a:1,turn:me@turn.example:3478:credential:p-w!,stun:b:2", &["me", "p-w!"]),
            ("TURNS:me:p@ss:w@turn.example", &["me", "p@ss:w"]),
            ("turn:h:3478?transport=udp&username=1234:me&credential=pw", &["1234", "me", "pw"]),
            ("cannot connect to mqtts://me:pw@broker:8883/x, wss://you@h", &["me", "pw", "you"]),
            ("http://h/path@x", &[]),
            (r#"[{"urls":"turn:h","username":"me", "credential" : "p\"w"}]"#, &["me", r#"p\"w"#]),
        ] {
            let found: Vec<&str> = credentials(text).into_iter().map(|range| &text[range]).collect();
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn credentials_are_masked_and_the_rest_is_kept() {
        for (text, expected) in [
            ("iggy_pop, /rtcomm/1", "iggy_pop, /rtcomm/1"),
            ("sip:dankojones@xyz.com", "sip:dankojones@xyz.com"),
            (
                "stun:a:1,turns:me:p-w@turn.example:5349?transport=tcp",
                "stun:a:1,turns:***:***@turn.example:5349?transport=tcp",
            ),
            (r#"{"iceURL":"turn:h:1:credential:p-w"}"#, r#"{"iceURL":"turn:h:1:credential:***"}"#),
        ] {
            assert_eq!(masked(text), expected);
        }
    }
}
