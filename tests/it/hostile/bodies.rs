//! Properties that hold for any input. The tests run them on a corpus and random input, and `fuzz/` runs them as targets.
//!
//! Each function takes one input, and panics if a property does not hold.

use std::borrow::Cow;

use rtcomm::internals::{self, Pretty};
use rtcomm::protocol::anonymize::Anonymizer;
use rtcomm::protocol::cdr::CallRecorder;
use rtcomm::protocol::event::Event;
use rtcomm::protocol::fields::Fields;
use rtcomm::protocol::filter::Filter;
use rtcomm::protocol::record::{Content, Entry, Message, Payload, Record};
use rtcomm::protocol::topic::{EndpointId, EventTopic, Root, TopicFilter, TopicName, Topics, disjoint, intersect};
use serde_json::value::RawValue;

/// Checks a topic, or filters and a topic, one per line.
pub(crate) fn topic(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for root in ["/rtcomm/event", "a", "/"] {
        let root: Root = root.parse().expect("a root");
        match EventTopic::parse(&root, text) {
            Ok(topic) => assert_eq!(topic.under(&root), text, "a parsed topic is formatted as it was"),
            Err(error) => is_safe(&internals::shown(&error.to_string())),
        }
    }
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    let (second, topic) = rest.split_once('\n').unwrap_or((rest, "/rtcomm/event/session/started/a/b"));
    for text in [first, second, topic] {
        if let Ok(name) = text.parse::<TopicName>()
            && !text.starts_with("$share/")
        {
            assert!(name.and_below().matches(text) && text.parse::<TopicFilter>().is_ok(), "a name is also a filter");
        }
        if let Ok(id) = text.parse::<EndpointId>() {
            let root: Root = "r".parse().expect("a root");
            let topic = format!("r/registration/started/{id}");
            assert_eq!(EventTopic::parse(&root, &topic).map(|it| it.from), Ok(text), "an ID is one level");
        }
    }
    let filters: Vec<TopicFilter> = [first, second].iter().filter_map(|text| text.parse().ok()).collect();
    for filter in &filters {
        assert_eq!(filter.as_str().parse().as_ref(), Ok(filter), "a filter is parsed as it is formatted");
        let _ = filter.matches(topic);
    }
    let covering = disjoint(&filters);
    for filter in filters.iter().filter(|filter| filter.matches(topic)) {
        assert!(covering.iter().any(|it| it.matches(topic)), "{filter} is covered for {topic:?}");
    }
    if let [a, b] = &filters[..]
        && a.matches(topic)
        && b.matches(topic)
    {
        assert!(intersect(a, b), "{a} and {b} both match {topic:?}");
    }
}

/// Checks an event: a topic on the first line, and a payload.
pub(crate) fn event(bytes: &[u8]) {
    let (topic, payload) = message(bytes);
    let topics = topics();
    match Event::decode(&topics.events, &topic, payload) {
        Ok(event) => {
            assert!(Filter::default().matches(&event), "an empty filter matches every event");
            for field in [event.fields.reason, event.fields.app_context, event.fields.sig_sess_id].into_iter().flatten()
            {
                is_safe(&internals::shown(&field.text()));
            }
        }
        Err(error) => is_safe(&internals::shown(&error.to_string())),
    }
    let record = record_of(&topics, &topic, payload);
    let line = written(&record);
    let Ok(Entry::Message(read)) = Entry::parse(&line) else { panic!("a written line is parsed: {line:?}") };
    // Whitespace around a payload is not part of it. It is written once, and not read back.
    let line = written(&read.record());
    assert_eq!(written_again(&line), line, "a line that is read and written stays the same");
    let again = read.record();
    assert_eq!((again.topic, again.qos, again.retain), (&*topic, 1, false), "nothing is lost");
    match (record.payload, again.payload) {
        (Payload::Json(before), Payload::Json(after)) => {
            let before = before.replace(['\n', '\r'], " ");
            assert_eq!(before.trim_ascii(), after, "the payload's own bytes");
        }
        (before, after) => assert_eq!(before, after, "the payload's own bytes"),
    }
}

