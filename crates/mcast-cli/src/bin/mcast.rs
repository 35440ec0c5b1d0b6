//! The command `mcast`. All of it lies in the library `mcast-cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    mcast_cli::main()
}
