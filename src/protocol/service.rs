//! The service query: which services a server offers, and on which topics (protocol, section 7).
//!
//! A client publishes a query to `MANAGEMENT/ENDPOINT`, and names the topic for the answer. Each server that shares the root
//! answers, so several answers that differ are a fault of the deployment.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::call::RESPONSE;
use super::credentials::masked;
use super::fields::Fields;
use super::topic::{Root, TopicName};
use super::{VERSION, call, excerpt};

/// The `method` of a query, and the `orig` of its answer.
pub const METHOD: &str = "SERVICE_QUERY";

/// The services with topics that this crate uses.
const CONNECTOR: &str = "RTCOMM_CONNECTOR_SERVICE";
const CALL_CONTROL: &str = "RTCOMM_CALL_CONTROL_SERVICE";

/// The keys of topics in these services.
const EVENTS: &str = "eventMonitoringTopic";
const SPHERE: &str = "sphereTopic";
const CALLS: &str = "topic";

/// The key of STUN and TURN servers, which may contain credentials that are made for each answer.
const ICE_URL: &str = "iceURL";

/// A query for the services of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceQuery {
    /// The ID of this transaction.
    pub trans_id: Uuid,
    /// The topic for the answers.
    pub from_topic: TopicName,
}

/// A server's answer to a query.
#[derive(Debug, Clone, PartialEq)]
pub enum ServiceAnswer {
    /// The services that it offers.
    Services(Services),
    /// It offers none to this client; with the reason, or the beginning of what it sent instead.
    Refused(String),
}

impl ServiceQuery {
    /// Returns the payload: one JSON object, keys in the order of the protocol's example.
    #[must_use]
    pub fn payload(&self) -> String {
        #[derive(Serialize)]
        struct QueryPayload<'a> {
            #[serde(rename = "rtcommVer")]
            version: &'static str,
            method: &'static str,
            #[serde(rename = "transID")]
            trans_id: Uuid,
            #[serde(rename = "fromTopic")]
            from_topic: &'a str,
        }
        let Self { trans_id, from_topic } = self;
        let payload =
            QueryPayload { version: VERSION, method: METHOD, trans_id: *trans_id, from_topic: from_topic.as_str() };
        serde_json::to_string(&payload).expect("text and UUIDs always serialize")
    }

    /// Reads a message from the topic for the answers. Returns `None` if it does not answer this query.
    #[must_use]
    pub fn answer(&self, payload: &[u8], retained: bool) -> Option<ServiceAnswer> {
        let fields = Fields::read(payload).ok().filter(|_| !retained)?;
        let is_answer = fields.method.is_some_and(|it| it.is(RESPONSE))
            && fields.orig.is_none_or(|it| it.is(METHOD))
            && fields.trans_id.is_some_and(|it| it.is(&self.trans_id.to_string()));
        is_answer.then(|| ServiceAnswer::read(&fields, payload))
    }
}

impl ServiceAnswer {
    fn read(fields: &Fields<'_>, payload: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct AnswerPayload {
            services: Map<String, Value>,
        }
        match call::Answer::from_fields(fields) {
            call::Answer::Success => match serde_json::from_slice(payload) {
                Ok(AnswerPayload { services }) => Self::Services(Services(services)),
                Err(_) => Self::Refused("the answer has no services".to_owned()),
            },
            call::Answer::Failure(reason) => Self::Refused(reason.map_or("no reason".to_owned(), |it| excerpt(&it))),
            call::Answer::Other(result) => Self::Refused(format!("the result is '{}'", excerpt(&result))),
        }
    }
}

/// The services of a server.
#[derive(Debug, Clone, PartialEq)]
pub struct Services(Map<String, Value>);

impl Services {
    /// Returns the root of the event topics.
    #[must_use]
    pub fn events(&self) -> Option<Root> {
        self.text(CONNECTOR, EVENTS)?.parse().ok()
    }

    /// Returns the topic of third-party call requests.
    #[must_use]
    pub fn calls(&self) -> Option<TopicName> {
        self.text(CALL_CONTROL, CALLS)?.parse().ok()
    }

    /// Returns the root of the presence documents.
    #[must_use]
    pub fn sphere(&self) -> Option<Root> {
        self.text(CONNECTOR, SPHERE)?.parse().ok()
    }

