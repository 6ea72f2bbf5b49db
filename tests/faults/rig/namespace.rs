//! Runs programs in Linux namespaces of their own: other addresses, another /etc/hosts, no writable files.

use std::process::{Command, Stdio};

use super::{by_way_of, figures};
use crate::support::broker::installed;
use crate::support::{Process, Rtcomm};

/// A mount namespace in which $HOSTS is the text of /etc/hosts.
const HOSTS: &str =
    r#"mount -t tmpfs none /mnt && printf %s "$HOSTS" >/mnt/hosts && mount --bind /mnt/hosts /etc/hosts && exec "$@""#;

/// A mount namespace in which nothing can be written. Exits with 99 if something can.
const READ_ONLY: &str = r#"
while read -r _ path _; do mount -o remount,bind,ro "$path" 2>/dev/null || true; done </proc/self/mounts
for path in / /tmp /run /var/tmp /dev/shm "$HOME" .; do
    if touch "$path/probe" 2>/dev/null; then echo "$path is writable" >&2; exit 99; fi
done
exec "$@""#;

/// Whether this user may unshare; prints that the test is skipped if not.
fn may_unshare(kind: &str) -> bool {
    let probe = Command::new("unshare").args([kind, "true"]).stdin(Stdio::null()).output();
    let may = probe.is_ok_and(|output| output.status.success());
    if !may {
        figures(format_args!("not tested: this system does not allow `unshare {kind}`"));
    }
    may
}

/// The run with this text for /etc/hosts; `None` if that is not permitted here.
pub(crate) fn with_hosts(run: Rtcomm, hosts: &str) -> Option<Rtcomm> {
    let within = ["unshare", "--mount", "sh", "-euc", HOSTS, "sh"];
    may_unshare("--mount").then(|| by_way_of(&within, run.env("HOSTS", hosts)))
}

/// The run on a file system that is read-only everywhere; `None` if that is not permitted here.
pub(crate) fn read_only(run: Rtcomm) -> Option<Rtcomm> {
    may_unshare("--mount").then(|| by_way_of(&["unshare", "--mount", "sh", "-euc", READ_ONLY, "sh"], run))
}

/// A network namespace with a loopback interface, for as long as the value lives.
pub(crate) struct Network {
    net: String,
    _holder: Process,
}

impl Network {
    /// With these commands of ip(8) run in it, one a line; `None` if that is not permitted here.
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

    /// What starts a program in it.
    pub(crate) fn within(&self) -> [&str; 2] {
        ["nsenter", &self.net]
    }

    /// The run in it.
    pub(crate) fn run(&self, run: Rtcomm) -> Rtcomm {
        by_way_of(&self.within(), run)
    }
}
