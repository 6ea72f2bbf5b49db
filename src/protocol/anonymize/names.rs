//! The names that were seen, and their pseudonyms.

use std::borrow::Cow;
use std::collections::HashMap;

/// The kind of a name. It is part of the pseudonym.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NameKind {
    /// An endpoint's ID.
    Endpoint,
    /// A display name.
    Alias,
    /// The last level of the topic where an endpoint listens.
    Address,
    /// A user name, password or token.
    Secret,
}

impl NameKind {
    /// Number of kinds.
    const COUNT: usize = 4;

    fn as_str(self) -> &'static str {
        match self {
            Self::Endpoint => "endpoint",
            Self::Alias => "alias",
            Self::Address => "address",
            Self::Secret => "secret",
        }
    }
}

/// The names that are known at a point of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Snapshot(usize);

/// All names, each with its pseudonym.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// The index of each name in `pseudonyms`.
    indexes: HashMap<String, usize>,
    pseudonyms: Vec<String>,
    /// Number of names of each kind.
    counts: [usize; NameKind::COUNT],
    /// The names that contain a word, by their first word. The longest name comes first.
    by_word: HashMap<String, Vec<WordedName>>,
}

/// A name that can be found in a text.
#[derive(Debug)]
struct WordedName {
    name: String,
    /// Number of bytes before its first word.
    prefix_len: usize,
    index: usize,
}

impl Names {
    /// Returns the names that are known now.
    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot(self.pseudonyms.len())
    }

    /// Adds a name if it is not known, and returns its pseudonym. The empty name has none.
    pub(super) fn add(&mut self, name: &str, kind: NameKind) -> &str {
        if name.is_empty() {
            return "";
        }
        let index = match self.indexes.get(name) {
            Some(index) => *index,
            None => self.insert(name, kind),
        };
        &self.pseudonyms[index]
    }

    fn insert(&mut self, name: &str, kind: NameKind) -> usize {
        let index = self.pseudonyms.len();
        let count = &mut self.counts[kind as usize];
        *count += 1;
        self.pseudonyms.push(format!("{}-{count}", kind.as_str()));
        self.indexes.insert(name.to_owned(), index);
        if let Some((prefix_len, word)) = words(name).next() {
            let names = self.by_word.entry(word.to_owned()).or_default();
            let at = names.partition_point(|it| it.name.len() >= name.len());
            names.insert(at, WordedName { name: name.to_owned(), prefix_len, index });
        }
        index
    }

    /// Returns the pseudonym of a known name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.indexes.get(name).map(|index| self.pseudonyms[*index].as_str())
    }

    /// Returns the pseudonym of a name of a snapshot.
    pub(super) fn get_known(&self, name: &str, known: Snapshot) -> Option<&str> {
        self.indexes.get(name).filter(|index| **index < known.0).map(|index| self.pseudonyms[*index].as_str())
    }

    /// Replaces the names of a snapshot that occur as whole words. Of several at one place, the longest counts.
    pub(super) fn replace<'a>(&self, text: &'a str, known: Snapshot) -> Cow<'a, str> {
        let mut replaced = String::new();
        let mut end = 0;
        for (at, word) in words(text) {
            if at < end {
                continue;
            }
            if let Some((start, found)) = self.find(text, at, word, end, known) {
                replaced.push_str(&text[end..start]);
                replaced.push_str(&self.pseudonyms[found.index]);
                end = start + found.name.len();
            }
        }
        if end == 0 {
            return Cow::Borrowed(text);
        }
        replaced.push_str(&text[end..]);
        Cow::Owned(replaced)
    }

    /// Returns the start of a name whose first word is at this place, and the name.
    fn find(&self, text: &str, at: usize, word: &str, end: usize, known: Snapshot) -> Option<(usize, &WordedName)> {
        self.by_word.get(word)?.iter().filter(|it| it.index < known.0).find_map(|it| {
            let start = at.checked_sub(it.prefix_len).filter(|start| *start >= end)?;
            let is_found = text.get(start..)?.starts_with(&it.name) && is_whole_word(text, start, &it.name);
            is_found.then_some((start, it))
        })
    }
}

