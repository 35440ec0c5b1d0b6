//! What is released: its version, its commit, its time.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cargo_metadata::{Metadata, MetadataCommand};

use crate::command::{finish, program};

/// One commit, as it is to be packaged.
#[derive(Debug)]
pub(crate) struct Release {
    pub(crate) root: PathBuf,
    pub(crate) version: String,
    /// Twelve digits of the commit; with `-modified` where the checkout differs from it.
    pub(crate) commit: String,
    /// Seconds since 1970, when the commit was made: the time of every packaged file.
    pub(crate) time: u64,
    pub(crate) metadata: Metadata,
}

impl Release {
    pub(crate) fn of(root: &Path) -> Result<Self> {
        let metadata =
            MetadataCommand::new().current_dir(root).exec().context("asking cargo what there is")?;
        let version = metadata
            .workspace_packages()
            .into_iter()
            .find(|package| package.name.as_str() == "mcast-cli")
            .map(|package| package.version.to_string())
            .context("the workspace has no package mcast-cli")?;
        Ok(Self {
            root: root.to_path_buf(),
            version,
            commit: git(&["describe", "--always", "--abbrev=12", "--exclude=*", "--dirty=-modified"])?,
            time: git(&["log", "-1", "--format=%ct"])?.parse().context("reading the time of the commit")?,
            metadata,
        })
    }

    /// `mcast-0.1.0-LABEL`
    pub(crate) fn name(&self, label: &str) -> String {
        format!("mcast-{}-{label}", self.version)
    }
}

fn git(arguments: &[&str]) -> Result<String> {
    let finished = finish(program("git", arguments), false)?;
    anyhow::ensure!(finished.success, "git {}: {}", arguments.join(" "), finished.output);
    Ok(finished.output.trim().to_owned())
}
