//! The command `mcast`; its code is in the library `mcast-cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    mcast_cli::main()
}