    /// Returns the keys of topics whose values are not topics, with these values: `SERVICE.KEY`, and text or JSON.
    #[must_use]
    pub fn invalid_topics(&self) -> Vec<(String, String)> {
        let topics = [
            (CONNECTOR, EVENTS, self.events().is_some()),
            (CALL_CONTROL, CALLS, self.calls().is_some()),
            (CONNECTOR, SPHERE, self.sphere().is_some()),
        ];
        let invalid = topics.into_iter().filter(|(_, _, is_valid)| !is_valid);
        invalid
            .filter_map(|(service, key, _)| {
                let value = self.value(service, Some(key)).filter(|value| !value.is_null())?;
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                Some((format!("{service}.{key}"), value))
            })
            .collect()
    }

    fn text(&self, service: &str, key: &str) -> Option<&str> {
        self.0.get(service)?.get(key)?.as_str()
    }

    /// Returns the services as JSON, with credentials masked.
    #[must_use]
    pub fn masked(&self) -> Value {
        masked_value("", &Value::Object(self.0.clone()))
    }

    /// Describes what differs between two answers, with both values. Returns `None` if nothing does, apart from credentials.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Option<String> {
        let mut differences = String::new();
        for (service, key) in self.paths().chain(other.paths().filter(|path| !self.compares(*path))) {
            let [ours, theirs] = [self, other].map(|services| services.value(service, key));
            if key == Some(ICE_URL) || ours == theirs {
                continue;
            }
            let separator = if differences.is_empty() { "" } else { ", " };
            let [ours, theirs] = [ours, theirs].map(|value| {
                let value = value.map(|value| masked_value(key.unwrap_or_default(), value).to_string());
                value.unwrap_or_else(|| "nothing".to_owned())
            });
            let key = key.map(|key| format!(".{key}")).unwrap_or_default();
            write!(differences, "{separator}{service}{key} is {ours} and {theirs}").expect("a String takes all");
        }
        (!differences.is_empty()).then_some(differences)
    }

    /// Returns the services with each of their keys, or with none if they have no keys.
    fn paths(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.0.iter().flat_map(|(service, value)| {
            let keys = value.as_object().map(|keys| keys.keys().map(|key| Some(key.as_str())).collect::<Vec<_>>());
            let keys = keys.filter(|keys| !keys.is_empty()).unwrap_or_else(|| vec![None]);
            keys.into_iter().map(|key| (service.as_str(), key))
        })
    }

    /// Returns whether a comparison of these paths covers a path of other services. A path without a key is a whole service.
    fn compares(&self, (service, key): (&str, Option<&str>)) -> bool {
        self.paths().any(|(own, own_key)| own == service && (own_key == key || own_key.is_none() || key.is_none()))
    }

    fn value(&self, service: &str, key: Option<&str>) -> Option<&Value> {
        let service = self.0.get(service)?;
        key.map_or(Some(service), |key| service.get(key))
    }
}

