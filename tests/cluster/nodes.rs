//! Runs three nats-server nodes on separate loopback addresses.

use std::fmt;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::rig::{LONG, wait_until};
use crate::support::Process;
use crate::support::broker::{free_port, installed};
use crate::support::mqtt::{CONNECT, Packet, SUBACK, SUBSCRIBE, string};

const NODES: usize = 3;

/// How a node fails.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Failure {
    /// By SIGKILL.
    Killed,
    /// By SIGSTOP: the kernel still accepts connections.
    Frozen,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Killed => "a node killed",
            Self::Frozen => "a node frozen",
        })
    }
}

/// A running cluster.
pub(crate) struct Cluster {
    port: u16,
    nodes: Vec<Process>,
    _dir: TempDir,
}

impl Cluster {
    /// Starts three nodes on one port of 127.0.0.1, 127.0.0.2 and 127.0.0.3. Returns when each accepts subscriptions.
    pub(crate) fn start() -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let (port, cluster) = (free_port(), free_port());
        let routes: Vec<String> = (1..=NODES).map(|node| format!("nats://127.0.0.{node}:{cluster}")).collect();
        let start = |node: usize| {
            let file = dir.path().join(format!("node{node}.conf"));
            let config = format!(
                "server_name: node{node}\nlisten: \"127.0.0.{node}:-1\"\n\
                 jetstream {{ store_dir: \"{}\", max_mem: 64M, max_file: 512M }}\n\
                 cluster {{ name: rtcomm, listen: \"127.0.0.{node}:{cluster}\", routes: [{}] }}\n\
                 mqtt {{ listen: \"127.0.0.{node}:{port}\", ack_wait: \"5s\" }}\n",
                dir.path().join(format!("node{node}")).display(),
                routes.join(", ")
            );
            std::fs::write(&file, config).expect("the configuration can be written");
            let mut command = Command::new(installed("nats-server"));
            command.arg("-c").arg(&file).env_clear().stdin(Stdio::null()).stdout(Stdio::null());
            Process::start(&mut command)
        };
        let nodes: Vec<Process> = (1..=NODES).map(start).collect();
        let cluster = Self { port, nodes, _dir: dir };
        (0..NODES).for_each(|node| cluster.wait_for(node));
        cluster
    }

    /// Waits until a node accepts subscriptions.
    pub(crate) fn wait_for(&self, node: usize) {
        let story = || self.nodes[node].so_far("running");
        wait_until("a node that accepts subscriptions", LONG, story, || probe(self.address(node)).is_ok());
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Returns the address of the n-th node (zero-based).
    pub(crate) fn address(&self, node: usize) -> SocketAddr {
        let last = u8::try_from(node + 1).expect("a small number");
        ([127, 0, 0, last], self.port).into()
    }

    pub(crate) fn url(&self, node: usize) -> String {
        format!("mqtt://{}", self.address(node))
    }

    pub(crate) fn fail(&mut self, node: usize, failure: Failure) {
        self.nodes[node].signal(match failure {
            Failure::Killed => Signal::KILL,
            Failure::Frozen => Signal::STOP,
        });
    }
}

/// Subscribes with QoS 1, which only a cluster with a leader grants.
fn probe(node: SocketAddr) -> std::io::Result<()> {
    let stream = std::net::TcpStream::connect(node)?;
    stream.set_read_timeout(Some(std::time::Duration::from_secs(6)))?;
    let id = format!("probe{}", fastrand::u32(..));
    Packet::new(CONNECT, [&string("MQTT")[..], &[4, 2, 0, 60], &string(&id)].concat()).write(&stream)?;
    Packet::read(&stream)?;
    Packet::new(SUBSCRIBE | 2, [&[0, 1][..], &string("probe"), &[1]].concat()).write(&stream)?;
    let answer = Packet::read(&stream)?;
    let is_granted = answer.first == SUBACK && answer.body.last() == Some(&1);
    if is_granted { Ok(()) } else { Err(std::io::Error::other("not granted")) }
}
