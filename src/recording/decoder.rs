//! Decompresses recordings as `gzip -dc` and `zstd -dc` do.

use std::io::{self, BufRead, Read as _};
use std::mem;

use flate2::bufread::GzDecoder;
use zstd::stream::raw::{Decoder as ZstdContext, InBuffer, Operation as _, OutBuffer};

use super::encoding::{GZIP, ZSTANDARD, ZSTANDARD_SKIPPABLE};
use super::error::SourceError;

/// Decompresses members of gzip and frames of Zstandard, one after another.
///
/// Skips zero padding between and after them, because tapes and block devices pad files to a block size.
pub(super) struct Decoder<R: BufRead> {
    state: State<R>,
}

enum State<R: BufRead> {
    Between(R),
    Gzip(Box<GzDecoder<R>>),
    Zstandard(ZstdFrame<R>),
    /// The state while it changes, and after a Zstandard decoder could not be set up.
    None,
}

impl<R: BufRead> Decoder<R> {
    /// Decompresses `input` from its current position on.
    pub(super) fn new(input: R) -> Self {
        Self { state: State::Between(input) }
    }

    /// Starts the next member, and returns `false` at the end of the input.
    fn start_member(&mut self) -> Result<bool, SourceError> {
        let State::Between(input) = &mut self.state else { return Ok(false) };
        let Some(first) = first_after_padding(input)? else { return Ok(false) };
        let is_gzip = first == GZIP[0];
        if !is_gzip && first != ZSTANDARD[0] && !ZSTANDARD_SKIPPABLE.contains(&first) {
            return Err(SourceError::TrailingData);
        }
        let State::Between(input) = mem::replace(&mut self.state, State::None) else { return Ok(false) };
        self.state = if is_gzip {
            State::Gzip(Box::new(GzDecoder::new(input)))
        } else {
            State::Zstandard(ZstdFrame::new(input)?)
        };
        Ok(true)
    }

    fn end_member(&mut self) {
        self.state = match mem::replace(&mut self.state, State::None) {
            State::Gzip(member) => State::Between(member.into_inner()),
            State::Zstandard(frame) => State::Between(frame.input),
            state => state,
        };
    }

    /// Reads decompressed bytes. After [`io::ErrorKind::WouldBlock`], call again once the input has more.
    ///
    /// # Errors
    /// If the input cannot be read or decompressed.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, SourceError> {
        loop {
            let read = match &mut self.state {
                State::Gzip(member) => member.read(buffer)?,
                State::Zstandard(frame) => frame.read(buffer)?,
                State::Between(_) | State::None => {
                    if self.start_member()? {
                        continue;
                    }
                    return Ok(0);
                }
            };
            if read > 0 {
                return Ok(read);
            }
            self.end_member();
        }
    }
}

/// Skips zeros, and returns the byte after them without consuming it.
fn first_after_padding(input: &mut impl BufRead) -> io::Result<Option<u8>> {
    loop {
        let bytes = input.fill_buf()?;
        let padding = bytes.iter().take_while(|byte| **byte == 0).count();
        let first = bytes.get(padding).copied();
        if first.is_some() || bytes.is_empty() {
            input.consume(padding);
            return Ok(first);
        }
        input.consume(padding);
    }
}

/// Decompresses one frame of Zstandard, and reads no byte after it.
struct ZstdFrame<R> {
    input: R,
    context: ZstdContext<'static>,
    /// Whether the context may have more output without more input.
    has_output: bool,
    is_finished: bool,
}

impl<R: BufRead> ZstdFrame<R> {
    fn new(input: R) -> io::Result<Self> {
        Ok(Self { input, context: ZstdContext::new()?, has_output: false, is_finished: false })
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, SourceError> {
        while !self.is_finished {
            let bytes = if self.has_output { &[] } else { self.input.fill_buf()? };
            if bytes.is_empty() && !self.has_output {
                return Err(SourceError::CutOff);
            }
            let (mut input, mut output) = (InBuffer::around(bytes), OutBuffer::around(&mut *buffer));
            self.is_finished = self.context.run(&mut input, &mut output)? == 0;
            let (consumed, written) = (input.pos(), output.pos());
            self.input.consume(consumed);
            self.has_output = written == buffer.len();
            if written > 0 {
                return Ok(written);
            }
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, ErrorKind, Write as _};

    use proptest::prelude::*;

    use super::*;

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(content).expect("writing to a Vec never fails");
        encoder.finish().expect("writing to a Vec never fails")
    }

    fn zstd(content: &[u8]) -> Vec<u8> {
        zstd::encode_all(content, 1).expect("writing to a Vec never fails")
    }

    fn skippable(content: &[u8]) -> Vec<u8> {
        let len = u32::try_from(content.len()).expect("a small frame");
        [&[0x5a, 0x2a, 0x4d, 0x18][..], &len.to_le_bytes(), content].concat()
    }

    /// Returns all bytes of `compressed` before an error, read in blocks of these sizes.
    fn decoded(compressed: &[u8], input_block: usize, output_block: usize) -> (Vec<u8>, Result<(), SourceError>) {
        let mut decoder = Decoder::new(BufReader::with_capacity(input_block, compressed));
        let (mut all, mut block) = (Vec::new(), vec![0; output_block]);
        loop {
            match decoder.read(&mut block) {
                Ok(0) => return (all, Ok(())),
                Ok(read) => all.extend_from_slice(&block[..read]),
                Err(error) => return (all, Err(error)),
            }
        }
    }

    #[derive(Debug, Clone, Copy)]
    enum Part {
        Gzip,
        Zstandard,
        Skippable,
        Padding,
    }

    proptest! {
        #[test]
        fn members_of_both_formats_may_follow_each_other_with_padding_between(
            parts in prop::collection::vec(
                (
                    prop::sample::select(vec![Part::Gzip, Part::Zstandard, Part::Skippable, Part::Padding]),
                    prop::collection::vec(any::<u8>(), 0..300),
                ),
                0..6,
            ),
            input_block in 1_usize..100,
            output_block in 1_usize..400,
        ) {
            let (mut compressed, mut content) = (gzip(b"first"), b"first".to_vec());
            for (part, bytes) in parts {
                match part {
                    Part::Gzip => compressed.extend(gzip(&bytes)),
                    Part::Zstandard => compressed.extend(zstd(&bytes)),
                    Part::Skippable => compressed.extend(skippable(&bytes)),
                    Part::Padding => compressed.extend(vec![0; bytes.len()]),
                }
                if let Part::Gzip | Part::Zstandard = part {
                    content.extend(bytes);
                }
            }
            let (decoded, end) = decoded(&compressed, input_block, output_block);
            prop_assert_eq!(decoded, content);
            prop_assert!(end.is_ok(), "{:?}", end);
        }
    }

    #[test]
    fn other_data_and_a_missing_end_are_errors() {
        for compress in [gzip, zstd] {
            let whole = compress(b"content");
            let (content, end) = decoded(&[&whole[..], b"\0\0plain\n"].concat(), 10, 10);
            assert_eq!(content, b"content");
            assert!(matches!(end, Err(SourceError::TrailingData)), "{end:?}");
            for cut in 1..whole.len() {
                let (_, end) = decoded(&whole[..cut], 10, 10);
                let error = end.expect_err("an error");
                let is_cut_off = matches!(error, SourceError::CutOff);
                assert!(is_cut_off || error.io_kind() == Some(ErrorKind::UnexpectedEof), "{cut} bytes: {error:?}");
            }
        }
    }
}
