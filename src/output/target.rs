//! The destination of records: standard output, or a file to append to.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{OFlags, fcntl_getfl};

/// The destination of records.
#[derive(Debug)]
pub(crate) enum Target {
    /// Standard output.
    Stdout(File),
    /// A file.
    File {
        /// The path, for reopening.
        path: PathBuf,
        /// The open file.
        file: File,
        /// Whether a flush syncs the data to disk, so that it survives a power loss.
        is_synced: bool,
    },
}

/// Why a file cannot be opened for appending.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// The file cannot be opened, or its incomplete last line cannot be ended.
    File(io::Error),
    /// Its directory cannot be synced.
    SyncDirectory(io::Error),
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        Self::File(error)
    }
}

impl From<OpenError> for io::Error {
    fn from(error: OpenError) -> Self {
        let (OpenError::File(error) | OpenError::SyncDirectory(error)) = error;
        error
    }
}

impl Target {
    /// Returns standard output. If it appends to a file that ends with an incomplete line, appends a line end.
    ///
    /// # Errors
    /// If it is closed, or cannot be written to.
    pub(crate) fn stdout() -> io::Result<Self> {
        let mut stdout = super::stdout()?;
        if ends_with_incomplete_line(&stdout) {
            stdout.write_all(b"\n")?;
        }
        Ok(Self::Stdout(stdout))
    }

    /// Opens a file for appending, and creates it if it does not exist.
    ///
    /// # Errors
    /// If the file cannot be opened for appending, or its directory cannot be synced.
    pub(crate) fn file(path: PathBuf, is_synced: bool) -> Result<Self, OpenError> {
        let file = open(&path, is_synced)?;
        Ok(Self::File { path, file, is_synced })
    }

    /// Opens the file again by its path, after log rotation renamed the old one.
    ///
    /// # Errors
    /// See [`Target::file`].
    pub(crate) fn reopen(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(_) => Ok(()),
            Self::File { path, file, is_synced } => {
                *file = open(path, *is_synced)?;
                Ok(())
            }
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout(_) => f.write_str("standard output"),
            Self::File { path, .. } => write!(f, "'{}'", path.display()),
        }
    }
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout(file) | Self::File { file, .. } => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::File { file, is_synced: true, .. } => file.sync_data(),
            Self::Stdout(_) | Self::File { .. } => Ok(()),
        }
    }
}

/// Opens a file for appending. If it ends with an incomplete line, appends a line end.
fn open(path: &Path, is_synced: bool) -> Result<File, OpenError> {
    let is_file = path.metadata().is_ok_and(|metadata| metadata.is_file());
    let mut file = OpenOptions::new().create(true).append(true).read(is_file).open(path)?;
    if is_file && !ends_with_line_end(&mut file)? {
        file.write_all(b"\n")?;
    }
    if is_synced {
        sync_directory(path).map_err(OpenError::SyncDirectory)?;
    }
    Ok(file)
}

/// Returns whether standard output appends to a file that ends with an incomplete line, as a killed run leaves it.
///
/// Descriptors that append cannot be read, so the file is opened again. Returns `false` if that is not possible.
fn ends_with_incomplete_line(stdout: &File) -> bool {
    let is_file = stdout.metadata().is_ok_and(|metadata| metadata.is_file());
    let appends = fcntl_getfl(stdout).is_ok_and(|flags| flags.contains(OFlags::APPEND));
    let is_complete = || File::open("/dev/stdout").and_then(|mut file| ends_with_line_end(&mut file)).unwrap_or(true);
    is_file && appends && !is_complete()
}

/// Syncs the file's directory entry, which syncing the file itself does not [fsync(2)].
fn sync_directory(path: &Path) -> io::Result<()> {
    match File::open(directory_of(path)).and_then(|directory| directory.sync_all()) {
        // The file system does not support syncing directories.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        result => result,
    }
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn ends_with_line_end(file: &mut File) -> io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(true);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn an_incomplete_last_line_is_ended_before_appending() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("events.jsonl");
        for line in ["one\n", "tw"] {
            let mut target = Target::file(path.clone(), true).expect("a file");
            target.write_all(line.as_bytes()).expect("written");
            target.flush().expect("synced");
        }
        Target::file(path.clone(), false).expect("a file").write_all(b"three\n").expect("written");
        assert_eq!(std::fs::read_to_string(&path).expect("readable"), "one\ntw\nthree\n");
    }

    #[test]
    fn a_file_whose_directory_cannot_be_synced_is_an_error_with_sync() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("events.jsonl");
        std::fs::set_permissions(directory.path(), Permissions::from_mode(0o300)).expect("a directory of this test");
        // Root can read it anyway.
        let can_sync = File::open(directory.path()).is_ok();
        let (synced, unsynced) = (Target::file(path.clone(), true), Target::file(path, false));
        std::fs::set_permissions(directory.path(), Permissions::from_mode(0o700)).expect("a directory of this test");
        assert!(unsynced.is_ok());
        assert_eq!(synced.is_ok(), can_sync);
    }

    #[test]
    fn the_directory_of_a_bare_name_is_the_current_one() {
        for (path, expected) in [("events.jsonl", "."), ("a/events.jsonl", "a"), ("/events.jsonl", "/")] {
            assert_eq!(directory_of(Path::new(path)), Path::new(expected), "{path}");
        }
    }

    #[test]
    fn reopening_after_a_rename_creates_a_new_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("events.jsonl");
        let mut target = Target::file(path.clone(), false).expect("a file");
        target.write_all(b"one\n").expect("written");
        std::fs::rename(&path, directory.path().join("old")).expect("renamed");
        target.reopen().expect("reopened");
        target.write_all(b"two\n").expect("written");
        assert_eq!(std::fs::read_to_string(&path).expect("readable"), "two\n");
    }
}
