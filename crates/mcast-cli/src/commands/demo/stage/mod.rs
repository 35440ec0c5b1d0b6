//! The whole demonstration: three acts on virtual hosts.

mod flooding;
mod network;
mod snooping;
mod tutorial;
mod two_interfaces;
mod wire;

use mcast_lab::{Lab, LabErrorKind};

use super::Refusal;
use super::narrator::{Form, Narrator};
use crate::console::Console;
use crate::exit::Outcome;

const CAST: &[&str] = &["eastny", "midwood", "flatbush", "bushwick"];

const ADVICE: &str = "Try it yourself: mcast lab shell four-hosts eastny";

/// Plays the demonstration, or returns why virtual hosts cannot be created here.
pub(super) fn play(form: Form, console: &Console) -> anyhow::Result<Result<Outcome, Refusal>> {
    if let Err(error) = Lab::new() {
        return match error.kind() {
            LabErrorKind::Refused { why, remedy } => {
                Ok(Err(Refusal { why: why.clone(), remedy: remedy.clone() }))
            }
            _ => Err(error.into()),
        };
    }
    let mut narrator = Narrator::new(console, form, CAST);
    narrator.title("mcast demo", "real packets between virtual hosts; nothing leaves this machine")?;
    flooding::play(&mut narrator)?;
    snooping::play(&mut narrator)?;
    two_interfaces::play(&mut narrator)?;
    Ok(Ok(Outcome::of(narrator.end("lab", ADVICE, console)?)))
}
