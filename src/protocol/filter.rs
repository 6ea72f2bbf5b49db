//! Which events are wanted, in Rtcomm's own words, and the subscriptions that bring them.
//!
//! A [`Filter`] has groups: category, action, FROM, TO, either endpoint, application, session, reason. Within a group
//! one hit is enough, between groups all must hold, and an empty group holds always. What a topic can say becomes
//! topic filters ([`Filter::subscriptions`]); [`Filter::matches`] decides exactly, the payload's part included.

use std::fmt;

use memchr::memchr;
use memchr::memmem::Finder;
use regex::Regex;
use uuid::Uuid;

use super::event::Event;
use super::fields::is_json;
use super::topic::{Action, Category, EndpointId, EventTopic, Root, TopicFilter};

/// What is wanted, group by group; an empty group wants everything.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// One of these categories.
    pub categories: Vec<Category>,
    /// One of these actions.
    pub actions: Vec<Action>,
    /// From one of these endpoints.
    pub from: Vec<EndpointId>,
    /// To one of these endpoints; only sessions have a TO.
    pub to: Vec<EndpointId>,
    /// With one of these endpoints on either side.
    pub endpoints: Vec<EndpointId>,
    /// Of one of these applications, letter by letter.
    pub app_contexts: Vec<String>,
    /// Of one of these sessions.
    pub session_ids: Vec<Uuid>,
    /// With a reason that one of these finds.
    pub reasons: Vec<Regex>,
}

/// Why no event could ever be wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilterError {
    /// A TO is asked for of registrations, which have none.
    ToOfRegistration,
    /// The endpoints asked for exclude each other.
    Nothing,
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ToOfRegistration => "registrations have no TO endpoint",
            Self::Nothing => "no event can match: the endpoints asked for exclude each other",
        })
    }
}

impl std::error::Error for FilterError {}

/// A filter that some event can pass.
#[derive(Debug, Clone)]
pub struct Filter {
    wanted: Wanted,
    patterns: Vec<Pattern>,
}

impl Default for Filter {
    /// The filter that every event passes.
    fn default() -> Self {
        let wanted = Wanted::default();
        let patterns = wanted.patterns();
        Self { wanted, patterns }
    }
}

impl Filter {
    /// Takes what is wanted.
    ///
    /// # Errors
    /// Where nothing could ever match.
    pub fn new(wanted: Wanted) -> Result<Self, FilterError> {
        if wanted.categories == [Category::Registration] && !wanted.to.is_empty() {
            return Err(FilterError::ToOfRegistration);
        }
        let patterns = wanted.patterns();
        if patterns.is_empty() { Err(FilterError::Nothing) } else { Ok(Self { wanted, patterns }) }
    }

    /// Whether every event passes, so that nothing need be looked at.
    #[must_use]
    pub fn is_open(&self) -> bool {
        let Wanted { categories, actions, from, to, endpoints, app_contexts, session_ids, reasons } = &self.wanted;
        categories.is_empty()
            && actions.is_empty()
            && from.is_empty()
            && to.is_empty()
            && endpoints.is_empty()
            && app_contexts.is_empty()
            && session_ids.is_empty()
            && reasons.is_empty()
    }

    /// The smallest set of subscriptions below `root` that brings every wanted event and, as far as a topic can say,
    /// no other: nothing twice, and none that another one covers.
    #[must_use]
    pub fn subscriptions(&self, root: &Root) -> Vec<TopicFilter> {
        self.patterns.iter().map(|pattern| pattern.under(root)).collect()
    }

    /// Whether the event is wanted.
    #[must_use]
    pub fn matches(&self, event: &Event<'_>) -> bool {
        self.matches_topic(&event.topic) && self.matches_payload(event)
    }

    /// The part of [`Filter::matches`] that the topic decides.
    #[must_use]
    pub fn matches_topic(&self, topic: &EventTopic<'_>) -> bool {
        let wanted = &self.wanted;
        let from_is = |id: &EndpointId| id.as_str() == topic.from;
        let to_is = |id: &EndpointId| topic.to() == Some(id.as_str());
        holds(&wanted.categories, |it| *it == topic.category())
            && holds(&wanted.actions, |it| *it == topic.action)
            && holds(&wanted.from, from_is)
            && holds(&wanted.to, to_is)
            && holds(&wanted.endpoints, |id| from_is(id) || to_is(id))
    }

