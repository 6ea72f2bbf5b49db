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
