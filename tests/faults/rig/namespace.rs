//! Runs programs in Linux namespaces: other addresses, another /etc/hosts, no writable files.

use std::process::{Command, Stdio};

use super::{figures, started_by};
use crate::support::broker::installed;
use crate::support::{Process, Rtcomm};

/// A script for a mount namespace: the file $HOSTS becomes /etc/hosts.
const HOSTS: &str =
    r#"mount -t tmpfs none /mnt && printf %s "$HOSTS" >/mnt/hosts && mount --bind /mnt/hosts /etc/hosts && exec "$@""#;

/// A script for a mount namespace: makes everything read-only. Exits with 99 if a file can be written.
const READ_ONLY: &str = r#"
while read -r _ path _; do mount -o remount,bind,ro "$path" 2>/dev/null || true; done </proc/self/mounts
for path in / /tmp /run /var/tmp /dev/shm "$HOME" .; do
    if touch "$path/probe" 2>/dev/null; then echo "$path is writable" >&2; exit 99; fi
done
exec "$@""#;

/// Returns whether this user may create namespaces. Reports a skipped test if not.
fn may_unshare(kind: &str) -> bool {
    let probe = Command::new("unshare").args([kind, "true"]).stdin(Stdio::null()).output();
    let may = probe.is_ok_and(|output| output.status.success());
    if !may {
        figures(format_args!("not tested: this system does not allow `unshare {kind}`"));
    }
    may
}

/// Makes a run use this /etc/hosts. Returns `None` if this user may not create namespaces.
pub(crate) fn with_hosts(run: Rtcomm, hosts: &str) -> Option<Rtcomm> {
    let within = ["unshare", "--mount", "sh", "-euc", HOSTS, "sh"];
    may_unshare("--mount").then(|| started_by(&within, run.env("HOSTS", hosts)))
}

/// Makes a run see a read-only file system. Returns `None` if this user may not create namespaces.
pub(crate) fn read_only(run: Rtcomm) -> Option<Rtcomm> {
    may_unshare("--mount").then(|| started_by(&["unshare", "--mount", "sh", "-euc", READ_ONLY, "sh"], run))
}

/// A network namespace with a loopback interface. Dropping it removes the namespace.
pub(crate) struct Network {
    net: String,
    _holder: Process,
}

impl Network {
    /// Creates a namespace and runs these ip(8) commands in it, one per line. Returns `None` if this user may not create
    /// namespaces.
    pub(crate) fn with(commands: &str) -> Option<Self> {
        if !may_unshare("--net") {
            return None;
        }
        let commands: Vec<_> = commands.lines().map(|line| format!("ip {line}\n")).collect();
        let script = format!("{}echo made >&2\nexec sleep 600", commands.concat());
        let mut command = Command::new(installed("unshare"));
        command.args(["--net", "sh", "-euc", &script]).stdin(Stdio::null()).stdout(Stdio::null());
        let holder = Process::start(&mut command);
        let is_made = holder.stderr.wait_until(|bytes| bytes.ends_with(b"made\n"));
        assert!(is_made, "the namespace cannot be made\n{}", holder.so_far("ended"));
        Some(Self { net: format!("--net=/proc/{}/ns/net", holder.child.id()), _holder: holder })
    }

    /// Returns the command that starts a program in the namespace.
    pub(crate) fn within(&self) -> [&str; 2] {
        ["nsenter", &self.net]
    }

    /// Runs a command of ip(8) in the namespace, and returns its output.
    pub(crate) fn ip(&self, words: &str) -> String {
        let [program, flag] = self.within();
        let mut command = Command::new(installed(program));
        command.arg(flag).arg(installed("ip")).args(words.split_whitespace());
        let output = command.output().expect("ip can be started");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Makes a run start in the namespace.
    pub(crate) fn run(&self, run: Rtcomm) -> Rtcomm {
        started_by(&self.within(), run)
    }
}
