//! Micro-benchmarks: the time per event of each step from the MQTT message to the printed line, and back.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use jiff::Timestamp;
use rtcomm::internals::Pretty;
use rtcomm::protocol::event::Event;
use rtcomm::protocol::filter::{Filter, FilterSpec};
use rtcomm::protocol::record::{Entry, Message, Record};
use rtcomm::protocol::topic::{Action, Category, EventTopic, Root, Topics};

const TOPIC: &str = "/rtcomm/event/session/failed/iggy_pop_73519/sip:user21844@xyz.com";

const PAYLOAD: &str = r#"{"method":"RTCOMM_EVENT_FIRED","rtcommVer":"v1.0.0","timestamp":"2026-11-23 03:34:12.798","appContext":"XYZ video app","reason":"callee is busy","sigSessID":"6a1f9f3e-2d0b-4c35-8a53-0d9d5b1f5f10"}"#;

fn core(criterion: &mut Criterion) {
    let topics = Topics::from("/rtcomm".parse::<Root>().expect("a root"));
    let root = topics.events.clone();
    let message = Message {
        received: "2026-11-23T03:34:12.798558Z".parse::<Timestamp>().expect("a time"),
        topic: TOPIC,
        qos: 1,
        retain: false,
        payload: PAYLOAD.as_bytes(),
    };
    let event = Event::decode(&root, TOPIC, PAYLOAD.as_bytes()).expect("an event");
    let filter = Filter::new(FilterSpec {
        categories: vec![Category::Session],
        actions: vec![Action::Failed],
        from: vec!["iggy_pop_73519".parse().expect("an endpoint ID")],
        ..FilterSpec::default()
    });
    let filter = filter.expect("a filter that can match");
    let record = Record::of(&topics, &message);
    let mut line = Vec::new();
    record.write_line(&mut line);
    let mut pretty = Pretty::new(false, "/rtcomm/sphere".parse().expect("a root"));
    let mut out = Vec::with_capacity(64 * 1024);

    let mut group = criterion.benchmark_group("core");
    group.throughput(Throughput::Elements(1));
    group.bench_function("topic parse", |it| it.iter(|| EventTopic::parse(&root, black_box(TOPIC)).is_ok()));
    group.bench_function("event decode", |it| {
        it.iter(|| Event::decode(&root, black_box(TOPIC), black_box(PAYLOAD.as_bytes())).is_ok());
    });
    group.bench_function("filter match", |it| it.iter(|| filter.matches(black_box(&event))));
    group.bench_function("record of a message", |it| {
        it.iter(|| Record::of(&topics, black_box(&message)).event().is_some());
    });
    group.bench_function("record write", |it| {
        it.iter(|| {
            out.clear();
            black_box(&record).write_line(&mut out);
        });
    });
    group.bench_function("record parse", |it| it.iter(|| Entry::parse(black_box(&line)).is_ok()));
    group.bench_function("pretty line", |it| {
        it.iter(|| {
            out.clear();
            pretty.record(black_box(&record), &mut out);
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    targets = core
}
criterion_main!(benches);
