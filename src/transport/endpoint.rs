//! Where the MQTT library connects to: a Unix socket of this process that admits nobody else.
//!
//! A Unix socket works without a network, on a host with IPv6 alone and inside a firewall, needs no name resolution, and
//! the kernel says which process is at its other end. Its name exists only while the library connects.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use uuid::Uuid;

/// How long a path may be on any system [unix(7): 108 bytes, on macOS 104, the final NUL included].
const MAX_PATH: usize = 103;

/// A listening socket. It disappears when this is dropped.
#[derive(Debug)]
pub(super) struct Endpoint {
    /// A directory that only this user may enter.
    directory: PathBuf,
    socket: UnixListener,
}

impl Endpoint {
    /// Listens in the first directory for temporary files that can be written to.
    ///
    /// # Errors
    /// If no such directory can be written to.
    pub(super) fn open() -> io::Result<Self> {
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        let name = format!("rtcomm-{}", Uuid::new_v4().simple());
        for parent in candidates() {
            let directory = parent.join(&name);
            if socket_in(&directory).as_os_str().len() > MAX_PATH {
                continue;
            }
            match listen(&directory) {
                Ok(socket) => return Ok(Self { directory, socket }),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// The address as the library takes it.
    pub(super) fn uri(&self) -> String {
        format!("unix://{}", socket_in(&self.directory).display())
    }

    /// Waits for the library, and turns everybody else away.
    ///
    /// # Errors
    /// If it does not come before the deadline.
    pub(super) fn accept(&self, deadline: Instant) -> io::Result<UnixStream> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if !is_readable(&self.socket, left)? {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let (stream, _) = self.socket.accept()?;
            if is_own_process(&stream) {
                return Ok(stream);
            }
        }
    }
}

/// Directories that may be written to, the most private first.
fn candidates() -> impl Iterator<Item = PathBuf> {
    let variables = ["XDG_RUNTIME_DIR", "TMPDIR"].into_iter().filter_map(std::env::var_os).map(PathBuf::from);
    let usual = ["/tmp", "/dev/shm", "/run", "/var/tmp"].into_iter().map(PathBuf::from);
    let home = std::env::var_os("HOME").map(PathBuf::from);
    variables.chain(usual).chain(home).filter(|directory| directory.is_absolute() && is_text(directory))
}

/// The library takes text.
fn is_text(path: &Path) -> bool {
    path.to_str().is_some()
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        remove(&self.directory);
    }
}

fn socket_in(directory: &Path) -> PathBuf {
    directory.join("mqtt")
}

fn listen(directory: &Path) -> io::Result<UnixListener> {
    DirBuilder::new().mode(0o700).create(directory)?;
    UnixListener::bind(socket_in(directory)).inspect_err(|_| remove(directory))
}

/// Removes the directory and the socket in it. What is gone already needs no removing.
fn remove(directory: &Path) {
    let _ = fs::remove_file(socket_in(directory));
    let _ = fs::remove_dir(directory);
}

fn is_readable(socket: &UnixListener, wait: Duration) -> io::Result<bool> {
    let wait = wait.try_into().map_err(io::Error::other)?;
    match poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&wait)) {
        Ok(ready) => Ok(ready > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether the other end belongs to this process.
#[cfg(target_os = "linux")]
fn is_own_process(stream: &UnixStream) -> bool {
    let peer = rustix::net::sockopt::socket_peercred(stream.as_fd());
    peer.is_ok_and(|peer| peer.pid == rustix::process::getpid())
}

/// Other systems do not tell the process: there the directory's mode keeps other users out.
#[cfg(not(target_os = "linux"))]
fn is_own_process(stream: &UnixStream) -> bool {
    let _ = stream.as_fd();
    true
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(30)
    }

    #[test]
    fn this_process_is_admitted_and_leaves_nothing_behind() {
        let endpoint = Endpoint::open().expect("some directory can be written to");
        let directory = endpoint.directory.clone();
        let _ours = UnixStream::connect(socket_in(&directory)).expect("it listens");
        endpoint.accept(soon()).expect("we are admitted");
        drop(endpoint);
        assert!(!directory.exists());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn another_process_is_turned_away() {
        const SCRIPT: &str = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.recv(1)";
        let endpoint = Endpoint::open().expect("some directory can be written to");
        let path = socket_in(&endpoint.directory);
        let mut stranger = std::process::Command::new("python3");
        let mut stranger = stranger.args(["-c", SCRIPT]).arg(&path).spawn().expect("python3 is installed");
        assert!(is_readable(&endpoint.socket, Duration::from_secs(30)).expect("a socket"), "the stranger connects");
        let mut ours = UnixStream::connect(&path).expect("it listens");
        let accepted = endpoint.accept(soon()).expect("we are admitted");
        assert!(stranger.wait().expect("our own child").success(), "the stranger reads the end of the stream");
        drop(accepted);
        assert_eq!(ours.read(&mut [0]).expect("closed by the other end"), 0, "ours was the one");
    }
}
