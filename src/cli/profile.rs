//! Profiles (`--profile`): files with values for the variables of the environment.
//!
//! A line of a profile is `RTCOMM_NAME=value`. Blank lines and lines that start with `#` are ignored. systemd's
//! `EnvironmentFile=` can read the same file, so what systemd reads differently is an error: quotes at the start of a value,
//! backslashes, spaces and tabs around a value, and characters that systemd rejects. Before version 254, systemd also
//! continued a comment that ends with a backslash in the next line.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::exit::Failure;
use crate::transport::options::Secret;

/// The password. The only variable without a flag.
pub(super) const PASSWORD: &str = "RTCOMM_PASSWORD";

/// The name of a profile: that of its file, without the extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProfileName(String);

impl FromStr for ProfileName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" => Err("must not be empty".to_owned()),
            "." | ".." => Err("must be the name of a file".to_owned()),
            _ if text.contains('/') => Err("must not contain '/'".to_owned()),
            _ => Ok(Self(text.to_owned())),
        }
    }
}

impl fmt::Display for ProfileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The settings of a profile.
#[derive(Debug, Clone)]
pub(crate) struct Profile {
    path: PathBuf,
    settings: Vec<Setting>,
}

/// A line of a profile. Its value may be a secret.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub(super) variable: String,
    pub(super) value: Secret,
    line: usize,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq)]
enum ProfileLineError {
    NotASetting,
    Repeated { variable: String, first_line: usize },
    Quotes,
    Backslash,
    Spaces,
    Character(char),
    ContinuedComment,
}

impl fmt::Display for ProfileLineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotASetting => f.write_str("expected RTCOMM_NAME=value"),
            Self::Repeated { variable, first_line } => write!(f, "{variable} is already set in line {first_line}"),
            Self::Quotes => f.write_str("the value must not start with a quote"),
            Self::Backslash => f.write_str("the value must not contain a backslash"),
            Self::Spaces => f.write_str("the value must not start or end with a space or a tab"),
            Self::Character(c) => write!(f, "the value contains an invalid character, {}", c.escape_unicode()),
            Self::ContinuedComment => f.write_str("a comment must not end with a backslash"),
        }
    }
}

impl Profile {
    /// Parses the text of a profile. `path` is its file, for errors.
    ///
    /// # Errors
    /// If a line is not a setting, or is one that systemd reads differently. The error does not quote values.
    pub(crate) fn parse(path: PathBuf, text: &str) -> Result<Self, Failure> {
        let mut profile = Self { path, settings: Vec::new() };
        // Not `lines`, which accepts carriage returns.
        for (line, text) in (1..).zip(text.split('\n')) {
            profile.add_line(line, text).map_err(|error| {
                Failure::usage(format!("{}, line {line}: {error}", profile.path.display()))
                    .hint("systemd must read the same values: no quotes, no escapes, no `export`")
            })?;
        }
        Ok(profile)
    }

    fn add_line(&mut self, line: usize, text: &str) -> Result<(), ProfileLineError> {
        let Some((variable, value)) = parse_line(text)? else { return Ok(()) };
        if let Some(Setting { line: first_line, .. }) = self.setting(variable) {
            return Err(ProfileLineError::Repeated { variable: variable.to_owned(), first_line: *first_line });
        }
        self.settings.push(Setting { variable: variable.to_owned(), value: Secret::new(value.to_owned()), line });
        Ok(())
    }

    /// Returns its password.
    pub(crate) fn password(&self) -> Option<&Secret> {
        self.setting(PASSWORD).map(|setting| &setting.value)
    }

    /// Describes where the value of this flag is set, if it is set here. `--password` is the password itself.
    pub(crate) fn origin(&self, flag: &str) -> Option<String> {
        self.setting(&variable_of(flag)).map(|setting| self.origin_of(setting))
    }

    /// Describes where a setting is.
    pub(super) fn origin_of(&self, Setting { variable, line, .. }: &Setting) -> String {
        format!("{variable} in {}, line {line}", self.path.display())
    }

    pub(super) fn settings(&self) -> &[Setting] {
        &self.settings
    }

    pub(super) fn setting(&self, variable: &str) -> Option<&Setting> {
        self.settings.iter().find(|setting| setting.variable == variable)
    }

    /// Returns the profile with only the settings that `is_kept` accepts.
    pub(super) fn retain(mut self, is_kept: impl Fn(&Setting) -> bool) -> Self {
        self.settings.retain(is_kept);
        self
    }
}

/// Returns the variable of a flag, such as `RTCOMM_PASSWORD_FILE` for `--password-file`.
pub(super) fn variable_of(flag: &str) -> String {
    format!("RTCOMM_{}", flag.trim_start_matches("--").replace('-', "_").to_uppercase())
}

/// A variable and its value.
type Assignment<'a> = (&'a str, &'a str);

