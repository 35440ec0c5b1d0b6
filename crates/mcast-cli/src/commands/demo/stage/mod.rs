//! The whole demonstration: three acts on virtual hosts.

mod flooding;
mod network;
mod snooping;
mod tutorial;
mod two_interfaces;
mod wire;

use mcast_lab::{Lab, LabError, LabErrorKind};

use super::Refusal;
use super::narrator::Narrator;
use crate::console::Console;
use crate::exit::Outcome;

pub(super) const CAST: &[&str] = &["eastny", "midwood", "flatbush", "bushwick"];

const ADVICE: &str = "Try it yourself: mcast lab shell four-hosts eastny";

/// Exists where virtual hosts can be created.
pub(super) struct Stage;

/// Checks whether virtual hosts can be created.
pub(super) fn open() -> anyhow::Result<Result<Stage, Refusal>> {
    match Lab::new() {
        Ok(_) => Ok(Ok(Stage)),
        Err(error) => refusal(error).map(Err),
    }
}

fn refusal(error: LabError) -> anyhow::Result<Refusal> {
    match error.kind() {
        LabErrorKind::Refused { why, remedy } => Ok(Refusal { why: why.clone(), remedy: remedy.clone() }),
        _ => Err(error.into()),
    }
}

impl Stage {
    pub(super) fn play(self, mut narrator: Narrator, console: &Console) -> anyhow::Result<Outcome> {
        narrator.title("mcast demo", "real packets between virtual hosts; nothing leaves this machine")?;
        flooding::play(&mut narrator)?;
        snooping::play(&mut narrator)?;
        two_interfaces::play(&mut narrator)?;
        Ok(Outcome::of(narrator.end("lab", ADVICE, console)?))
    }
}
