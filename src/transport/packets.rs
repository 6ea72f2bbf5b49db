//! The packets in a stream of MQTT, found as it passes (MQTT 5, 2.1.1).

/// How long a packet's fixed header may be.
const LONGEST_HEAD: usize = 5;

/// A stream of MQTT packets, read along as it passes.
#[derive(Debug, Default)]
pub(super) struct Packets {
    /// What came of the fixed header of the packet that comes, or the whole one of the packet whose body comes.
    head: Vec<u8>,
    /// How many bytes of the body came, and how many are still to come.
    at: usize,
    left: usize,
}

/// A part of a packet.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part<'a> {
    /// A packet's whole fixed header, and how many bytes follow it.
    Head { head: &'a [u8], body: usize },
    /// Some bytes of its body, from this one on.
    Body { first: u8, at: usize, bytes: &'a [u8] },
}

impl Packets {
    /// Takes the next piece of the stream, however it is cut; gives each part in it to `show`.
    pub(super) fn see(&mut self, mut bytes: &[u8], show: &mut dyn FnMut(Part<'_>)) {
        while let Some((&byte, rest)) = bytes.split_first() {
            if self.left > 0 {
                let (piece, rest) = bytes.split_at(self.left.min(bytes.len()));
                show(Part::Body { first: self.head[0], at: self.at, bytes: piece });
                self.at += piece.len();
                self.left -= piece.len();
                bytes = rest;
            } else {
                bytes = rest;
                self.head.push(byte);
                let Some(body) = remaining_length(&self.head) else { continue };
                show(Part::Head { head: &self.head, body });
                (self.at, self.left) = (0, body);
            }
            if self.left == 0 {
                self.head.clear();
            }
        }
    }

    /// Whether what came so far ends with a packet's end.
    pub(super) fn is_between(&self) -> bool {
        self.head.is_empty()
    }
}

/// The number of bytes that follow this fixed header, once it is whole. Of more bytes than it may have the rest is no part
/// of it: then the stream is none of MQTT, and whoever takes it will say so.
fn remaining_length(head: &[u8]) -> Option<usize> {
    let (last, length) = (head.last()?, &head[1..]);
    let is_whole = !length.is_empty() && (last & 0x80 == 0 || head.len() == LONGEST_HEAD);
    is_whole.then(|| length.iter().rev().fold(0, |sum, byte| sum << 7 | usize::from(byte & 0x7f)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_packets_are_found_however_the_stream_is_cut(
            size in 1..20_000_usize,
            bodies in prop::collection::vec((any::<u8>(), prop_oneof![0..10_usize, 120..140_usize, 16_380..16_390_usize]), 0..5),
        ) {
            let mut stream = Vec::new();
            for (first, body) in &bodies {
                stream.push(*first);
                let mut length = *body;
                while length >= 0x80 {
                    stream.push(length.to_le_bytes()[0] | 0x80);
                    length >>= 7;
                }
                stream.extend([length.to_le_bytes()[0]]);
                stream.extend(std::iter::repeat_n(0xff, *body));
            }
            let (mut packets, mut heads, mut ends) = (Packets::default(), Vec::new(), Vec::new());
            for piece in stream.chunks(size) {
                packets.see(piece, &mut |part| match part {
                    Part::Head { head, body } => {
                        heads.push((head[0], body));
                        ends.push(0);
                    }
                    Part::Body { first, at, bytes } => {
                        assert_eq!((heads.last().map(|it| it.0), ends.last()), (Some(first), Some(&at)));
                        *ends.last_mut().expect("it has a head") += bytes.len();
                    }
                });
            }
            prop_assert!(packets.is_between());
            prop_assert_eq!(&heads, &bodies);
            prop_assert_eq!(ends, bodies.into_iter().map(|(_, body)| body).collect::<Vec<_>>());
        }

        #[test]
        fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            Packets::default().see(&bytes, &mut |_| {});
        }
    }
}
