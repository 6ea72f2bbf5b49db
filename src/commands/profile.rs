//! Reads the file of a profile.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::connection::is_readable_by_others;
use crate::cli::{Profile, ProfileName};
use crate::exit::Failure;

/// Maximum size of a profile in bytes.
const MAX_SIZE: u64 = 1 << 20;

/// Extension of a profile's file.
const EXTENSION: &str = ".env";

/// Reads and parses a profile.
///
/// # Errors
/// If the file cannot be read or is invalid, or if it contains a password and other users can read it.
pub(crate) fn read(name: &ProfileName) -> Result<Profile, Failure> {
    let folder = folder()?;
    let path = folder.join(format!("{name}{EXTENSION}"));
    let cannot_read = |error: &io::Error| {
        let failure = Failure::usage(format!("cannot read the profile '{name}': '{}': {error}", path.display()));
        if error.kind() == io::ErrorKind::NotFound { failure.hint(available(&folder)) } else { failure }
    };
    let file = File::open(&path).map_err(|error| cannot_read(&error))?;
    let metadata = file.metadata().map_err(|error| cannot_read(&error))?;
    let text = read_text(file).map_err(|error| cannot_read(&error))?;
    let profile = Profile::parse(path.clone(), &text)?;
    if profile.password().is_some() && is_readable_by_others(&metadata, &path) {
        return Err(Failure::usage(format!("other users can read '{}', which contains a password", path.display()))
            .hint(format!("chmod 600 {}", path.display())));
    }
    Ok(profile)
}

/// Reads a file of at most [`MAX_SIZE`] bytes.
fn read_text(file: File) -> io::Result<Zeroizing<String>> {
    // Growing leaves copies of the password in freed memory. Most profiles fit.
    let mut text = Zeroizing::new(String::with_capacity(1 << 16));
    file.take(MAX_SIZE + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_SIZE {
        return Err(io::Error::other(format!("it has more than {MAX_SIZE} bytes")));
    }
    Ok(text)
}

/// Returns the folder of the profiles: `${XDG_CONFIG_HOME:-~/.config}/rtcomm`.
fn folder() -> Result<PathBuf, Failure> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable("XDG_CONFIG_HOME")
        .or_else(|| Some(variable("HOME")?.join(".config")))
        .map(|config| config.join("rtcomm"))
        .ok_or_else(|| Failure::usage("cannot find profiles: neither XDG_CONFIG_HOME nor HOME is set"))
}

/// Names the profiles in the folder.
fn available(folder: &Path) -> String {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names = files.filter_map(|file| Some(file.file_name().to_str()?.strip_suffix(EXTENSION)?.to_owned()));
    let mut names: Vec<String> = names.filter(|name| !name.is_empty()).collect();
    names.sort_unstable();
    match &names[..] {
        [] => format!("'{}' contains no profile; PROFILES in `man rtcomm` describes them", folder.display()),
        _ => format!("the profiles in '{}' are: {}", folder.display(), names.join(", ")),
    }
}
