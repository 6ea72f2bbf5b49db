//! Tests of decoding: which packets of a broker are accepted.

use proptest::prelude::*;

use super::*;

/// Decodes a packet of this type with its fixed flags.
fn decode_as(version: Version, packet: PacketType, body: &[u8]) -> Result<Inbound<'_>, ProtocolError> {
    decode(version, packet.first_byte(), body)
}

/// Returns the body of a PUBLISH to the topic `t`, with these properties and this payload.
fn publish_v5(properties: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut body = vec![0, 1, b't'];
    put_length(&mut body, properties.len());
    body.extend_from_slice(properties);
    body.extend_from_slice(payload);
    body
}

#[test]
fn a_length_that_was_written_is_read_back() {
    for (length, bytes) in [(0, 1), (127, 1), (128, 2), (16_383, 2), (16_384, 3), (2_097_152, 4), (268_435_455, 4)] {
        let mut written = Vec::new();
        put_length(&mut written, length);
        assert_eq!((written.len(), take_length(&mut written.as_slice())), (bytes, Ok(length)));
        for end in 0..written.len() {
            assert!(take_length(&mut &written[..end]).is_err(), "{length} cut after {end} bytes");
        }
    }
    assert!(take_length(&mut &[0xff, 0xff, 0xff, 0xff, 1][..]).is_err(), "five bytes");
}

#[test]
fn an_incomplete_fixed_header_needs_more_bytes() {
    let header = FixedHeader::decode;
    assert_eq!(header(&[]), Ok(None));
    assert_eq!(header(&[0x30]), Ok(None));
    assert_eq!(header(&[0x30, 0x80]), Ok(None));
    assert_eq!(header(&[0x30, 0x80, 1]), Ok(Some(FixedHeader { first: 0x30, len: 3, remaining: 128 })));
    let too_long = ProtocolError::new(PacketType::Publish, Fault::LengthTooLong);
    assert_eq!(header(&[0x30, 0xff, 0xff, 0xff, 0xff]), Err(too_long));
    assert_eq!(header(&[0x00]), Err(ProtocolError::ReservedType));
}

#[test]
fn a_message_is_decoded_in_place() {
    let body = [0, 3, b'a', b'/', b'b', 1, 2, b'x', b'y'];
    let expected =
        Publish { topic: "a/b", qos: 1, retain: true, id: 0x0102, properties: Properties::default(), payload: b"xy" };
    assert_eq!(decode(Version::V311, 0x33, &body), Ok(Inbound::Publish(expected)));
}

