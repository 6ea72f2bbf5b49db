//! What can go wrong with a recording, as sentences, hints and exit statuses.

use std::io;

use crate::exit::{Failure, Status};
use crate::recording::{FileChange, Input, InputError, InputErrorKind, SourceError, UnsupportedEncoding};

/// The failure of an input.
pub(super) fn input_failure(error: &InputError) -> Failure {
    let InputError { input, kind } = error;
    match kind {
        InputErrorKind::FollowCompressed => {
            Failure::usage(format!("cannot follow {input}: the file is compressed")).hint("leave out --follow")
        }
        InputErrorKind::Open(SourceError::Unsupported(encoding))
        | InputErrorKind::Read(SourceError::Unsupported(encoding)) => encoding_failure(input, *encoding),
        InputErrorKind::Open(SourceError::Io(error)) => Failure::cannot_open(format!("cannot open {input}"), error),
        InputErrorKind::Open(error) => Failure::usage(format!("cannot open {input}: {}", describe(error))),
        InputErrorKind::Read(error) => {
            Failure::new(Status::Failure, format!("cannot read {input}: {}", describe(error)))
        }
    }
}

/// The failure of an input that another program must convert first. The hint is the command.
fn encoding_failure(input: &Input, encoding: UnsupportedEncoding) -> Failure {
    let command = match encoding {
        UnsupportedEncoding::Compress => "gzip -dc",
        UnsupportedEncoding::OldZstandard => "zstd -dc",
        UnsupportedEncoding::Xz => "xz -dc",
        UnsupportedEncoding::Bzip2 => "bzip2 -dc",
        UnsupportedEncoding::Lz4 => "lz4 -dc",
        UnsupportedEncoding::Zip => "unzip -p",
        UnsupportedEncoding::Utf16 => "iconv -f UTF-16 -t UTF-8",
        UnsupportedEncoding::Utf16Le => "iconv -f UTF-16LE -t UTF-8",
        UnsupportedEncoding::Utf16Be => "iconv -f UTF-16BE -t UTF-8",
    };
    let hint = match input {
        Input::Stdin => format!("convert it with {command}"),
        Input::File(path) => format!("convert it with {command} {}", path.display()),
    };
    Failure::new(Status::Failure, format!("cannot read {input}: {}", describe_encoding(encoding))).hint(hint)
}

/// Why an input cannot be read, to follow its name.
fn describe(error: &SourceError) -> String {
    match error {
        SourceError::Io(error) => error.to_string(),
        SourceError::IsOutput => "it is also the output".to_owned(),
        SourceError::NotAFile => "not a regular file".to_owned(),
        SourceError::Unsupported(encoding) => describe_encoding(*encoding).to_owned(),
        SourceError::TrailingData => "after the compressed data, there is other data".to_owned(),
        SourceError::CutOff => "the compressed data is cut off".to_owned(),
    }
}

fn describe_encoding(encoding: UnsupportedEncoding) -> &'static str {
    match encoding {
        UnsupportedEncoding::Compress => "the data is compressed with compress",
        UnsupportedEncoding::OldZstandard => "the data is compressed with an old version of Zstandard",
        UnsupportedEncoding::Xz => "the data is compressed with xz",
        UnsupportedEncoding::Bzip2 => "the data is compressed with bzip2",
        UnsupportedEncoding::Lz4 => "the data is compressed with LZ4",
        UnsupportedEncoding::Zip => "the file is a ZIP archive",
        UnsupportedEncoding::Utf16 | UnsupportedEncoding::Utf16Le | UnsupportedEncoding::Utf16Be => {
            "the text is UTF-16"
        }
    }
}