    /// The part that only the payload can decide.
    fn matches_payload(&self, event: &Event<'_>) -> bool {
        let wanted = &self.wanted;
        holds(&wanted.app_contexts, |text| event.fields.app_context.is_some_and(|it| it.is(text)))
            && holds(&wanted.session_ids, |id| {
                event.fields.sig_sess_id.is_some_and(|it| Uuid::try_parse(&it.text()).is_ok_and(|it| it == *id))
            })
            && holds(&wanted.reasons, |regex| event.fields.reason.is_some_and(|it| regex.is_match(&it.text())))
    }
}

impl Filter {
    /// What every recorded line of a wanted event holds, where that can be said; for looking before reading.
    #[must_use]
    pub fn needle(&self) -> Option<Needle> {
        let Wanted { categories, actions, from, to, endpoints, app_contexts, .. } = &self.wanted;
        let ids = [from, to, endpoints].into_iter().filter_map(|group| only(group)).map(EndpointId::as_str);
        // One that is JSON itself, such as 100, is also wanted where it stands without quotes.
        let contexts = only(app_contexts).map(String::as_str).filter(|text| !is_json(text));
        let words = [only(actions).map(|it| it.as_str()), only(categories).map(|it| it.as_str())];
        ids.chain(contexts).chain(words.into_iter().flatten()).find_map(Needle::of)
    }
}

/// The only member of a group that has one.
fn only<T>(group: &[T]) -> Option<&T> {
    match group {
        [member] => Some(member),
        _ => None,
    }
}

/// A JSON string that stands in every recorded line of a wanted event.
#[derive(Debug, Clone)]
pub struct Needle {
    text: Finder<'static>,
    escape: Finder<'static>,
    status: Finder<'static>,
}

impl Needle {
    /// The needle for a text; `None` where JSON has to escape the text, or may do so in short: then its spelling is not
    /// known. Any character may be spelt `\u....`, which [`Needle::may_match`] minds.
    fn of(text: &str) -> Option<Self> {
        let is_plain = text.chars().all(|c| !c.is_control() && !matches!(c, '"' | '\\' | '/'));
        is_plain.then(|| Self {
            text: Finder::new(&format!("\"{text}\"")).into_owned(),
            escape: Finder::new(br"\u"),
            status: Finder::new(br#""status""#),
        })
    }

    /// Whether a line may hold a wanted event, or tell what became of the connection. Yes for some that do neither, never
    /// no for one that does.
    #[must_use]
    pub fn may_match(&self, line: &[u8]) -> bool {
        self.find(line).is_some()
    }

    /// Looks at many lines at once: a place in the first of which [`Needle::may_match`] says yes; `None` where there is no
    /// such line.
    #[must_use]
    pub fn find(&self, lines: &[u8]) -> Option<usize> {
        let Self { text, status, escape } = self;
        let text = text.find(lines);
        let before = &lines[..text.unwrap_or(lines.len())];
        let status = status.find(before);
        let before = &before[..status.unwrap_or(before.len())];
        // One byte is found faster than two, and mostly there is none.
        let escape = memchr(b'\\', before).and_then(|at| Some(at + escape.find(&before[at..])?));
        escape.or(status).or(text)
    }
}

/// Whether a group lets something pass: it is empty, or one of its members agrees.
fn holds<T>(group: &[T], agrees: impl FnMut(&T) -> bool) -> bool {
    group.is_empty() || group.iter().any(agrees)
}

/// One subscription's meaning; `None` stands for any.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    category: Option<Category>,
    action: Option<Action>,
    from: Option<EndpointId>,
    /// Only sessions have one, so a pattern with a TO is always of [`Category::Session`].
    to: Option<EndpointId>,
}

impl Pattern {
    fn under(&self, root: &Root) -> TopicFilter {
        let category = self.category.map_or("+", Category::as_str);
        let action = self.action.map_or("+", Action::as_str);
        let from = self.from.as_ref().map_or("+", EndpointId::as_str);
        let text = match (&self.to, &self.from, self.action, self.category) {
            (Some(to), ..) => format!("{root}/{category}/{action}/{from}/{to}"),
            (None, Some(from), ..) => format!("{root}/{category}/{action}/{from}/#"),
            (None, None, Some(action), _) => format!("{root}/{category}/{action}/#"),
            (None, None, None, Some(category)) => format!("{root}/{category}/#"),
            (None, None, None, None) => return root.everything(),
        };
        text.parse().expect("roots and endpoint IDs hold no wildcard, so that the levels built here are legal")
    }