/// Checks a recorded line.
pub(crate) fn record(bytes: &[u8]) {
    anonymized_is_a_record(bytes);
    match Entry::parse(bytes) {
        Ok(Entry::Message(read)) => {
            let line = written(&read.record());
            assert_eq!(written_again(&line), line, "a line that is read and written stays the same");
            pretty_is_safe(|pretty, line| pretty.record(&read.record(), line));
        }
        Ok(Entry::Connection(read)) => {
            let mut line = Vec::new();
            read.write_line(&mut line);
            is_json_line(&line);
            let Ok(Entry::Connection(again)) = Entry::parse(&line) else {
                panic!("a written line is parsed: {line:?}")
            };
            let mut second = Vec::new();
            again.write_line(&mut second);
            assert_eq!(second, line, "a line that is read and written stays the same");
            pretty_is_safe(|pretty, line| pretty.status(&read, line));
        }
        Ok(Entry::Absence(read)) => {
            let mut line = Vec::new();
            read.write_line(&mut line);
            is_json_line(&line);
            assert!(matches!(Entry::parse(&line), Ok(Entry::Absence(again)) if again == read), "nothing is lost");
            pretty_is_safe(|pretty, line| pretty.absence(&read, line));
        }
        Ok(Entry::Call(read)) => {
            let mut line = Vec::new();
            read.write_line(&mut line);
            is_json_line(&line);
            let Ok(Entry::Call(again)) = Entry::parse(&line) else { panic!("a written line is parsed: {line:?}") };
            let mut second = Vec::new();
            again.write_line(&mut second);
            assert_eq!(second, line, "a line that is read and written stays the same");
            pretty_is_safe(|pretty, line| pretty.call(&read, line));
        }
        Err(error) => is_safe(&internals::shown(&error.to_string())),
    }
}

/// Asserts that a record is one line and a record without its names too, and gives the same calls.
fn anonymized_is_a_record(bytes: &[u8]) {
    let (Ok(entry), Ok(text)) = (Entry::parse(bytes), std::str::from_utf8(bytes)) else { return };
    if !entry.is_readable() {
        return;
    }
    let mut line = Vec::new();
    let root: Root = "/rtcomm".parse().expect("a root");
    Anonymizer::new(Topics::from(root)).write(text, &mut line);
    let Ok(anonymized) = Entry::parse(&line) else { panic!("it became {:?}", String::from_utf8_lossy(&line)) };
    assert_eq!(anonymized.received(), entry.received());
    let outcomes = [&entry, &anonymized].map(|entry| {
        let mut recorder = CallRecorder::new(std::time::Duration::from_secs(1));
        recorder.entry(entry);
        recorder.finish();
        recorder.next_record().map(|record| (record.outcome, record.incomplete, record.started, record.ended))
    });
    assert_eq!(outcomes[0], outcomes[1]);
}

/// Checks a broker's URL.
pub(crate) fn broker_url(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match internals::broker_url(text) {
        Ok(url) => {
            assert_eq!(internals::broker_url(&url).as_ref(), Ok(&url), "a URL is parsed as it is formatted");
            assert!(!text.contains('@'), "a URL with credentials is rejected: {text:?}");
            is_safe(&internals::shown(&url));
        }
        Err(error) => {
            let is_quoted = text.split_once('@').is_some_and(|(secret, _)| secret.len() > 8 && error.contains(secret));
            assert!(!is_quoted, "text before an @ is not quoted: {error}");
            is_safe(&internals::shown(&error));
        }
    }
}

/// Checks pretty lines: a topic on the first line, and a payload.
pub(crate) fn pretty(bytes: &[u8]) {
    let (topic, payload) = message(bytes);
    let record = record_of(&topics(), &topic, payload);
    pretty_is_safe(|pretty, line| pretty.record(&record, line));
    // Replies and requests have other columns.
    let record = Record { content: Content::Other, retain: true, ..record };
    pretty_is_safe(|pretty, line| pretty.record(&record, line));
    // Fields alone.
    if let Ok(fields) = Fields::read(payload) {
        for field in [fields.method, fields.orig, fields.result, fields.alias].into_iter().flatten() {
            is_safe(&internals::shown(&field.text()));
        }
    }
}

