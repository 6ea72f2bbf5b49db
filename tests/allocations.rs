//! Decoding, filtering and formatting an event does not allocate in the steady state.

use jiff::Timestamp;
use rtcomm::internals::Pretty;
use rtcomm::protocol::filter::{Filter, FilterSpec};
use rtcomm::protocol::record::{Message, Record};
use rtcomm::protocol::topic::{Action, Root, Topics};

#[test]
fn an_event_is_decoded_filtered_and_formatted_without_allocation() {
    let topics = Topics::from("/rtcomm".parse::<Root>().expect("a root"));
    let spec = FilterSpec {
        actions: vec![Action::Started, Action::Failed],
        from: vec!["iggy_pop".parse().expect("an endpoint ID")],
        app_contexts: vec!["XYZ video app".to_owned()],
        ..FilterSpec::default()
    };
    let filter = Filter::new(spec).expect("a filter");
    let payloads = [
        r#"{"method":"RTCOMM_EVENT_FIRED","rtcommVer":"v1.0.0","appContext":"XYZ video app","reason":"busy","x":[1.5e3]}"#,
        r#"{"method":"RTCOMM_EVENT_FIRED","appContext":"XYZ video app","sigSessID":"5e2a9af4-6f1e-4d4c-9a3c-8c0f0f7a1d11"}"#,
    ];
    let sphere: Root = "/rtcomm/sphere".parse().expect("a root");
    let mut pretty = [false, true].map(|color| Pretty::new(color, sphere.clone()));
    let mut out = Vec::with_capacity(64 * 1024);
    let mut written = 0;
    let received = Timestamp::now();
    let mut run = || {
        for payload in payloads {
            let message = Message {
                received,
                topic: "/rtcomm/event/session/failed/iggy_pop/david_bowie",
                qos: 0,
                retain: false,
                payload: payload.as_bytes(),
            };
            let record = Record::of(&topics, &message);
            if record.event().is_some_and(|event| filter.matches(event)) {
                out.clear();
                record.write_line(&mut out);
                for pretty in &mut pretty {
                    pretty.record(&record, &mut out);
                }
                written += 1;
            }
        }
    };
    run();
    let allocations = allocation_counter::measure(|| (0..1_000).for_each(|_| run()));
    assert_eq!(allocations.count_total, 0);
    assert_eq!(written, 2 * 1_001);
}
