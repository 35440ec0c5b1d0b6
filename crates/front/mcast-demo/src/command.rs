//! `mcast demo`: shows how multicast works on real packets, and checks every step.

use mcast_terminal::Console;

use crate::narrator::{Form, Narrator};
use crate::{DemoError, LOOPBACK_HOSTS, VIRTUAL_HOSTS, on_loopback, on_virtual_hosts};

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
pub struct Arguments {
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

/// What to do after the demonstration on the loopback interface.
const ON_LOOPBACK: &str = "The rest of the demonstration needs Linux namespaces.";

/// Runs `mcast demo`, and returns whether all checks passed. `mcast` is what starts the command here, for the advice at the end.
///
/// # Errors
/// What ended the demonstration early. That virtual hosts cannot be created is not an error: a shorter demonstration
/// follows, after a warning.
pub fn run(arguments: &Arguments, console: &Console, mcast: &str) -> Result<bool, DemoError> {
    let form = arguments.form();
    if !arguments.loopback {
        let mut narrator = Narrator::new(console, form, VIRTUAL_HOSTS);
        match on_virtual_hosts(&mut |scene| narrator.show(scene)) {
            Ok(()) => {
                return Ok(
                    narrator.end("lab", &format!("Try it yourself: {mcast} lab shell four-hosts eastny"))?
                );
            }
            Err(DemoError::NoVirtualHosts { why, remedy }) => {
                console.warn(format_args!("cannot create virtual hosts here: {why}"));
                console.help(remedy);
                console.note("Showing only the demonstration on the loopback interface.");
            }
            Err(error) => return Err(error),
        }
    }
    let mut narrator = Narrator::new(console, form, LOOPBACK_HOSTS);
    on_loopback(&mut |scene| narrator.show(scene))?;
    Ok(narrator.end("loopback", ON_LOOPBACK)?)
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
