//! Shortens the endpoints and the last cell of a line to a width, without losing what distinguishes them.

use std::borrow::Cow;

use crate::output::width::{shortened, width, width_up_to};

/// The endpoints of a line: one name, or two with an arrow between them. The names are escaped.
pub(super) struct Names<'a> {
    pub(super) first: Cow<'a, str>,
    /// The arrow and the second name.
    pub(super) second: Option<(&'static str, Cow<'a, str>)>,
}

impl Names<'_> {
    /// Returns the width, or a number above `limit` if it is more.
    pub(super) fn width_up_to(&self, limit: usize) -> usize {
        let second = self.second.as_ref().map_or(0, |(arrow, name)| width(arrow) + width_up_to(limit, name));
        width_up_to(limit, &self.first) + second
    }

    /// Returns the names in a text of at most `room` cells. Two long names share it equally.
    pub(super) fn fit(&self, room: usize) -> String {
        let Some((arrow, second)) = &self.second else { return shortened(&self.first, room).into_owned() };
        let room = room.saturating_sub(width(arrow));
        let (half, rest) = (room / 2, room - room / 2);
        let (first_width, second_width) = (width_up_to(room, &self.first), width_up_to(room, second));
        let first_room = if second_width <= rest { room - second_width } else { first_width.min(half) };
        let first = shortened(&self.first, first_room);
        let second = shortened(second, room - width(&first));
        format!("{first}{arrow}{second}")
    }
}

/// The last cell of a line: a text, and an end that is not shortened if possible. Both are escaped.
#[derive(Default)]
pub(super) struct Ending<'a> {
    pub(super) text: Cow<'a, str>,
    /// The ID and marks.
    pub(super) end: String,
}

impl Ending<'_> {
    /// Returns the width, or a number above `limit` if it is more.
    pub(super) fn width_up_to(&self, limit: usize) -> usize {
        width_up_to(limit, &self.text) + width_up_to(limit, &self.end)
    }

    /// Returns a text of at most `room` cells.
    pub(super) fn fit(&self, room: usize) -> String {
        let Self { text, end } = self;
        match room.checked_sub(width_up_to(room, end)) {
            Some(text_room) => format!("{}{end}", shortened(text, text_room)),
            None => shortened(&format!("{text}{end}"), room).into_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_long_names_share_the_room() {
        for (first, second, room, shown) in [
            ("iggy_pop", "david_bowie", 20, "iggy_pop→david_bowie"),
            ("iggy_pop", "david_bowie", 16, "igg…pop→davi…wie"),
            ("iggy_pop", "björk", 12, "igg…op→björk"),
            ("björk", "iggy_pop", 12, "björk→igg…op"),
            ("a", "a very long endpoint ID", 10, "a→a ve… ID"),
            ("日本語", "日本語", 10, "日…→日本語"),
            ("a", "b", 2, "→b"),
        ] {
            let names = Names { first: first.into(), second: Some(("→", second.into())) };
            let fit = names.fit(room);
            assert!(width(&fit) <= room, "{fit}");
            assert_eq!(fit, shown, "in {room}");
        }
    }

    #[test]
    fn the_end_of_an_ending_is_kept() {
        for (text, end, room, shown) in [
            ("no answer", ", 6a1f9f3e", 19, "no answer, 6a1f9f3e"),
            ("media negotiation failed", ", 6a1f9f3e", 20, "media…iled, 6a1f9f3e"),
            ("no answer", " 6a1f", 11, "no …er 6a1f"),
            ("", "6a1f9f3e", 6, "6a1…3e"),
            ("no answer", ", 6a1f9f3e", 12, "n…, 6a1f9f3e"),
            ("no answer", ", 6a1f9f3e", 9, "no a…9f3e"),
        ] {
            let fit = Ending { text: text.into(), end: end.to_owned() }.fit(room);
            assert!(width(&fit) <= room, "{fit}");
            assert_eq!(fit, shown, "in {room}");
        }
    }
}
