//! Events that are encoded as PUBLISH packets before the measurement, and sent repeatedly.

use crate::events::events;
use crate::mqtt::{Message, Properties, Version};

/// The number of different events. It is below the number of packet identifiers, so that none is used twice at a time.
const EVENTS: u16 = 50_000;

/// The number of bytes per write.
const CHUNK: usize = 64 * 1024;

/// Encoded packets, one after the other.
pub(crate) struct EncodedEvents {
    bytes: Vec<u8>,
    /// The offset of each packet, and the total length.
    offsets: Vec<usize>,
}

impl EncodedEvents {
    pub(crate) fn new(version: Version, qos: u8) -> Self {
        let (mut bytes, mut offsets) = (Vec::new(), vec![0]);
        for (event, id) in events().zip(1..=EVENTS) {
            let message = Message::new(&event.topic, event.payload).with_qos(qos);
            bytes.extend(message.encode(version, id.to_be_bytes(), &Properties::none()).encode());
            offsets.push(bytes.len());
        }
        Self { bytes, offsets }
    }

    /// Returns `count` packets in chunks.
    pub(crate) fn chunks(&self, count: u32) -> impl Iterator<Item = &[u8]> {
        let mut left = count as usize;
        let mut first = 0;
        std::iter::from_fn(move || {
            if left == 0 {
                return None;
            }
            first %= usize::from(EVENTS);
            let start = self.offsets[first];
            let full = self.offsets.partition_point(|&offset| offset < start + CHUNK);
            let end = full.min(first + left).min(self.offsets.len() - 1);
            left -= end - first;
            first = end;
            Some(&self.bytes[start..self.offsets[end]])
        })
    }

    /// Returns the length of `count` packets, in bytes.
    pub(crate) fn len_of(&self, count: u32) -> usize {
        let (count, events) = (count as usize, usize::from(EVENTS));
        count / events * self.bytes.len() + self.offsets[count % events]
    }
}
