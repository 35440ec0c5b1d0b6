//! `mcast demo`: what multicast does, shown on real packets and checked at every step.

mod event;
mod hearing;
mod loopback;
mod narrator;
#[cfg(target_os = "linux")]
mod stage;
#[cfg(not(target_os = "linux"))]
#[path = "no_stage.rs"]
mod stage;

use crate::console::Console;
use crate::exit::Outcome;
use narrator::{Form, Narrator};

/// Show on real packets what multicast does: four hosts, two groups, one switch
///
/// Four hosts, a switch and a second network are built inside this process, from network
/// namespaces; nothing leaves this machine, and nothing is left behind. Each step is compared with
/// what should have happened, and the exit status says whether all of it did.
///
/// No root is needed where ordinary users may make user namespaces. Where they may not, and on
/// other systems than Linux, the loopback interface shows what it can.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Print JSON: one object a fact
    #[arg(long, conflicts_with = "plain")]
    json: bool,

    /// Print neither colours nor drawn lines, only ASCII
    #[arg(long)]
    plain: bool,

    /// Show only what the loopback interface can
    #[arg(long)]
    loopback: bool,
}

const EXAMPLES: &str = "Examples:
  mcast demo
  mcast demo --plain | less
  mcast demo --json";

/// Why there can be no lab here, and what would help.
#[derive(Debug)]
struct Refusal {
    why: String,
    remedy: String,
}

pub(crate) fn run(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    let form = arguments.form();
    if !arguments.loopback {
        match stage::open()? {
            Ok(stage) => return stage.play(Narrator::new(console, form, stage::CAST), console),
            Err(Refusal { why, remedy }) => {
                console.warn(format_args!("no virtual hosts can be had here: {why}"));
                console.help(remedy);
                console.note("What follows is what the loopback interface can show.");
            }
        }
    }
    loopback::play(Narrator::new(console, form, loopback::CAST), console)
}

impl Arguments {
    fn form(&self) -> Form {
        match (self.json, self.plain) {
            (true, _) => Form::Json,
            (_, true) => Form::Ascii,
            _ => Form::Text,
        }
    }
}