/// Checks the relay on packets of a broker.
///
/// The first byte selects version, filters, packet size and whether a CONNACK comes first. The second one selects where the
/// reads end.
pub(crate) fn relay(bytes: &[u8]) {
    let [options, seed, packets @ ..] = bytes else { return };
    let [is_v5, overlaps, is_limited, is_connected] = [0, 1, 2, 3].map(|bit| options >> bit & 1 == 1);
    let filters = if overlaps { &["a/+", "+/b"][..] } else { &["#"] };
    let filters: Vec<TopicFilter> = filters.iter().map(|text| text.parse().expect("a filter")).collect();
    let max_packet_size = if is_limited { 100 } else { 1 << 20 };
    let connack: &[u8] = match (is_connected, is_v5) {
        (false, _) => &[],
        (true, false) => &[0x20, 2, 0, 0],
        (true, true) => &[0x20, 3, 0, 0, 0],
    };
    let stream = [connack, packets].concat();
    let run = |pieces: Vec<&[u8]>| {
        internals::relay(is_v5, max_packet_size, &filters, pieces).expect("there are file descriptors")
    };
    let relayed = run(vec![&stream]);
    assert_eq!(run(cut(&stream, *seed)), relayed, "it does not matter where reads end");
    for (topic, qos, _) in &relayed.messages {
        assert!(!topic.is_empty() && !topic.contains(['+', '#', '\0']) && *qos <= 2, "a message is valid: {topic:?}");
    }
    let (mut acknowledgements, mut to_library, mut messages) = (Vec::new(), Vec::new(), 0);
    for (packet, body) in split_packets(&stream).skip(1) {
        match (packet[0] >> 4, packet[0] >> 1 & 3) {
            (3, qos) => {
                let Some(acknowledgement) = acknowledgement(qos, body) else { break };
                acknowledgements.extend(acknowledgement);
                messages += usize::from(qos < 2 && packet.len() <= max_packet_size);
            }
            (4, _) => to_library.extend_from_slice(packet),
            (6, _) => acknowledgements.extend([&[0x70, 2], body.get(..2).unwrap_or_default()].concat()),
            (9, _) => to_library.extend_from_slice(packet),
            _ => {}
        }
    }
    // Everything before a protocol error is acknowledged and forwarded, and nothing after it.
    assert!(
        acknowledgements.starts_with(&relayed.acknowledgements),
        "acknowledgements are in the order of the packets"
    );
    assert!(to_library.starts_with(&relayed.to_library), "packets are forwarded in their order");
    if relayed.end.is_none() {
        assert_eq!(relayed.acknowledgements, acknowledgements, "every message is acknowledged");
        assert_eq!(relayed.to_library, to_library, "every answer is forwarded");
        // A message with QoS 2 may be a duplicate.
        let handled = relayed.messages.iter().filter(|(_, qos, payload)| *qos < 2 && payload.is_some()).count();
        assert!(overlaps || handled == messages, "every message is handled: {handled} of {messages}");
    }
    for (packet, body) in split_packets(&relayed.to_library).filter(|(packet, _)| packet[0] == 0x90) {
        let properties = if is_v5 { length(&body[2..]).map_or(0, |(len, size)| size + len) } else { 0 };
        assert!(body.len() > 2 + properties, "a SUBACK has return codes: {packet:?}");
    }
}

/// Cuts a stream into pieces of 1 to 64 bytes, or of one byte each for seed 0.
fn cut(stream: &[u8], seed: u8) -> Vec<&[u8]> {
    let (mut rest, mut pieces, mut state) = (stream, Vec::new(), u32::from(seed));
    while !rest.is_empty() {
        // A linear congruential generator; 0 stays 0 without an increment.
        state = state.wrapping_mul(1_664_525);
        let (piece, later) = rest.split_at(rest.len().min(1 + (state >> 16) as usize % 64));
        pieces.push(piece);
        rest = later;
    }
    pieces
}

/// Splits a stream into its complete packets: the whole packet, and its body.
fn split_packets(mut stream: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    std::iter::from_fn(move || {
        let (len, size) = length(stream.get(1..)?)?;
        let (packet, rest) = stream.split_at_checked(1 + size + len)?;
        stream = rest;
        Some((packet, &packet[1 + size..]))
    })
}

/// Decodes a variable byte integer. Returns it and its size.
fn length(bytes: &[u8]) -> Option<(usize, usize)> {
    let size = 1 + bytes.iter().take(4).position(|byte| byte & 0x80 == 0)?;
    Some((bytes[..size].iter().rev().fold(0, |length, byte| length << 7 | usize::from(byte & 0x7f)), size))
}

/// Returns the expected acknowledgement of a PUBLISH with this body.
fn acknowledgement(qos: u8, body: &[u8]) -> Option<Vec<u8>> {
    let topic_len = usize::from(*body.first()?) << 8 | usize::from(*body.get(1)?);
    let after_topic = body.get(2 + topic_len..)?;
    match qos {
        0 => Some(Vec::new()),
        1 => Some([&[0x40, 2], after_topic.get(..2)?].concat()),
        _ => Some([&[0x50, 2], after_topic.get(..2)?].concat()),
    }
}

fn message(bytes: &[u8]) -> (Cow<'_, str>, &[u8]) {
    let at = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let payload = bytes.get(at + 1..).unwrap_or_default();
    let topic = String::from_utf8_lossy(&bytes[..at]);
    let topic = match topic.strip_prefix('!') {
        // A random topic is rarely that of an event.
        None => format!("/rtcomm/event/session/failed/a/{topic}").into(),
        Some(_) => topic,
    };
    (topic, payload)
}

