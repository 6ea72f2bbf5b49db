//! Real brokers on free ports: mosquitto, and the broker of `rtcomm demo --serve`.

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::client::Client;
use super::mosquitto::Mosquitto;
use super::{Process, Rtcomm, rtcomm};

/// A running broker, which is killed when this is dropped.
pub(crate) enum Broker {
    Mosquitto(Mosquitto),
    Demo { port: u16, _process: Process },
}

impl Broker {
    /// Starts mosquitto for anonymous clients.
    pub(crate) fn mosquitto() -> Self {
        Self::mosquitto_with("allow_anonymous true\n")
    }

    /// Starts mosquitto with these settings and a listener.
    pub(crate) fn mosquitto_with(config: &str) -> Self {
        Self::Mosquitto(Mosquitto::start(config))
    }

    /// Starts the broker of `rtcomm demo`, with a simulation that publishes nothing by itself.
    pub(crate) fn demo() -> Self {
        Self::demo_with("--interval 1h --seed 1")
    }

    /// Starts the broker of `rtcomm demo` with these flags.
    pub(crate) fn demo_with(flags: &str) -> Self {
        let process = rtcomm(&format!("demo --serve --listen 127.0.0.1:0 {flags}")).start();
        process.wait_for_lines(1);
        let address = process.stdout.text();
        let port = address.trim_end().strip_prefix("RTCOMM_BROKER=mqtt://127.0.0.1:").and_then(|it| it.parse().ok());
        let Some(port) = port else { panic!("no address\n{}", process.so_far("running")) };
        Self::Demo { port, _process: process }
    }

    pub(crate) fn url(&self) -> String {
        self.url_as("mqtt", "127.0.0.1")
    }

    pub(crate) fn port(&self) -> u16 {
        match self {
            Self::Mosquitto(mosquitto) => mosquitto.port(),
            Self::Demo { port, .. } => *port,
        }
    }

    /// Returns the broker's URL with another scheme and host.
    pub(crate) fn url_as(&self, scheme: &str, host: &str) -> String {
        format!("{scheme}://{host}:{}", self.port())
    }

    /// Connects a client with MQTT 3.1.
    pub(crate) fn old_client(&self) -> Client {
        Client::connect_3_1(self.port())
    }

    /// Connects another client.
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.port())
    }
}

/// A broker, and the MQTT version to use with it.
pub(crate) struct Setup {
    pub(crate) broker: Broker,
    pub(crate) version: &'static str,
}

impl Setup {
    /// Returns a run of `rtcomm` at this broker, in this version.
    pub(crate) fn rtcomm(&self, words: &str) -> Rtcomm {
        rtcomm(words).at(&self.broker).env("RTCOMM_MQTT_VERSION", self.version)
    }
}

/// Makes four tests of a function: for either broker, in either MQTT version.
macro_rules! on_every_broker {
    ($test:ident) => {
        mod $test {
            use crate::support::{Broker, Setup};

            #[test]
            fn demo_with_mqtt_5() {
                super::$test(&Setup { broker: Broker::demo(), version: "5" });
            }

            #[test]
            fn demo_with_mqtt_3_1_1() {
                super::$test(&Setup { broker: Broker::demo(), version: "3.1.1" });
            }

            #[test]
            fn mosquitto_with_mqtt_5() {
                super::$test(&Setup { broker: Broker::mosquitto(), version: "5" });
            }

            #[test]
            fn mosquitto_with_mqtt_3_1_1() {
                super::$test(&Setup { broker: Broker::mosquitto(), version: "3.1.1" });
            }
        }
    };
}
pub(crate) use on_every_broker;

/// Returns the path of an installed program. Panics if it is not installed.
pub(crate) fn installed(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian installs mosquitto in a directory that a user's PATH may not have.
    let sbin = ["/usr/sbin", "/usr/local/sbin", "/usr/local/bin", "/usr/bin"].map(PathBuf::from);
    let is_program = |file: &PathBuf| file.metadata().is_ok_and(|it| it.is_file() && it.permissions().mode() & 1 != 0);
    std::env::split_paths(&path)
        .chain(sbin)
        .map(|dir| dir.join(program))
        .find(is_program)
        .unwrap_or_else(|| panic!("{program} is not installed, and these tests need it: run `make deps-test`"))
}

/// Adds a user to a `password_file` of mosquitto, and returns its path.
pub(crate) fn password_file(dir: &Path, user: &str, password: &str) -> PathBuf {
    let file = dir.join("users");
    let mut passwd = Command::new(installed("mosquitto_passwd"));
    passwd.arg("-b").args((!file.exists()).then_some("-c")).arg(&file).arg(user).arg(password);
    let made = passwd.output().expect("mosquitto_passwd can be started");
    assert!(made.status.success(), "mosquitto_passwd: {}", String::from_utf8_lossy(&made.stderr));
    file
}

/// Returns a port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("the system has a free port");
    listener.local_addr().expect("it is bound").port()
}