/// A change of a followed file, to follow its name.
pub(super) fn describe_change(change: &FileChange) -> String {
    match change {
        FileChange::Truncated => "truncated; reading it again from the start".to_owned(),
        FileChange::Nuls { count } => format!("skipped {count} NUL bytes"),
        FileChange::Replaced => "replaced; reading the new file from the start".to_owned(),
        FileChange::Lost(SourceError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
            "removed; waiting for a new file".to_owned()
        }
        FileChange::Lost(error) => format!("{}; waiting for a new file", describe(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::{hint_of, status_of};

    fn open(error: impl Into<SourceError>) -> InputErrorKind {
        InputErrorKind::Open(error.into())
    }

    fn read(error: impl Into<SourceError>) -> InputErrorKind {
        InputErrorKind::Read(error.into())
    }

    fn failed(kind: io::ErrorKind) -> SourceError {
        io::Error::new(kind, "some reason").into()
    }

    #[test]
    fn every_error_of_an_input_has_a_message_a_hint_and_a_status() {
        let xz = || SourceError::Unsupported(UnsupportedEncoding::Xz);
        for (kind, status, message, hint) in [
            (open(failed(io::ErrorKind::NotFound)), Status::Usage, "cannot open 'f': some reason", None),
            (open(failed(io::ErrorKind::IsADirectory)), Status::Usage, "cannot open 'f': some reason", None),
            (open(failed(io::ErrorKind::Other)), Status::Failure, "cannot open 'f': some reason", None),
            (open(SourceError::IsOutput), Status::Usage, "cannot open 'f': it is also the output", None),
            (
                open(xz()),
                Status::Failure,
                "cannot read 'f': the data is compressed with xz",
                Some("convert it with xz -dc f"),
            ),
            (
                read(xz()),
                Status::Failure,
                "cannot read 'f': the data is compressed with xz",
                Some("convert it with xz -dc f"),
            ),
            (read(failed(io::ErrorKind::NotFound)), Status::Failure, "cannot read 'f': some reason", None),
            (
                read(SourceError::TrailingData),
                Status::Failure,
                "cannot read 'f': after the compressed data, there is other data",
                None,
            ),
            (read(SourceError::CutOff), Status::Failure, "cannot read 'f': the compressed data is cut off", None),
            (
                InputErrorKind::FollowCompressed,
                Status::Usage,
                "cannot follow 'f': the file is compressed",
                Some("leave out --follow"),
            ),
        ] {
            let error = InputError { input: Input::File("f".into()), kind };
            let failure = anyhow::Error::from(input_failure(&error));
            assert_eq!((failure.to_string().as_str(), hint_of(&failure)), (message, hint), "{error:?}");
            assert_eq!(status_of(&failure), status, "{error:?}");
        }
    }

    #[test]
    fn an_encoding_that_is_not_supported_is_named_with_the_program_that_converts_it() {
        for (encoding, name, command) in [
            (UnsupportedEncoding::Compress, "compress", "gzip -dc"),
            (UnsupportedEncoding::OldZstandard, "Zstandard", "zstd -dc"),
            (UnsupportedEncoding::Xz, "xz", "xz -dc"),
            (UnsupportedEncoding::Bzip2, "bzip2", "bzip2 -dc"),
            (UnsupportedEncoding::Lz4, "LZ4", "lz4 -dc"),
            (UnsupportedEncoding::Zip, "ZIP archive", "unzip -p"),
            (UnsupportedEncoding::Utf16, "UTF-16", "iconv -f UTF-16 -t UTF-8"),
            (UnsupportedEncoding::Utf16Le, "UTF-16", "iconv -f UTF-16LE -t UTF-8"),
            (UnsupportedEncoding::Utf16Be, "UTF-16", "iconv -f UTF-16BE -t UTF-8"),
        ] {
            let failure = anyhow::Error::from(encoding_failure(&Input::Stdin, encoding));
            assert!(failure.to_string().starts_with("cannot read standard input: the "), "{failure}");
            assert!(failure.to_string().ends_with(name), "{failure}");
            assert_eq!(hint_of(&failure), Some(format!("convert it with {command}").as_str()));
        }
    }

    #[test]
    fn a_lost_file_is_described_with_the_reason_unless_it_was_removed() {
        for (error, description) in [
            (failed(io::ErrorKind::NotFound), "removed; waiting for a new file"),
            (failed(io::ErrorKind::PermissionDenied), "some reason; waiting for a new file"),
            (SourceError::NotAFile, "not a regular file; waiting for a new file"),
        ] {
            assert_eq!(describe_change(&FileChange::Lost(error)), description);
        }
    }
}
