//! `mcast lab`: networks of virtual hosts, described in a file, to try anything in.

#[cfg(not(target_os = "linux"))]
mod elsewhere;
#[cfg(target_os = "linux")]
mod linux;

use std::ffi::OsString;
use std::time::Duration;

#[cfg(not(target_os = "linux"))]
use elsewhere as platform;
#[cfg(target_os = "linux")]
use linux as platform;

use crate::arguments::parse_duration;
use crate::console::Console;
use crate::exit::Outcome;

/// Run networks of virtual hosts, to try anything on real kernels
///
/// A lab is made of Linux network namespaces inside this process: hosts, switches, routers and bad
/// links. Nothing leaves this machine, and nothing is left behind. No root is needed where ordinary
/// users may make user namespaces.
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
  mcast lab show four-hosts > my.toml
  mcast lab run my.toml               run your own
  mcast lab shell four-hosts eastny   look around on a host
  mcast lab on midwood mcast send 224.1.1.5:50001 hello
                                      in that shell: the same from another host";

#[derive(Debug, clap::Subcommand)]
enum Action {
    Run(Run),
    Shell(Shell),
    On(On),
    Show(Show),
    List(List),
}

/// Stand a network up and run the programs that its file gives its hosts
///
/// Each line that they write is shown with the name of its host before it. The exit status is 0 if
/// all of them ended as the file expects (with status 0, unless it says otherwise), and 1 if not.
/// `mcast` in a command is this very program. Ctrl-C stops all of them and takes the network down.
#[derive(Debug, clap::Args)]
#[command(after_help = RUN_EXAMPLES, after_long_help = [RUN_EXAMPLES, FILE].concat())]
pub(crate) struct Run {
    /// A topology file, or the name of a network that comes with mcast
    #[arg(value_name = "FILE|NAME")]
    topology: String,

    /// Stop everything after so long (as `time_limit` in the file): 500ms, 10s, 2m
    #[arg(short = 'W', long, value_name = "TIME", value_parser = parse_duration)]
    timeout: Option<Duration>,

    /// Print JSON: an object for each line that a program writes, and for each that starts or ends
    #[arg(long)]
    json: bool,
}

const RUN_EXAMPLES: &str = "\
Examples:
  mcast lab run four-hosts
  mcast lab run two-lans --timeout 10s
  mcast lab run lossy-link --json";

const FILE: &str = r#"

A topology file:
  description = "Two hosts on a switch"
  time_limit = "30s"
  [switches.lan]
  snooping = true                    # groups go to their members only (default: false)
  querier = true                     # asks hosts for their groups (default: false)
  [hosts.a]
  interfaces.eth0 = { switch = "lan", addresses = ["10.0.0.1/24", "fd00::1/64"] }
  routes = [{ to = "224.0.0.0/4", interface = "eth0" }]
  run = [{ command = "mcast send 239.1.2.3:5000 hello", wait_for = ["listener"] }]
  [hosts.b]
  interfaces.eth0 = { switch = "lan", addresses = ["10.0.0.2/24"], impairment = { loss = 0.01 } }
  run = [{ name = "listener", command = "mcast recv 239.1.2.3:5000 -c 1", joined = "239.1.2.3" }]

`run` lists commands for the shell, or tables:
  command      the command
  name         what others call it by
  wait_for     starts when these are ready; `after`: when these have ended
  joined       ready when the host has joined this group (default: when it has started)
  ready        ready when a line that it writes contains this text
  background   stopped when all others have ended (default: false)
  expect       the exit status that means success (default: 0)

`mcast lab show two-lans` has a router, `mcast lab show lossy-link` a bad link."#;

/// Stand a network up and open a shell on one of its hosts
///
/// The programs of the file are not run. The network lasts as long as the shell, and so does all that
/// was started in it. `mcast` is this very program there, and `mcast lab on HOST COMMAND` runs a
/// command on another host.
#[derive(Debug, clap::Args)]
#[command(after_help = SHELL_EXAMPLES)]
pub(crate) struct Shell {
    /// A topology file, or the name of a network that comes with mcast
    #[arg(value_name = "FILE|NAME")]
    topology: String,

    /// The host to be on
    host: String,

    /// A command to run instead of a shell; its exit status is handed on
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

/// Run a command on another host, from within a lab's shell
///
/// The command's exit status is handed on.
#[derive(Debug, clap::Args)]
#[command(after_help = ON_EXAMPLES)]
pub(crate) struct On {
    /// The host to run it on
    host: String,

    /// The command with its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

const ON_EXAMPLES: &str = "\
Examples, in the shell that `mcast lab shell four-hosts eastny` opens:
  mcast lab on midwood mcast send 224.1.1.5:50001 hello
  mcast lab on flatbush mcast interfaces";

/// Print the file of a network that comes with mcast, to start one's own from
#[derive(Debug, clap::Args)]
pub(crate) struct Show {
    /// The name of the network
    name: String,
}

/// List the networks that come with mcast
#[derive(Debug, clap::Args)]
pub(crate) struct List {
    /// Print one JSON object a network
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    match &arguments.action {
        Action::Run(run) => platform::run(run, console),
        Action::Shell(shell) => platform::shell(shell, console),
        Action::On(on) => platform::on(on, console),
        Action::Show(show) => platform::show(show, console),
        Action::List(list) => platform::list(list, console),
    }
}
