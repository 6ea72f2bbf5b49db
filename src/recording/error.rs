//! Why an input cannot be opened or read. These are values: `commands` makes the messages.

use std::io;

use super::Input;
use super::encoding::UnsupportedEncoding;

/// An input that cannot be opened, followed or read.
#[derive(Debug)]
pub(crate) struct InputError {
    /// The input.
    pub(crate) input: Input,
    /// What failed, and why.
    pub(crate) kind: InputErrorKind,
}

/// What failed on an input, and why.
#[derive(Debug)]
pub(crate) enum InputErrorKind {
    /// It cannot be opened.
    Open(SourceError),
    /// It is open and cannot be read.
    Read(SourceError),
    /// It cannot be followed, because it is compressed.
    FollowCompressed,
}

/// Why an input cannot be read.
#[derive(Debug)]
pub(crate) enum SourceError {
    /// A system call or a decoder failed.
    Io(io::Error),
    /// Standard output is written to the same file.
    IsOutput,
    /// It is not a regular file. Only these are followed.
    NotAFile,
    /// Another program must convert it first.
    Unsupported(UnsupportedEncoding),
    /// Other data follows the compressed data.
    TrailingData,
    /// The compressed data ends too early.
    CutOff,
}

impl From<io::Error> for SourceError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl SourceError {
    /// Returns the kind of a failed system call, or `None` for another reason.
    pub(super) fn io_kind(&self) -> Option<io::ErrorKind> {
        match self {
            Self::Io(error) => Some(error.kind()),
            _ => None,
        }
    }
}
