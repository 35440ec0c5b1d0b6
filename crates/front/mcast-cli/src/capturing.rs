//! What the subcommands that capture share: files as input, and names of interfaces.

use std::io;
use std::path::Path;

use mcast_capture::{CaptureFile, FileError, Frame};

use crate::output::SafeText;

/// Opens a capture file; `-` is standard input.
pub(crate) fn open_file(path: &Path) -> Result<CaptureFile, FileError> {
    match path.as_os_str() == "-" {
        true => CaptureFile::from_reader(io::stdin(), "standard input"),
        false => CaptureFile::open(path),
    }
}

/// Returns the name of the frame's interface to show, or its number if it has none. A name in a file is untrusted, so
/// it is escaped.
pub(crate) fn interface_name(frame: &Frame<'_>) -> String {
    match frame.interface_name {
        Some(name) => SafeText::new(name.as_bytes()).to_string(),
        None => format!("#{}", frame.interface),
    }
}
