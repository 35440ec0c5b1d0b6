//! The version, commit and time of a release.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cargo_metadata::{Metadata, MetadataCommand};

use crate::command::{finish, program};

/// The commit to package.
#[derive(Debug)]
pub(crate) struct Release {
    pub(crate) root: PathBuf,
    pub(crate) version: String,
    /// Twelve digits of the commit hash; with `-modified` if the checkout has changes.
    pub(crate) commit: String,
    /// The time of the commit in seconds since 1970, which all packaged files get.
    pub(crate) time: u64,
    pub(crate) metadata: Metadata,
}

impl Release {
    pub(crate) fn of(root: &Path) -> Result<Self> {
        let metadata = MetadataCommand::new()
            .current_dir(root)
            .exec()
            .context("reading the metadata of the workspace")?;
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

    /// Returns `mcast-0.1.0-LABEL`.
    pub(crate) fn name(&self, label: &str) -> String {
        format!("mcast-{}-{label}", self.version)
    }
}

fn git(arguments: &[&str]) -> Result<String> {
    let finished = finish(program("git", arguments), false)?;
    anyhow::ensure!(finished.success, "git {}: {}", arguments.join(" "), finished.output);
    Ok(finished.output.trim().to_owned())
}
