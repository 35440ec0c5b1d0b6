//! The targets of the toolchain.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::command::{finish, program, succeeds};

/// Returns whether `target` is installed, after trying to install it with rustup.
pub(crate) fn ensure_installed(target: &str) -> bool {
    // Steps of both lanes may need the same target.
    static INSTALLING: Mutex<()> = Mutex::new(());
    let _installing = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    is_installed(target) || (succeeds(program("rustup", ["target", "add", target])) && is_installed(target))
}

/// Returns whether `target` is installed. Asks the compiler, because a distribution's toolchain has no rustup.
pub(crate) fn is_installed(target: &str) -> bool {
    let found = finish(program("rustc", ["--print", "target-libdir", "--target", target]), false);
    found.is_ok_and(|found| found.success && Path::new(found.output.trim()).is_dir())
}
