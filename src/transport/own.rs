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

/// Whether the end of a connection with this IPv4 address is ours. Other systems than Linux do not let us know: there
/// anybody's is taken for ours.
pub(super) fn is_ours(address: SocketAddr) -> bool {
    #[cfg(target_os = "linux")]
    return is_held(address) || is_listed(address);
    #[cfg(not(target_os = "linux"))]
    {
        let _ = address;
        true
    }
}

/// Whether one of our descriptors says so.
#[cfg(target_os = "linux")]
fn is_held(address: SocketAddr) -> bool {
    descriptors().any(|fd| rustix::net::getsockname(fd).is_ok_and(|name| name.try_into() == Ok(address)))
}

/// Whether the kernel's table of connections says so [proc_net_tcp(5)]. It has all of the machine's, which may be many.
#[cfg(target_os = "linux")]
fn is_listed(address: SocketAddr) -> bool {
    use std::io::{BufRead as _, BufReader};
    let SocketAddr::V4(address) = address else { return false };
    let name = format!("{:08X}:{:04X}", u32::from_ne_bytes(address.ip().octets()), address.port());
    let Ok(table) = std::fs::File::open("/proc/net/tcp") else { return false };
    let mut rows = BufReader::new(table).lines().map_while(Result::ok);
    let row = rows.find(|row| row.split_ascii_whitespace().nth(1) == Some(&name));
    let Some(inode) = row.as_deref().and_then(|row| row.split_ascii_whitespace().nth(9)) else { return false };
    let socket = format!("socket:[{inode}]");
    let mut links = std::fs::read_dir(DESCRIPTORS).into_iter().flatten().flatten();
    links.any(|entry| std::fs::read_link(entry.path()).is_ok_and(|link| link.as_os_str() == socket.as_str()))
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
        assert!(is_held(ours_at) && is_listed(ours_at));
        let (_ours, _) = listener.accept().expect("we are there");
        let script = format!("exec 3<>/dev/tcp/127.0.0.1/{}; read", listens_at.port());
        let mut stranger = Command::new("bash");
        let mut stranger = stranger.arg("-c").arg(script).stdin(Stdio::piped()).spawn().expect("bash is installed");
        let (_theirs, theirs_at) = listener.accept().expect("the other process is there");
        assert!(!is_held(theirs_at) && !is_listed(theirs_at));
        drop(stranger.stdin.take());
        stranger.wait().expect("it is our child");
    }
}
