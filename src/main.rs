//! The `rtcomm` binary: hands its arguments to the library, and ends with the status that comes back.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// What the MQTT library reads in the environment: to write its trace to standard output, among the data, and to go through
/// a proxy that we do not know of.
const LIBRARY_VARIABLES: [&str; 2] = ["MQTT_C_CLIENT_TRACE", "PAHO_C_CLIENT_USE_HTTP_PROXY"];

fn main() -> ! {
    if LIBRARY_VARIABLES.iter().any(|name| std::env::var_os(name).is_some())
        && let Ok(program) = std::env::current_exe()
    {
        let mut again = Command::new(program);
        for name in LIBRARY_VARIABLES {
            again.env_remove(name);
        }
        // Returns only where it fails; then what the library makes of them is the lesser evil.
        let _ = again.args(std::env::args_os().skip(1)).exec();
    }
    let status = rtcomm::run(std::env::args_os());
    // Without C's exit handlers: OpenSSL's would take away what a thread of the MQTT library may still be using.
    signal_hook::low_level::exit(status.code().into())
}
