//! A fast scanner for the JSON objects that peers usually send.
//!
//! It reads a subset of JSON: strings without escapes, integers, `true`, `false`, `null`, and objects and arrays of these
//! up to a fixed depth. What it accepts it reads exactly as serde_json does. On anything else it gives up, and the caller
//! uses serde_json. For events this takes about half the time (`cargo bench --bench core`).

/// Maximum nesting of objects and arrays. Deeper input goes to serde_json, which skips it without recursion.
const MAX_DEPTH: u32 = 16;

/// A member of the scanned object, or of an object that is a direct value of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member<'a> {
    /// The key of the inner object that contains the member, or `None` for a member of the scanned object itself.
    pub(super) parent: Option<&'a str>,
    pub(super) key: &'a str,
    /// The JSON text of the value.
    pub(super) json: &'a str,
}

/// Scans an object, and passes each member to `on_member`. Returns `None` if the text is outside the subset.
///
/// The members of an inner object come directly before the member that has the inner object as its value. If the result
/// is `None`, discard the members passed so far.
pub(super) fn object<'a>(text: &'a str, mut on_member: impl FnMut(Member<'a>)) -> Option<()> {
    let mut scanner = Scanner { text, at: 0 };
    scanner.skip_whitespace();
    scanner.object(0, Level::Root, &mut on_member)?;
    scanner.skip_whitespace();
    (scanner.at == text.len()).then_some(())
}

/// The position of an object relative to the scanned one; decides whether its members are reported.
#[derive(Clone, Copy)]
enum Level<'a> {
    /// The scanned object.
    Root,
    /// The value of this key of the scanned object.
    Inner(&'a str),
    /// Anything below: not reported.
    Deeper,
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    fn rest(&self) -> &'a [u8] {
        &self.text.as_bytes()[self.at..]
    }

    /// Skips JSON whitespace [RFC 8259, 2].
    fn skip_whitespace(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.rest().first() {
            self.at += 1;
        }
    }

    /// Consumes `byte` if it comes next.
    fn expect(&mut self, byte: u8) -> Option<()> {
        (*self.rest().first()? == byte).then(|| self.at += 1)
    }

    fn object(&mut self, depth: u32, level: Level<'a>, on_member: &mut impl FnMut(Member<'a>)) -> Option<()> {
        self.expect(b'{')?;
        self.skip_whitespace();
        if self.expect(b'}').is_some() {
            return Some(());
        }
        loop {
            let key = self.string()?;
            self.skip_whitespace();
            self.expect(b':')?;
            self.skip_whitespace();
            let start = self.at;
            let value_level = if matches!(level, Level::Root) { Level::Inner(key) } else { Level::Deeper };
            self.value(depth, value_level, on_member)?;
            let json = &self.text[start..self.at];
            match level {
                Level::Root => on_member(Member { parent: None, key, json }),
                Level::Inner(parent) => on_member(Member { parent: Some(parent), key, json }),
                Level::Deeper => {}
            }
            self.skip_whitespace();
            if self.expect(b',').is_none() {
                return self.expect(b'}');
            }
            self.skip_whitespace();
        }
    }

    fn array(&mut self, depth: u32, on_member: &mut impl FnMut(Member<'a>)) -> Option<()> {
        self.expect(b'[')?;
        self.skip_whitespace();
        if self.expect(b']').is_some() {
            return Some(());
        }
        loop {
            self.value(depth, Level::Deeper, on_member)?;
            self.skip_whitespace();
            if self.expect(b',').is_none() {
                return self.expect(b']');
            }
            self.skip_whitespace();
        }
    }

    /// Scans a value; `level` applies if it is an object.
    fn value(&mut self, depth: u32, level: Level<'a>, on_member: &mut impl FnMut(Member<'a>)) -> Option<()> {
        match *self.rest().first()? {
            b'"' => self.string().map(drop),
            b'{' if depth < MAX_DEPTH => self.object(depth + 1, level, on_member),
            b'[' if depth < MAX_DEPTH => self.array(depth + 1, on_member),
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            b'n' => self.literal("null"),
            b'-' | b'0'..=b'9' => self.integer(),
            _ => None,
        }
    }

    fn literal(&mut self, literal: &str) -> Option<()> {
        self.rest().starts_with(literal.as_bytes()).then(|| self.at += literal.len())
    }

    fn integer(&mut self) -> Option<()> {
        let rest = self.rest();
        let sign = usize::from(rest.first() == Some(&b'-'));
        let digits = rest[sign..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let is_valid = digits > 0 && (digits == 1 || rest[sign] != b'0');
        let is_fraction = matches!(rest.get(sign + digits), Some(b'.' | b'e' | b'E'));
        (is_valid && !is_fraction).then(|| self.at += sign + digits)
    }

    /// Scans a string without escapes, and returns its content.
    fn string(&mut self) -> Option<&'a str> {
        self.expect(b'"')?;
        let start = self.at;
        self.at += unescaped_len(self.rest());
        let content = &self.text[start..self.at];
        self.expect(b'"')?;
        Some(content)
    }
}

/// Returns the number of bytes before the first quote, backslash or control character.
///
/// These are the bytes that a JSON string must escape [RFC 8259, 7]. The loop tests eight bytes at a time.
pub(super) fn unescaped_len(bytes: &[u8]) -> usize {
    const LOW: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    /// Sets the high bit of each zero byte. Bytes above the first zero byte may be set too.
    const fn zeros(word: u64) -> u64 {
        word.wrapping_sub(LOW) & !word & HIGH
    }
    let mut at = 0;
    while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
        let word = u64::from_le_bytes(*chunk);
        let control = word.wrapping_sub(LOW * 0x20) & !word & HIGH;
        let hits = zeros(word ^ (LOW * 0x22)) | zeros(word ^ (LOW * 0x5c)) | control;
        if hits != 0 {
            return at + (hits.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let rest = bytes[at..].iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
    at + rest.unwrap_or(bytes.len() - at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn members_of_an_inner_object_come_before_the_member_that_contains_them() {
        let text = r#"{"a":1,"b":{"c":{"d":2},"e":[{"f":3}]},"g":[{"h":4}]}"#;
        let mut members = Vec::new();
        object(text, |it| members.push((it.parent, it.key, it.json))).expect("within the subset");
        assert_eq!(
            members,
            [
                (None, "a", "1"),
                (Some("b"), "c", r#"{"d":2}"#),
                (Some("b"), "e", r#"[{"f":3}]"#),
                (None, "b", r#"{"c":{"d":2},"e":[{"f":3}]}"#),
                (None, "g", r#"[{"h":4}]"#),
            ]
        );
    }

    proptest! {
        #[test]
        fn an_unescaped_part_ends_before_the_first_byte_that_must_be_escaped(text in "[ -~é\u{0}-\u{1f}]{0,40}") {
            let bytes = text.as_bytes();
            let expected = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)).unwrap_or(bytes.len());
            prop_assert_eq!(unescaped_len(bytes), expected);
        }
    }
}
