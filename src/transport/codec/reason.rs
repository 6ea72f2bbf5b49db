//! Reason codes (MQTT 5, 2.4).

use std::fmt;

use super::{Fault, PacketType, Version};

/// A reason code. Codes from 0x80 are refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReasonCode(pub(crate) u8);

impl ReasonCode {
    pub(crate) const SUCCESS: Self = Self(0x00);
    pub(crate) const NO_MATCHING_SUBSCRIBERS: Self = Self(0x10);
    pub(crate) const UNSPECIFIED: Self = Self(0x80);
    pub(crate) const PROTOCOL_ERROR: Self = Self(0x82);
    pub(crate) const IMPLEMENTATION_SPECIFIC: Self = Self(0x83);
    pub(crate) const UNSUPPORTED_PROTOCOL_VERSION: Self = Self(0x84);
    pub(crate) const CLIENT_IDENTIFIER_NOT_VALID: Self = Self(0x85);
    pub(crate) const BAD_USER_NAME_OR_PASSWORD: Self = Self(0x86);
    pub(crate) const NOT_AUTHORIZED: Self = Self(0x87);
    pub(crate) const SERVER_UNAVAILABLE: Self = Self(0x88);
    pub(crate) const SERVER_BUSY: Self = Self(0x89);
    pub(crate) const BANNED: Self = Self(0x8a);
    pub(crate) const SERVER_SHUTTING_DOWN: Self = Self(0x8b);
    pub(crate) const KEEP_ALIVE_TIMEOUT: Self = Self(0x8d);
    pub(crate) const BAD_AUTHENTICATION_METHOD: Self = Self(0x8c);
    pub(crate) const SESSION_TAKEN_OVER: Self = Self(0x8e);
    pub(crate) const TOPIC_FILTER_INVALID: Self = Self(0x8f);
    pub(crate) const QUOTA_EXCEEDED: Self = Self(0x97);
    pub(crate) const CONNECTION_RATE_EXCEEDED: Self = Self(0x9f);
    pub(crate) const USE_ANOTHER_SERVER: Self = Self(0x9c);
    pub(crate) const SERVER_MOVED: Self = Self(0x9d);
    pub(crate) const SHARED_SUBSCRIPTIONS_NOT_SUPPORTED: Self = Self(0x9e);
    pub(crate) const SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED: Self = Self(0xa1);
    pub(crate) const WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED: Self = Self(0xa2);

    /// Validates that a server may send this code in this packet.
    pub(super) fn checked(packet: PacketType, code: u8) -> Result<Self, Fault> {
        let is_allowed = match packet {
            PacketType::Connack => matches!(
                code,
                0x00 | 0x80..=0x8a | 0x8c | 0x90 | 0x95 | 0x97 | 0x99..=0x9d | 0x9f
            ),
            PacketType::Puback => {
                matches!(code, 0x00 | 0x10 | 0x80 | 0x83 | 0x87 | 0x90 | 0x91 | 0x97 | 0x99)
            }
            PacketType::Pubrel => matches!(code, 0x00 | 0x92),
            PacketType::Suback => {
                matches!(code, 0x00..=0x02 | 0x80 | 0x83 | 0x87 | 0x8f | 0x91 | 0x97 | 0x9e | 0xa1 | 0xa2)
            }
            PacketType::Disconnect => {
                matches!(code, 0x00 | 0x80..=0x83 | 0x87 | 0x89 | 0x8b..=0x90 | 0x93..=0xa2)
            }
            _ => false,
        };
        if is_allowed { Ok(Self(code)) } else { Err(Fault::ReasonCodeNotAllowed) }
    }

    /// Converts a return code of MQTT 3.1.1's CONNACK to the MQTT 5 reason code with the same meaning (MQTT 3.1.1, 3.2.2.3).
    /// Codes of MQTT 5 are unchanged.
    pub(crate) fn of_version(self, version: Version) -> Self {
        match (version, self.0) {
            (Version::V311, 1) => Self::UNSUPPORTED_PROTOCOL_VERSION,
            (Version::V311, 2) => Self::CLIENT_IDENTIFIER_NOT_VALID,
            (Version::V311, 3) => Self::SERVER_UNAVAILABLE,
            (Version::V311, 4) => Self::BAD_USER_NAME_OR_PASSWORD,
            (Version::V311, 5) => Self::NOT_AUTHORIZED,
            _ => self,
        }
    }

    /// Returns whether the code is a refusal.
    pub(crate) fn is_refusal(self) -> bool {
        self.0 >= 0x80
    }

    /// Returns whether the same request may succeed later.
    pub(crate) fn is_transient(self) -> bool {
        matches!(
            self,
            Self::UNSPECIFIED
                | Self::IMPLEMENTATION_SPECIFIC
                | Self::SERVER_UNAVAILABLE
                | Self::SERVER_BUSY
                | Self::QUOTA_EXCEEDED
        )
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            0x00 => "normal disconnection",
            0x10 => "no matching subscribers",
            0x80 => "unspecified error",
            0x81 => "malformed packet",
            0x82 => "protocol error",
            0x83 => "implementation specific error",
            0x84 => "unsupported protocol version",
            0x85 => "client identifier not valid",
            0x86 => "bad user name or password",
            0x87 => "not authorized",
            0x88 => "server unavailable",
            0x89 => "server busy",
            0x8a => "banned",
            0x8b => "server shutting down",
            0x8c => "bad authentication method",
            0x8d => "keep alive timeout",
            0x8e => "session taken over",
            0x8f => "topic filter invalid",
            0x90 => "topic name invalid",
            0x91 => "packet identifier in use",
            0x92 => "packet identifier not found",
            0x93 => "receive maximum exceeded",
            0x94 => "topic alias invalid",
            0x95 => "packet too large",
            0x96 => "message rate too high",
            0x97 => "quota exceeded",
            0x98 => "administrative action",
            0x99 => "payload format invalid",
            0x9a => "retain not supported",
            0x9b => "QoS not supported",
            0x9c => "use another server",
            0x9d => "server moved",
            0x9e => "shared subscriptions not supported",
            0x9f => "connection rate exceeded",
            0xa0 => "maximum connect time",
            0xa1 => "subscription identifiers not supported",
            0xa2 => "wildcard subscriptions not supported",
            code => return write!(f, "reason code 0x{code:02x}"),
        })
    }
}