/// Returns a value with `***` in place of credentials. `key` is the key that it belongs to.
fn masked_value(key: &str, value: &Value) -> Value {
    match value {
        Value::String(_) if ["username", "credential", "password"].contains(&key) => "***".into(),
        Value::String(text) => masked(text).into(),
        Value::Array(values) => values.iter().map(|value| masked_value(key, value)).collect(),
        Value::Object(members) => {
            members.iter().map(|(key, value)| (key.clone(), masked_value(key, value))).collect::<Map<_, _>>().into()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "00000000-0000-0000-0000-000000000007";

    fn query() -> ServiceQuery {
        ServiceQuery { trans_id: Uuid::from_u128(7), from_topic: "/rtcomm/reply/x".parse().expect("a topic") }
    }

    fn answer(more: &str) -> Option<ServiceAnswer> {
        let payload = format!(r#"{{"method":"RESPONSE","orig":"SERVICE_QUERY","transID":"{ID}",{more}}}"#);
        query().answer(payload.as_bytes(), false)
    }

    fn services(json: &str) -> Services {
        match answer(&format!(r#""result":"SUCCESS","services":{json}"#)) {
            Some(ServiceAnswer::Services(services)) => services,
            other => panic!("services: {other:?}"),
        }
    }

    #[test]
    fn a_query_has_the_keys_of_the_protocol_in_order() {
        let expected = format!(
            r#"{{"rtcommVer":"v1.0.0","method":"SERVICE_QUERY","transID":"{ID}","fromTopic":"/rtcomm/reply/x"}}"#
        );
        assert_eq!(query().payload(), expected);
    }

    #[test]
    fn the_topics_of_an_answer_are_read() {
        let services = services(
            r#"{"RTCOMM_CONNECTOR_SERVICE":{"topic":"/c","sphereTopic":"/s/","iceURL":"turn:me:pw@h","eventMonitoringTopic":"/e"},"RTCOMM_CALL_CONTROL_SERVICE":{"topic":"/3pcc"},"X":{"username":"me"}}"#,
        );
        assert_eq!(services.events().as_ref().map(Root::as_str), Some("/e"));
        assert_eq!(services.sphere().as_ref().map(Root::as_str), Some("/s"));
        assert_eq!(services.calls().as_ref().map(TopicName::as_str), Some("/3pcc"));
        let masked = services.masked().to_string();
        assert!(masked.contains("turn:***:***@h") && masked.contains(r#""username":"***""#), "{masked}");
    }

    #[test]
    fn topics_that_are_missing_or_invalid_are_not_known() {
        for json in [
            "{}",
            r#"{"RTCOMM_CONNECTOR_SERVICE":{"eventMonitoringTopic":"a/#","sphereTopic":7}}"#,
            r#"{"RTCOMM_CONNECTOR_SERVICE":[],"RTCOMM_CALL_CONTROL_SERVICE":null}"#,
        ] {
            let services = services(json);
            assert!(services.events().is_none() && services.sphere().is_none() && services.calls().is_none(), "{json}");
        }
    }

    #[test]
    fn invalid_topics_are_listed_with_their_values() {
        let services = services(
            r#"{"RTCOMM_CONNECTOR_SERVICE":{"topic":"a/#","eventMonitoringTopic":"a/#","sphereTopic":7},"RTCOMM_CALL_CONTROL_SERVICE":{"topic":null}}"#,
        );
        let invalid = services.invalid_topics();
        let expected = [("eventMonitoringTopic", "a/#"), ("sphereTopic", "7")];
        let expected = expected.map(|(key, value)| (format!("RTCOMM_CONNECTOR_SERVICE.{key}"), value.to_owned()));
        assert_eq!(invalid, expected);
    }

    #[test]
    fn an_answer_without_services_is_a_refusal() {
        for (more, why) in [
            (r#""result":"FAILURE","reason":"not now""#, "not now"),
            (r#""result":"FAILURE""#, "no reason"),
            (r#""result":"MAYBE","services":{}"#, "the result is 'MAYBE'"),
            (r#""result":"SUCCESS""#, "the answer has no services"),
            (r#""result":"SUCCESS","services":[]"#, "the answer has no services"),
        ] {
            assert_eq!(answer(more), Some(ServiceAnswer::Refused(why.to_owned())), "{more}");
        }
    }

    #[test]
    fn other_messages_do_not_answer_the_query() {
        let ours = format!(r#"{{"method":"RESPONSE","transID":"{ID}","result":"SUCCESS","services":{{}}}}"#);
        assert!(query().answer(ours.as_bytes(), false).is_some(), "without orig");
        assert!(query().answer(ours.as_bytes(), true).is_none(), "retained");
        for other in [
            ours.replace("RESPONSE", "SERVICE_QUERY"),
            ours.replace(ID, "7"),
            ours.replace("\"result\"", "\"orig\":\"3PCC_PLACE_CALL\",\"result\""),
            "pong".to_owned(),
        ] {
            assert!(query().answer(other.as_bytes(), false).is_none(), "{other}");
        }
    }

    #[test]
    fn differences_are_described_with_both_values() {
        let one = services(r#"{"A":{"topic":"/a","iceURL":"turn:me:1@h"},"B":{"queues":[]},"C":{}}"#);
        for (other, difference) in [
            (r#"{"C":{},"B":{"queues":[]},"A":{"iceURL":"turn:me:2@h","topic":"/a"}}"#, None),
            (r#"{"A":{"topic":"/b","iceURL":"x"},"B":{"queues":[]},"C":{}}"#, Some(r#"A.topic is "/a" and "/b""#)),
            (
                r#"{"A":{"topic":"/a"},"B":{"queues":[{"endpointID":"x"}]},"D":7}"#,
                Some(r#"B.queues is [] and [{"endpointID":"x"}], C is {} and nothing, D is nothing and 7"#),
            ),
            (r#"{"A":{},"B":{"queues":[]},"C":{"x":1}}"#, Some(r#"A.topic is "/a" and nothing, C is {} and {"x":1}"#)),
        ] {
            assert_eq!(one.difference(&services(other)).as_deref(), difference, "{other}");
        }
    }
}
