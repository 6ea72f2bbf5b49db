//! Text from the network, made safe to show: one line, and nothing that a terminal would obey.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The text with every character escaped that could move the cursor, hide, reorder or restyle what stands beside it:
/// control characters (so also line breaks and ESC), bidirectional controls, zero-width and other invisible format
/// characters. They are shown as in Rust and JSON: `\n`, `\u{202e}`.
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
    if is_plain(text) || !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => safe.push_str("\\n"),
            '\r' => safe.push_str("\\r"),
            '\t' => safe.push_str("\\t"),
            c if is_unsafe(c) => write!(safe, "\\u{{{:x}}}", u32::from(c)).expect("a String takes all"),
            c => safe.push(c),
        }
    }
    Cow::Owned(safe)
}

/// Whether a text is of printable ASCII alone: as safe as can be, and as many terminal cells wide as bytes.
pub(crate) fn is_plain(text: &str) -> bool {
    // Without an early end, so that many bytes are looked at together.
    text.bytes().fold(true, |plain, byte| plain & (b' '..0x7f).contains(&byte))
}

/// Whether a character must not reach a terminal. Beside the control characters (Unicode category Cc) these are the
/// format characters (Cf), the separators of lines and paragraphs, the fillers and the variation selectors that show
/// nothing, and what is not assigned for interchange.
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
    fn plain_text_of_any_script_stays() {
        for text in ["iggy_pop", "Danko Jones", "sip:dankojones@xyz.com", "é ü 𝄞 日本語 עברית", "a\\nb \"q\"", ""]
        {
            assert_eq!(escaped(text), text);
        }
    }

    #[test]
    fn what_a_terminal_would_obey_is_shown() {
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
        fn the_result_holds_nothing_unsafe(text in any::<String>()) {
            prop_assert!(!escaped(&text).chars().any(is_unsafe));
        }
    }
}
