//! Whether standard output and standard error are one file.

pub(crate) use platform::are_outputs_same;

#[cfg(unix)]
mod platform {
    use std::fs::File;
    use std::io;
    use std::os::fd::AsFd;
    use std::os::unix::fs::MetadataExt;

    /// Returns whether both are the same terminal, pipe or file.
    pub(crate) fn are_outputs_same() -> bool {
        let identity = |stream: &dyn AsFd| {
            let file = File::from(stream.as_fd().try_clone_to_owned().ok()?);
            file.metadata().ok().map(|found| (found.dev(), found.ino()))
        };
        let (output, error) = (identity(&io::stdout()), identity(&io::stderr()));
        output.is_some() && output == error
    }
}

#[cfg(not(unix))]
mod platform {
    use std::io::{self, IsTerminal};

    /// Returns whether both are the terminal.
    pub(crate) fn are_outputs_same() -> bool {
        io::stdout().is_terminal() && io::stderr().is_terminal()
    }
}
