//! The demo's broker under load, and with a consumer that is killed.

use std::net::{Ipv4Addr, SocketAddr};
use std::thread;

use rustix::process::Signal;

use crate::rig::publisher::{TOPIC, payload};
use crate::rig::{LONG, Load, Recording, figures, wait_on};
use crate::support::mqtt::Message;
use crate::support::{Broker, rtcomm};

#[test]
#[ignore = "takes 10 s; make test-faults"]
fn two_hundred_thousand_messages_at_full_speed_all_arrive() {
    const COUNT: u64 = 200_000;
    let broker = Broker::demo();
    let mut recording = Recording::of(COUNT);
    let watch = rtcomm("watch --json --qos 0").at(&broker).start_onto(recording.open()).until_ready();
    let mut client = broker.client();
    let publishing = thread::spawn(move || {
        for n in 0..COUNT {
            client.send_message(&Message::new(TOPIC, payload(n)).with_qos(0));
        }
    });
    wait_on(&watch, "all messages", LONG, || recording.read().is_complete());
    publishing.join().expect("the publisher does not panic");
    watch.terminate();
    recording.read().check_is_whole();
}

#[test]
#[ignore = "takes 10 s; make test-faults"]
fn six_kills_of_a_durable_consumer_lose_nothing() {
    const COUNT: u64 = 20_000;
    for version in ["5", "3.1.1"] {
        let broker = Broker::demo();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, broker.port()));
        let mut recording = Recording::of(COUNT);
        let start = |recording: &Recording| {
            let watch = rtcomm("watch --json --durable archive --mqtt-version").arg(version).at(&broker);
            watch.start_onto(recording.open())
        };
        let mut watch = start(&recording).until_ready();
        let publisher = Load::to(address, 0..COUNT).per_second(4_000).start();
        for time in 1..=6 {
            wait_on(&watch, "its share", LONG, || recording.read().distinct() >= COUNT * time / 8);
            watch.signal(Signal::KILL);
            watch.end();
            watch = start(&recording);
        }
        publisher.finish(LONG);
        wait_on(&watch, "the rest", LONG, || recording.read().is_complete());
        watch.terminate();
        let counts = recording.read();
        counts.check_is_whole();
        let duplicates = counts.duplicates();
        figures(format_args!(
            "demo, MQTT {version}: 6 kills during {COUNT} messages: 0 missing, {duplicates} duplicates"
        ));
    }
}
