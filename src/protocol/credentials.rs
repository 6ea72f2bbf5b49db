//! User names and passwords in URLs, such as those of TURN servers in `iceURL`.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::LazyLock;

use super::text_pattern::TextPattern;

/// The parts of a text that are credentials, in groups. [`turn_credentials`] finds those of `turn:USER:PASSWORD@HOST`.
///
/// - `scheme://USER:PASSWORD@HOST`
/// - `turn:HOST:PORT:credential:PASSWORD`, as servers of the protocol write it
/// - `?username=USER&password=PASSWORD`
/// - `"username":"USER","credential":"PASSWORD"`
const PATTERN: &str = r#"(?xi)
    \b[a-z][a-z0-9+.-]*:// ([^\s/?\#,;"']+) @
  | :(?:username|credential|password): ([^\s:,;"']+)
  | [?&;](?:user|username|credential|password|token|secret) = ([^\s&\#,;"']+)
  | "(?:username|credential|password)" \s* : \s* "((?:[^"\\]|\\.)*)"
"#;

static CREDENTIALS: LazyLock<TextPattern> = LazyLock::new(|| PATTERN.parse().expect("a valid pattern"));

/// The beginning of a TURN or STUN URL (RFC 7064 and 7065).
static TURN: LazyLock<TextPattern> =
    LazyLock::new(|| r"(?i)\b(?:turn|stun)s?:(?://)?".parse().expect("a valid pattern"));

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

/// Returns the positions of all credentials in a text, first to last. User name and password are separate.
pub(super) fn credentials(text: &str) -> Vec<Range<usize>> {
    // Groups are allocated even if there is no match.
    if memchr::memchr3(b'@', b'=', b':', text.as_bytes()).is_none() {
        return Vec::new();
    }
    let mut found = turn_credentials(text);
    if CREDENTIALS.is_match(text) {
        let groups = CREDENTIALS.matches(text).into_iter().filter_map(|it| it.group.map(|(_, part)| part));
        for part in groups.flat_map(|part| user_and_password(text, part)) {
            if !found.iter().any(|it| it.start < part.end && part.start < it.end) {
                found.push(part);
            }
        }
    }
    found.retain(|range| !range.is_empty());
    found.sort_unstable_by_key(|range| range.start);
    found
}

/// Returns the positions of the credentials in URLs such as `turn:USER:PASSWORD@HOST`.
///
/// Passwords are often base64, so every character can be a part of one. A URL ends before the next one of a list, a space, or
/// a quote.
fn turn_credentials(text: &str) -> Vec<Range<usize>> {
    if memchr::memchr(b'@', text.as_bytes()).is_none() || !TURN.is_match(text) {
        return Vec::new();
    }
    let starts: Vec<Range<usize>> = TURN.matches(text).into_iter().map(|it| it.range).collect();
    let ends = starts.iter().skip(1).map(|next| next.start).chain([text.len()]);
    let mut found = Vec::new();
    for (start, end) in starts.iter().map(|it| it.end).zip(ends) {
        let url = &text[start..end];
        let url = url.split(|c: char| c.is_whitespace() || c == '"').next().unwrap_or_default();
        if let Some(len) = url.rfind('@') {
            found.extend(user_and_password(text, start..start + len));
        }
    }
    found
}

/// Divides credentials at their colon. A user name can begin with the time at which it expires: `1700000000:iggy_pop:PASSWORD`.
fn user_and_password(text: &str, part: Range<usize>) -> Vec<Range<usize>> {
    let credentials = &text[part.clone()];
    let expiry_len = credentials.find(|c: char| !c.is_ascii_digit()).unwrap_or_default();
    let name_start = if credentials[expiry_len..].starts_with(':') { expiry_len + 1 } else { 0 };
    let colon = credentials[name_start..].find(':').map(|at| name_start + at).or_else(|| credentials.find(':'));
    match colon {
        Some(len) => vec![part.start..part.start + len, part.start + len + 1..part.end],
        None => vec![part],
    }
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
            ("turn:1700000000:joe:kQ/8f+Z?x,#0aB=@turn.example:3478,stun:b:2", &["1700000000:joe", "kQ/8f+Z?x,#0aB="]),
            ("turn:1234:pw@h", &["1234", "pw"]),
            (r#"{"a":"turn:joe:s3/cret@h","b":"you@h"}"#, &["joe", "s3/cret"]),
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
