//! The demonstration of `mcast demo` as a program of its own: `cargo demo` compiles only what it needs.

use std::io;
use std::process::ExitCode;

use clap::Parser;
use mcast_demo::{Arguments, DemoError};
use mcast_sys::ClassifiedError;
use mcast_terminal::Console;

#[derive(Parser)]
#[command(name = "mcast-demo", version)]
struct Cli {
    #[command(flatten)]
    arguments: Arguments,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let console = Console::new(false, false);
    match mcast_demo::run(&cli.arguments, &console, "cargo run --") {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // The reader of the output has seen enough.
        Err(DemoError::System(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            console.error(&error);
            error.remedy().into_iter().for_each(|remedy| console.help(remedy));
            ExitCode::from(ENVIRONMENT)
        }
    }
}

/// The exit status if something is missing on this machine, as of the command `mcast`.
const ENVIRONMENT: u8 = 4;