#[test]
fn each_malformed_packet_has_its_own_error() {
    use PacketType::{Auth, Connack, Connect, Disconnect, Pingreq, Pingresp, Puback, Pubcomp, Pubrec, Pubrel};
    use PacketType::{Suback, Subscribe, Unsuback, Unsubscribe};
    use Version::{V5, V311};
    for (version, packet, body, fault) in [
        (V311, Suback, &[0, 1][..], Fault::NoReturnCodes),
        (V5, Suback, &[0, 1, 0], Fault::NoReturnCodes),
        (V311, Suback, &[0, 0, 0], Fault::PacketIdentifierZero),
        (V311, Suback, &[0], Fault::EndsEarly),
        (V311, Suback, &[0, 1, 3], Fault::ReservedReturnCode),
        (V5, Suback, &[0, 1, 0, 0x99], Fault::ReasonCodeNotAllowed),
        (V311, Connack, &[0], Fault::EndsEarly),
        (V311, Connack, &[2, 0], Fault::ReservedFlags),
        (V311, Connack, &[0, 6], Fault::ReservedReturnCode),
        (V311, Connack, &[1, 5], Fault::RefusedWithSession),
        (V311, Connack, &[0, 0, 0], Fault::TooLong),
        (V5, Connack, &[0, 0, 3, 0x21, 0, 0], Fault::ReceiveMaximumZero),
        (V5, Connack, &[0, 0, 2, 0x24, 2], Fault::InvalidFlagProperty),
        (V5, Connack, &[0, 0, 4, 0x24, 1, 0x24, 1], Fault::RepeatedProperty),
        (V5, Connack, &[0, 0, 2, 0x17, 1], Fault::PropertyNotAllowed),
        (V5, Connack, &[0, 0, 2, 0x7e, 1], Fault::UnknownProperty),
        (V5, Connack, &[0, 0, 9, 0x13, 1], Fault::PropertiesTooLong),
        (V5, Connack, &[0, 0, 2, 0x13, 1], Fault::EndsEarly),
        (V5, Connack, &[0, 0, 5, 0x1f, 0, 2, 0xff, 0xff], Fault::StringNotUtf8),
        (V5, Connack, &[0, 0, 5, 0x1f, 0, 2, b'a', 0], Fault::NulInString),
        (V311, Puback, &[0], Fault::EndsEarly),
        (V311, Puback, &[0, 1, 0], Fault::TooLong),
        (V5, Puback, &[0, 1, 0x86], Fault::ReasonCodeNotAllowed),
        (V5, Pubrel, &[0, 0], Fault::PacketIdentifierZero),
        (V311, Pubrec, &[0, 1], Fault::NoQos2Publication),
        (V311, Pubcomp, &[0, 1], Fault::NoQos2Publication),
        (V311, Unsuback, &[0, 1], Fault::AnswersNoUnsubscribe),
        (V311, Pingresp, &[0], Fault::NotEmpty),
        (V311, Connect, &[], Fault::ClientOnly),
        (V5, Subscribe, &[0, 1], Fault::ClientOnly),
        (V5, Unsubscribe, &[0, 1], Fault::ClientOnly),
        (V5, Pingreq, &[], Fault::ClientOnly),
        (V311, Disconnect, &[], Fault::ClientOnly),
        (V5, Disconnect, &[4], Fault::ReasonCodeNotAllowed),
        (V311, Auth, &[], Fault::NotInMqtt311),
        (V5, Auth, &[0x18, 0], Fault::NoAuthenticationMethod),
    ] {
        assert_eq!(decode_as(version, packet, body), Err(ProtocolError::new(packet, fault)), "{version} {body:?}");
    }
}

#[test]
fn each_malformed_message_has_its_own_error() {
    for (first, body, fault) in [
        (0x36, &[0, 1, b't', 0, 1][..], Fault::Qos3),
        (0x38, &[0, 1, b't'], Fault::DuplicateWithQos0),
        (0x32, &[0, 1, b't', 0, 0], Fault::PacketIdentifierZero),
        (0x32, &[0, 1, b't', 0], Fault::EndsEarly),
        (0x30, &[0, 0], Fault::NoTopic),
        (0x30, &[0, 9, b't'], Fault::EndsEarly),
        (0x30, &[0, 1, 0xff], Fault::TopicNotUtf8),
        (0x30, &[0, 1, 0], Fault::NulInTopic),
        (0x30, &[0, 1, b'+'], Fault::WildcardInTopic),
        (0x30, &[0, 3, b'a', b'/', b'#'], Fault::WildcardInTopic),
    ] {
        assert_eq!(decode(Version::V311, first, body), Err(ProtocolError::new(PacketType::Publish, fault)));
    }
    for (properties, fault) in [
        (&[0x23, 0, 1][..], Fault::TopicAlias),
        (&[0x0b, 0], Fault::SubscriptionIdentifierZero),
        (&[0x1f, 0, 1, b'x'], Fault::PropertyNotAllowed),
        (&[0x02], Fault::EndsEarly),
        (&[0x01, 2], Fault::InvalidFlagProperty),
    ] {
        let body = publish_v5(properties, b"{}");
        assert_eq!(decode(Version::V5, 0x30, &body), Err(ProtocolError::new(PacketType::Publish, fault)));
    }
}

#[test]
fn a_packet_with_wrong_flags_is_refused() {
    for (first, body) in [(0x60, &[0, 1][..]), (0x91, &[0, 1, 0]), (0x21, &[0, 0]), (0xd1, &[]), (0x42, &[0, 1])] {
        let error = decode(Version::V311, first, body).expect_err("wrong flags");
        assert!(matches!(error, ProtocolError::Packet(_, Fault::WrongFlags)), "{first:02x}: {error:?}");
    }
}

