//! Access of a program in a lab to other hosts of the lab.

use std::{
    env,
    os::fd::{AsFd, AsRawFd, RawFd},
};

use mcast_sys::lab as sys;

use crate::{Command, Host, LabError, LabErrorKind, error::ErrorContext};

/// The environment variable that lists the accessible hosts: `NAME=DESCRIPTOR`, separated by commas.
const VARIABLE: &str = "MCAST_LAB_HOSTS";

impl Command {
    /// Allows the program, and the programs that it starts, to enter these hosts of the same lab with [`enter_host`].
    ///
    /// # Errors
    ///
    /// [`LabErrorKind::Gone`] when the lab was dropped.
    pub fn grant_access_to<'a>(
        &mut self,
        hosts: impl IntoIterator<Item = &'a Host>,
    ) -> Result<&mut Self, LabError> {
        let mut entries = Vec::new();
        for host in hosts {
            let live = host.node.namespace.live()?;
            entries.push(format!("{}={}", host.name(), live.as_fd().as_raw_fd()));
            sys::host_access::keep_open_in_child(&mut self.command, live);
        }
        Ok(self.env(VARIABLE, entries.join(",")))
    }
}

/// Moves the calling thread to another host of the lab in which this program was started.
///
/// # Errors
///
/// [`LabErrorKind::Unsupported`] in a program without [access](Command::grant_access_to) to any host,
/// [`LabErrorKind::Missing`] for a host to which it has no access, or the system's error.
pub fn enter_host(name: &str) -> Result<(), LabError> {
    let failed = |kind| LabError::new(format!("enter the host '{name}'"), kind);
    let no_lab =
        || failed(LabErrorKind::Unsupported("this program was not started in a lab's shell".to_owned()));
    let entries = env::var(VARIABLE).map_err(|_| no_lab())?;
    let hosts: Vec<(&str, RawFd)> = entries.split(',').filter_map(parse_entry).collect();
    let Some((_, descriptor)) = hosts.iter().find(|(host, _)| *host == name) else {
        let names: Vec<&str> = hosts.iter().map(|(host, _)| *host).collect();
        let missing = format!("there is no such host; the hosts are {}", names.join(", "));
        return Err(failed(LabErrorKind::Missing(missing)));
    };
    sys::host_access::enter(*descriptor, name).context(|| format!("enter the host '{name}'"))
}

fn parse_entry(text: &str) -> Option<(&str, RawFd)> {
    let (host, descriptor) = text.rsplit_once('=')?;
    Some((host, descriptor.parse().ok()?))
}
