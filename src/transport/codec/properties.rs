//! Decodes MQTT 5 properties (MQTT 5, 2.2.2).

use super::{Fault, PacketType, take_array, take_binary, take_length, take_properties, take_string};

/// The validated properties of a packet: each is well-formed and allowed in that packet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Properties<'a>(&'a [u8]);

/// A property that a server may send. Those that we do not use are validated and decoded as `Other`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Property<'a> {
    SubscriptionIdentifier(u32),
    /// In seconds; 4,294,967,295 means never.
    SessionExpiryInterval(u32),
    AssignedClientIdentifier(&'a str),
    /// In seconds; 0 means none.
    ServerKeepAlive(u16),
    ServerReference(&'a str),
    ReasonString(&'a str),
    ReceiveMaximum(u16),
    /// 0 or 1.
    MaximumQos(u8),
    RetainAvailable(bool),
    /// In bytes.
    MaximumPacketSize(u32),
    WildcardSubscriptionAvailable(bool),
    SubscriptionIdentifiersAvailable(bool),
    SharedSubscriptionAvailable(bool),
    Other,
}

const USER_PROPERTY: u8 = 0x26;
const SUBSCRIPTION_IDENTIFIER: u8 = 0x0b;

impl<'a> Properties<'a> {
    /// Takes the properties at the start of `body`, and validates each of them for this packet.
    ///
    /// # Errors
    /// If a property is incomplete, unknown, not allowed in this packet, or repeated.
    pub(super) fn decode(packet: PacketType, body: &mut &'a [u8]) -> Result<Self, Fault> {
        // Fast path: nearly every message has no properties.
        if let Some((0, rest)) = body.split_first() {
            *body = rest;
            return Ok(Self::default());
        }
        let bytes = take_properties(body)?;
        let (mut rest, mut seen) = (bytes, 0_u64);
        while let Some(&identifier) = rest.first() {
            check_place(packet, identifier)?;
            let bit = 1 << identifier;
            let may_repeat = identifier == USER_PROPERTY || identifier == SUBSCRIPTION_IDENTIFIER;
            if seen & bit != 0 && !may_repeat {
                return Err(Fault::RepeatedProperty);
            }
            seen |= bit;
            take_property(&mut rest)?;
        }
        Ok(Self(bytes))
    }

    /// Returns the properties in order.
    pub(crate) fn iter(self) -> impl Iterator<Item = Property<'a>> {
        let mut rest = self.0;
        // They are validated, so this never ends early.
        std::iter::from_fn(move || take_property(&mut rest).ok())
    }

    /// Returns the identifiers of the subscriptions that the message matches.
    pub(crate) fn subscription_identifiers(self) -> impl Iterator<Item = u32> {
        self.iter().filter_map(|property| match property {
            Property::SubscriptionIdentifier(number) => Some(number),
            _ => None,
        })
    }

    /// Returns the Reason String: the broker's message for people.
    pub(crate) fn reason_string(self) -> Option<&'a str> {
        self.iter().find_map(|property| match property {
            Property::ReasonString(text) => Some(text),
            _ => None,
        })
    }

    /// Returns the Server Reference: another server to use.
    pub(crate) fn server_reference(self) -> Option<&'a str> {
        self.iter().find_map(|property| match property {
            Property::ServerReference(text) => Some(text),
            _ => None,
        })
    }
}

/// Checks that a server may send this property in this packet (MQTT 5, table 2-4).
fn check_place(packet: PacketType, identifier: u8) -> Result<(), Fault> {
    use PacketType as Packet;
    let is_allowed = match identifier {
        0x01..=0x03 | 0x08 | 0x09 | SUBSCRIPTION_IDENTIFIER => packet == Packet::Publish,
        // We announce a Topic Alias Maximum of 0 [MQTT-3.1.2-26].
        0x23 if packet == Packet::Publish => return Err(Fault::TopicAlias),
        0x11..=0x13 | 0x15 | 0x16 | 0x1a | 0x21 | 0x22 | 0x24 | 0x25 | 0x27..=0x2a => packet == Packet::Connack,
        0x1c => matches!(packet, Packet::Connack | Packet::Disconnect),
        0x1f => packet != Packet::Publish,
        USER_PROPERTY => true,
        0x17 | 0x18 | 0x19 | 0x23 => false,
        _ => return Err(Fault::UnknownProperty),
    };
    if is_allowed { Ok(()) } else { Err(Fault::PropertyNotAllowed) }
}

/// Takes a property, beginning with its identifier. Identifiers are single bytes: none is above 0x7f.
fn take_property<'a>(from: &mut &'a [u8]) -> Result<Property<'a>, Fault> {
    let [identifier] = take_array(from)?;
    Ok(match identifier {
        0x01 => {
            take_flag(from)?;
            Property::Other
        }
        0x02 => {
            take_array::<4>(from)?;
            Property::Other
        }
        0x03 | 0x08 | 0x15 | 0x1a => {
            take_string(from)?;
            Property::Other
        }
        0x09 | 0x16 => {
            take_binary(from)?;
            Property::Other
        }
        SUBSCRIPTION_IDENTIFIER => match take_length(from)? {
            0 => return Err(Fault::SubscriptionIdentifierZero),
            number => Property::SubscriptionIdentifier(u32::try_from(number).unwrap_or(u32::MAX)),
        },
        0x11 => Property::SessionExpiryInterval(u32::from_be_bytes(take_array(from)?)),
        0x12 => Property::AssignedClientIdentifier(take_string(from)?),
        0x13 => Property::ServerKeepAlive(u16::from_be_bytes(take_array(from)?)),
        0x1c => Property::ServerReference(take_string(from)?),
        0x1f => Property::ReasonString(take_string(from)?),
        0x21 => match u16::from_be_bytes(take_array(from)?) {
            0 => return Err(Fault::ReceiveMaximumZero),
            number => Property::ReceiveMaximum(number),
        },
        0x22 => {
            take_array::<2>(from)?;
            Property::Other
        }
        0x24 => Property::MaximumQos(take_flag(from)?.into()),
        0x25 => Property::RetainAvailable(take_flag(from)?),
        USER_PROPERTY => {
            take_string(from)?;
            take_string(from)?;
            Property::Other
        }
        0x27 => match u32::from_be_bytes(take_array(from)?) {
            0 => return Err(Fault::MaximumPacketSizeZero),
            size => Property::MaximumPacketSize(size),
        },
        0x28 => Property::WildcardSubscriptionAvailable(take_flag(from)?),
        0x29 => Property::SubscriptionIdentifiersAvailable(take_flag(from)?),
        0x2a => Property::SharedSubscriptionAvailable(take_flag(from)?),
        _ => return Err(Fault::UnknownProperty),
    })
}

/// Takes a byte that must be 0 or 1.
fn take_flag(from: &mut &[u8]) -> Result<bool, Fault> {
    match take_array(from)? {
        [0] => Ok(false),
        [1] => Ok(true),
        [_] => Err(Fault::InvalidFlagProperty),
    }
}
