//! The `rtcomm` binary: calls the library, and exits with the status it returns.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// Environment variables that the MQTT library reads.
///
/// The first makes it write a trace to standard output, among the data. The second makes it use a proxy that this tool
/// does not know about.
const LIBRARY_VARIABLES: [&str; 2] = ["MQTT_C_CLIENT_TRACE", "PAHO_C_CLIENT_USE_HTTP_PROXY"];

fn main() -> ! {
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
    let status = rtcomm::run(std::env::args_os());
    // Skip C's exit handlers: OpenSSL's would free memory that a thread of the MQTT library may still use.
    signal_hook::low_level::exit(status.code().into())
}
