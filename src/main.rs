//! The `rtcomm` binary: calls the library, and exits with the status it returns.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use rtcomm::Status;

/// Environment variables that the MQTT library reads.
///
/// The first makes it write a trace to standard output, among the data. The second makes it use a proxy that this tool
/// does not know about.
const LIBRARY_VARIABLES: [&str; 2] = ["MQTT_C_CLIENT_TRACE", "PAHO_C_CLIENT_USE_HTTP_PROXY"];

/// Whether standard input, output and error were closed when the process started (`>&-` in a shell).
static WAS_CLOSED: [AtomicBool; 3] = [const { AtomicBool::new(false) }; 3];

/// Finds out which standard streams are closed.
///
/// This must run before `main`, because the standard library opens closed streams as /dev/null. Afterwards, nothing
/// distinguishes them from a /dev/null that the parent process opened for reading and writing, as Python, Node.js and
/// start-stop-daemon do.
#[ctor::ctor]
fn find_closed_streams() {
    let streams = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
    for (stream, was_closed) in streams.into_iter().zip(&WAS_CLOSED) {
        was_closed.store(rustix::io::fcntl_getfd(stream).is_err(), Ordering::Relaxed);
    }
}

fn main() -> ! {
    let [stdin, stdout, stderr] = WAS_CLOSED.each_ref().map(|was_closed| was_closed.load(Ordering::Relaxed));
    if stdout || stderr {
        // Output would be lost, and messages would be acknowledged all the same.
        let _ = io::stderr().write_all(
            b"rtcomm: error: cannot write to standard output: it is closed\n  hint: to discard it, write >/dev/null\n",
        );
        exit(Status::Failure);
    }
    if stdin {
        fail_reads_of_stdin();
    }
    if LIBRARY_VARIABLES.iter().any(|name| std::env::var_os(name).is_some())
        && let Ok(program) = std::env::current_exe()
    {
        let mut command = Command::new(program);
        for name in LIBRARY_VARIABLES {
            command.env_remove(name);
        }
        // Returns only on failure. Then run with the variables set.
        let _ = command.args(std::env::args_os().skip(1)).exec();
    }
    exit(rtcomm::run(std::env::args_os()))
}

/// Replaces the /dev/null that the standard library opened as standard input, where closed input looks like empty input.
fn fail_reads_of_stdin() {
    if let Ok(null) = OpenOptions::new().write(true).open("/dev/null") {
        // On failure, standard input is empty.
        let _ = rustix::stdio::dup2_stdin(null);
    }
}

/// Ends the process without C's exit handlers: OpenSSL's would free memory that a thread of the MQTT library may still use.
fn exit(status: Status) -> ! {
    signal_hook::low_level::exit(status.code().into())
}
