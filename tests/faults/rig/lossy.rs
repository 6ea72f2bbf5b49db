//! Two network namespaces, connected by a link that loses and delays packets.
//!
//! The link is an Ethernet segment carried in UDP (VXLAN). Each end sends its datagrams to this process, which forwards or
//! drops them. So TCP handles real loss, a seed repeats it, and the kernel needs no traffic shaper.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::broker::installed;

/// VXLAN's port.
const PORT: u16 = 4789;

/// The near end's address on the link.
pub(crate) const NEAR: &str = "10.213.77.1";

/// The far end's address on the link.
const FAR: &str = "10.213.77.2";

/// A link between two namespaces.
pub(crate) struct Link {
    names: [String; 2],
    hubs: [Ipv4Addr; 2],
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    is_over: AtomicBool,
    passed: AtomicU64,
    lost: AtomicU64,
}

impl Link {
    /// Creates a link that loses this share of packets, and delays each by `delay` in either direction.
    ///
    /// # Errors
    /// If the system does not allow or support it.
    pub(crate) fn new(loss: f64, delay: Duration, seed: u64) -> Result<Self, String> {
        let number = std::process::id() % 4_000;
        // Addresses of the block for benchmarks [RFC 2544].
        let net = |end: u32| Ipv4Addr::from_bits(0xc612_0000 + (number * 2 + end) * 8);
        let [near, far] = [net(0), net(1)];
        let link = Self {
            names: ["near", "far"].map(|end| format!("rtcomm-{}-{end}", std::process::id())),
            hubs: [near, far].map(|net| Ipv4Addr::from_bits(net.to_bits() + 1)),
            shared: Arc::default(),
        };
        for (end, address) in [NEAR, FAR].into_iter().enumerate() {
            link.make_end(end, address)?;
        }
        let bind = |end: usize| {
            let socket = UdpSocket::bind((link.hubs[end], PORT)).map_err(|error| error.to_string())?;
            socket.set_read_timeout(Some(Duration::from_millis(100))).map_err(|error| error.to_string())?;
            Ok::<_, String>(Arc::new(socket))
        };
        let sockets = [bind(0)?, bind(1)?];
        for (from, to) in [(0, 1), (1, 0)] {
            let target = SocketAddr::from((link.outside(to), PORT));
            let (sender, receiver) = channel();
            let (inlet, outlet) = (sockets[from].clone(), sockets[to].clone());
            let shared = link.shared.clone();
            let random = fastrand::Rng::with_seed(seed + from as u64);
            thread::spawn(move || shared.receive(&inlet, &sender, loss, delay, random));
            thread::spawn(move || send(&outlet, target, &receiver));
        }
        Ok(link)
    }

    /// Creates a namespace with an address on the link, and another address that is reached without loss.
    fn make_end(&self, end: usize, address: &str) -> Result<(), String> {
        let name = &self.names[end];
        let (hub, outside) = (self.hubs[end], self.outside(end));
        let veth = veth(end);
        let mac = |end: usize| format!("02:00:00:00:77:0{}", end + 1);
        let other = [FAR, NEAR][end];
        for command in [
            format!("netns add {name}"),
            format!("-n {name} link set lo up"),
            format!("link add {veth} type veth peer name outside netns {name}"),
            format!("addr add {hub}/29 dev {veth}"),
            format!("link set {veth} up"),
            format!("-n {name} addr add {outside}/29 dev outside"),
            format!("-n {name} link set outside up"),
            format!("-n {name} link add link0 type vxlan id 77 local {outside} remote {hub} dstport {PORT} nolearning"),
            format!("-n {name} link set link0 address {} mtu 1400 gso_max_segs 1 up", mac(end)),
            format!("-n {name} addr add {address}/24 dev link0"),
            format!("-n {name} neigh add {other} lladdr {} dev link0 nud permanent", mac(1 - end)),
        ] {
            ip(&command)?;
        }
        Ok(())
    }