fn topics() -> Topics {
    Topics::from("/rtcomm".parse::<Root>().expect("a root"))
}

fn record_of<'a>(topics: &Topics, topic: &'a str, payload: &'a [u8]) -> Record<'a> {
    let received = "2026-11-23T03:34:12.798558Z".parse().expect("a time");
    Record::of(topics, &Message { received, topic, qos: 1, retain: false, payload })
}

fn written(record: &Record<'_>) -> Vec<u8> {
    let mut line = Vec::new();
    record.write_line(&mut line);
    is_json_line(&line);
    line
}

fn written_again(line: &[u8]) -> Vec<u8> {
    match Entry::parse(line) {
        Ok(Entry::Message(read)) => written(&read.record()),
        _ => panic!("a written line is parsed: {:?}", String::from_utf8_lossy(line)),
    }
}

/// Asserts that `line` is one line of UTF-8 with a JSON object.
fn is_json_line(line: &[u8]) {
    let text = std::str::from_utf8(line).expect("a line is UTF-8");
    let text = text.strip_suffix('\n').expect("a line ends");
    assert!(!text.contains(['\n', '\r']), "one line: {text:?}");
    let value: &RawValue = serde_json::from_str(text).expect("a line is JSON");
    assert!(value.get().starts_with('{'), "an object: {text:?}");
}

/// Asserts that the printed line has no control characters except our own color sequences.
fn pretty_is_safe(print: impl Fn(&mut Pretty, &mut Vec<u8>)) {
    for color in [false, true] {
        let sphere: Root = "/rtcomm/sphere".parse().expect("a root");
        let mut line = Vec::new();
        print(&mut Pretty::new(color, sphere), &mut line);
        let line = String::from_utf8(line).expect("a line is UTF-8");
        let line = line.strip_suffix('\n').expect("a line ends");
        is_safe(&if color { without_colors(line) } else { line.into() });
    }
}

/// Removes our own color sequences, `ESC [ number m`.
pub(crate) fn without_colors(line: &str) -> Cow<'_, str> {
    if !line.contains('\u{1b}') {
        return line.into();
    }
    let mut pieces = line.split("\u{1b}[");
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (number, rest) = piece.split_once('m').unwrap_or(("", "\u{1b}"));
        assert!(matches!(number, "0" | "2" | "31" | "32" | "33" | "36"), "not one of our colors: {number:?}");
        plain.push_str(rest);
    }
    plain.into()
}

/// Asserts that a text has no control, bidirectional or invisible characters. Independent of the tool's own table.
pub(crate) fn is_safe(text: &str) {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return;
    }
    let is_found = |c: &char| {
        c.is_control()
            || matches!(u32::from(*c),
                // soft hyphen, grapheme joiner, Arabic letter mark
                0xad | 0x34f | 0x61c
                // zero width space, joiners and marks; line and paragraph; bidirectional embeddings and overrides
                | 0x200b..=0x200f | 0x2028..=0x202e
                // word joiner, invisible operators, bidirectional isolates, deprecated format characters
                | 0x2060..=0x206f
                // fillers, variation selectors, byte order mark, interlinear annotations
                | 0x115f | 0x1160 | 0x3164 | 0xffa0 | 0xfe00..=0xfe0f | 0xfeff | 0xfff9..=0xfffb
                // musical format characters, tags and the other variation selectors
                | 0x1d173..=0x1d17a | 0xe0000..=0xe01ef)
    };
    let is_in_emoji = |c: &char| matches!(c, '\u{200d}' | '\u{fe0f}') && is_part_of_emoji(text, *c);
    let found = text.chars().find(|c| is_found(c) && !is_in_emoji(c));
    assert!(found.is_none(), "{found:?} in {text:?}");
}

/// Whether every `c` follows a symbol, or a key and precedes its cap, and no joiner is the last character.
fn is_part_of_emoji(text: &str, c: char) -> bool {
    let chars: Vec<char> = text.chars().collect();
    (0..chars.len()).filter(|at| chars[*at] == c).all(|at| {
        let before = at.checked_sub(1).map_or(' ', |at| chars[at]);
        let after = chars.get(at + 1).copied();
        let is_symbol = |c: char| !c.is_ascii() && !c.is_alphanumeric();
        is_symbol(before) && (c == '\u{fe0f}' || after.is_some_and(is_symbol)) || after == Some('\u{20e3}')
    })
}
