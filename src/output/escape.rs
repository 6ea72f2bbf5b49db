//! Escapes text from the network: the result is one line without terminal control characters.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Escapes every character that could change the rest of the line on a terminal, as `\n` or `\u{202e}`.
///
/// These are control characters (including line breaks and ESC), bidirectional controls, and zero-width and other
/// invisible format characters.
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
    if is_printable_ascii(text) || !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => safe.push_str("\\n"),
            '\r' => safe.push_str("\\r"),
            '\t' => safe.push_str("\\t"),
            c if is_unsafe(c) => write!(safe, "\\u{{{:x}}}", u32::from(c)).expect("writing to a String never fails"),
            c => safe.push(c),
        }
    }
    Cow::Owned(safe)
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

    proptest! {
        #[test]
        fn the_result_contains_no_unsafe_character(text in any::<String>()) {
            prop_assert!(!escaped(&text).chars().any(is_unsafe));
        }
    }
}
