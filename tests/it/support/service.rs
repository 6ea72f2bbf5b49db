//! A third-party call service.

use std::thread::{self, JoinHandle};

use serde_json::{Value, json};

use super::client::Client;
use super::mqtt::Message;

/// The default topic of requests.
pub(crate) const CALL_TOPIC: &str = "/rtcomm/callControl";

/// Parses the request in a message.
pub(crate) fn request_of(message: &Message) -> Value {
    serde_json::from_slice(&message.payload).expect("a request is JSON")
}

/// Returns the payload of a SUCCESS response to the request, with these keys added or replaced.
pub(crate) fn response(request: &Value, more: &Value) -> String {
    let mut response = json!({
        "method": "RESPONSE", "orig": "3PCC_PLACE_CALL", "transID": request["transID"], "result": "SUCCESS"
    });
    for (key, value) in more.as_object().expect("an object of keys") {
        response[key] = value.clone();
    }
    response.to_string()
}

/// Returns a response as a message to the caller.
pub(crate) fn reply(message: &Message, more: &Value) -> Message {
    let request = request_of(message);
    Message::new(request["fromTopic"].as_str().expect("a request names its reply topic"), response(&request, more))
}

/// Starts a service that answers this many requests on this topic with SUCCESS, in a separate thread.
pub(crate) fn serve(mut client: Client, topic: &str, count: usize) -> JoinHandle<()> {
    client.subscribe(topic);
    thread::spawn(move || {
        for _ in 0..count {
            let request = client.next();
            client.send_message(&reply(&request, &json!({})));
        }
    })
}

/// The topic of the service queries, by default, and all below.
pub(crate) const MANAGEMENT: &str = "/rtcomm/management/#";

/// The services of an ordinary server.
pub(crate) fn services(events: &str, calls: &str) -> Value {
    json!({
        "RTCOMM_CONNECTOR_SERVICE": {
            "topic": "/rtcomm/connector", "sphereTopic": "/rtcomm/sphere", "iceURL": "turn:me:hunter2@turn.example:3478",
            "eventMonitoringTopic": events,
        },
        "RTCOMM_CALL_CONTROL_SERVICE": { "topic": calls },
        "RTCOMM_CALL_QUEUE_SERVICE": { "queues": [{ "endpointID": "support", "topic": "/rtcomm/queue/support" }] },
    })
}

/// A server that answers service queries with these services until the broker is gone, in a thread of its own.
pub(crate) fn answer_queries(client: Client, services: Value) {
    let mut more = json!({ "result": "SUCCESS" });
    more["services"] = services;
    answer_queries_with(client, more);
}

/// The same with these keys beside the ordinary ones.
pub(crate) fn answer_queries_with(mut client: Client, more: Value) {
    client.subscribe(MANAGEMENT);
    thread::spawn(move || {
        while let Some(query) = client.next_until_closed() {
            let query = request_of(&query);
            let mut answer = json!({ "method": "RESPONSE", "orig": "SERVICE_QUERY", "transID": query["transID"] });
            for (key, value) in more.as_object().expect("an object of keys") {
                answer[key] = value.clone();
            }
            // As servers do that follow the identity rule.
            let topic = format!("{}/server", query["fromTopic"].as_str().expect("a query names its reply topic"));
            client.send_message(&Message::new(&topic, answer.to_string()));
        }
    });
}