    /// Whether all that `other` stands for is in this pattern too.
    fn covers(&self, other: &Self) -> bool {
        fn level<T: PartialEq>(this: Option<&T>, other: Option<&T>) -> bool {
            this.is_none() || this == other
        }
        level(self.category.as_ref(), other.category.as_ref())
            && level(self.action.as_ref(), other.action.as_ref())
            && level(self.from.as_ref(), other.from.as_ref())
            && level(self.to.as_ref(), other.to.as_ref())
    }
}

/// The two ends of a session that a subscription names; `None` stands for any endpoint.
type Ends = (Option<EndpointId>, Option<EndpointId>);

impl Wanted {
    /// The patterns of all subscriptions: empty where nothing can match.
    fn patterns(&self) -> Vec<Pattern> {
        let actions = any_or_each(&self.actions, Action::ALL.len());
        let ends = self.ends();
        let mut patterns = Vec::with_capacity(actions.len() * ends.len());
        for action in &actions {
            for (from, to) in &ends {
                let category = match (to, self.only_category()) {
                    (Some(_), _) => Some(Category::Session),
                    (None, only) => only,
                };
                patterns.push(Pattern { category, action: *action, from: from.clone(), to: to.clone() });
            }
        }
        without_covered(&patterns)
    }

    /// The category that is asked for where it is one; a TO, which only sessions have, asks for sessions.
    fn only_category(&self) -> Option<Category> {
        match self.categories.split_first() {
            _ if !self.to.is_empty() => Some(Category::Session),
            Some((first, rest)) if rest.iter().all(|it| it == first) => Some(*first),
            _ => None,
        }
    }

    /// The pairs of ends to ask for: FROM and TO as they are named, and each endpoint that may be on either side once
    /// as the one and once as the other.
    fn ends(&self) -> Vec<Ends> {
        let froms = any_or_each(&self.from, usize::MAX);
        let tos = any_or_each(&self.to, usize::MAX);
        let mut ends = Vec::new();
        for from in &froms {
            for to in &tos {
                if self.endpoints.is_empty() {
                    ends.push((from.clone(), to.clone()));
                }
                for endpoint in &self.endpoints {
                    let narrowed = Some(endpoint.clone());
                    if from.is_none() || *from == narrowed {
                        ends.push((narrowed.clone(), to.clone()));
                    }
                    let may_have_to = self.only_category() != Some(Category::Registration);
                    if may_have_to && (to.is_none() || *to == narrowed) {
                        ends.push((from.clone(), narrowed));
                    }
                }
            }
        }
        ends
    }
}

/// A group as topic levels: any where it is empty or names all that there are, else each member.
fn any_or_each<T: Clone + PartialEq>(group: &[T], all: usize) -> Vec<Option<T>> {
    let mut each: Vec<Option<T>> = Vec::with_capacity(group.len());
    for member in group {
        if !each.iter().flatten().any(|it| it == member) {
            each.push(Some(member.clone()));
        }
    }
    if each.is_empty() || each.len() == all { vec![None] } else { each }
}

