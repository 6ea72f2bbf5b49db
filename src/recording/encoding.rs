//! Recognizes how a recording is encoded, from its first bytes.

use std::ops::RangeInclusive;

/// First bytes of gzip data [RFC 1952, 2.3.1].
pub(super) const GZIP: [u8; 2] = [0x1f, 0x8b];

/// First bytes of Zstandard data [RFC 8878, 3.1.1].
pub(super) const ZSTANDARD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// First byte of data that Zstandard decoders skip [RFC 8878, 3.1.2]. Parallel compressors write such data.
pub(super) const ZSTANDARD_SKIPPABLE: RangeInclusive<u8> = 0x50..=0x5f;

/// How a recording is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// UTF-8 text, or anything else that is read as lines.
    Plain,
    /// Compressed with gzip or Zstandard.
    Compressed,
    /// Recognized, but not readable.
    Unsupported(UnsupportedEncoding),
}

/// An encoding that other programs can convert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UnsupportedEncoding {
    /// The format of compress(1).
    Compress,
    /// Zstandard before version 0.8.
    OldZstandard,
    Xz,
    Bzip2,
    Lz4,
    Zip,
    /// UTF-16 with a byte order mark.
    Utf16,
    /// UTF-16 in little-endian order, without a byte order mark.
    Utf16Le,
    /// UTF-16 in big-endian order, without a byte order mark.
    Utf16Be,
}

/// A byte at the start of data of some encoding: one of these.
type ByteRange = RangeInclusive<u8>;

const fn byte(byte: u8) -> ByteRange {
    byte..=byte
}

const ANY: ByteRange = 0..=u8::MAX;

/// The first bytes of each encoding but plain text.
const SIGNATURES: [(&[ByteRange], Encoding); 13] = [
    (&[byte(GZIP[0]), byte(GZIP[1])], Encoding::Compressed),
    (&[byte(ZSTANDARD[0]), byte(ZSTANDARD[1]), byte(ZSTANDARD[2]), byte(ZSTANDARD[3])], Encoding::Compressed),
    (&[ZSTANDARD_SKIPPABLE, byte(0x2a), byte(0x4d), byte(0x18)], Encoding::Compressed),
    (&[byte(0x1f), byte(0x9d)], Encoding::Unsupported(UnsupportedEncoding::Compress)),
    (
        &[0x22..=0x27, byte(ZSTANDARD[1]), byte(ZSTANDARD[2]), byte(ZSTANDARD[3])],
        Encoding::Unsupported(UnsupportedEncoding::OldZstandard),
    ),
    (
        &[byte(0xfd), byte(b'7'), byte(b'z'), byte(b'X'), byte(b'Z'), byte(0)],
        Encoding::Unsupported(UnsupportedEncoding::Xz),
    ),
    (&[byte(b'B'), byte(b'Z'), byte(b'h')], Encoding::Unsupported(UnsupportedEncoding::Bzip2)),
    (&[byte(0x04), byte(0x22), byte(0x4d), byte(0x18)], Encoding::Unsupported(UnsupportedEncoding::Lz4)),
    (&[byte(b'P'), byte(b'K'), byte(3), byte(4)], Encoding::Unsupported(UnsupportedEncoding::Zip)),
    (&[byte(0xff), byte(0xfe)], Encoding::Unsupported(UnsupportedEncoding::Utf16)),
    (&[byte(0xfe), byte(0xff)], Encoding::Unsupported(UnsupportedEncoding::Utf16)),
    // Without a byte order mark, recordings begin with a brace.
    (&[byte(b'{'), byte(0), ANY, byte(0)], Encoding::Unsupported(UnsupportedEncoding::Utf16Le)),
    (&[byte(0), byte(b'{'), byte(0), ANY], Encoding::Unsupported(UnsupportedEncoding::Utf16Be)),
];

/// Number of bytes that identify an encoding.
pub(super) const SIGNATURE_LEN: usize = 6;

impl Encoding {
    /// Returns the encoding of data with this beginning, or `None` if more bytes are needed.
    pub(super) fn of(beginning: &[u8]) -> Option<Self> {
        let matches =
            |signature: &[ByteRange]| beginning.iter().zip(signature).all(|(byte, range)| range.contains(byte));
        let mut candidates = SIGNATURES.iter().filter(|(signature, _)| matches(signature));
        match candidates.next() {
            None => Some(Self::Plain),
            Some((signature, encoding)) => (beginning.len() >= signature.len()).then_some(*encoding),
        }
    }

    /// Returns the encoding of all data.
    pub(super) fn of_all(data: &[u8]) -> Self {
        Self::of(data).unwrap_or(Self::Plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utf_16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(bytes).collect()
    }

    #[test]
    fn an_encoding_is_recognized_from_its_first_bytes() {
        for (data, expected) in [
            (b"\xfd7zXZ\0\0\x04".to_vec(), UnsupportedEncoding::Xz),
            (b"BZh91AY".to_vec(), UnsupportedEncoding::Bzip2),
            (b"\x1f\x9d\x90\x61\0\0".to_vec(), UnsupportedEncoding::Compress),
            (b"\x27\xb5\x2f\xfd\0\0".to_vec(), UnsupportedEncoding::OldZstandard),
            (b"\x04\x22\x4d\x18\x64".to_vec(), UnsupportedEncoding::Lz4),
            (b"PK\x03\x04\x14".to_vec(), UnsupportedEncoding::Zip),
            (utf_16("\u{feff}{\"received\"", u16::to_le_bytes), UnsupportedEncoding::Utf16),
            (utf_16("\u{feff}{\"received\"", u16::to_be_bytes), UnsupportedEncoding::Utf16),
            (utf_16("{\"received\"", u16::to_le_bytes), UnsupportedEncoding::Utf16Le),
            (utf_16("{\"received\"", u16::to_be_bytes), UnsupportedEncoding::Utf16Be),
        ] {
            let expected = Encoding::Unsupported(expected);
            assert_eq!(Encoding::of_all(&data), expected);
            for len in 0..SIGNATURE_LEN {
                let early = Encoding::of(&data[..len]);
                assert!(early.is_none_or(|early| early == expected), "{len} bytes of {expected:?}");
            }
        }
        for data in
            [&b"{\"received\""[..], b"{\0", b"\0\0\0\0{", b"(", b"\x1f", b"PK", b"", b"\xef\xbb\xbf{", b"BZ", b"_*"]
        {
            assert_eq!(Encoding::of_all(data), Encoding::Plain, "{data:?}");
        }
        for data in [&b"\x1f\x8b\x08"[..], b"\x28\xb5\x2f\xfd", b"\x5f\x2a\x4d\x18\0"] {
            assert_eq!(Encoding::of_all(data), Encoding::Compressed, "{data:?}");
        }
    }

    #[test]
    fn no_signature_is_the_beginning_of_another() {
        for (n, (one, _)) in SIGNATURES.iter().enumerate() {
            assert!(one.len() <= SIGNATURE_LEN);
            for (other, _) in &SIGNATURES[n + 1..] {
                let overlap =
                    |(one, other): (&ByteRange, &ByteRange)| one.start() <= other.end() && other.start() <= one.end();
                let is_beginning = one.iter().zip(*other).all(overlap);
                assert!(!is_beginning, "{one:?} and {other:?}");
            }
        }
    }
}
