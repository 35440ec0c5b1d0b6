//! The emulated machine.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::system::System;
use super::{ordinary_user, runners};
use crate::command::{finish, finish_within, program};
use crate::step::RunOptions;

/// Time limit for all tests. Those between network cards take about two seconds each.
const LIMIT: Duration = Duration::from_secs(7200);

/// Cables between two network cards for each of two tests at a time: to each of two networks for each of two hosts, and one
/// whose cards have several queues. Different queues do not keep the order of different senders, which the tests need.
const CABLES: [u8; 10] = [1, 1, 1, 1, QUEUES, 1, 1, 1, 1, QUEUES];
/// One to receive for each of two processors, and one to send for each of their XDP programs.
const QUEUES: u8 = 4;

/// Returns a command that starts a program in a network namespace with cables.
fn with_cables(queues: &[u8]) -> Result<Command> {
    let root: &[_] = if ordinary_user::is_root()? { &[] } else { &["--user", "--map-root-user"] };
    let mut command = program("unshare", root.iter().copied().chain(["--net", "sh"]));
    command
        .arg(runners().join("cables.sh"))
        .arg(queues.iter().map(u8::to_string).collect::<Vec<_>>().join(" "));
    Ok(command)
}

/// Returns whether this user can make cables.
pub(super) fn has_cables() -> Result<bool> {
    let mut command = with_cables(&[1])?;
    command.arg("true");
    Ok(finish(command, false)?.success)
}

/// Boots the system and waits until it has run the tests. Returns its console output, or `None` if it took too long.
/// The machine can read the files of this one, but writes only to `exchange`.
pub(super) fn run(system: &System, exchange: &Path, options: &RunOptions) -> Result<Option<String>> {
    let folder = |path: &Path, tag: &str, more: &str| {
        format!("local,path={},mount_tag={tag},security_model=none{more}", path.display())
    };
    let mut machine = with_cables(&CABLES)?;
    machine
        .args(["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max"])
        .args(["-smp", "2", "-m", "2G", "-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio"])
        .arg("-kernel")
        .arg(system.kernel())
        .arg("-initrd")
        .arg(system.initramfs())
        .args(["-append", "console=ttyS0 quiet panic=-1 mitigations=off"])
        .args(["-virtfs", &folder(Path::new("/"), "outside", ",readonly=on,multidevs=remap")])
        .args(["-virtfs", &folder(exchange, "exchange", "")])
        .args(["-device", "virtio-rng-pci"]);
    for (cable, queues) in CABLES.iter().enumerate() {
        for (end, name) in [(0, 'a'), (1, 'b')] {
            let tap = format!("cable{cable}{name}");
            let backend =
                format!("tap,id={tap},ifname={tap},script=no,downscript=no,vhost=off,queues={queues}");
            // The tests find the cards by these addresses.
            let address = format!("02:63:61:62:{cable:02x}:{end:02x}");
            let several =
                if *queues > 1 { format!(",mq=on,vectors={}", 2 * queues + 2) } else { String::new() };
            let card = format!(
                "virtio-net-pci,netdev={tap},mac={address},rx_queue_size=1024,ctrl_vlan=off,romfile={several}"
            );
            machine.args(["-netdev", &backend, "-device", &card]);
        }
    }
    let finished = finish_within(machine, LIMIT)?;
    if options.verbose
        && let Some(finished) = &finished
    {
        anstream::print!("{}", finished.output);
    }
    Ok(finished.map(|finished| finished.output))
}
