//! A quick look at JSON: reads the objects that peers really send, and leaves the rest to the full reader.
//!
//! It knows a part of JSON: strings without escapes, integers, `true`, `false`, `null`, and objects and arrays of these,
//! not too deep. What it reads it reads as the full reader would; of anything else it says nothing, and the full reader
//! decides. On events this takes about half of the full reader's time (`cargo bench --bench core`).

use super::fields::{Field, Fields, Vocabulary};

/// How deep objects and arrays may nest; more is left to the full reader, which does not recurse.
const DEEPEST: u32 = 16;

/// Reads an object into a vocabulary's slots; `None` where it is not one of the known part of JSON.
pub(super) fn object<'a, V: Vocabulary<'a>>(text: &'a str) -> Option<V> {
    let mut object = V::default();
    let mut scanner = Scanner { text, at: 0 };
    scanner.space();
    scanner.object(0, &mut object)?;
    scanner.space();
    (scanner.at == text.len()).then_some(object)
}

/// The vocabulary of an object of which nothing is wanted.
#[derive(Default)]
struct Nothing;

impl<'a> Vocabulary<'a> for Nothing {
    fn slot(&mut self, _key: &str) -> Option<&mut Option<Field<'a>>> {
        None
    }

    fn keeps(_json: &str) -> bool {
        false
    }
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    fn rest(&self) -> &'a [u8] {
        &self.text.as_bytes()[self.at..]
    }

    /// Passes over white space [RFC 8259, 2].
    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.rest().first() {
            self.at += 1;
        }
    }

    /// Passes over one byte that must come next.
    fn expect(&mut self, byte: u8) -> Option<()> {
        (*self.rest().first()? == byte).then(|| self.at += 1)
    }

    fn object<V: Vocabulary<'a>>(&mut self, depth: u32, object: &mut V) -> Option<()> {
        self.expect(b'{')?;
        self.space();
        if self.expect(b'}').is_some() {
            return Some(());
        }
        loop {
            let key = self.string()?;
            self.space();
            self.expect(b':')?;
            self.space();
            let from = self.at;
            match object.inner(key) {
                Some(inner) if self.rest().first() == Some(&b'{') => {
                    let mut fields = Fields::default();
                    self.object(depth + 1, &mut fields)?;
                    *inner = Some(fields);
                }
                Some(inner) => {
                    *inner = None;
                    self.value(depth)?;
                }
                None => self.value(depth)?,
            }
            if let Some(slot) = object.slot(key) {
                let json = &self.text[from..self.at];
                *slot = V::keeps(json).then_some(Field(json));
            }
            self.space();
            if self.expect(b',').is_none() {
                return self.expect(b'}');
            }
            self.space();
        }
    }

    fn array(&mut self, depth: u32) -> Option<()> {
        self.expect(b'[')?;
        self.space();
        if self.expect(b']').is_some() {
            return Some(());
        }
        loop {
            self.value(depth)?;
            self.space();
            if self.expect(b',').is_none() {
                return self.expect(b']');
            }
            self.space();
        }
    }

    fn value(&mut self, depth: u32) -> Option<()> {
        match *self.rest().first()? {
            b'"' => self.string().map(drop),
            b'{' if depth < DEEPEST => self.object(depth + 1, &mut Nothing),
            b'[' if depth < DEEPEST => self.array(depth + 1),
            b't' => self.word("true"),
            b'f' => self.word("false"),
            b'n' => self.word("null"),
            b'-' | b'0'..=b'9' => self.integer(),
            _ => None,
        }
    }

    fn word(&mut self, word: &str) -> Option<()> {
        self.rest().starts_with(word.as_bytes()).then(|| self.at += word.len())
    }

    fn integer(&mut self) -> Option<()> {
        let rest = self.rest();
        let sign = usize::from(rest.first() == Some(&b'-'));
        let digits = rest[sign..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let is_plain = digits > 0 && (digits == 1 || rest[sign] != b'0');
        let goes_on = matches!(rest.get(sign + digits), Some(b'.' | b'e' | b'E'));
        (is_plain && !goes_on).then(|| self.at += sign + digits)
    }

    /// Reads a string without escapes; returns its content.
    fn string(&mut self) -> Option<&'a str> {
        self.expect(b'"')?;
        let from = self.at;
        self.at += plain(self.rest());
        let content = &self.text[from..self.at];
        self.expect(b'"')?;
        Some(content)
    }
}

/// How many bytes come before the first that ends a string, begins an escape, or must be escaped [RFC 8259, 7]. Looks at
/// eight at a time.
pub(super) fn plain(bytes: &[u8]) -> usize {
    const LOW: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    /// Sets the high bit of each zero byte; above the first it may also set others.
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

    /// What the full reader says.
    fn in_full(text: &str) -> Option<Fields<'_>> {
        serde_json::from_str(text).ok()
    }

    #[test]
    fn what_peers_send_is_read() {
        for text in [
            r#"{"method":"RTCOMM_EVENT_FIRED","transID":100,"x":[1,{"y":null}],"reason":null,"method":"last"}"#,
            " { \"reason\" : \"caf\u{e9} \u{1d11e}\" , \"z\" : -0 } \n",
            "{}",
        ] {
            assert_eq!(object::<Fields<'_>>(text), in_full(text), "{text}");
            assert!(in_full(text).is_some());
        }
    }

    #[test]
    fn what_is_not_known_is_left_to_the_full_reader() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(20), "]".repeat(20));
        for text in [r#"{"a":"\n"}"#, r#"{"\u0061":1}"#, r#"{"a":1.5}"#, r#"{"a":1e3}"#, &deep] {
            assert_eq!(object::<Fields<'_>>(text), None, "{text}");
            assert!(in_full(text).is_some(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_the_full_reader_reads(
            pieces in prop::collection::vec(
                prop_oneof![
                    3 => prop::sample::select(vec![
                        "{", "}", "[", "]", ":", ",", "\"", "\\", " ", "\n", "\u{1}", "true", "null", "false", "0", "-1", "12",
                        "01", "1.5", "\"method\"", "\"reason\":\"x\"", "\"a\":", "\"transID\":7,", "{}", "[]", "é", "\u{7f}",
                    ]),
                    1 => Just("{\"method\":\"M\"}"),
                ],
                0..12,
            ),
        ) {
            let inside = pieces.concat();
            for text in [inside.clone(), format!("{{{inside}}}"), format!("{{\"reason\":{inside}}}")] {
                if let Some(fields) = object::<Fields<'_>>(&text) {
                    prop_assert_eq!(Some(fields), in_full(&text), "{}", text);
                }
            }
        }

        #[test]
        fn a_string_ends_where_it_ends(text in "[ -~é\u{0}-\u{1f}]{0,40}") {
            let bytes = text.as_bytes();
            let expected = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)).unwrap_or(bytes.len());
            prop_assert_eq!(plain(bytes), expected);
        }
    }
}
