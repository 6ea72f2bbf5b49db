//! mosquitto with its dynamic-security plugin, which refuses subscriptions and publications with an error.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::broker::installed;
use super::{Broker, Rtcomm, rtcomm};

const PLUGIN: &str = "mosquitto_dynamic_security.so";

/// The password of everybody whom a test makes.
const PASSWORD: &str = "swordfish";

/// A broker that denies everything that is not granted.
pub(crate) struct Guarded {
    pub(crate) broker: Broker,
    home: TempDir,
}

impl Guarded {
    pub(crate) fn new() -> Self {
        let home = TempDir::new().expect("a temporary directory");
        let state = home.path().join("dynamic-security.json");
        let mut init = Command::new(installed("mosquitto_ctrl"));
        run(init.args(["dynsec", "init"]).arg(&state).args(["admin", PASSWORD]).env_clear());
        let broker = Broker::mosquitto_with(&format!(
            "allow_anonymous false\nplugin {}\nplugin_opt_config_file {}\n",
            plugin().display(),
            state.display()
        ));
        let options = format!("-h 127.0.0.1\n-p {}\n-u admin\n-P {PASSWORD}\n", broker.port());
        let config = home.path().join(".config");
        std::fs::create_dir(&config).expect("it can be made");
        std::fs::write(config.join("mosquitto_ctrl"), options).expect("it can be written");
        Self { broker, home }
    }

    /// Runs lines of a shell in which `mosquitto_ctrl` reaches this broker, and asks for no password.
    pub(crate) fn administer(&self, script: &str) {
        let lines: Vec<_> =
            script
                .lines()
                .map(|line| {
                    if line.contains(" createClient ") {
                        format!("{line} -p {PASSWORD}\n")
                    } else {
                        format!("{line}\n")
                    }
                })
                .collect();
        let ctrl = installed("mosquitto_ctrl");
        let mut shell = Command::new("sh");
        shell.arg("-euc").arg(lines.concat()).env_clear();
        shell.env("HOME", self.home.path()).env("PATH", ctrl.parent().expect("it is in a directory"));
        run(&mut shell);
    }

    /// Makes a user who may do this: pairs of mosquitto's names for accesses and topics.
    pub(crate) fn grant(&self, user: &str, grants: &[(&str, &str)]) {
        let acls = grants.iter().map(|(access, topic)| format!("addRoleACL {user} {access} '{topic}' allow"));
        let orders = std::iter::once(format!("createRole {user}"))
            .chain(acls)
            .chain([format!("createClient {user}"), format!("addClientRole {user} {user}")]);
        let script: Vec<_> = orders.map(|order| format!("mosquitto_ctrl dynsec {order}\n")).collect();
        self.administer(&script.concat());
    }

    /// A run of `rtcomm` by this user, in this MQTT version.
    pub(crate) fn rtcomm(&self, user: &str, version: &str, words: &str) -> Rtcomm {
        let run = rtcomm(words).at(&self.broker).env("RTCOMM_MQTT_VERSION", version);
        run.env("RTCOMM_USERNAME", user).env("RTCOMM_PASSWORD", PASSWORD)
    }

    /// This user at the broker, who is no `rtcomm`.
    pub(crate) fn client(&self, user: &str) -> super::client::Client {
        super::client::Client::connect_with_password(self.broker.port(), user, PASSWORD)
    }
}

/// The path of the plugin.
fn plugin() -> PathBuf {
    let folders = ["/usr/lib", "/usr/local/lib", "/usr/lib64"].map(PathBuf::from);
    let below =
        folders.iter().filter_map(|folder| folder.read_dir().ok()).flatten().flatten().map(|entry| entry.path());
    let all: Vec<_> = folders.iter().cloned().chain(below).map(|folder| folder.join(PLUGIN)).collect();
    all.into_iter().find(|file| file.is_file()).unwrap_or_else(|| panic!("{PLUGIN} is not installed; mosquitto has it"))
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().expect("it can be started");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    // mosquitto_ctrl exits with 0 even if the broker refuses the command.
    assert!(output.status.success() && !said.contains("Error") && !said.contains("error"), "{command:?}: {said}");
}
