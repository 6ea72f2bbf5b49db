//! A fast byte search that skips recorded lines without parsing them.

use memchr::memchr_iter;
use memchr::memmem::Finder;

use super::FilterSpec;
use crate::protocol::fields::is_json;
use crate::protocol::presence::CATEGORY as PRESENCE;
use crate::protocol::topic::EndpointId;

/// Searches for a JSON string that every recorded line of a matching event or document contains.
///
/// It never rejects the line of a matching event or document, or of a connection change, but may accept other lines.
#[derive(Debug, Clone)]
pub struct Prefilter {
    text: Finder<'static>,
    status: Finder<'static>,
}

impl Prefilter {
    /// Returns the prefilter of a filter, or `None` if no group has exactly one value that is searchable.
    pub(super) fn new(spec: &FilterSpec) -> Option<Self> {
        let FilterSpec { categories, presence, actions, from, to, endpoints, app_contexts, states, .. } = spec;
        let ids = [from, to, endpoints].into_iter().filter_map(|group| single(group)).map(EndpointId::as_str);
        // A text that is valid JSON itself, such as 100, also matches a value without quotes.
        let texts = [app_contexts, states].into_iter().filter_map(|group| single(group)).map(String::as_str);
        let category = match categories[..] {
            [] if *presence => Some(PRESENCE),
            [category] if !presence => Some(category.as_str()),
            _ => None,
        };
        let words = [single(actions).map(|it| it.as_str()), category];
        ids.chain(texts.filter(|text| !is_json(text))).chain(words.into_iter().flatten()).find_map(Self::of_text)
    }

    /// Returns the prefilter for a text, or `None` if JSON may write the text with a short escape such as `\/`.
    ///
    /// [`Prefilter::find`] also accepts lines with `\u....`, which any character may be written as, and with `\"`, because
    /// a payload that is written as text has all its quotes escaped.
    fn of_text(text: &str) -> Option<Self> {
        let is_unescaped = text.chars().all(|c| !c.is_control() && !matches!(c, '"' | '\\' | '/'));
        is_unescaped.then(|| Self {
            text: Finder::new(&format!("\"{text}\"")).into_owned(),
            status: Finder::new(br#""status""#),
        })
    }

    /// Returns whether a line may contain a matching event or a connection change.
    #[must_use]
    pub fn may_match(&self, line: &[u8]) -> bool {
        self.find(line).is_some()
    }

    /// Searches many lines at once. Returns a position in the first line that may match.
    #[must_use]
    pub fn find(&self, lines: &[u8]) -> Option<usize> {
        let Self { text, status } = self;
        let text = text.find(lines);
        let before = &lines[..text.unwrap_or(lines.len())];
        let status = status.find(before);
        let before = &before[..status.unwrap_or(before.len())];
        let escape = memchr_iter(b'\\', before).find(|at| matches!(lines.get(at + 1), Some(b'u' | b'"')));
        escape.or(status).or(text)
    }
}

/// Returns the value of a group that has exactly one.
fn single<T>(group: &[T]) -> Option<&T> {
    match group {
        [value] => Some(value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Filter;
    use super::super::tests::{any_spec, id};
    use super::*;
    use crate::protocol::record::{Content, Entry};
    use crate::protocol::topic::Action;
    use proptest::prelude::*;

    #[test]
    fn a_group_with_one_value_gives_a_prefilter() {
        let prefilter = |spec: FilterSpec| Filter::new(spec).expect("a filter").prefilter();
        let one =
            prefilter(FilterSpec { actions: vec![Action::Failed], from: vec![id("a b")], ..FilterSpec::default() });
        let one = one.expect("a prefilter");
        assert!(one.may_match(br#"{"from": "a b"}"#) && one.may_match(br#"{"from":"a\u0020b"}"#));
        assert!(one.may_match(br#"{"status":"gap"}"#) && !one.may_match(br#"{"from":"a bc"}"#));
        assert!(prefilter(FilterSpec::default()).is_none());
        assert!(prefilter(FilterSpec { from: vec![id("a"), id("b")], ..FilterSpec::default() }).is_none());
        assert!(prefilter(FilterSpec { from: vec![id("a\"b")], ..FilterSpec::default() }).is_none());
    }

    #[test]
    fn an_application_that_is_valid_json_gives_no_prefilter() {
        let prefilter = |text: &str| {
            let spec = FilterSpec { app_contexts: vec![text.to_owned()], ..FilterSpec::default() };
            Filter::new(spec).expect("a filter").prefilter()
        };
        for text in ["100", "-1.5e3", "true", "false", "null", "[]", "{}", "[1, 2]"] {
            assert!(prefilter(text).is_none(), "{text}");
        }
        for text in ["help desk", "1.2.3", "truer", "[help]"] {
            assert!(prefilter(text).is_some_and(|it| !it.may_match(b"{}")), "{text}");
        }
    }

    /// Generates the JSON text of a string, rarely with some characters as `\\u....`, because such lines always pass.
    fn spelled(text: &'static str) -> impl Strategy<Value = String> {
        let escaped = prop::collection::vec(any::<bool>(), text.len()).prop_map(move |escape| {
            let letters = text.chars().zip(escape);
            letters.map(|(c, escape)| if escape { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() }).collect()
        });
        prop_oneof![9 => Just(text.to_owned()), 1 => escaped]
    }

    proptest! {
        // Many cases, because few lines match.
        #![proptest_config(ProptestConfig::with_cases(2048))]
        #[test]
        fn the_prefilter_accepts_every_line_that_matches(
            spec in any_spec(),
            action_key in spelled("action"),
            action in prop_oneof![spelled("failed"), spelled("started")],
            from in prop_oneof![spelled("a"), spelled("b"), spelled("d")],
            to in prop_oneof![spelled("a"), spelled("c")],
            app_context in app_contexts_as_json(),
            state in prop_oneof![Just("100".to_owned()), spelled("busy").prop_map(|text| format!("\"{text}\""))],
            is_text in any::<bool>(),
            is_presence in any::<bool>(),
        ) {
            let (category, action) = if is_presence { ("presence", "present".to_owned()) } else { ("session", action) };
            let payload = format!(r#"{{"appContext": {app_context},"state":{state}}}"#);
            let payload = if is_text {
                format!(r#""payload_text":{}"#, serde_json::to_string(&payload).expect("a string"))
            } else {
                format!(r#""payload":{payload}"#)
            };
            let line = format!(
                r#"{{"received":"2026-11-23T03:34:12Z","category":"{category}","{action_key}":"{action}", "from" : "{from}","to":"{to}","topic":"t","qos":0,"retain":false,{payload}}}"#
            );
            let Ok(filter) = Filter::new(spec) else { return Ok(()) };
            let Ok(Entry::Message(parsed)) = Entry::parse(line.as_bytes()) else {
                return Err(TestCaseError::fail(line));
            };
            let is_match = match &parsed.record().content {
                Content::Event(event) => filter.matches(event),
                Content::Presence(presence) => filter.matches_presence(presence),
                Content::Malformed(_) | Content::Other => false,
            };
            let may_match = filter.prefilter().is_none_or(|prefilter| prefilter.may_match(line.as_bytes()));
            prop_assert!(may_match || !is_match, "{}", line);
        }
    }

    fn app_contexts_as_json() -> impl Strategy<Value = String> {
        let quoted = |text| spelled(text).prop_map(|spelled| format!("\"{spelled}\""));
        prop_oneof![Just("100".to_owned()), Just("true".to_owned()), quoted("100"), quoted("x")]
    }
}
