//! Starting a demo with various options, and its end.

use std::time::Duration;

use super::client::TestClient;
use super::{demo, options};
use crate::demo::{CallBehavior, DemoError, DemoOptions, Listen, start};
use crate::protocol::topic::{Root, Topics};
use crate::transport::codec::Version;

#[test]
fn an_explicit_address_in_use_is_an_error_and_the_default_changes_its_port() {
    let running = demo(CallBehavior::Answer);
    let taken = running.address();
    let error = start(DemoOptions { listen: Listen::At(taken), ..options(CallBehavior::Answer) })
        .expect_err("the address is in use");
    assert!(matches!(error, DemoError::Listen { address, .. } if address == taken), "{error:?}");
    let first =
        start(DemoOptions { listen: Listen::Default, ..options(CallBehavior::Answer) }).expect("1883 or another");
    let second = start(DemoOptions { listen: Listen::Default, ..options(CallBehavior::Answer) }).expect("another");
    assert_ne!(first.address(), second.address());
}

#[test]
fn a_root_that_the_broker_does_not_support_is_an_error() {
    for root in ["$SYS/rtcomm", &"x/".repeat(200)] {
        let mut options = options(CallBehavior::Answer);
        options.topics = Topics::from(root.parse::<Root>().expect("a root"));
        let error = start(options).expect_err(root);
        assert!(matches!(&error, DemoError::UnsupportedTopic(topic) if topic.as_str().contains(root)), "{error:?}");
    }
}

#[test]
fn a_dropped_demo_stops_publishing() {
    let demo = demo(CallBehavior::Answer);
    let mut client = TestClient::connect(demo.address(), Version::V311);
    client.subscribe("/rtcomm/event/#");
    drop(demo);
    client.stream.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
    while client.read().is_ok() {}
}
