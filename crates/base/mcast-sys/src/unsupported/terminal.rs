//! Systems on which programs cannot print to a pseudoterminal.

use std::fs::File;
use std::io;

/// A pseudoterminal, which these systems do not have, or which needs more than a descriptor.
#[derive(Debug)]
pub struct PseudoTerminal {
    /// What a program prints to.
    pub program: File,
    /// What is read from.
    pub reader: File,
}

impl PseudoTerminal {
    /// Returns an error.
    ///
    /// # Errors
    /// Always.
    pub fn open() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
