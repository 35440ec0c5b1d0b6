//! The emulated machine.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::system::System;
use crate::command::{finish_within, program};
use crate::step::RunOptions;

/// Time limit for all tests; they take a third of it with two idle processors.
const LIMIT: Duration = Duration::from_secs(3600);

/// Boots the system and waits until it has run the tests. Returns its console output, or `None` if it took too long.
/// The machine can read the files of this one, but writes only to `exchange`.
pub(super) fn run(system: &System, exchange: &Path, options: &RunOptions) -> Result<Option<String>> {
    let folder = |path: &Path, tag: &str, more: &str| {
        format!("local,path={},mount_tag={tag},security_model=none{more}", path.display())
    };
    let mut machine = program("qemu-system-x86_64", ["-accel", "tcg,thread=multi", "-cpu", "max"]);
    machine
        .args(["-smp", "2", "-m", "2G", "-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio"])
        .arg("-kernel")
        .arg(system.kernel())
        .arg("-initrd")
        .arg(system.initramfs())
        .args(["-append", "console=ttyS0 quiet panic=-1 mitigations=off"])
        .args(["-virtfs", &folder(Path::new("/"), "outside", ",readonly=on,multidevs=remap")])
        .args(["-virtfs", &folder(exchange, "exchange", "")])
        .args(["-device", "virtio-rng-pci"]);
    let finished = finish_within(machine, LIMIT)?;
    if options.verbose
        && let Some(finished) = &finished
    {
        anstream::print!("{}", finished.output);
    }
    Ok(finished.map(|finished| finished.output))
}