/// Returns whether a part of a text does not begin or end within a word.
fn is_whole_word(text: &str, start: usize, part: &str) -> bool {
    let is_split =
        |before: Option<char>, after: Option<char>| before.is_some_and(is_word_char) && after.is_some_and(is_word_char);
    let (before, after) = (&text[..start], &text[start + part.len()..]);
    !is_split(before.chars().next_back(), part.chars().next())
        && !is_split(part.chars().next_back(), after.chars().next())
}

fn is_word_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Returns the words of a text with their positions.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut rest = 0;
    std::iter::from_fn(move || {
        let start = rest + text[rest..].find(is_word_char)?;
        let length = text[start..].find(|c| !is_word_char(c)).unwrap_or(text.len() - start);
        rest = start + length;
        Some((start, &text[start..rest]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(all: &[&str]) -> Names {
        let mut names = Names::default();
        for name in all {
            names.add(name, NameKind::Endpoint);
        }
        names
    }

    #[test]
    fn a_name_has_one_pseudonym_whatever_its_kind() {
        let mut names = Names::default();
        assert_eq!(names.add("iggy_pop", NameKind::Endpoint), "endpoint-1");
        assert_eq!(names.add("Iggy Pop", NameKind::Alias), "alias-1");
        assert_eq!(names.add("iggy_pop", NameKind::Alias), "endpoint-1");
        assert_eq!(names.add("2123928217", NameKind::Address), "address-1");
        assert_eq!(names.add("lemmy", NameKind::Endpoint), "endpoint-2");
        assert_eq!(names.add("", NameKind::Endpoint), "");
        assert_eq!((names.get("lemmy"), names.get("Lemmy")), (Some("endpoint-2"), None));
    }

    #[test]
    fn names_are_replaced_as_whole_words() {
        let names = names(&["iggy", "iggy_pop", "Danko Jones", "Danko", "sip:d@xyz.com", "$x", "björk", "!!"]);
        for (text, replaced) in [
            ("iggy calls iggy_pop", "endpoint-1 calls endpoint-2"),
            ("iggy_pops piggy Iggy", "iggy_pops piggy Iggy"),
            ("(iggy)-iggy/iggy.", "(endpoint-1)-endpoint-1/endpoint-1."),
            ("Danko Jones, Danko", "endpoint-3, endpoint-4"),
            ("Danko Joneses", "endpoint-4 Joneses"),
            ("to sip:d@xyz.com now", "to endpoint-5 now"),
            ("sip:d@xyz.company", "sip:d@xyz.company"),
            ("$x a$x $xy", "endpoint-6 aendpoint-6 $xy"),
            ("björk björks", "endpoint-7 björks"),
            ("!! and 日本", "!! and 日本"),
            ("", ""),
        ] {
            assert_eq!(names.replace(text, names.snapshot()), replaced);
        }
    }

    #[test]
    fn a_snapshot_does_not_know_later_names() {
        let mut names = names(&["iggy"]);
        let early = names.snapshot();
        names.add("iggy pop", NameKind::Alias);
        assert_eq!(names.replace("iggy pop", early), "endpoint-1 pop");
        assert_eq!(names.replace("iggy pop", names.snapshot()), "alias-1");
    }

    proptest! {
        #[test]
        fn no_name_remains_as_a_whole_word(
            known in prop::collection::vec("[ab_.é]{1,4}", 1..5),
            text in "[ab_. é]{0,20}",
        ) {
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            let names = names(&known);
            let replaced = names.replace(&text, names.snapshot()).replace("endpoint-", "");
            let without_numbers = replaced.replace(|c: char| c.is_ascii_digit(), "\u{1}");
            for name in known.iter().filter(|name| words(name).count() == 1 && name.chars().all(is_word_char)) {
                prop_assert!(words(&without_numbers).all(|(_, word)| word != *name), "{} in {}", name, replaced);
            }
        }
    }
}
