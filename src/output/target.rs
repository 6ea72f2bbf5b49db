//! Where records go: standard output, or a file that is appended to.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// Where records go.
#[derive(Debug)]
pub(crate) enum Target {
    /// Standard output.
    Stdout(File),
    /// A file.
    File {
        /// Its name, to open it anew.
        path: PathBuf,
        /// The file itself.
        file: File,
        /// Whether what is written must survive a loss of power before it counts as written.
        is_synced: bool,
    },
}

impl Target {
    /// Standard output.
    ///
    /// # Errors
    /// Where it is closed.
    pub(crate) fn stdout() -> Result<Self> {
        super::stdout().map(Self::Stdout).context("cannot write to standard output")
    }

    /// A file, which is made where it does not exist.
    ///
    /// # Errors
    /// Where it cannot be opened for appending.
    pub(crate) fn file(path: PathBuf, is_synced: bool) -> Result<Self> {
        let file = open(&path, is_synced).with_context(|| format!("cannot open {} for appending", path.display()))?;
        Ok(Self::File { path, file, is_synced })
    }

    /// Opens the file anew by its name: what stood there may have been renamed.
    ///
    /// # Errors
    /// As [`Target::file`].
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
            Self::File { path, .. } => path.display().fmt(f),
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

/// Opens a file for appending. A line that an earlier run could not finish is ended, so that it spoils no other.
fn open(path: &Path, is_synced: bool) -> io::Result<File> {
    let is_file = path.metadata().is_ok_and(|metadata| metadata.is_file());
    let mut file = OpenOptions::new().create(true).append(true).read(is_file).open(path)?;
    if is_file && !ends_with_line_end(&mut file)? {
        file.write_all(b"\n")?;
    }
    if is_synced {
        sync_name(path)?;
    }
    Ok(file)
}

/// Has a file's name survive a loss of power: that stands in its folder, which is not synced with the file [fsync(2)].
fn sync_name(path: &Path) -> io::Result<()> {
    match File::open(folder(path)).and_then(|folder| folder.sync_all()) {
        // A file system that does not sync folders says so like this; nothing more can be asked of it.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        Err(error) => Err(io::Error::new(error.kind(), format!("its folder cannot be synced: {error}"))),
        Ok(()) => Ok(()),
    }
}

/// The folder that a file's name stands in.
fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
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
    fn a_file_is_appended_to_and_a_broken_line_is_ended_first() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("events.jsonl");
        for line in ["one\n", "tw"] {
            let mut target = Target::file(path.clone(), true).expect("a file");
            target.write_all(line.as_bytes()).expect("written");
            target.flush().expect("synced");
        }
        Target::file(path.clone(), false).expect("a file").write_all(b"three\n").expect("written");
        assert_eq!(std::fs::read_to_string(&path).expect("readable"), "one\ntw\nthree\n");
    }

    #[test]
    fn a_file_whose_name_cannot_be_synced_is_not_written_to_where_it_must_survive() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("events.jsonl");
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o300)).expect("our own folder");
        // Root may read it all the same.
        let may_be_synced = File::open(folder.path()).is_ok();
        let (synced, unsynced) = (Target::file(path.clone(), true), Target::file(path, false));
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).expect("our own folder");
        assert!(unsynced.is_ok());
        assert_eq!(synced.is_ok(), may_be_synced);
    }

    #[test]
    fn the_folder_is_the_one_that_the_name_stands_in() {
        for (path, expected) in [("events.jsonl", "."), ("a/events.jsonl", "a"), ("/events.jsonl", "/")] {
            assert_eq!(folder(Path::new(path)), Path::new(expected), "{path}");
        }
    }

    #[test]
    fn a_renamed_file_is_made_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("events.jsonl");
        let mut target = Target::file(path.clone(), false).expect("a file");
        target.write_all(b"one\n").expect("written");
        std::fs::rename(&path, folder.path().join("old")).expect("renamed");
        target.reopen().expect("opened anew");
        target.write_all(b"two\n").expect("written");
        assert_eq!(std::fs::read_to_string(&path).expect("readable"), "two\n");
    }
}
