//! What has to be built or installed before a contestant can take part.
//!
//! Everything that is made lies in `target/bench-peers/`; only packages of the system are installed
//! for the whole machine, and only as root.

mod aeron;
mod command;
mod compiler;
mod norm;
mod packages;
mod python;

pub(crate) use aeron::Leftovers as AeronLeftovers;
pub(crate) use aeron::directory as aeron_directory;
pub(crate) use command::hot_path;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Something that a contestant needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Need {
    /// The reference, compiled from `bench/c/`.
    Reference,
    /// The command `mcast`.
    Mcast,
    /// A Python interpreter.
    Python,
    /// A Python environment that has `multicast_expert`.
    MulticastExpert,
    /// The same environment, with this checkout's `pymcast`.
    Pymcast,
    /// The program of this name.
    Socat,
    /// The program `iperf`, version 2.
    Iperf,
    /// The program of this name.
    Sockperf,
    /// The program `nft`, which makes links lose.
    Nft,
    /// The program `smcrouted`, which sets up the kernel's forwarding of multicast.
    Smcroute,
    /// The program `redis-server`, with `redis-cli`.
    Redis,
    /// The program `rabbitmq-server`, with its plugin for streams.
    Rabbitmq,
    /// The program of this name, which measures disks.
    Fio,
    /// A Python environment that has `nats-server`, nats-py and rstream, as the tests of bridges have it.
    NatsServer,
    /// The program on Aeron, from `bench/peers/`.
    Aeron,
    /// The program on libnorm, from `bench/peers/`.
    Norm,
}

/// What is there, and why what is not there is not.
#[derive(Debug)]
pub struct Tools {
    this: PathBuf,
    made: PathBuf,
    source: PathBuf,
    missing: BTreeMap<Need, String>,
    versions: BTreeMap<Need, String>,
}

impl Tools {
    /// Looks for what is needed; with `install`, builds and installs what is missing of it.
    ///
    /// # Errors
    /// When the reference cannot be built: nothing can be judged without it.
    pub fn gather(needs: &BTreeSet<Need>, install: bool) -> Result<Self> {
        let source = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let made = target_directory(&source).join("bench-peers");
        std::fs::create_dir_all(&made).with_context(|| format!("making {}", made.display()))?;
        let this = keep_this(&made)?;
        let mut tools = Self { this, made, source, missing: BTreeMap::new(), versions: BTreeMap::new() };
        if !has_program("taskset") {
            bail!("`taskset` (package util-linux) is needed to keep sender and receiver on processors apart");
        }
        for &need in needs {
            match tools.provide(need, install) {
                Ok(version) => drop(tools.versions.insert(need, version)),
                Err(error) if need == Need::Reference => return Err(error),
                Err(error) => drop(tools.missing.insert(need, format!("{error:#}"))),
            }
        }
        Ok(tools)
    }

    fn provide(&self, need: Need, install: bool) -> Result<String> {
        match need {
            Need::Reference => compiler::build(&self.source.join("c"), &self.reference()),
            Need::Mcast => command::build(&self.source, &target_directory(&self.source), &self.mcast()),
            Need::Python => python::version(),
            Need::MulticastExpert => python::environment(&self.environment(), install),
            Need::Pymcast => {
                python::pymcast(&self.source, &self.environment(), &self.made.join("wheels"), install)
            }
            Need::Socat => packages::provide(("socat", "socat"), &["-V"], "version", install),
            Need::Iperf => packages::provide(("iperf", "iperf"), &["--version"], "version", install),
            Need::Sockperf => packages::provide(("sockperf", "sockperf"), &["--version"], "version", install),
            Need::Nft => packages::provide(("nft", "nftables"), &["--version"], "nftables", install),
            Need::Smcroute => packages::provide(("smcrouted", "smcroute"), &["-v"], "smcroute", install),
            Need::Redis => {
                packages::provide(("redis-server", "redis-server"), &["--version"], "redis", install)
            }
            Need::Rabbitmq => {
                let program = ("rabbitmqctl", "rabbitmq-server");
                Ok(format!("RabbitMQ {}", packages::provide(program, &["version"], ".", install)?))
            }
            Need::Fio => packages::provide(("fio", "fio"), &["--version"], "fio", install),
            Need::NatsServer => python::engines(&self.source, &self.made.join("engines"), install),
            Need::Aeron => aeron::build(&self.source.join("peers/aeron"), &self.made, &self.aeron(), install),
            Need::Norm => norm::build(&self.source.join("peers/norm"), &self.norm(), install),
        }
    }

    /// Why something is not there; `None` if it is.
    #[must_use]
    pub fn missing(&self, need: Option<Need>) -> Option<&str> {
        self.missing.get(&need?).map(String::as_str)
    }

    /// What is there, by name and version.
    pub fn versions(&self) -> impl Iterator<Item = &str> {
        self.versions.values().map(String::as_str)
    }

    /// This program.
    #[must_use]
    pub fn this(&self) -> &Path {
        &self.this
    }

    /// The reference in C.
    #[must_use]
    pub fn reference(&self) -> PathBuf {
        self.made.join("reference")
    }

    /// The command `mcast`.
    #[must_use]
    pub fn mcast(&self) -> PathBuf {
        self.made.join("mcast")
    }

    /// The program on Aeron.
    #[must_use]
    pub fn aeron(&self) -> PathBuf {
        self.made.join("aeron-peer")
    }

    /// The program on libnorm.
    #[must_use]
    pub fn norm(&self) -> PathBuf {
        self.made.join("norm-peer")
    }

    /// A program in Python.
    #[must_use]
    pub fn script(&self, name: &str) -> PathBuf {
        self.source.join("python").join(name)
    }

    /// What the package pymcast is made of.
    #[must_use]
    pub fn pymcast(&self) -> PathBuf {
        self.source.join("..").join(python::PYMCAST)
    }

    /// The interpreter for a program in Python.
    #[must_use]
    pub fn python(&self, need: Need) -> PathBuf {
        match need {
            Need::MulticastExpert | Need::Pymcast => self.environment().join("bin/python"),
            _ => PathBuf::from("python3"),
        }
    }

    /// Where quick looks are written.
    #[must_use]
    pub fn made(&self) -> &Path {
        &self.made
    }

    /// Returns the folder of programs for engines.
    #[must_use]
    pub fn engines(&self) -> PathBuf {
        self.made.join("engines/bin")
    }

    fn environment(&self) -> PathBuf {
        self.made.join("python")
    }
}

/// A copy of this program, so that a build meanwhile does not change what is measured.
fn keep_this(made: &Path) -> Result<PathBuf> {
    let (this, kept) = (std::env::current_exe().context("finding this program")?, made.join("contestants"));
    let fresh = made.join(format!("contestants.{}", std::process::id()));
    std::fs::copy(&this, &fresh).with_context(|| format!("copying {}", this.display()))?;
    std::fs::rename(&fresh, &kept).with_context(|| format!("writing {}", kept.display()))?;
    Ok(kept)
}

fn target_directory(source: &Path) -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(directory) => directory.into(),
        None => source.join("../target"),
    }
}

/// Whether a program of this name can be started.
fn has_program(name: &str) -> bool {
    let mut command = Command::new(name);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok()
}

/// The command as one would type it, without the directories, which differ from machine to machine.
fn words(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let program = program.file_name().unwrap_or_else(|| command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// Runs a command to its end; its standard output.
fn output_of(command: &mut Command) -> Result<String> {
    let words = words(command);
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("starting `{words}`"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("nothing");
        bail!("`{words}` failed ({}): {last}", output.status);
    }
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    Ok(text)
}
