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
