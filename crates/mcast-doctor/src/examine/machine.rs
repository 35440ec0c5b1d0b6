//! This machine as it is.

use crate::gather::{processes, snapshot};
use crate::observation::{About, Observation};
use crate::{Report, Result};

/// Looks at this machine: its interfaces, routes, settings, bridges and sockets. Joins nothing, sends
/// nothing, and does not listen.
///
/// # Errors
/// When the system does not tell its interfaces.
pub fn examine_machine() -> Result<Report> {
    let mut now = snapshot()?;
    let holders = processes::holders();
    for socket in &mut now.udp_sockets {
        socket.programs = holders.get(&socket.inode).cloned().unwrap_or_default();
    }
    let seen =
        Observation { before: now.clone(), after: now, about: About::Machine, ..Observation::default() };
    Ok(super::report(&seen))
}
