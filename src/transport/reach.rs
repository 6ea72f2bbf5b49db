//! Whether somebody listens where the broker, or the proxy before it, is said to be; asked before the MQTT library is,
//! which does not say why it cannot connect, and keeps a core busy while nobody answers.

use std::fmt;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::broker::{Broker, Options};
use super::proxy;
use crate::exit::Failure;

/// Connects to the broker, or to the proxy on the way to it; returns which of its addresses answered.
///
/// # Errors
/// Where the name stands for no address, or nobody answers at any of them until `deadline`.
pub(super) fn reach(options: &Options, deadline: Instant) -> Result<(SocketAddr, TcpStream), Failure> {
    let Options { broker, proxy, connect_timeout, .. } = options;
    match proxy {
        None => probe(broker, broker, deadline, *connect_timeout),
        Some(proxy) => {
            let proxy = Broker::of_proxy(proxy)?;
            let name = format_args!("the proxy {}", proxy.authority()).to_string();
            probe(&proxy, &name, deadline, *connect_timeout).map_err(|failure| failure.hint(proxy::CHECK))
        }
    }
}

/// Connects to the first of the broker's addresses that somebody listens at. In words it is called `name`, and `timeout`
/// is how long it may take.
fn probe(
    broker: &Broker,
    name: &dyn fmt::Display,
    deadline: Instant,
    timeout: Duration,
) -> Result<(SocketAddr, TcpStream), Failure> {
    let cannot = |why: &dyn fmt::Display| Failure::unreachable(format!("cannot connect to {name}: {why}"));
    let addresses = broker.addresses().map_err(|error| {
        let why = error.to_string();
        let why = why.strip_prefix("failed to lookup address information: ").unwrap_or(&why).to_owned();
        cannot(&format_args!("no such host ({why})")).hint("check the host name in --broker or RTCOMM_BROKER")
    })?;
    let mut failure = cannot(&"the host has no address");
    for address in addresses {
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        match TcpStream::connect_timeout(&address, left) {
            Ok(stream) => return Ok((address, stream)),
            Err(error) => failure = unreachable(name, timeout, &error),
        }
    }
    Err(failure)
}

fn unreachable(name: &dyn fmt::Display, timeout: Duration, error: &std::io::Error) -> Failure {
    let cannot = |why: &str| Failure::unreachable(format!("cannot connect to {name}: {why}"));
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => cannot("connection refused").hint(
            "is a broker listening there? check --broker or RTCOMM_BROKER; `rtcomm demo` starts one to try things with",
        ),
        std::io::ErrorKind::TimedOut => cannot(&format!("no answer within {}", humantime::format_duration(timeout)))
            .hint("check host, port and firewall; --connect-timeout waits longer"),
        _ => cannot(&error.to_string()).hint("check --broker or RTCOMM_BROKER"),
    }
}
