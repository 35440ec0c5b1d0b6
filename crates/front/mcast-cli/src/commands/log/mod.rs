//! `mcast log`: shows, checks, exports and prunes the log of a stream.

mod export;
mod json;
mod list;
mod prune;
mod verify;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use mcast_log::{Directory, Files};
use mcast_stream::seal::Keys;
use mcast_terminal::Console;

use crate::arguments::read_keys;
use crate::exit::{Failure, Outcome};

/// Show, check, export and prune the log of a stream
///
/// A log is a directory of segment files, in which a publisher stores its messages. All of this also works while the
/// publisher runs.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    List(list::Arguments),
    Verify(verify::Arguments),
    Export(export::Arguments),
    Prune(prune::Arguments),
}

const EXAMPLES: &str = "\
Examples:
  mcast log list prices-log                       the segments, with numbers and times
  mcast log verify prices-log                     check every record; exit status 1 if one is damaged
  mcast log export prices-log --from 1h           the messages of the last hour, as JSON
  mcast log prune prices-log --max-age 24h        remove what is older than a day";

pub(crate) fn run(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    match &arguments.action {
        Action::List(arguments) => list::run(arguments, console),
        Action::Verify(arguments) => verify::run(arguments, console),
        Action::Export(arguments) => export::run(arguments, console),
        Action::Prune(arguments) => prune::run(arguments, console),
    }
}

/// The log, and what opens its seals.
#[derive(Debug, clap::Args)]
struct LogArguments {
    /// The directory of the log
    #[arg(value_name = "DIR")]
    directory: PathBuf,

    /// Open sealed segments with the secrets in this file
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

impl LogArguments {
    fn keys(&self, console: &Console) -> anyhow::Result<Keys> {
        Ok(match &self.key {
            Some(path) => read_keys(path, console)?,
            None => Keys::none(),
        })
    }

    fn files(&self) -> anyhow::Result<Arc<dyn Files>> {
        files(&self.directory)
    }
}

fn files(directory: &Path) -> anyhow::Result<Arc<dyn Files>> {
    match Directory::open(directory) {
        Ok(files) => Ok(Arc::new(files)),
        Err(error) => {
            let message = format!("cannot read the log in {}: {error}", directory.display());
            Err(Failure::environment(message).remedy("name the directory of a log").into())
        }
    }
}