/// Parses a line. Returns `None` if it is blank or a comment.
fn parse_line(line: &str) -> Result<Option<Assignment<'_>>, ProfileLineError> {
    if line.starts_with('#') {
        return if line.ends_with('\\') { Err(ProfileLineError::ContinuedComment) } else { Ok(None) };
    }
    if line.trim_matches([' ', '\t']).is_empty() {
        return Ok(None);
    }
    let is_name = |name: &str| name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    let (variable, value) = line
        .split_once('=')
        .filter(|(variable, _)| variable.starts_with("RTCOMM_") && is_name(variable))
        .ok_or(ProfileLineError::NotASetting)?;
    if value.starts_with(['"', '\'']) {
        Err(ProfileLineError::Quotes)
    } else if value.contains('\\') {
        Err(ProfileLineError::Backslash)
    } else if value.starts_with([' ', '\t']) || value.ends_with([' ', '\t']) {
        Err(ProfileLineError::Spaces)
    } else if let Some(c) = value.chars().find(|c| is_invalid(*c)) {
        Err(ProfileLineError::Character(c))
    } else {
        Ok(Some((variable, value)))
    }
}

/// Returns whether systemd rejects a character [systemd.exec(5), EnvironmentFile=], or it is a control character.
fn is_invalid(c: char) -> bool {
    let is_noncharacter = u32::from(c) & 0xfffe == 0xfffe || ('\u{fdd0}'..='\u{fdef}').contains(&c);
    c.is_control() || c == '\u{feff}' || is_noncharacter
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Vec<(String, String, usize)>, String> {
        let profile = Profile::parse("p.env".into(), text).map_err(|failure| failure.to_string())?;
        let settings = profile.settings.iter();
        Ok(settings.map(|it| (it.variable.clone(), it.value.expose().to_owned(), it.line)).collect())
    }

    #[test]
    fn a_setting_is_a_name_and_a_value_as_it_stands() {
        let text = "# a comment\n\nRTCOMM_A=\n \t\nRTCOMM_B_2=a b=c#d\"e'f;$x %n ü\n#";
        let expected = [("RTCOMM_A", "", 3), ("RTCOMM_B_2", "a b=c#d\"e'f;$x %n ü", 5)];
        let expected = expected.map(|(variable, value, line)| (variable.to_owned(), value.to_owned(), line));
        assert_eq!(parsed(text), Ok(expected.into()));
        assert_eq!(parsed(""), Ok(vec![]));
    }

    #[test]
    fn what_systemd_reads_differently_is_an_error_with_its_line() {
        for (line, error) in [
            ("RTCOMM_A", "expected RTCOMM_NAME=value"),
            ("export RTCOMM_A=b", "expected RTCOMM_NAME=value"),
            (" RTCOMM_A=b", "expected RTCOMM_NAME=value"),
            ("RTCOMM_A =b", "expected RTCOMM_NAME=value"),
            ("PATH=b", "expected RTCOMM_NAME=value"),
            ("; a comment", "expected RTCOMM_NAME=value"),
            ("  # a comment", "expected RTCOMM_NAME=value"),
            ("RTCOMM_A=\"b\"", "the value must not start with a quote"),
            ("RTCOMM_A='b'", "the value must not start with a quote"),
            ("RTCOMM_A=a\\b", "the value must not contain a backslash"),
            ("RTCOMM_A=b\\", "the value must not contain a backslash"),
            ("# a comment\\", "a comment must not end with a backslash"),
            ("RTCOMM_A= b", "the value must not start or end with a space or a tab"),
            ("RTCOMM_A=b\t", "the value must not start or end with a space or a tab"),
            ("RTCOMM_A=b\r", "the value contains an invalid character, \\u{d}"),
            ("RTCOMM_A=b\0", "the value contains an invalid character, \\u{0}"),
            ("RTCOMM_A=\u{feff}b", "the value contains an invalid character, \\u{feff}"),
            ("RTCOMM_A=\u{fdd0}b", "the value contains an invalid character, \\u{fdd0}"),
            ("RTCOMM_A=\u{1ffff}b", "the value contains an invalid character, \\u{1ffff}"),
            ("RTCOMM_X=b", "RTCOMM_X is already set in line 1"),
        ] {
            assert_eq!(parsed(&format!("RTCOMM_X=y\n\n{line}\n")), Err(format!("p.env, line 3: {error}")), "{line}");
        }
    }

    #[test]
    fn a_name_is_one_level_of_a_path() {
        for name in ["", ".", "..", "a/b", "/a", "../a"] {
            assert!(name.parse::<ProfileName>().is_err(), "{name:?}");
        }
        assert_eq!("...".parse::<ProfileName>().map(|name| name.to_string()), Ok("...".to_owned()));
    }

    #[test]
    fn no_value_is_shown() {
        let profile = Profile::parse("p.env".into(), "RTCOMM_PASSWORD=hunter2").expect("a profile");
        let shown = format!("{profile:?}");
        assert!(shown.contains("(redacted)") && !shown.contains("hunter2"), "{shown}");
    }
}
