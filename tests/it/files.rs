//! Files and streams as they are in the field: closed, damaged, padded, of another encoding, or in use by somebody else.

use serde_json::json;

use crate::support::events::event;
use crate::support::{Broker, rtcomm, shell};

#[test]
fn a_closed_standard_stream_is_an_error() {
    for command in
        ["--version", "--help", "watch --dry-run", "tail -", "call a b --dry-run", "demo --listen 127.0.0.1:0"]
    {
        let outcome = shell(&format!("rtcomm {command} >&-")).run().has_status(1);
        outcome.says("rtcomm: error: cannot write to standard output: it is closed\n  hint: ");
        shell(&format!("rtcomm {command} 2>&-")).run().has_status(1).prints("");
        // The MQTT library's variables make the program start itself again.
        shell(&format!("rtcomm {command} >&-")).env("MQTT_C_CLIENT_TRACE", "ON").run().has_status(1).says("closed");
    }
}

#[test]
fn dev_null_is_not_a_closed_stream() {
    for redirection in [">/dev/null 2>&1", ">>/dev/null 2>>/dev/null", "1<>/dev/null 2<>/dev/null", "</dev/null"] {
        shell(&format!("rtcomm watch --dry-run {redirection}")).run().has_status(0);
    }
}

#[test]
fn a_closed_standard_input_is_not_an_empty_one() {
    for (command, status) in [("tail -", 1), ("call --batch - --dry-run", 1), ("watch -u me --password-file -", 2)] {
        let outcome = shell(&format!("rtcomm {command} <&-")).run().has_status(status).prints("");
        outcome.says("Bad file descriptor");
        shell(&format!("rtcomm {command} <&-")).env("MQTT_C_CLIENT_TRACE", "ON").run().has_status(status);
    }
    shell("rtcomm watch --dry-run <&-").run().has_status(0).prints("/rtcomm/event/#\n");
}

#[test]
fn nothing_is_acknowledged_if_standard_output_is_closed() {
    let broker = Broker::mosquitto();
    let watch = "watch --json --durable archive -c 1";
    rtcomm("watch --durable archive --for 100ms").at(&broker).run().has_status(0);
    broker.client().publish("/rtcomm/event/session/failed/a/b", event(&json!({ "n": 1 })));
    shell(&format!("rtcomm {watch} >&-")).at(&broker).run().has_status(1);
    shell(&format!("rtcomm {watch} 2>&-")).at(&broker).run().has_status(1);
    let outcome = rtcomm(watch).at(&broker).run().has_status(0);
    outcome.check(outcome.json_lines()[0]["payload"]["n"] == 1, "the message is still delivered");
}

#[test]
fn an_event_with_a_lone_surrogate_stays_readable_and_is_filtered_like_any_other() {
    let broker = Broker::mosquitto();
    let filter = "--app-context x --session-id 6a1f9f3e-2d0b-4c35-8a53-0d9d5b1f5f10 --failed";
    let watch = rtcomm(&format!("watch --json -c 3 {filter}")).at(&broker).start().until_ready();
    let session = r#""sigSessID":"6a1f9f3e-2d0b-4c35-8a53-0d9d5b1f5f10""#;
    for reason in ["ok 1", r"cut \ud83d", "ok 2"] {
        for context in ["x", "y"] {
            let payload =
                format!(r#"{{"method":"RTCOMM_EVENT_FIRED","appContext":"{context}",{session},"reason":"{reason}"}}"#);
            broker.client().publish("/rtcomm/event/session/failed/a/b", payload);
        }
    }
    let recorded = watch.end().has_status(0).stdout;
    let reasons = r#"jq -r '.payload // (.payload_text | gsub("\\\\u"; "") | fromjson) | .reason'"#;
    shell(reasons).stdin(&recorded).run().has_status(0).prints("ok 1\ncut d83d\nok 2\n");
    rtcomm(&format!("tail --json - {filter}")).stdin(&recorded).run().has_status(0).prints(&recorded);
    rtcomm("tail --json - --app-context y").stdin(&recorded).run().has_status(0).prints("");
}
