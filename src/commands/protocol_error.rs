//! Messages about packets that violate the protocol.

use crate::transport::codec::{Fault, PacketType, ProtocolError};

/// Returns what the broker sent. It completes "the broker sent ".
pub(super) fn describe_violation(error: ProtocolError) -> String {
    match error {
        ProtocolError::ReservedType => "a packet of the reserved type 0".to_owned(),
        ProtocolError::Packet(packet, fault) => {
            let has_vowel = matches!(packet, PacketType::Auth | PacketType::Unsuback | PacketType::Unsubscribe);
            let article = if has_vowel { "an" } else { "a" };
            format!("{article} {packet} {}", describe_fault(fault))
        }
    }
}

/// Returns what is wrong with a packet. It completes "a PUBLISH ".
fn describe_fault(fault: Fault) -> &'static str {
    match fault {
        Fault::AnswersNoPublish => "that answers no PUBLISH",
        Fault::AnswersNoSubscribe => "that answers no SUBSCRIBE",
        Fault::AnswersNoUnsubscribe => "that answers no UNSUBSCRIBE",
        Fault::BeforeConnack => "before its CONNACK",
        Fault::ClientOnly => "which only a client may send",
        Fault::DuplicateWithQos0 => "with QoS 0 that claims to be a duplicate",
        Fault::EndsEarly => "ends early",
        Fault::InvalidFlagProperty => "with a property that must be 0 or 1",
        Fault::InvalidLength => "with a length that ends early or takes more than 4 bytes",
        Fault::LengthTooLong => "whose length takes more than 4 bytes",
        Fault::MaximumPacketSizeZero => "with Maximum Packet Size 0",
        Fault::NoAuthenticationMethod => "but no authentication method was agreed on",
        Fault::NoQos2Publication => "but nothing was published with QoS 2",
        Fault::NoReturnCodes => "without return codes",
        Fault::NoTopic => "without a topic",
        Fault::NotEmpty => "that is not empty",
        Fault::NotInMqtt311 => "which MQTT 3.1.1 does not have",
        Fault::NulInString => "with a NUL in a string",
        Fault::NulInTopic => "with a NUL in its topic",
        Fault::PacketIdentifierZero => "with packet identifier 0",
        Fault::PropertiesTooLong => "whose properties are longer than the packet",
        Fault::PropertyNotAllowed => "with a property that it may not have",
        Fault::Qos3 => "with QoS 3",
        Fault::ReasonCodeNotAllowed => "with a reason code that it may not have",
        Fault::ReceiveMaximumZero => "with Receive Maximum 0",
        Fault::RefusedWithSession => "that refuses the connection and claims a session",
        Fault::Repeated => "twice",
        Fault::RepeatedProperty => "that repeats a property",
        Fault::ReservedFlags => "with reserved flags",
        Fault::ReservedReturnCode => "with a reserved return code",
        Fault::StringNotUtf8 => "with a string that is not UTF-8",
        Fault::SubscriptionIdentifierZero => "with subscription identifier 0",
        Fault::TooLarge => "that is larger than we accept",
        Fault::TooLong => "that is too long",
        Fault::TooManyReturnCodes => "with more return codes than the SUBSCRIBE has filters",
        Fault::TopicAlias => "with a topic alias, which we do not allow",
        Fault::TopicNotUtf8 => "whose topic is not UTF-8",
        Fault::UnknownProperty => "with an unknown property",
        Fault::WildcardInTopic => "with a wildcard in its topic",
        Fault::WrongFlags => "with wrong flags",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_violation_is_described_with_its_packet() {
        for (error, text) in [
            (ProtocolError::ReservedType, "a packet of the reserved type 0"),
            (ProtocolError::new(PacketType::Suback, Fault::NoReturnCodes), "a SUBACK without return codes"),
            (ProtocolError::new(PacketType::Connack, Fault::Repeated), "a CONNACK twice"),
            (
                ProtocolError::new(PacketType::Unsuback, Fault::AnswersNoUnsubscribe),
                "an UNSUBACK that answers no UNSUBSCRIBE",
            ),
            (ProtocolError::new(PacketType::Auth, Fault::NotInMqtt311), "an AUTH which MQTT 3.1.1 does not have"),
        ] {
            assert_eq!(describe_violation(error), text);
        }
    }
}
