//! The sockets of this process. The MQTT library does not say which it uses, a number alone is nothing that safe code may
//! use, and anybody on this machine may connect to a port of ours.

use std::net::SocketAddr;

#[cfg(target_os = "linux")]
use rustix::fd::OwnedFd;

/// Where the kernel shows what descriptors we have.
#[cfg(target_os = "linux")]
const DESCRIPTORS: &str = "/proc/self/fd";

/// Every descriptor that we have, each once more; none where the system does not let us, as in some containers.
#[cfg(target_os = "linux")]
pub(super) fn descriptors() -> impl Iterator<Item = OwnedFd> {
    use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
    let ourselves = pidfd_open(getpid(), PidfdFlags::empty()).ok();
    let numbers = std::fs::read_dir(DESCRIPTORS).into_iter().flatten();
    let numbers = numbers.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    numbers.filter_map(move |number| pidfd_getfd(ourselves.as_ref()?, number, PidfdGetfdFlags::empty()).ok())
}

/// Whether the far end of the IPv4 connection from `near` to `far` is ours. Where the system does not let us know, without
/// /proc or on others than Linux, anybody's is taken for ours.
pub(super) fn is_far_end(near: SocketAddr, far: SocketAddr) -> bool {
    #[cfg(target_os = "linux")]
    return is_held(near, far) || is_listed(near, far).unwrap_or(true);
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (near, far);
        true
    }
}

/// Whether one of our descriptors says so.
#[cfg(target_os = "linux")]
fn is_held(near: SocketAddr, far: SocketAddr) -> bool {
    use rustix::net::{getpeername, getsockname};
    descriptors().any(|fd| {
        let peer = getpeername(&fd).ok().flatten().and_then(|peer| SocketAddr::try_from(peer).ok());
        peer == Some(near) && getsockname(&fd).is_ok_and(|name| name.try_into() == Ok(far))
    })
}

/// Whether the kernel's table of connections says so [proc_net_tcp(5)], which has all of the machine's; `None` where it
/// cannot be read.
#[cfg(target_os = "linux")]
fn is_listed(near: SocketAddr, far: SocketAddr) -> Option<bool> {
    use std::io::{BufRead as _, BufReader};
    let (near, far) = (in_table(near)?, in_table(far)?);
    let table = std::fs::File::open("/proc/net/tcp").ok()?;
    let links = std::fs::read_dir(DESCRIPTORS).ok()?;
    let inode = BufReader::new(table).lines().map_while(Result::ok).find_map(|row| {
        let row: Vec<&str> = row.split_ascii_whitespace().collect();
        (row.get(1..3)? == [&far, &near]).then(|| row.get(9).map(ToString::to_string))?
    });
    let Some(inode) = inode else { return Some(false) };
    let socket = format!("socket:[{inode}]");
    let mut links = links.flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok());
    Some(links.any(|link| link.as_os_str() == socket.as_str()))
}

/// An IPv4 address as the table has it.
#[cfg(target_os = "linux")]
fn in_table(address: SocketAddr) -> Option<String> {
    let SocketAddr::V4(address) = address else { return None };
    Some(format!("{:08X}:{:04X}", u32::from_ne_bytes(address.ip().octets()), address.port()))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::{Ipv4Addr, TcpListener, TcpStream};
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn our_own_end_is_told_from_another_process_s() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let listens_at = listener.local_addr().expect("it is bound");
        let ours = TcpStream::connect(listens_at).expect("it listens");
        let ours_at = ours.local_addr().expect("it is connected");
        assert!(is_held(listens_at, ours_at) && is_listed(listens_at, ours_at) == Some(true));
        // The same end of a connection to somebody else is not the one that is meant.
        let elsewhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
        assert!(!is_held(elsewhere, ours_at) && is_listed(elsewhere, ours_at) == Some(false));
        let (_ours, _) = listener.accept().expect("we are there");
        let script = format!("exec 3<>/dev/tcp/127.0.0.1/{}; read", listens_at.port());
        let mut stranger = Command::new("bash");
        let mut stranger = stranger.arg("-c").arg(script).stdin(Stdio::piped()).spawn().expect("bash is installed");
        let (_theirs, theirs_at) = listener.accept().expect("the other process is there");
        assert!(!is_held(listens_at, theirs_at) && is_listed(listens_at, theirs_at) == Some(false));
        drop(stranger.stdin.take());
        stranger.wait().expect("it is our child");
    }
}
