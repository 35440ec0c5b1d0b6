//! The files that accompany the program in every package: manual, completions, licences.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use flate2::{Compression, GzBuilder};

/// One packaged file.
#[derive(Debug)]
pub(super) struct File {
    /// Its path in the package, with `/` as separator.
    pub(super) path: String,
    pub(super) bytes: Vec<u8>,
    pub(super) executable: bool,
}

impl File {
    pub(super) fn plain(path: impl Into<String>, bytes: Vec<u8>) -> Self {
        Self { path: path.into(), bytes, executable: false }
    }

    pub(super) fn program(path: impl Into<String>, from: &Path) -> Result<Self> {
        Ok(Self { path: path.into(), bytes: read(from)?, executable: true })
    }
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("reading {}", path.display()))
}

/// Compresses without a file name and time.
pub(super) fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzBuilder::new().mtime(0).operating_system(255).write(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}
