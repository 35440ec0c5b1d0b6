//! `mcast lab`: networks of virtual hosts, described in a file.

#[cfg(target_os = "linux")]
mod linux;

#[cfg(all(feature = "schema", target_os = "linux"))]
pub(super) use linux::schemas;

use std::ffi::OsString;
use std::time::Duration;

#[cfg(target_os = "linux")]
use linux as platform;
pub(crate) use platform::{hosts, hosts_of_this_shell, names};
#[cfg(not(target_os = "linux"))]
use unsupported as platform;

use mcast_terminal::Console;

use crate::arguments::parse_duration;
use crate::exit::Outcome;

/// Run networks of virtual hosts to try things out on a real kernel
///
/// A lab consists of Linux network namespaces inside this process: hosts, switches, routers and bad
/// links. Nothing leaves this machine, and nothing remains afterwards. Root is not needed where
/// ordinary users may create user namespaces.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

const EXAMPLES: &str = "\
Examples:
  mcast lab list                      the networks that come with mcast
  mcast lab run four-hosts            run one of them
  mcast lab show four-hosts > my.toml   start your own
  mcast lab run my.toml               run it
  mcast lab shell four-hosts eastny   open a shell on a host
  mcast lab on midwood mcast send 224.1.1.5:50001 hello   in that shell: run a command on another host";

#[derive(Debug, clap::Subcommand)]
enum Action {
    Run(RunArguments),
    Shell(ShellArguments),
    On(OnArguments),
    Show(ShowArguments),
    List(ListArguments),
}

/// Start a network and run the programs that its file lists for each host
///
/// Each line of their output is prefixed with the name of the host. The exit status is 0 if all of them ended in time,
/// each with the expected status (by default 0), and 1 otherwise. In these commands, `mcast` is this program. Ctrl-C
/// stops all of them and removes the network.
#[derive(Debug, clap::Args)]
#[command(after_help = RUN_EXAMPLES, after_long_help = [RUN_EXAMPLES, FILE].concat())]
pub(crate) struct RunArguments {
    /// A topology file, or the name of a network that comes with mcast
    #[arg(value_name = "FILE|NAME")]
    topology: String,

    /// Stop everything after TIME, with exit status 1 [default: `time_limit` in the file]
    #[arg(short = 'W', long, value_name = "TIME", value_parser = parse_duration)]
    timeout: Option<Duration>,

    /// Print one JSON object per line of output, and per program that starts or ends
    #[arg(long)]
    json: bool,
}

const RUN_EXAMPLES: &str = "\
Examples:
  mcast lab run four-hosts
  mcast lab run two-lans --timeout 10s
  mcast lab run lossy --json";

const FILE: &str = r#"

A topology file:
    description = "Two hosts on a switch"
    time_limit = "30s"

    [switches.lan]
    snooping = true       # forward groups to members only (default: false)
    querier = true        # query hosts for their groups (default: false)

    [hosts.a]
    routes = [{ to = "224.0.0.0/4", interface = "eth0" }]
    run = [{ command = "mcast send 239.255.1.3:5000 hi", wait_for = ["b"] }]
    [hosts.a.interfaces.eth0]
    switch = "lan"
    addresses = ["10.0.0.1/24", "fd00::1/64"]

    [hosts.b]
    [[hosts.b.run]]
    name = "b"
    command = "mcast recv 239.255.1.3:5000 -c 1"
    joined = "239.255.1.3"
    [hosts.b.interfaces.eth0]
    switch = "lan"
    addresses = ["10.0.0.2/24"]
    impairment = { loss = 0.01 }

`run` lists shell commands, or tables with these keys:
  command      the command
  name         the name by which others refer to it
  wait_for     start when these are ready
  after        start when these have ended
  joined       ready when the host has joined this group (default: when it has started)
  ready        ready when a line of its output contains this text
  background   stopped when all others have ended (default: false)
  expect       the exit status that means success (default: 0)

For a router, see `mcast lab show two-lans`; for a bad link, `mcast lab show lossy`."#;