    /// Returns the address of a namespace that is reached without loss.
    fn outside(&self, end: usize) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.hubs[end].to_bits() + 1)
    }

    /// Returns the command that starts a program at the near end.
    pub(crate) fn near(&self) -> [&str; 4] {
        ["ip", "netns", "exec", &self.names[0]]
    }

    /// Returns the command that starts a program at the far end.
    pub(crate) fn far(&self) -> [&str; 4] {
        ["ip", "netns", "exec", &self.names[1]]
    }

    /// Returns the address of the near end that is reached without loss.
    pub(crate) fn near_outside(&self) -> IpAddr {
        self.outside(0).into()
    }

    /// Returns the numbers of forwarded and of lost packets.
    pub(crate) fn packets(&self) -> (u64, u64) {
        (self.shared.passed.load(Ordering::SeqCst), self.shared.lost.load(Ordering::SeqCst))
    }
}

impl Shared {
    fn receive(
        &self,
        inlet: &UdpSocket,
        sender: &Sender<(Instant, Vec<u8>)>,
        loss: f64,
        delay: Duration,
        mut random: fastrand::Rng,
    ) {
        let mut buffer = [0; 2048];
        while !self.is_over.load(Ordering::SeqCst) {
            let Ok(read) = inlet.recv(&mut buffer) else { continue };
            if random.f64() < loss {
                self.lost.fetch_add(1, Ordering::SeqCst);
                continue;
            }
            self.passed.fetch_add(1, Ordering::SeqCst);
            let mut packet = buffer[..read].to_vec();
            add_checksum(&mut packet);
            if sender.send((Instant::now() + delay, packet)).is_err() {
                return;
            }
        }
    }
}

/// Writes the checksum of a TCP segment, which the kernel leaves to the (virtual) network card.
fn add_checksum(packet: &mut [u8]) {
    const IPV4: [u8; 2] = [8, 0];
    const TCP: u8 = 6;
    // VXLAN's header has 8 bytes, Ethernet's 14.
    let Some((head, ip)) = packet.split_at_mut_checked(22) else { return };
    if head[20..] != IPV4 || ip.len() < 40 || ip[9] != TCP {
        return;
    }
    let (head, segment) = ip.split_at_mut(usize::from(ip[0] & 0xf) * 4);
    segment[16..18].fill(0);
    let words = |bytes: &[u8]| -> u32 {
        bytes.chunks(2).map(|it| u32::from(u16::from_be_bytes([it[0], it.get(1).copied().unwrap_or(0)]))).sum()
    };
    let length = u32::try_from(segment.len()).unwrap_or_default();
    let mut sum = words(&head[12..20]) + u32::from(TCP) + length + words(segment);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    segment[16..18].copy_from_slice(&u16::try_from(!sum & 0xffff).unwrap_or_default().to_be_bytes());
}

fn send(outlet: &UdpSocket, target: SocketAddr, receiver: &Receiver<(Instant, Vec<u8>)>) {
    for (due, packet) in receiver {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        // Ignore errors: the packet is lost.
        let _ = outlet.send_to(&packet, target);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        for (end, name) in self.names.iter().enumerate() {
            // Remove the link, because the namespace exists for as long as TCP has data to send in it. Ignore errors: the
            // link may not exist.
            let _ = ip(&format!("link del {}", veth(end)));
            let _ = ip(&format!("netns del {name}"));
        }
    }
}

/// Returns our end of the pair of interfaces that leads into a namespace.
fn veth(end: usize) -> String {
    format!("rt{}{}", std::process::id(), ["n", "f"][end])
}

fn ip(words: &str) -> Result<(), String> {
    let output = Command::new(installed("ip")).args(words.split_whitespace()).output();
    let output = output.map_err(|error| format!("ip cannot be started: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("`ip {words}`: {}", String::from_utf8_lossy(&output.stderr).trim()))
}
