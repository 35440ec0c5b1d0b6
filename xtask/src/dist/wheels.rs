//! The Python package: wheels for glibc and musl, and the source distribution.
//!
//! Zig, which comes as a Python package, links against an old glibc and against musl, so that a
//! wheel made here runs on systems older than this one.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::program::{flags, reproducible};
use super::{Release, bill};
use crate::command::{finish, program, succeeds};
use crate::target;

const CRATE: &str = "crates/front/mcast-python";

struct Wheel {
    target: &'static str,
    /// The platform tag.
    compatibility: &'static str,
}

const WHEELS: [Wheel; 4] = [
    Wheel { target: "x86_64-unknown-linux-gnu", compatibility: "manylinux2014" },
    Wheel { target: "aarch64-unknown-linux-gnu", compatibility: "manylinux2014" },
    Wheel { target: "x86_64-unknown-linux-musl", compatibility: "musllinux_1_2" },
    Wheel { target: "aarch64-unknown-linux-musl", compatibility: "musllinux_1_2" },
];

/// Builds all; returns those that cannot be built here, with the reason.
pub(super) fn make(release: &Release, out: &Path, attempt: &str) -> Result<Vec<String>> {
    let Some(tools) = tools(release)? else {
        return Ok(vec!["wheels: pip cannot install maturin and ziglang".to_owned()]);
    };
    let bill = release.root.join("target/dist").join(attempt).join("pymcast.cyclonedx.json");
    fs::create_dir_all(bill.with_file_name("")).with_context(|| format!("making {}", bill.display()))?;
    bill::write_of(release, "mcast-python", &bill)?;
    let bill = bill.to_string_lossy();
    let mut missing = Vec::new();
    for wheel in &WHEELS {
        if !target::ensure_installed(wheel.target) {
            missing.push(format!("wheel for {}: rustup cannot add the target", wheel.target));
            continue;
        }
        let mut arguments = vec!["build", "--quiet", "--profile", "dist", "--zig", "--target", wheel.target];
        arguments.extend(["--compatibility", wheel.compatibility, "--interpreter", "python3.10", "--locked"]);
        arguments.extend(["--sbom-include", &bill]);
        maturin(release, &tools, &arguments, out, attempt, wheel.target)?;
    }
    maturin(release, &tools, &["sdist"], out, attempt, "")?;
    Ok(missing)
}

fn maturin(
    release: &Release,
    tools: &Path,
    what: &[&str],
    out: &Path,
    attempt: &str,
    target: &str,
) -> Result<()> {
    let folder = release.root.join("target/dist").join(attempt).join("wheels");
    let mut command = program(tools.join("bin/maturin"), what);
    command.arg("--out").arg(out).current_dir(release.root.join(CRATE));
    reproducible(&mut command, release, &folder);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let paths = std::iter::once(tools.join("bin")).chain(std::env::split_paths(&path));
    command.env("PATH", std::env::join_paths(paths)?).env("VIRTUAL_ENV", tools);
    let flags = flags(release, &folder, target)
        .replace("-Ctarget-feature=+crt-static", "-Ctarget-feature=-crt-static");
    command.env("RUSTFLAGS", flags);
    let finished = finish(command, false)?;
    if !finished.success {
        bail!("maturin {} failed:\n{}", what.join(" "), finished.output);
    }
    Ok(())
}

/// Creates a virtual environment with the tools that build wheels.
fn tools(release: &Release) -> Result<Option<PathBuf>> {
    let tools = release.root.join("target/dist/tools");
    fs::create_dir_all(&tools).with_context(|| format!("making {}", tools.display()))?;
    if succeeds(program(tools.join("bin/maturin"), ["--version"])) {
        return Ok(Some(tools));
    }
    let mut environment = program("python3", ["-m", "venv"]);
    environment.arg(&tools);
    let quiet = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"];
    let mut pip = program(tools.join("bin/python"), quiet);
    pip.arg(release.root.join("packaging/wheels.txt"));
    Ok((succeeds(environment) && succeeds(pip)).then_some(tools))
}
