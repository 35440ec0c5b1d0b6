//! The targets that the toolchain can build for.

use std::path::Path;

use crate::command::{finish, program, succeeds};

/// Whether `target` can be built for, after rustup was asked to add it.
pub(crate) fn is_there_or_added(target: &str) -> bool {
    is_there(target) || (succeeds(program("rustup", ["target", "add", target])) && is_there(target))
}

/// Asks the compiler, not rustup: a toolchain from a distribution has no rustup.
pub(crate) fn is_there(target: &str) -> bool {
    let found = finish(program("rustc", ["--print", "target-libdir", "--target", target]), false);
    found.is_ok_and(|found| found.success && Path::new(found.output.trim()).is_dir())
}
