//! The width of text on a terminal, in cells, and text that is shortened to a width.
//!
//! What a user sees as one character is never cut: a letter with its combining marks, an emoji sequence.

use std::borrow::Cow;

use unicode_segmentation::UnicodeSegmentation as _;
use unicode_width::UnicodeWidthStr as _;

const ELLIPSIS: &str = "…";

/// Returns the width of an escaped text.
pub(super) fn width(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.width() }
}

/// Returns the width of an escaped text, or a number above `limit` if it is wider. Reads no more of the text than necessary.
pub(super) fn width_up_to(limit: usize, text: &str) -> usize {
    let mut total = 0;
    for grapheme in text.graphemes(true) {
        total += grapheme.width();
        if total > limit {
            break;
        }
    }
    total
}

/// Replaces the middle of an escaped text by an ellipsis, if it is wider than `max`.
pub(super) fn shortened(text: &str, max: usize) -> Cow<'_, str> {
    if width_up_to(max, text) <= max {
        return text.into();
    }
    let Some(room) = max.checked_sub(1) else { return "".into() };
    let (head, head_width) = fitting(text.graphemes(true), room.div_ceil(2));
    let (tail, _) = fitting(text.graphemes(true).rev(), room - head_width);
    format!("{}{ELLIPSIS}{}", &text[..head], &text[text.len() - tail..]).into()
}

/// Returns the length in bytes and the width of the first graphemes that fit into `room`.
fn fitting<'a>(graphemes: impl Iterator<Item = &'a str>, room: usize) -> (usize, usize) {
    let (mut length, mut used) = (0, 0);
    for grapheme in graphemes {
        let width = grapheme.width();
        if used + width > room {
            break;
        }
        length += grapheme.len();
        used += width;
    }
    (length, used)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_middle_of_a_long_text_is_left_out() {
        for (text, max, shown) in [
            ("david_bowie", 11, "david_bowie"),
            ("david_bowie", 10, "david…owie"),
            ("david_bowie", 3, "d…e"),
            ("david_bowie", 1, "…"),
            ("david_bowie", 0, ""),
            ("日本語日本語", 12, "日本語日本語"),
            ("日本語日本語", 8, "日本…語"),
            ("e\u{301}e\u{301}e\u{301}e\u{301}", 3, "e\u{301}…e\u{301}"),
            // A family is one emoji of two cells.
            ("👩‍👩‍👧‍👦ab👩‍👩‍👧‍👦", 5, "👩‍👩‍👧‍👦…👩‍👩‍👧‍👦"),
            ("❤️❤️❤️", 5, "❤️…❤️"),
        ] {
            assert_eq!(shortened(text, max), shown, "{text} in {max}");
        }
    }

    proptest! {
        #[test]
        fn a_shortened_text_fits(text in "[a-zé日❤️👩‍\u{301} ]{0,40}", max in 1..30_usize) {
            let shown = shortened(&text, max);
            prop_assert!(width(&shown) <= max, "{shown:?}");
            prop_assert_eq!(shown == text, width_up_to(max, &text) <= max);
        }
    }
}
