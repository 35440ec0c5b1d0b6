//! Reproducible builds of the command.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::Release;
use crate::command::{cargo, finish, program, succeeds};
use crate::target;

/// A program to build.
#[derive(Debug)]
pub(crate) struct Build {
    /// The name of the archive.
    pub(crate) label: &'static str,
    target: &'static str,
    /// The target to use if the standard library of the first one is not installed.
    fallback: Option<&'static str>,
    /// The C compiler that links for it, if not the default one.
    linker: Option<&'static str>,
    /// The C compiler for the ciphers, which are written in C.
    compiler: &'static str,
    /// Debian's name of the architecture.
    pub(crate) debian: Option<&'static str>,
    /// The file name of the program.
    pub(crate) file: &'static str,
}

pub(crate) const PROGRAMS: [Build; 3] = [
    Build {
        label: "x86_64-linux",
        target: "x86_64-unknown-linux-musl",
        fallback: None,
        linker: None,
        compiler: "musl-gcc",
        debian: Some("amd64"),
        file: "mcast",
    },
    // Falls back to static glibc, and reports that.
    Build {
        label: "aarch64-linux",
        target: "aarch64-unknown-linux-musl",
        fallback: Some("aarch64-unknown-linux-gnu"),
        linker: Some("aarch64-linux-gnu-gcc"),
        compiler: "aarch64-linux-gnu-gcc",
        debian: Some("arm64"),
        file: "mcast",
    },
    Build {
        label: "x86_64-windows",
        target: "x86_64-pc-windows-gnu",
        fallback: None,
        linker: Some("x86_64-w64-mingw32-gcc"),
        compiler: "x86_64-w64-mingw32-gcc",
        debian: None,
        file: "mcast.exe",
    },
];

impl Build {
    /// Whether this machine can run it.
    pub(crate) fn runs_here(&self) -> bool {
        self.label == format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS)
    }

    #[cfg(test)]
    pub(super) const fn target(&self) -> &'static str {
        self.target
    }

    /// Returns a message if the fallback target is used.
    pub(super) fn fallback_note(&self) -> Option<String> {
        let chosen = self.chosen_target().filter(|chosen| *chosen != self.target)?;
        Some(format!(
            "{} for {}: built for {chosen} instead, because rustup cannot add the target",
            self.label, self.target
        ))
    }

    fn chosen_target(&self) -> Option<&'static str> {
        let is_first = target::ensure_installed(self.target);
        is_first.then_some(self.target).or_else(|| self.fallback.filter(|name| target::is_installed(name)))
    }
}

/// The profile of the workspace for what is shipped.
const PROFILE: &str = "dist";

/// Builds the program; returns its path, or why it cannot be built here. `attempt` names the build folder.
pub(crate) fn build(release: &Release, build: &Build, attempt: &str) -> Result<Result<PathBuf, String>> {
    let Some(target) = build.chosen_target() else {
        return Ok(Err(format!("`rustup target add {}` first", build.target)));
    };
    let tools = build.linker.into_iter().chain([build.compiler]);
    if let Some(missing) = tools.into_iter().find(|tool| !succeeds(program(tool, ["--version"]))) {
        return Ok(Err(format!("{missing} is not installed")));
    }
    let folder = release.root.join("target/dist").join(attempt);
    let mut command = cargo(["build", "--quiet", "--locked", "--profile", PROFILE]);
    command.args(["--package", "mcast-cli", "--bin", "mcast", "--target", target]);
    reproducible(&mut command, release, &folder);
    let variable = target.to_uppercase().replace('-', "_");
    command.env(format!("CARGO_TARGET_{variable}_RUSTFLAGS"), flags(release, &folder, target));
    if let Some(linker) = build.linker {
        command.env(format!("CARGO_TARGET_{variable}_LINKER"), linker);
    }
    let finished = finish(command, false)?;
    if !finished.success {
        bail!("building for {target} failed:\n{}", finished.output);
    }
    Ok(Ok(folder.join(target).join(PROFILE).join(build.file)))
}

/// Sets the environment of a reproducible build.
pub(super) fn reproducible(command: &mut std::process::Command, release: &Release, folder: &Path) {
    command
        .env("CARGO_TARGET_DIR", folder)
        .env("CARGO_INCREMENTAL", "0")
        .env("MCAST_COMMIT", &release.commit)
        .env("SOURCE_DATE_EPOCH", release.time.to_string())
        .env_remove("RUSTFLAGS");
}

/// Compiler flags that keep paths of this machine out of the program, and link it statically.
pub(super) fn flags(release: &Release, folder: &Path, target: &str) -> String {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
    let mut flags = vec![
        "-Ctarget-feature=+crt-static".to_owned(),
        // If several prefixes match, the last one takes effect.
        format!("--remap-path-prefix={}=mcast", release.root.display()),
        format!("--remap-path-prefix={}=target", folder.display()),
    ];
    flags.extend(home.map(|home| format!("--remap-path-prefix={}=cargo", home.display())));
    if target.contains("windows") {
        flags.push("-Clink-arg=-Wl,--no-insert-timestamp".to_owned());
    }
    flags.join(" ")
}
