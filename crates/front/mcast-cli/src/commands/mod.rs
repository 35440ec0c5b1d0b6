//! The subcommands, one file or folder each.

mod ask;
mod bridge;
mod doctor;
mod explain;
mod groups;
mod interfaces;
#[cfg(feature = "seal")]
mod keys;
mod lab;
mod log;
mod perf;
mod pick;
mod ping;
mod plan;
mod publish;
mod querier;
mod record;
mod recv;
mod relay;
mod replay;
mod send;
mod sniff;
mod subscribe;
mod top;

pub(crate) use lab::names as lab_names;

use clap::Subcommand;
use mcast_terminal::Console;

use crate::exit::Outcome;

/// A subcommand with its arguments. The first doc line of each `Arguments` is its summary in help.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Demo(mcast_demo::Arguments),
    Interfaces(interfaces::Arguments),
    Groups(groups::Arguments),
    Sniff(sniff::Arguments),
    Top(top::Arguments),
    Explain(explain::Arguments),
    Pick(pick::Arguments),
    Plan(plan::Arguments),
    Send(send::Arguments),
    Recv(recv::Arguments),
    Ask(ask::Arguments),
    Publish(publish::Arguments),
    Subscribe(subscribe::Arguments),
    Doctor(doctor::Arguments),
    Ping(ping::Arguments),
    Perf(perf::Arguments),
    Record(record::Arguments),
    Querier(querier::Arguments),
    Relay(relay::Arguments),
    Bridge(bridge::Arguments),
    Replay(replay::Arguments),
    Log(log::Arguments),
    #[cfg(feature = "seal")]
    #[command(subcommand)]
    Keys(keys::Arguments),
    Lab(lab::Arguments),
    Help(help::Arguments),
    Completions(completions::Arguments),
}

/// The headings of `mcast --help`, each with its subcommands.
pub const HEADINGS: &[(&str, &[&str])] = &[
    ("Start here", &["demo", "lab"]),
    ("Inspect", &["interfaces", "groups", "sniff", "top", "explain", "pick", "plan"]),
    (
        "Send and receive",
        &[
            "send",
            "recv",
            "ask",
            "publish",
            "subscribe",
            "record",
            "replay",
            "relay",
            "bridge",
            "log",
            "keys",
        ],
    ),
    ("Diagnose and measure", &["doctor", "querier", "ping", "perf"]),
    ("Help", &["help", "completions"]),
];

/// Runs a subcommand. No thread has been started before.
pub(crate) fn run(command: &Command, console: &Console) -> anyhow::Result<Outcome> {
    match command {
        Command::Demo(arguments) => Ok(Outcome::of(mcast_demo::run(arguments, console, "mcast")?)),
        Command::Interfaces(arguments) => interfaces::run(arguments, console),
        Command::Groups(arguments) => groups::run(arguments, console),
        Command::Sniff(arguments) => sniff::run(arguments, console),
        Command::Top(arguments) => top::run(arguments, console),
        Command::Explain(arguments) => explain::run(arguments, console),
        Command::Pick(arguments) => pick::run(arguments, console),
        Command::Plan(arguments) => plan::run(arguments, console),
        Command::Send(arguments) => send::run(arguments, console),
        Command::Recv(arguments) => recv::run(arguments, console),
        Command::Ask(arguments) => ask::run(arguments, console),
        Command::Publish(arguments) => publish::run(arguments, console),
        Command::Subscribe(arguments) => subscribe::run(arguments, console),
        Command::Doctor(arguments) => doctor::run(arguments, console),
        Command::Ping(arguments) => ping::run(arguments, console),
        Command::Perf(arguments) => perf::run(arguments, console),
        Command::Querier(arguments) => querier::run(arguments, console),
        Command::Relay(arguments) => relay::run(arguments, console),
        Command::Bridge(arguments) => bridge::run(arguments, console),
        Command::Record(arguments) => record::run(arguments, console),
        Command::Replay(arguments) => replay::run(arguments, console),
        Command::Log(arguments) => log::run(arguments, console),
        #[cfg(feature = "seal")]
        Command::Keys(arguments) => keys::run(arguments, console),
        Command::Lab(arguments) => lab::run(arguments, console),
        Command::Help(arguments) => help::run(arguments, console),
        Command::Completions(arguments) => completions::run(arguments, console),
    }
}

mod help {
    //! `mcast help`: the same as `--help`.

    use std::ffi::OsString;

    use mcast_terminal::Console;

    use crate::exit::Outcome;
    use crate::{cli, errors};

    /// Print this help, or the help of a command
    #[derive(Debug, clap::Args)]
    #[command(after_help = EXAMPLES)]
    pub(crate) struct Arguments {
        /// The command [default: an overview of all]
        #[arg(value_name = "COMMAND")]
        command: Vec<OsString>,
    }

    const EXAMPLES: &str = "\
Examples:
  mcast help
  mcast help recv
  mcast help perf send";

    pub(crate) fn run(arguments: &Arguments, _console: &Console) -> anyhow::Result<Outcome> {
        let words = [OsString::from("mcast")].into_iter().chain(arguments.command.iter().cloned());
        Ok(match cli::parse(words.chain(["--help".into()])) {
            Ok(_) => Outcome::Yes,
            // clap returns help as an error, as it does for an unknown command.
            Err(error) => Outcome::Delegated(errors::print_usage_error(&error)),
        })
    }
}

mod completions {
    //! `mcast completions`: the script that makes a shell complete what is typed after `mcast`.

    use std::io::Write;

    use mcast_terminal::Console;

    use crate::completion::Shell;
    use crate::exit::Outcome;

    /// Print the script for completion in a shell
    ///
    /// The script asks `mcast` itself, which must be in PATH, for what may come next: options, and also interfaces, names
    /// of groups, findings and networks of labs.
    #[derive(Debug, clap::Args)]
    #[command(after_help = EXAMPLES)]
    pub(crate) struct Arguments {
        /// The shell
        #[arg(value_name = "SHELL")]
        shell: Shell,
    }

    const EXAMPLES: &str = "\
Examples:
  source <(mcast completions bash)           bash: in ~/.bashrc
  source <(mcast completions zsh)            zsh: in ~/.zshrc, after compinit
  mcast completions fish | source            fish: in ~/.config/fish/config.fish
  mcast completions powershell | Out-String | Invoke-Expression
                                             PowerShell: in $PROFILE
  eval (mcast completions elvish | slurp)    elvish: in ~/.config/elvish/rc.elv";

    pub(crate) fn run(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
        let mut out = console.output();
        out.write_all(&arguments.shell.script()?)?;
        out.flush()?;
        Ok(Outcome::Yes)
    }
}
