//! `mcast demo`: shows how multicast works on real packets, and checks every step.

mod event;
mod loopback;
mod narrator;
mod receiving;
#[cfg(target_os = "linux")]
mod stage;

use crate::console::Console;
use crate::exit::Outcome;
use narrator::{Form, Narrator};

/// Show on real packets how multicast works, in a few seconds
///
/// Four hosts, two groups, a switch and a second network are built inside this process, from network
/// namespaces. Nothing leaves this machine, and nothing remains afterwards. Each step is checked; the
/// exit status is 0 if all checks pass.
///
/// Root is not needed where ordinary users may create user namespaces. Elsewhere, and on systems
/// other than Linux, a shorter demonstration runs on the loopback interface.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Print one JSON object per check
    #[arg(long, conflicts_with = "plain")]
    json: bool,

    /// Print plain ASCII, without colours and line drawing
    #[arg(long)]
    plain: bool,

    /// Run only the demonstration on the loopback interface
    #[arg(long)]
    loopback: bool,
}

const EXAMPLES: &str = "Examples:
  mcast demo
  mcast demo --plain | less
  mcast demo --json";

/// Why no lab can be created here, and the remedy.
#[derive(Debug)]
struct Refusal {
    why: String,
    remedy: String,
}

pub(crate) fn run(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    let form = arguments.form();
    if !arguments.loopback {
        match stage::play(form, console)? {
            Ok(outcome) => return Ok(outcome),
            Err(Refusal { why, remedy }) => {
                console.warn(format_args!("cannot create virtual hosts here: {why}"));
                console.help(remedy);
                console.note("Showing only the demonstration on the loopback interface.");
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

/// Systems without network namespaces show only the demonstration on the loopback interface.
#[cfg(not(target_os = "linux"))]
mod stage {
    use super::{Console, Form, Outcome, Refusal};

    pub(super) fn play(_form: Form, _console: &Console) -> anyhow::Result<Result<Outcome, Refusal>> {
        Ok(Err(Refusal {
            why: "they need Linux network namespaces".to_owned(),
            remedy: "run it on Linux, in a virtual machine or in a privileged container".to_owned(),
        }))
    }
}
