//! Regular expressions for short texts.
//!
//! The syntax is that of the crate `regex`. That crate contains more engines, for long texts: the demo's broker enables all
//! of them, and they would be a tenth of the program. So this module uses two engines of `regex-automata` directly.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use regex_automata::nfa::thompson::NFA;
use regex_automata::nfa::thompson::backtrack::{self, BoundedBacktracker};
use regex_automata::nfa::thompson::pikevm::{self, PikeVM};
use regex_automata::util::captures::Captures;
use regex_automata::util::syntax;

/// Maximum size of a compiled pattern in bytes.
const MAX_COMPILED_LEN: usize = 10 * 1024 * 1024;

/// A compiled regular expression.
#[derive(Clone)]
pub struct TextPattern(Arc<Compiled>);

struct Compiled {
    text: String,
    /// The faster engine. Its memory limits the length of the searched text.
    backtracker: BoundedBacktracker,
    pike_vm: PikeVM,
    memory: Mutex<Memory>,
}

/// What the engines use during a search.
struct Memory {
    backtracker: backtrack::Cache,
    pike_vm: pikevm::Cache,
}

/// A match of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TextMatch {
    /// The whole match.
    pub(super) range: Range<usize>,
    /// The number and range of the first group that matched.
    pub(super) group: Option<(usize, Range<usize>)>,
}

/// Why a text is not a valid regular expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextPatternError(String);

impl fmt::Display for TextPatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TextPatternError {}

impl TextPatternError {
    fn new(error: impl fmt::Display) -> Self {
        Self(error.to_string())
    }
}

impl TextPattern {
    /// Returns whether the pattern matches any part of `text`.
    #[must_use]
    pub fn is_match(&self, text: &str) -> bool {
        let Compiled { backtracker, pike_vm, .. } = &*self.0;
        let memory = &mut *self.0.memory();
        match backtracker.try_is_match(&mut memory.backtracker, text) {
            Ok(is_match) => is_match,
            Err(_too_long) => pike_vm.is_match(&mut memory.pike_vm, text),
        }
    }

    /// Returns all matches in `text`, which do not overlap.
    pub(super) fn matches(&self, text: &str) -> Vec<TextMatch> {
        let Compiled { backtracker, pike_vm, .. } = &*self.0;
        let memory = &mut *self.0.memory();
        if text.len() <= backtracker.max_haystack_len() {
            let found = backtracker.try_captures_iter(&mut memory.backtracker, text);
            found.filter_map(|captures| TextMatch::new(&captures.ok()?)).collect()
        } else {
            let found = pike_vm.captures_iter(&mut memory.pike_vm, text);
            found.filter_map(|captures| TextMatch::new(&captures)).collect()
        }
    }
}

impl Compiled {
    fn new(text: &str) -> Result<Self, TextPatternError> {
        let parsed = syntax::parse(text).map_err(TextPatternError::new)?;
        let config = NFA::config().nfa_size_limit(Some(MAX_COMPILED_LEN));
        let nfa = NFA::compiler().configure(config).build_from_hir(&parsed).map_err(TextPatternError::new)?;
        let backtracker = BoundedBacktracker::new_from_nfa(nfa.clone()).map_err(TextPatternError::new)?;
        let pike_vm = PikeVM::new_from_nfa(nfa).map_err(TextPatternError::new)?;
        let memory = Memory { backtracker: backtracker.create_cache(), pike_vm: pike_vm.create_cache() };
        Ok(Self { text: text.to_owned(), backtracker, pike_vm, memory: Mutex::new(memory) })
    }

    /// Returns the memory. Each search initializes it, so it is valid even if another one panicked.
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TextMatch {
    fn new(captures: &Captures) -> Option<Self> {
        let range = captures.get_match()?.range();
        let group = captures.iter().enumerate().skip(1).find_map(|(number, group)| Some((number, group?.range())));
        Some(Self { range, group })
    }
}

impl FromStr for TextPattern {
    type Err = TextPatternError;

    fn from_str(text: &str) -> Result<Self, TextPatternError> {
        Ok(Self(Arc::new(Compiled::new(text)?)))
    }
}

impl fmt::Debug for TextPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TextPattern").field(&self.0.text).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> TextPattern {
        text.parse().expect("a valid pattern")
    }

    #[test]
    fn a_pattern_matches_any_part_of_a_text() {
        for (text, searched, expected) in [
            ("busy", "callee busy", true),
            ("^busy", "callee busy", false),
            ("(?i)BESETZT|Übertragung", "die übertragung brach ab", true),
            (r"\bno\s+answer after \d+ s$", "no  answer after 30 s", true),
            (r"\bé", "né", false),
            ("", "", true),
            ("a.c", "a\u{1d11e}c", true),
        ] {
            assert_eq!(pattern(text).is_match(searched), expected, "{text:?} in {searched:?}");
        }
    }

    #[test]
    fn all_matches_are_found_with_their_first_group() {
        let found = pattern("a(b)?(c)?|(d)").matches("abc a ac d");
        let expected = [(0..3, Some((1, 1..2))), (4..5, None), (6..8, Some((2, 7..8))), (9..10, Some((3, 9..10)))];
        assert_eq!(found, expected.map(|(range, group)| TextMatch { range, group }));
    }

    #[test]
    fn a_text_of_any_length_is_searched() {
        let pattern = pattern("(a|b)*(c)$");
        for len in [0, 1_000, 1_000_000] {
            let text = "ab".repeat(len);
            assert!(!pattern.is_match(&text) && pattern.matches(&text).is_empty(), "{len}");
            let text = text + "c";
            assert!(pattern.is_match(&text), "{len}");
            assert_eq!(pattern.matches(&text).len(), 1, "{len}");
        }
    }

    #[test]
    fn an_invalid_or_huge_pattern_is_an_error() {
        let error = |text: &str| text.parse::<TextPattern>().expect_err(text).to_string();
        assert!(error("[a").contains("unclosed character class"), "{}", error("[a"));
        assert!(error("a{1000}{1000}{100}").contains("limit"), "{}", error("a{1000}{1000}{100}"));
    }
}
