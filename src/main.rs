//! The `rtcomm` binary: hands its arguments to the library, and ends with the status that comes back.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// Where this is set the MQTT library writes its trace to standard output, among the data.
const LIBRARY_TRACE: &str = "MQTT_C_CLIENT_TRACE";

fn main() -> ! {
    if std::env::var_os(LIBRARY_TRACE).is_some()
        && let Ok(program) = std::env::current_exe()
    {
        // Returns only where it fails; then the trace is the lesser evil.
        let _ = Command::new(program).args(std::env::args_os().skip(1)).env_remove(LIBRARY_TRACE).exec();
    }
    let status = rtcomm::run(std::env::args_os());
    // Without C's exit handlers: OpenSSL's would take away what a thread of the MQTT library may still be using.
    signal_hook::low_level::exit(status.code().into())
}
