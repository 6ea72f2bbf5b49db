//! Presence documents: which endpoints are registered, from protocol v1.0.0 on (protocol, section 6).
//!
//! An endpoint publishes a retained document at `SPHERE/[.../]ENDPOINT`, and an empty retained payload when it leaves.

use serde::Serialize;

use super::VERSION;
use super::topic::EndpointId;

/// The `method` of a presence document.
pub const METHOD: &str = "DOCUMENT";

/// A presence document. Publish it retained, at the endpoint's topic below the sphere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document<'a> {
    /// The topic where the endpoint listens, such as `/rtcomm/2123928217`.
    pub address_topic: &'a str,
    /// The application that the endpoint is registered for.
    pub app_context: &'a str,
    /// The endpoint's state, such as `available`.
    pub state: &'a str,
    /// The endpoint's display name.
    pub alias: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DocumentPayload<'a> {
    #[serde(rename = "rtcommVer")]
    version: &'static str,
    method: &'static str,
    r#type: &'static str,
    from_topic: Option<&'a str>,
    address_topic: &'a str,
    app_context: &'a str,
    state: &'a str,
    alias: &'a str,
    user_defines: [(); 0],
}

impl Document<'_> {
    /// Returns the payload: one JSON object, keys in the order of the protocol's example.
    #[must_use]
    pub fn payload(&self) -> String {
        let payload = DocumentPayload {
            version: VERSION,
            method: METHOD,
            r#type: "ENDPOINT",
            from_topic: None,
            address_topic: self.address_topic,
            app_context: self.app_context,
            state: self.state,
            alias: self.alias,
            user_defines: [],
        };
        serde_json::to_string(&payload).expect("text always serializes")
    }
}

/// Returns the endpoint of a topic below the sphere: the last level.
#[must_use]
pub fn endpoint_of(topic: &str) -> Option<EndpointId> {
    topic.rsplit('/').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_has_the_keys_of_the_protocol_in_order() {
        let document = Document {
            address_topic: "/rtcomm/2123928217",
            app_context: "XYZ video app",
            state: "available",
            alias: "John Smith",
        };
        assert_eq!(
            document.payload(),
            r#"{"rtcommVer":"v1.0.0","method":"DOCUMENT","type":"ENDPOINT","fromTopic":null,"addressTopic":"/rtcomm/2123928217","appContext":"XYZ video app","state":"available","alias":"John Smith","userDefines":[]}"#
        );
    }

    #[test]
    fn the_endpoint_is_the_last_level_of_the_topic() {
        assert_eq!(endpoint_of("/rtcomm/sphere/a/b/iggy_pop").as_ref().map(EndpointId::as_str), Some("iggy_pop"));
        assert_eq!(endpoint_of("/rtcomm/sphere/"), None);
    }
}