/// Start a network and open a shell on one of its hosts
///
/// The programs of the file are not run. When the shell ends, the network and everything started in it
/// end, too. In the shell, `mcast` is this program, and `mcast lab on HOST COMMAND` runs a command on
/// another host.
#[derive(Debug, clap::Args)]
#[command(after_help = SHELL_EXAMPLES)]
pub(crate) struct ShellArguments {
    /// A topology file, or the name of a network that comes with mcast
    #[arg(value_name = "FILE|NAME")]
    topology: String,

    /// The host on which to open the shell
    host: String,

    /// A command to run instead of a shell; its exit status is returned
    #[arg(last = true)]
    command: Vec<OsString>,
}

const SHELL_EXAMPLES: &str = "\
Examples:
  mcast lab shell four-hosts eastny
  mcast lab shell four-hosts eastny -- mcast interfaces
In the shell:
  mcast recv 224.1.1.5:50001 &
  mcast lab on midwood mcast send 224.1.1.5:50001 hello";

/// Run a command on another host, from the shell of a lab
///
/// The exit status is that of the command.
#[derive(Debug, clap::Args)]
#[command(after_help = ON_EXAMPLES)]
pub(crate) struct OnArguments {
    /// The host on which to run the command
    host: String,

    /// The command with its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

const ON_EXAMPLES: &str = "\
Examples, in the shell that `mcast lab shell four-hosts eastny` opens:
  mcast lab on midwood mcast send 224.1.1.5:50001 hello
  mcast lab on flatbush mcast interfaces";

/// Print the file of a network that comes with mcast, as a template for your own, or draw a network
#[derive(Debug, clap::Args)]
#[command(after_help = SHOW_EXAMPLES)]
pub(crate) struct ShowArguments {
    /// The name of the network; with --svg, also a topology file
    #[arg(value_name = "NAME|FILE")]
    name: String,

    /// Draw the network as SVG
    #[arg(long)]
    svg: bool,
}

const SHOW_EXAMPLES: &str = "\
Examples:
  mcast lab show two-lans > mine.toml
  mcast lab run mine.toml
  mcast lab show mine.toml --svg > mine.svg";

/// List the networks that come with mcast
#[derive(Debug, clap::Args)]
#[command(after_help = LIST_EXAMPLES)]
pub(crate) struct ListArguments {
    /// Print one JSON object per network
    #[arg(long)]
    json: bool,
}

const LIST_EXAMPLES: &str = "\
Examples:
  mcast lab list
  mcast lab list --json                         for programs";

pub(crate) fn run(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    platform::run(&arguments.action, console)
}

#[cfg(not(target_os = "linux"))]
mod unsupported {
    //! Systems without network namespaces have no labs.

    use mcast_terminal::Console;

    use super::{Action, ListArguments, OnArguments, RunArguments, ShellArguments, ShowArguments};
    use crate::exit::{Failure, Outcome};

    pub(super) fn run(action: &Action, _console: &Console) -> anyhow::Result<Outcome> {
        let what: &str = match action {
            Action::Run(RunArguments { topology, timeout: _, json: _ })
            | Action::Shell(ShellArguments { topology, host: _, command: _ }) => topology,
            Action::On(OnArguments { host, command: _ }) => host,
            Action::Show(ShowArguments { name, svg: _ }) => name,
            Action::List(ListArguments { json: _ }) => "networks",
        };
        Err(Failure::environment(format!("cannot create {what}: labs need Linux network namespaces"))
            .remedy("run it on Linux, in a virtual machine or in a privileged container")
            .into())
    }

    /// Returns the names of the built-in networks: none.
    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        std::iter::empty()
    }

    /// Returns the names of the hosts of a network: none.
    pub(crate) fn hosts(_name: &str) -> Vec<String> {
        Vec::new()
    }

    /// Returns the names of the hosts of the lab in whose shell this program runs: none.
    pub(crate) fn hosts_of_this_shell() -> Vec<String> {
        Vec::new()
    }
}