#[test]
fn subscription_identifiers_are_read_and_other_properties_are_skipped() {
    let mut properties = vec![0x0b, 0x80, 0x01, 0x26, 0, 1, b'k', 0, 1, b'v', 0x26, 0, 1, b'k', 0, 1, b'v', 0x0b, 7];
    properties.extend([0x03, 0, 1, b'j', 0x02, 0, 0, 0, 9]);
    let body = publish_v5(&properties, b"{}");
    let Ok(Inbound::Publish(message)) = decode(Version::V5, 0x30, &body) else { panic!("well-formed") };
    assert_eq!(message.properties.subscription_identifiers().collect::<Vec<_>>(), [128, 7]);
    assert_eq!(message.payload, b"{}");
}

#[test]
fn a_short_acknowledgement_means_success() {
    for (version, body) in [(Version::V311, &[0, 7][..]), (Version::V5, &[0, 7]), (Version::V5, &[0, 7, 0])] {
        let expected = Acknowledgement { id: 7, reason: ReasonCode::SUCCESS, properties: Properties::default() };
        assert_eq!(decode_as(version, PacketType::Puback, body), Ok(Inbound::Puback(expected)));
    }
    let denied = [0, 7, 0x87, 6, 0x1f, 0, 3, b'a', b'c', b'l'];
    let Ok(Inbound::Puback(answer)) = decode_as(Version::V5, PacketType::Puback, &denied) else {
        panic!("well-formed")
    };
    assert_eq!((answer.reason, answer.properties.reason_string()), (ReasonCode::NOT_AUTHORIZED, Some("acl")));
}

#[test]
fn the_head_of_a_large_message_is_enough_for_its_acknowledgement() {
    let body = [0, 2, b'a', b'b', 0, 9, b'x'];
    assert_eq!(publish_head(0x32, &body[..5]), Ok(None));
    assert_eq!(publish_head(0x32, &body[..6]), Ok(Some(("ab", 9))));
    assert_eq!(publish_head(0x30, &body[..4]), Ok(Some(("ab", 0))), "QoS 0 has no packet identifier");
    assert!(publish_head(0x32, &[0, 1, b'#', 0, 9]).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_decoded_or_refused(
        first in any::<u8>(),
        body in prop::collection::vec(any::<u8>(), 0..80),
        is_v5 in any::<bool>(),
    ) {
        let version = if is_v5 { Version::V5 } else { Version::V311 };
        if let Ok(Inbound::Publish(message)) = decode(version, first, &body) {
            // Every accepted property can be read again.
            prop_assert!(message.properties.iter().count() <= body.len());
            prop_assert!(message.payload.len() < body.len());
        }
    }

    #[test]
    fn a_message_that_is_cut_anywhere_in_its_head_is_refused(
        topic in "[a-z/]{1,20}",
        numbers in prop::collection::vec(1..1000_usize, 0..4),
        payload in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let mut properties = Vec::new();
        for number in &numbers {
            properties.push(0x0b);
            put_length(&mut properties, *number);
        }
        let mut body = Vec::new();
        put_binary(&mut body, topic.as_bytes());
        body.extend([0, 1]);
        put_length(&mut body, properties.len());
        body.extend_from_slice(&properties);
        let head = body.len();
        body.extend_from_slice(&payload);
        let Ok(Inbound::Publish(message)) = decode(Version::V5, 0x32, &body) else { panic!("it is well-formed") };
        let read: Vec<usize> = message.properties.subscription_identifiers().map(|it| it as usize).collect();
        prop_assert_eq!((message.topic, message.payload, read), (topic.as_str(), payload.as_slice(), numbers));
        for end in 0..head {
            prop_assert!(decode(Version::V5, 0x32, &body[..end]).is_err(), "cut after {} of {}", end, head);
        }
    }
}
