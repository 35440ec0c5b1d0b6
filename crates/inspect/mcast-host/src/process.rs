//! Whether the processes that hold sockets can read them.

use std::path::PathBuf;

/// A process, and whether it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessState {
    /// The process id.
    pub pid: u32,
    /// Whether it runs, from `/proc/PID/stat` and the freezers of its cgroups.
    pub run_state: RunState,
    /// Its path in the unified hierarchy of cgroups, from `/proc/PID/cgroup`; `None` if it is in none.
    pub cgroup: Option<String>,
}

/// Whether a process runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RunState {
    /// It runs, or waits for something.
    #[default]
    Running,
    /// A signal has stopped it.
    Stopped,
    /// A debugger has stopped it.
    Traced,
    /// A cgroup is frozen.
    Frozen {
        /// The file that thaws it.
        file: PathBuf,
        /// What to write there.
        thaw: &'static str,
    },
}

impl ProcessState {
    /// Returns whether it does not run.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.run_state != RunState::Running
    }
}
