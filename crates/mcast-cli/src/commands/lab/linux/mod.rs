//! Labs on Linux.

mod failure;
mod list;
mod on;
mod printer;
mod run;
mod shell;
mod source;

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::Context;

use super::{ListArguments, OnArguments, RunArguments, ShellArguments, ShowArguments};

pub(super) use list::{list, show};
pub(super) use on::on;
pub(super) use run::run;
pub(super) use shell::shell;
pub(super) use source::names;

/// Returns `PATH` for programs in a lab, where `mcast` is this program.
fn path() -> anyhow::Result<OsString> {
    let program = env::current_exe().context("cannot determine the path of this program")?;
    let own = program.parent().map(PathBuf::from).into_iter();
    let others = env::var_os("PATH").unwrap_or_default();
    env::join_paths(own.chain(env::split_paths(&others)))
        .context("the directory of this program cannot be added to PATH")
}
