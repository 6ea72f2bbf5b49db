//! Escapes text from the network: the result is one line without terminal control characters.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::str::Chars;

use unicode_segmentation::UnicodeSegmentation as _;

/// Escapes every character that could change the rest of the line on a terminal, as `\n` or `\u{202e}`.
///
/// These are control characters (including line breaks and ESC), bidirectional controls, and zero-width and other
/// invisible format characters. Those that are part of an emoji are kept.
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
    if is_printable_ascii(text) || !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    let mut before = Before::Text;
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if before.keeps(c, rest.clone()) {
            safe.push(c);
        } else {
            push_escaped(&mut safe, c);
        }
        before = before.then(c);
    }
    Cow::Owned(safe)
}

fn push_escaped(safe: &mut String, c: char) {
    match c {
        '\n' => safe.push_str("\\n"),
        '\r' => safe.push_str("\\r"),
        '\t' => safe.push_str("\\t"),
        c => write!(safe, "\\u{{{:x}}}", u32::from(c)).expect("writing to a String never fails"),
    }
}

/// Shows the preceding character as an emoji.
const EMOJI_SELECTOR: char = '\u{fe0f}';

/// Joins emoji to one, such as a family.
const JOINER: char = '\u{200d}';

/// Completes the emoji of a key, after a digit and a selector.
const KEYCAP: char = '\u{20e3}';

/// What precedes a character.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    /// A digit, `#` or `*`.
    Key,
    /// An emoji, perhaps with the color of its skin.
    Emoji,
    /// An emoji and a selector.
    Selected,
    /// Anything else.
    Text,
}

impl Before {
    /// Returns whether `c` is shown as it is, before the characters of `rest`.
    fn keeps(self, c: char, mut rest: Chars<'_>) -> bool {
        match (c, self) {
            (EMOJI_SELECTOR, Self::Emoji) => true,
            (EMOJI_SELECTOR, Self::Key) => rest.next() == Some(KEYCAP),
            (JOINER, Self::Emoji | Self::Selected) => rest.next().is_some_and(is_emoji),
            (c, _) => !is_unsafe(c),
        }
    }

    /// Returns what precedes the character after `c`.
    fn then(self, c: char) -> Self {
        match c {
            '0'..='9' | '#' | '*' => Self::Key,
            '\u{1f3fb}'..='\u{1f3ff}' if self == Self::Emoji => Self::Emoji,
            EMOJI_SELECTOR if self == Self::Emoji => Self::Selected,
            c if !c.is_ascii() && is_emoji(c) => Self::Emoji,
            _ => Self::Text,
        }
    }
}

/// Returns whether a character is an emoji: Unicode then has a joiner connect it with another one (UAX #29, GB11).
fn is_emoji(c: char) -> bool {
    let mut buffer = [0; 16];
    let joined = [c, JOINER, '\u{1f600}'].into_iter().fold(0, |end, c| end + c.encode_utf8(&mut buffer[end..]).len());
    str::from_utf8(&buffer[..joined]).is_ok_and(|text| text.graphemes(true).count() == 1)
}

/// Returns a text without the characters that [`escaped`] escapes. Line ends and tabs become spaces.
pub(crate) fn without_unsafe(text: &str) -> String {
    let text = text.chars().map(|c| if matches!(c, '\n' | '\r' | '\t') { ' ' } else { c });
    text.filter(|c| !is_unsafe(*c)).collect()
}

/// Returns whether a text is printable ASCII: safe, and as many terminal cells wide as it has bytes.
pub(crate) fn is_printable_ascii(text: &str) -> bool {
    // No early return, so that the compiler can vectorize the loop.
    text.bytes().fold(true, |printable, byte| printable & (b' '..0x7f).contains(&byte))
}

/// Returns whether a character must not reach a terminal.
///
/// These are control characters (Unicode category Cc), format characters (Cf), line and paragraph separators, invisible
/// fillers and variation selectors, and noncharacters.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{8e2}'
            | '\u{600}'..='\u{605}' | '\u{890}'..='\u{891}'
            | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1345f}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn printable_text_of_any_script_is_unchanged() {
        for text in ["iggy_pop", "Danko Jones", "sip:dankojones@xyz.com", "é ü 𝄞 日本語 עברית", "a\\nb \"q\"", ""]
        {
            assert_eq!(escaped(text), text);
        }
    }

    #[test]
    fn control_characters_are_escaped() {
        for (text, shown) in [
            ("a\nb\r\tc", r"a\nb\r\tc"),
            ("\u{1b}[2J\u{7}", r"\u{1b}[2J\u{7}"),
            ("\u{9b}31m\u{7f}\u{0}", r"\u{9b}31m\u{7f}\u{0}"),
            ("a\u{202e}b\u{2066}c", r"a\u{202e}b\u{2066}c"),
            ("x\u{200b}\u{feff}\u{200d}y", r"x\u{200b}\u{feff}\u{200d}y"),
            ("\u{2028}", r"\u{2028}"),
        ] {
            assert_eq!(escaped(text), shown);
        }
    }

    #[test]
    fn invisible_characters_of_emoji_are_kept() {
        for text in ["❤\u{fe0f}", "👩\u{200d}💻", "👩🏽\u{200d}❤\u{fe0f}\u{200d}👩🏻", "1\u{fe0f}\u{20e3}", "©\u{fe0f}"]
        {
            assert_eq!(escaped(text), text);
        }
        for (text, shown) in [
            ("a\u{fe0f}", r"a\u{fe0f}"),
            ("a\u{200d}b", r"a\u{200d}b"),
            ("日\u{fe0f}", r"日\u{fe0f}"),
            ("1\u{fe0f}2", r"1\u{fe0f}2"),
            ("\u{fe0f}❤", r"\u{fe0f}❤"),
            ("❤\u{fe0f}\u{fe0f}", "❤\u{fe0f}\\u{fe0f}"),
            ("❤\u{fe0e}", r"❤\u{fe0e}"),
            ("👩\u{200d}", r"👩\u{200d}"),
            ("👩\u{200d}x", r"👩\u{200d}x"),
            ("👩\u{200d}\u{200d}💻", r"👩\u{200d}\u{200d}💻"),
            ("👩\u{200b}💻\u{202e}", r"👩\u{200b}💻\u{202e}"),
        ] {
            assert_eq!(escaped(text), shown);
        }
    }

    proptest! {
        #[test]
        fn the_result_contains_no_unsafe_character(text in any::<String>()) {
            let is_unsafe = |c| is_unsafe(c) && !matches!(c, EMOJI_SELECTOR | JOINER);
            prop_assert!(!escaped(&text).chars().any(is_unsafe));
        }

        #[test]
        fn escaping_twice_changes_nothing(text in "[a1❤👩💻日\u{fe0f}\u{200d}\u{1f3fd}\u{20e3}\n]{0,12}") {
            let once = escaped(&text);
            prop_assert_eq!(escaped(&once), once.as_ref());
        }
    }
}
