//! The simulated server: events, presence documents, and replies to requests.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::client::{Received, TestClient};
use super::demo;
use crate::demo::CallBehavior;
use crate::transport::codec::Version;

#[test]
fn events_are_not_retained_and_presence_is() {
    let demo = demo(CallBehavior::Answer);
    let mut client = TestClient::connect(demo.address(), Version::V311);
    client.subscribe("/rtcomm/event/#");
    let event = client.receive();
    assert!(!event.retain);
    assert_eq!(event.json()["method"], "RTCOMM_EVENT_FIRED");
    assert_eq!(event.json()["timestamp"].as_str().map(str::len), Some("2014-08-01 17:32:07.735".len()));
    // An event is published before its documents, and after those of earlier events.
    client.receive();
    let mut client = TestClient::connect(demo.address(), Version::V5);
    client.subscribe("/rtcomm/sphere/#");
    let document = client.receive();
    assert!(document.retain);
    assert_eq!(document.json()["method"], "DOCUMENT");
}

#[test]
fn an_endpoint_that_unregisters_removes_its_presence_document() {
    let demo = demo(CallBehavior::Answer);
    let mut watcher = TestClient::connect(demo.address(), Version::V311);
    watcher.subscribe("/rtcomm/sphere/#");
    // If the endpoint registers again before the second subscription, the next one is observed.
    let is_removed = (0..20).any(|_| {
        let empty = watcher.receive_where(|it| it.payload.is_empty());
        let mut late = TestClient::connect(demo.address(), Version::V5);
        late.subscribe(&empty.topic);
        !late.receive().retain
    });
    assert!(is_removed);
}

#[test]
fn a_call_is_answered_and_its_session_is_published() {
    let demo = demo(CallBehavior::Answer);
    let mut client = TestClient::connect(demo.address(), Version::V311);
    client.subscribe("reply/#");
    client.subscribe("/rtcomm/event/session/#");
    client.request_call(&json!({ "transID": 100, "sessionID": 200, "fromTopic": "reply/me" }));
    let mut next_of_call = || {
        client.receive_where(|it| {
            it.topic == "reply/me" || it.json()["sigSessID"] == "200" && !it.topic.contains("/modified/")
        })
    };
    assert_eq!(next_of_call().topic, "/rtcomm/event/session/started/iggy_pop/david_bowie");
    let expected = json!({
        "method": "RESPONSE", "orig": "3PCC_PLACE_CALL", "rtcommVer": "v1.0.0", "transID": 100, "result": "SUCCESS",
    });
    assert_eq!(next_of_call().json(), expected);
    assert_eq!(next_of_call().topic, "/rtcomm/event/session/stopped/iggy_pop/david_bowie");
}

#[test]
fn impossible_requests_fail_with_a_reason() {
    let demo = demo(CallBehavior::Answer);
    let mut client = TestClient::connect(demo.address(), Version::V5);
    client.subscribe("reply");
    for (more, reason) in [
        (json!({ "calleeEndpoint": "nobody" }), "nobody is not registered"),
        (json!({ "calleeEndpoint": "iggy_pop" }), "iggy_pop cannot call itself"),
        (json!({ "calleeEndpoint": null }), "calleeEndpoint is missing"),
        (json!({ "method": "3PCC_HANG_UP" }), "method is not 3PCC_PLACE_CALL"),
        (json!({ "appContext": "chess" }), "iggy_pop is not registered for chess"),
    ] {
        client.request_call(&more);
        let reply = client.receive().json();
        assert_eq!((&reply["result"], &reply["reason"]), (&json!("FAILURE"), &json!(reason)));
    }
}

#[test]
fn requests_without_a_reply_address_are_ignored() {
    let demo = demo(CallBehavior::Answer);
    let mut client = TestClient::connect(demo.address(), Version::V311);
    client.subscribe("#");
    for payload in ["", "no JSON", "[]", "{}", "\u{0}"] {
        client.publish("/rtcomm/callControl", payload);
    }
    for topic in ["+", "a/#", "", "a\0", &"/".repeat(200)] {
        client.request_call(&json!({ "fromTopic": topic, "transID": "ignored" }));
    }
    client.request_call(&json!({ "transID": null }));
    client.request_call(&json!({}));
    let is_reply =
        |it: &Received| serde_json::from_slice::<Value>(&it.payload).is_ok_and(|it| it["method"] == "RESPONSE");
    let reply = client.receive_where(is_reply);
    assert_eq!((reply.topic.as_str(), &reply.json()["transID"]), ("reply", &json!("t")));
}

#[test]
fn the_service_misbehaves_on_request() {
    let failing = demo(CallBehavior::Fail);
    let mut client = TestClient::connect(failing.address(), Version::V311);
    client.subscribe("reply");
    client.subscribe("/rtcomm/event/session/#");
    client.request_call(&json!({ "sessionID": "s" }));
    let event = client.receive_where(|it| it.topic == "reply" || it.json()["sigSessID"] == "s");
    assert_eq!(event.topic, "/rtcomm/event/session/failed/iggy_pop/david_bowie");
    let reply = client.receive_where(|it| it.topic == "reply").json();
    assert_eq!((&reply["result"], &reply["reason"]), (&json!("FAILURE"), &event.json()["reason"]));

    let delay = Duration::from_millis(400);
    let slow = demo(CallBehavior::Delay(delay));
    let mut client = TestClient::connect(slow.address(), Version::V311);
    client.subscribe("reply");
    client.subscribe("/rtcomm/event/#");
    let requested = Instant::now();
    client.request_call(&json!({}));
    assert_ne!(client.receive().topic, "reply");
    client.receive_where(|it| it.topic == "reply");
    assert!(requested.elapsed() >= delay);

    let silent = demo(CallBehavior::Silent);
    let mut client = TestClient::connect(silent.address(), Version::V311);
    client.subscribe("reply");
    client.request_call(&json!({}));
    client.stream.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
    assert!(client.read().is_err());
}

#[test]
fn a_sender_may_append_its_name_to_the_call_topic() {
    let demo = demo(CallBehavior::Answer);
    let mut client = TestClient::connect(demo.address(), Version::V5);
    client.subscribe("reply");
    client.publish("/rtcomm/callControl/me", r#"{"method":"3PCC_PLACE_CALL","transID":"t","fromTopic":"reply"}"#);
    assert_eq!(client.receive().json()["reason"], "callerEndpoint is missing");
}

#[test]
fn a_service_query_returns_the_topics() {
    let demo = demo(CallBehavior::Silent);
    let mut client = TestClient::connect(demo.address(), Version::V5);
    client.subscribe("reply");
    let query = r#"{"rtcommVer":"v1.0.0","method":"SERVICE_QUERY","transID":"q","fromTopic":"reply"}"#;
    client.publish("/rtcomm/management/iggy_pop", query);
    let reply = client.receive().json();
    assert_eq!((&reply["orig"], &reply["result"]), (&json!("SERVICE_QUERY"), &json!("SUCCESS")));
    assert_eq!(reply["services"]["RTCOMM_CONNECTOR_SERVICE"]["eventMonitoringTopic"], "/rtcomm/event");
    assert_eq!(reply["services"]["RTCOMM_CALL_CONTROL_SERVICE"]["topic"], "/rtcomm/callControl");
    let queues = json!([{ "endpointID": "support", "topic": "/rtcomm/callQueue/support" }]);
    assert_eq!(reply["services"]["RTCOMM_CALL_QUEUE_SERVICE"], json!({ "queues": queues }));
}
