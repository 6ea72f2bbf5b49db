//! What is wrong with a packet. `commands` makes the message.

use super::PacketType;

/// A violation of the protocol by the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProtocolError {
    /// A packet has the reserved type 0.
    ReservedType,
    /// A packet of this type has a fault.
    Packet(PacketType, Fault),
}

impl ProtocolError {
    /// Makes the error of a packet of this type.
    pub(crate) fn new(packet: PacketType, fault: Fault) -> Self {
        Self::Packet(packet, fault)
    }
}

/// A fault of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It answers no PUBLISH.
    AnswersNoPublish,
    /// It answers no SUBSCRIBE.
    AnswersNoSubscribe,
    /// It answers no UNSUBSCRIBE.
    AnswersNoUnsubscribe,
    /// It came before the CONNACK.
    BeforeConnack,
    /// Only a client may send this packet.
    ClientOnly,
    /// It has QoS 0 and claims to be a duplicate.
    DuplicateWithQos0,
    /// It ends early.
    EndsEarly,
    /// A property that must be 0 or 1 is not.
    InvalidFlagProperty,
    /// A length ends early or takes more than 4 bytes.
    InvalidLength,
    /// Its Remaining Length takes more than 4 bytes.
    LengthTooLong,
    /// Its Maximum Packet Size is 0.
    MaximumPacketSizeZero,
    /// No authentication method was agreed on.
    NoAuthenticationMethod,
    /// Nothing was published with QoS 2.
    NoQos2Publication,
    /// It has no return codes.
    NoReturnCodes,
    /// It has no topic.
    NoTopic,
    /// It is not empty.
    NotEmpty,
    /// MQTT 3.1.1 does not have this packet.
    NotInMqtt311,
    /// A string contains a NUL.
    NulInString,
    /// Its topic contains a NUL.
    NulInTopic,
    /// Its packet identifier is 0.
    PacketIdentifierZero,
    /// Its properties are longer than the packet.
    PropertiesTooLong,
    /// It may not have one of its properties.
    PropertyNotAllowed,
    /// Its QoS is 3.
    Qos3,
    /// It may not have its reason code.
    ReasonCodeNotAllowed,
    /// Its Receive Maximum is 0.
    ReceiveMaximumZero,
    /// It refuses the connection and claims a session.
    RefusedWithSession,
    /// It came twice.
    Repeated,
    /// A property occurs twice.
    RepeatedProperty,
    /// Reserved flags are set.
    ReservedFlags,
    /// Its return code is reserved.
    ReservedReturnCode,
    /// A string is not UTF-8.
    StringNotUtf8,
    /// Its subscription identifier is 0.
    SubscriptionIdentifierZero,
    /// It is larger than this client accepts.
    TooLarge,
    /// It goes on after its last field.
    TooLong,
    /// It has more return codes than the SUBSCRIBE has filters.
    TooManyReturnCodes,
    /// It has a topic alias, which this client does not allow.
    TopicAlias,
    /// Its topic is not UTF-8.
    TopicNotUtf8,
    /// One of its properties is unknown.
    UnknownProperty,
    /// Its topic contains a wildcard.
    WildcardInTopic,
    /// The flags of its fixed header are wrong.
    WrongFlags,
}
