//! The rules that topic names and topic filters share (MQTT 5, section 4.7.3), and the error if a text breaks one.

use std::fmt;

/// Maximum length of a topic or filter in bytes [MQTT-4.7.3-3].
pub const MAX_TOPIC_BYTES: usize = 65_535;

/// Why a text is not a valid endpoint ID, topic, root or filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SyntaxError {
    /// The text is empty.
    Empty,
    /// The text contains U+0000, which MQTT strings must not contain [MQTT-1.5.4-2].
    Nul,
    /// The text is longer than [`MAX_TOPIC_BYTES`].
    TooLong,
    /// An endpoint ID contains `/`, which would split it into two topic levels.
    Separator,
    /// A name contains `+` or `#`, which are valid in filters only [MQTT-4.7.1-1].
    Wildcard(char),
    /// A filter has a wildcard where MQTT does not allow one.
    MisplacedWildcard {
        /// `#` or `+`.
        wildcard: char,
        /// The valid filter that was probably meant.
        suggestion: String,
    },
    /// `$share/GROUP/FILTER` has no group or no filter [MQTT-4.8.2-1].
    Share,
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("must not be empty"),
            Self::Nul => f.write_str("must not contain NUL, which MQTT forbids"),
            Self::TooLong => write!(f, "must not be longer than {MAX_TOPIC_BYTES} bytes, the limit of MQTT"),
            Self::Separator => f.write_str("must not contain '/', which separates topic levels"),
            Self::Wildcard(c) => write!(f, "must not contain '{c}', which is for topic filters only"),
            Self::MisplacedWildcard { wildcard: '#', suggestion } => {
                write!(f, "'#' must be the last level, on its own; write '{suggestion}'")
            }
            Self::MisplacedWildcard { wildcard, suggestion } => {
                write!(f, "'{wildcard}' must be a level on its own; write '{suggestion}'")
            }
            Self::Share => f.write_str("a shared subscription must have the form '$share/GROUP/FILTER'"),
        }
    }
}

impl std::error::Error for SyntaxError {}

/// Checks the rules that apply to every topic and filter: not empty, no NUL, not too long.
pub(super) fn check_text(text: &str) -> Result<(), SyntaxError> {
    if text.is_empty() {
        Err(SyntaxError::Empty)
    } else if text.contains('\0') {
        Err(SyntaxError::Nul)
    } else if text.len() > MAX_TOPIC_BYTES {
        Err(SyntaxError::TooLong)
    } else {
        Ok(())
    }
}
