//! The whole demonstration: three acts on virtual hosts.

mod flooding;
mod network;
mod snooping;
mod tutorial;
mod two_interfaces;
mod wire;

use mcast_lab::{Lab, LabErrorKind};

use crate::DemoError;
use crate::stage::{Scene, Show, Stage};

pub(crate) fn play(show: Show<'_>) -> Result<(), DemoError> {
    if let Err(error) = Lab::new() {
        return Err(match error.kind() {
            LabErrorKind::Refused { why, remedy } => {
                DemoError::NoVirtualHosts { why: why.clone(), remedy: remedy.clone() }
            }
            _ => error.into(),
        });
    }
    let mut stage = Stage(show);
    stage.show(Scene::Title("real packets between virtual hosts; nothing leaves this machine"))?;
    flooding::play(&mut stage)?;
    snooping::play(&mut stage)?;
    two_interfaces::play(&mut stage)
}
