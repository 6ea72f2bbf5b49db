//! The reader's buffer for bytes that are read, but not handled yet.

/// The number of bytes that are read at once: enough for hundreds of events, small enough for a processor's cache.
const CAPACITY: usize = 128 * 1024;

/// A buffer that grows only as the bytes of a large packet arrive, and shrinks afterwards.
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    /// The range of the unhandled bytes.
    start: usize,
    end: usize,
}

impl Buffer {
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; CAPACITY], start: 0, end: 0 }
    }

    /// Returns the unhandled bytes.
    pub(super) fn unhandled(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Removes the next `count` bytes.
    pub(super) fn consume(&mut self, count: usize) {
        self.start += count;
    }

    /// Removes all bytes.
    pub(super) fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }

    /// Returns whether it has grown for a large packet.
    pub(super) fn is_large(&self) -> bool {
        self.bytes.len() > CAPACITY
    }

    /// Removes all unhandled bytes. Returns the last `len` of them, without a copy of the buffer.
    pub(super) fn take_last(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = std::mem::replace(&mut self.bytes, vec![0; CAPACITY]);
        bytes.truncate(self.end);
        bytes.drain(..self.end - len);
        (self.start, self.end) = (0, 0);
        bytes
    }

    /// Returns free space to read into. `packet_len` is the size of the first unhandled packet, if known: the buffer doubles
    /// as the packet's bytes arrive, up to that size.
    pub(super) fn room(&mut self, packet_len: Option<usize>) -> &mut [u8] {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let target = packet_len.unwrap_or(0).max(CAPACITY);
        if self.end == self.bytes.len() {
            let doubled = self.bytes.len().saturating_mul(2).min(target);
            self.bytes.reserve_exact(doubled.saturating_sub(self.bytes.len()));
            self.bytes.resize(doubled, 0);
        } else if self.bytes.len() > target && self.end <= target {
            self.bytes.truncate(target);
            self.bytes.shrink_to_fit();
        }
        &mut self.bytes[self.end..]
    }

    /// Adds the `count` bytes that were read into [`Buffer::room`].
    pub(super) fn fill(&mut self, count: usize) {
        self.end += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(buffer: &mut Buffer, packet_len: Option<usize>, count: usize) -> usize {
        let room = buffer.room(packet_len);
        let count = count.min(room.len());
        room[..count].fill(7);
        buffer.fill(count);
        count
    }

    #[test]
    fn it_grows_with_the_bytes_of_a_large_packet_and_not_with_its_announced_size() {
        let (mut buffer, claimed) = (Buffer::new(), 100 * CAPACITY);
        let mut total = read(&mut buffer, Some(claimed), 10);
        while total < 3 * CAPACITY {
            assert!(buffer.bytes.len() <= (2 * total).max(CAPACITY), "{} for {total}", buffer.bytes.len());
            total += read(&mut buffer, Some(claimed), 10_000);
        }
        assert_eq!(buffer.unhandled().len(), total);
    }

    #[test]
    fn a_large_packet_takes_no_more_than_its_size_and_is_freed_afterwards() {
        let mut buffer = Buffer::new();
        let size = 5 * CAPACITY / 2;
        while buffer.unhandled().len() < size {
            read(&mut buffer, Some(size), usize::MAX);
        }
        assert_eq!(buffer.bytes.capacity(), size);
        buffer.consume(size);
        read(&mut buffer, None, 1);
        assert_eq!((buffer.bytes.capacity(), buffer.unhandled()), (CAPACITY, &[7][..]));
    }

    #[test]
    fn a_partial_packet_stays_when_others_are_handled() {
        let mut buffer = Buffer::new();
        read(&mut buffer, None, 100);
        buffer.consume(90);
        assert_eq!(read(&mut buffer, None, usize::MAX), CAPACITY - 10);
        assert_eq!(buffer.unhandled().len(), CAPACITY);
    }

    #[test]
    fn the_end_of_a_large_packet_can_be_taken() {
        let mut buffer = Buffer::new();
        let size = 2 * CAPACITY;
        while buffer.unhandled().len() < size {
            assert_eq!(buffer.is_large(), buffer.unhandled().len() > CAPACITY);
            read(&mut buffer, Some(size), usize::MAX);
        }
        assert!(buffer.is_large());
        assert_eq!(buffer.take_last(size - 10), vec![7; size - 10]);
        assert!(!buffer.is_large() && buffer.unhandled().is_empty());
        assert_eq!(read(&mut buffer, None, 1), 1);
        assert_eq!(buffer.unhandled(), &[7]);
    }
}
