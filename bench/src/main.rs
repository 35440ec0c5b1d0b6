//! Compares `mcast` with its peers: see the library's documentation, or `--help`.

use std::process::ExitCode;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    mcast_bench::main()
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    eprintln!("the hosts that are compared on are Linux network namespaces, and this is not Linux");
    ExitCode::from(4)
}
