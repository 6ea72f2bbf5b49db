//! Starting a demo with various options, and its end.

use std::time::Duration;

use super::client::TestClient;
use super::{demo, options};
use crate::demo::{CallBehavior, Listen, Options, start};
use crate::exit::hint_of;
use crate::protocol::topic::{Root, Topics};
use crate::transport::codec::Version;

#[test]
fn an_explicit_address_in_use_is_an_error_and_the_default_changes_its_port() {
    let running = demo(CallBehavior::Answer);
    let taken = running.address();
    let error = start(Options { listen: Listen::At(taken), ..options(CallBehavior::Answer) })
        .expect_err("the address is in use");
    assert!(error.to_string().contains(&taken.to_string()), "{error:#}");
    assert!(hint_of(&error).is_some_and(|it| it.contains("--listen")), "{error:#}");
    let first = start(Options { listen: Listen::Default, ..options(CallBehavior::Answer) }).expect("1883 or another");
    let second = start(Options { listen: Listen::Default, ..options(CallBehavior::Answer) }).expect("another");
    assert_ne!(first.address(), second.address());
}

#[test]
fn a_root_that_the_broker_does_not_support_is_an_error() {
    for root in ["$SYS/rtcomm", &"x/".repeat(200)] {
        let mut options = options(CallBehavior::Answer);
        options.topics = Topics::from(root.parse::<Root>().expect("a root"));
        let error = start(options).expect_err(root).to_string();
        assert!(error.contains(root), "{error}");
    }
}

#[test]
fn call_behaviors_are_parsed() {
    assert_eq!("answer".parse(), Ok(CallBehavior::Answer));
    assert_eq!("fail".parse(), Ok(CallBehavior::Fail));
    assert_eq!("silent".parse(), Ok(CallBehavior::Silent));
    assert_eq!("delay=2s".parse(), Ok(CallBehavior::Delay(Duration::from_secs(2))));
    for wrong in ["", "no", "delay", "delay=", "delay=soon"] {
        assert!(wrong.parse::<CallBehavior>().expect_err(wrong).contains("'delay=2s'"));
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