/// Drops each pattern that another one covers, and all but the first of equals.
fn without_covered(patterns: &[Pattern]) -> Vec<Pattern> {
    let is_needed = |i: usize, pattern: &Pattern| {
        !patterns.iter().enumerate().any(|(j, other)| {
            let equal_and_earlier = other == pattern && j < i;
            equal_and_earlier || (other != pattern && other.covers(pattern))
        })
    };
    patterns.iter().enumerate().filter(|(i, it)| is_needed(*i, it)).map(|(_, it)| it.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::record::Entry;
    use super::*;
    use proptest::prelude::*;
    use proptest::sample::subsequence;

    fn id(text: &str) -> EndpointId {
        text.parse().expect("an endpoint ID")
    }

    fn root() -> Root {
        "..".parse().expect("a root")
    }

    fn subscriptions(wanted: Wanted) -> Vec<String> {
        let filter = Filter::new(wanted).expect("a filter");
        filter.subscriptions(&root()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_table_of_the_protocol_row_by_row() {
        use Action::Started;
        use Category::{Registration, Session};
        let iggy = || vec![id("iggy_pop")];
        for (wanted, expected) in [
            (Wanted::default(), "../#"),
            (Wanted { categories: vec![Registration], ..Wanted::default() }, "../registration/#"),
            (Wanted { categories: vec![Session], ..Wanted::default() }, "../session/#"),
            (
                Wanted { categories: vec![Registration], actions: vec![Started], ..Wanted::default() },
                "../registration/started/#",
            ),
            (
                Wanted { categories: vec![Registration], actions: vec![Started], from: iggy(), ..Wanted::default() },
                "../registration/started/iggy_pop/#",
            ),
            (
                Wanted { categories: vec![Session], actions: vec![Started], from: iggy(), ..Wanted::default() },
                "../session/started/iggy_pop/#",
            ),
            (
                Wanted { categories: vec![Session], actions: vec![Started], to: iggy(), ..Wanted::default() },
                "../session/started/+/iggy_pop",
            ),
        ] {
            assert_eq!(subscriptions(wanted), [expected]);
        }
    }

    #[test]
    fn groups_combine_into_the_fewest_filters() {
        let all = Wanted { categories: Category::ALL.to_vec(), actions: Action::ALL.to_vec(), ..Wanted::default() };
        assert_eq!(subscriptions(all), ["../#"]);
        let either_side = Wanted { endpoints: vec![id("a"), id("a")], ..Wanted::default() };
        assert_eq!(subscriptions(either_side), ["../+/+/a/#", "../session/+/+/a"]);
        let either_side_of_own_calls =
            Wanted { endpoints: vec![id("a"), id("b")], from: vec![id("a")], ..Wanted::default() };
        assert_eq!(subscriptions(either_side_of_own_calls), ["../+/+/a/#"]);
        let registered =
            Wanted { endpoints: vec![id("a")], categories: vec![Category::Registration], ..Wanted::default() };
        assert_eq!(subscriptions(registered), ["../registration/+/a/#"]);
        let two_by_two = Wanted {
            actions: vec![Action::Started, Action::Failed],
            from: vec![id("a")],
            to: vec![id("b")],
            ..Wanted::default()
        };
        assert_eq!(subscriptions(two_by_two), ["../session/started/a/b", "../session/failed/a/b"]);
    }

    #[test]
    fn what_can_never_match_is_refused() {
        let to_of_registration =
            Wanted { categories: vec![Category::Registration], to: vec![id("a")], ..Wanted::default() };
        assert_eq!(Filter::new(to_of_registration).err(), Some(FilterError::ToOfRegistration));
        let exclusive =
            Wanted { from: vec![id("a")], to: vec![id("b")], endpoints: vec![id("c")], ..Wanted::default() };
        assert_eq!(Filter::new(exclusive).err(), Some(FilterError::Nothing));
    }

    #[test]
    fn the_payload_is_asked_where_the_topic_cannot_tell() {
        let root = root();
        let session = "5E2A9AF4-6F1E-4D4C-9A3C-8C0F0F7A1D11";
        let payload = format!(
            r#"{{"method":"RTCOMM_EVENT_FIRED","appContext":"caf\u00e9","reason":"line \"A\" is busy","sigSessID":"{session}"}}"#
        );
        let event = Event::decode(&root, "../session/failed/a/b", payload.as_bytes()).expect("an event");
        let matches = |wanted: Wanted| Filter::new(wanted).expect("a filter").matches(&event);
        let regex = |text: &str| vec![Regex::new(text).expect("a regex")];
        assert!(matches(Wanted { app_contexts: vec!["x".into(), "café".into()], ..Wanted::default() }));
        assert!(!matches(Wanted { app_contexts: vec!["caf".into()], ..Wanted::default() }));
        assert!(matches(Wanted { reasons: regex("\"A\".*busy$"), ..Wanted::default() }));
        assert!(!matches(Wanted { reasons: regex("^busy"), ..Wanted::default() }));
        let session_id: Uuid = session.to_lowercase().parse().expect("a UUID");
        assert!(matches(Wanted { session_ids: vec![session_id], ..Wanted::default() }));
        assert!(!matches(Wanted { session_ids: vec![Uuid::nil()], ..Wanted::default() }));
    }

    #[test]
    fn a_needle_is_what_one_member_of_a_group_asks_for() {
        let needle = |wanted: Wanted| Filter::new(wanted).expect("a filter").needle();
        let one = needle(Wanted { actions: vec![Action::Failed], from: vec![id("a b")], ..Wanted::default() });
        let one = one.expect("a needle");
        assert!(one.may_match(br#"{"from": "a b"}"#) && one.may_match(br#"{"from":"a\u0020b"}"#));
        assert!(one.may_match(br#"{"status":"gap"}"#) && !one.may_match(br#"{"from":"a bc"}"#));
        assert!(needle(Wanted::default()).is_none());
        assert!(needle(Wanted { from: vec![id("a"), id("b")], ..Wanted::default() }).is_none());
        assert!(needle(Wanted { from: vec![id("a\"b")], ..Wanted::default() }).is_none());
    }

    #[test]
    fn an_application_that_may_stand_without_quotes_is_no_needle() {
        let needle = |text: &str| {
            let wanted = Wanted { app_contexts: vec![text.to_owned()], ..Wanted::default() };
            Filter::new(wanted).expect("a filter").needle()
        };
        for text in ["100", "-1.5e3", "true", "false", "null", "[]", "{}", "[1, 2]"] {
            assert!(needle(text).is_none(), "{text}");
        }
        for text in ["help desk", "1.2.3", "truer", "[help]"] {
            assert!(needle(text).is_some_and(|it| !it.may_match(b"{}")), "{text}");
        }
    }

    /// JSON text of a string: mostly plain, for a line with an escape is always read, else with some characters as
    /// `\\u....`.
    fn spelt(text: &'static str) -> impl Strategy<Value = String> {
        let escaped = prop::collection::vec(any::<bool>(), text.len()).prop_map(move |escape| {
            let letters = text.chars().zip(escape);
            letters.map(|(c, escape)| if escape { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() }).collect()
        });
        prop_oneof![9 => Just(text.to_owned()), 1 => escaped]
    }

    proptest! {
        // Of many lines few are wanted.
        #![proptest_config(ProptestConfig::with_cases(2048))]
        #[test]
        fn looking_before_reading_misses_nothing(
            wanted in any_wanted(),
            action_key in spelt("action"),
            action in prop_oneof![spelt("failed"), spelt("started")],
            from in prop_oneof![spelt("a"), spelt("b"), spelt("d")],
            to in prop_oneof![spelt("a"), spelt("c")],
            app_context in app_contexts_as_json(),
        ) {
            let line = format!(
                r#"{{"received":"2026-11-23T03:34:12Z","category":"session","{action_key}":"{action}", "from" : "{from}","to":"{to}","topic":"t","qos":0,"retain":false,"payload":{{"appContext": {app_context}}}}}"#
            );
            let Ok(filter) = Filter::new(wanted) else { return Ok(()) };
            let Ok(Entry::Message(parsed)) = Entry::parse(line.as_bytes()) else {
                return Err(TestCaseError::fail(line));
            };
            let is_wanted = parsed.record().event().is_some_and(|event| filter.matches(event));
            let may_match = filter.needle().is_none_or(|needle| needle.may_match(line.as_bytes()));
            prop_assert!(may_match || !is_wanted, "{}", line);
        }
    }

    fn app_contexts_as_json() -> impl Strategy<Value = String> {
        let quoted = |text| spelt(text).prop_map(|spelt| format!("\"{spelt}\""));
        prop_oneof![Just("100".to_owned()), Just("true".to_owned()), quoted("100"), quoted("x")]
    }

    fn ids() -> impl Strategy<Value = Vec<EndpointId>> {
        subsequence(vec![id("a"), id("b"), id("c")], 0..=2)
    }

    prop_compose! {
        fn any_wanted()(
            categories in subsequence(Category::ALL.to_vec(), 0..=2),
            actions in subsequence(Action::ALL.to_vec(), 0..=4),
            from in ids(),
            to in ids(),
            endpoints in ids(),
            app_contexts in subsequence(["100", "true", "x"].map(str::to_owned).to_vec(), 0..=2),
        ) -> Wanted {
            Wanted { categories, actions, from, to, endpoints, app_contexts, ..Wanted::default() }
        }
    }

    /// Every event topic among four endpoints, one of which no filter names.
    fn every_topic() -> Vec<String> {
        let names = ["a", "b", "c", "d"];
        let mut topics = Vec::new();
        for action in Action::ALL {
            for from in names {
                topics.push(format!("../registration/{action}/{from}"));
                topics.extend(names.map(|to| format!("../session/{action}/{from}/{to}")));
            }
        }
        topics
    }

    proptest! {
        #[test]
        fn the_subscriptions_bring_what_is_wanted_and_nothing_else(wanted in any_wanted()) {
            let root = root();
            let filter = match Filter::new(wanted.clone()) {
                Ok(filter) => filter,
                Err(_) => Filter { patterns: vec![], wanted },
            };
            let set = filter.subscriptions(&root);
            for topic in every_topic() {
                let parsed = EventTopic::parse(&root, &topic).expect("an event's topic");
                let is_covered = set.iter().any(|it| it.matches(&topic));
                prop_assert_eq!(filter.matches_topic(&parsed), is_covered, "{} by {:?}", topic, set);
            }
            for (i, one) in set.iter().enumerate() {
                for (j, other) in set.iter().enumerate() {
                    prop_assert!(i == j || !one.covers(other), "{} covers {}", one, other);
                }
            }
        }
    }
}
