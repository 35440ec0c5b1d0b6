//! How a program in a lab gets to another host of it.

use std::{
    env,
    os::fd::{AsRawFd, RawFd},
};

use crate::{Command, Host, LabError, LabErrorKind, error::Doing, sys};

/// Where a program finds the hosts that it may go to: `NAME=DESCRIPTOR` for each, by commas.
const VARIABLE: &str = "MCAST_LAB_HOSTS";

impl Command {
    /// Lets the program, and all that it starts, go to these hosts of the same lab by [`enter_host`].
    ///
    /// # Errors
    ///
    /// [`LabErrorKind::Gone`] when the lab was dropped.
    pub fn open_passage_to<'a>(
        &mut self,
        hosts: impl IntoIterator<Item = &'a Host>,
    ) -> Result<&mut Self, LabError> {
        let mut passages = Vec::new();
        for host in hosts {
            let alive = host.node.namespace.alive()?;
            let descriptor = alive.descriptor().as_raw_fd();
            passages.push(format!("{}={descriptor}", host.name()));
            sys::passage::hand_over(&mut self.command, descriptor, alive);
        }
        Ok(self.env(VARIABLE, passages.join(",")))
    }
}

/// Moves the calling thread to another host of the lab that this program was started in.
///
/// # Errors
///
/// [`LabErrorKind::Unsupported`] in a program to which no [passage](Command::open_passage_to) was opened,
/// [`LabErrorKind::Missing`] for another host than those, the system's error.
pub fn enter_host(name: &str) -> Result<(), LabError> {
    let failed = |kind| LabError::new(format!("go to the host '{name}'"), kind);
    let no_lab =
        || failed(LabErrorKind::Unsupported("this program was not started in a lab's shell".to_owned()));
    let passages = env::var(VARIABLE).map_err(|_| no_lab())?;
    let hosts: Vec<(&str, RawFd)> = passages.split(',').filter_map(passage).collect();
    let Some((_, descriptor)) = hosts.iter().find(|(host, _)| *host == name) else {
        let names: Vec<&str> = hosts.iter().map(|(host, _)| *host).collect();
        let missing = format!("there is no such host; there are {}", names.join(", "));
        return Err(failed(LabErrorKind::Missing(missing)));
    };
    sys::passage::enter(*descriptor, name).doing(|| format!("go to the host '{name}'"))
}

fn passage(text: &str) -> Option<(&str, RawFd)> {
    let (host, descriptor) = text.rsplit_once('=')?;
    Some((host, descriptor.parse().ok()?))
}
