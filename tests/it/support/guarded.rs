//! Runs mosquitto with its dynamic-security plugin, which reports denied subscriptions and publications.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::broker::installed;
use super::{Broker, Rtcomm, rtcomm};

const PLUGIN: &str = "mosquitto_dynamic_security.so";

/// The password of all users.
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

    /// Runs shell lines in which `mosquitto_ctrl` is configured for this broker.
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

    /// Creates a user with these grants: pairs of mosquitto's ACL type and a topic.
    pub(crate) fn grant(&self, user: &str, grants: &[(&str, &str)]) {
        let acls = grants.iter().map(|(access, topic)| format!("addRoleACL {user} {access} '{topic}' allow"));
        let commands = std::iter::once(format!("createRole {user}"))
            .chain(acls)
            .chain([format!("createClient {user}"), format!("addClientRole {user} {user}")]);
        let script: Vec<_> = commands.map(|command| format!("mosquitto_ctrl dynsec {command}\n")).collect();
        self.administer(&script.concat());
    }

    /// Creates a run of `rtcomm` as this user, with this MQTT version.
    pub(crate) fn rtcomm(&self, user: &str, version: &str, words: &str) -> Rtcomm {
        let run = rtcomm(words).at(&self.broker).env("RTCOMM_MQTT_VERSION", version);
        run.env("RTCOMM_USERNAME", user).env("RTCOMM_PASSWORD", PASSWORD)
    }

    /// Connects a plain client as this user.
    pub(crate) fn client(&self, user: &str) -> super::client::Client {
        super::client::Client::connect_with_password(self.broker.port(), user, PASSWORD)
    }
}

/// Returns the path of the plugin.
fn plugin() -> PathBuf {
    let folders = ["/usr/lib", "/usr/local/lib", "/usr/lib64"].map(PathBuf::from);
    let below =
        folders.iter().filter_map(|folder| folder.read_dir().ok()).flatten().flatten().map(|entry| entry.path());
    let all: Vec<_> = folders.iter().cloned().chain(below).map(|folder| folder.join(PLUGIN)).collect();
    all.into_iter().find(|file| file.is_file()).unwrap_or_else(|| panic!("{PLUGIN} is not installed; mosquitto has it"))
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().expect("it can be started");
    let output_text = [output.stdout, output.stderr].concat();
    let output_text = String::from_utf8_lossy(&output_text);
    // mosquitto_ctrl exits with 0 even if the broker refuses the command.
    assert!(
        output.status.success() && !output_text.contains("Error") && !output_text.contains("error"),
        "{command:?}: {output_text}"
    );
}
