//! A mosquitto that can be killed and restarted on the same port.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use tempfile::TempDir;

use super::Process;
use super::broker::{free_port, installed};

/// How many ports are tried if the chosen one is taken meanwhile.
const TRIES: usize = 20;

pub(crate) struct Mosquitto {
    port: u16,
    /// The program and arguments that start mosquitto in a namespace, if any.
    within: Vec<String>,
    dir: TempDir,
    process: Option<Process>,
}

impl Mosquitto {
    /// Starts mosquitto with a listener on loopback and these settings.
    pub(crate) fn start(settings: &str) -> Self {
        Self::start_within(&[], "127.0.0.1", settings)
    }

    /// Starts mosquitto through another program, such as ip(8), with a listener at this address.
    pub(crate) fn start_within(within: &[&str], address: &str, settings: &str) -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let within = within.iter().map(ToString::to_string).collect();
        let mut broker = Self { port: 0, within, dir, process: None };
        for _ in 0..TRIES {
            broker.port = free_port();
            broker.configure(address, settings);
            match broker.run() {
                Ok(()) => return broker,
                Err(report) => assert!(report.contains("in use"), "mosquitto does not start\n{report}"),
            }
        }
        panic!("no free port for mosquitto in {TRIES} tries");
    }

    fn configure(&self, address: &str, settings: &str) {
        // Without `user`, mosquitto gives up root's permissions, and cannot read its files if root runs the tests.
        let mut config = format!(
            "listener {} {address}\nuser root\nlog_dest stderr\nlog_type error\nlog_type warning\nlog_type notice\n\
             log_type information\npersistence_location {}/\n{settings}",
            self.port,
            self.dir.path().display()
        );
        if settings.contains("protocol websockets") {
            // mosquitto 2.0.11 starts only if one listener uses plain MQTT.
            config = format!("{config}listener {} {address}\n", free_port());
        }
        std::fs::write(self.dir.path().join("mosquitto.conf"), config).expect("the configuration can be written");
    }

    fn run(&mut self) -> Result<(), String> {
        let mosquitto = installed("mosquitto");
        let mut command = match self.within.split_first() {
            None => Command::new(mosquitto),
            Some((program, args)) => {
                let mut command = Command::new(installed(program));
                command.args(args).arg(mosquitto);
                command
            }
        };
        let file = self.dir.path().join("mosquitto.conf");
        command.arg("-c").arg(file).env_clear().stdin(Stdio::null()).stdout(Stdio::null());
        let process = Process::start(&mut command);
        let runs = process.stderr.wait_until(|bytes| String::from_utf8_lossy(bytes).contains(" running"));
        let report = process.so_far("started");
        self.process = Some(process);
        if runs { Ok(()) } else { Err(report) }
    }

    /// Sends the signal, and waits until mosquitto has ended.
    pub(crate) fn stop(&mut self, signal: Signal) {
        let process = self.process.take().expect("it runs");
        process.signal(signal);
        process.end();
    }

    /// Restarts mosquitto on the same port.
    pub(crate) fn start_again(&mut self) {
        if let Err(report) = self.run() {
            panic!("mosquitto does not start again\n{report}");
        }
    }

    /// Returns the log since the last start.
    pub(crate) fn log(&self) -> String {
        self.process.as_ref().expect("it runs").stderr.text()
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    pub(crate) fn url(&self) -> String {
        format!("mqtt://{}", self.address())
    }
}
