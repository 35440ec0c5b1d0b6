//! Examination of a capture file.

use std::path::Path;

use mcast::{Interface, InterfaceIndex};
use mcast_capture::{CaptureFile, FileError, FileErrorKind};

use crate::observation::{ExaminationTarget, Observation};
use crate::snapshot::{Link, Snapshot};
use crate::wire::{Recorder, Tap};
use crate::{Effect, OpenQuestion, Report, Result};

/// Examines a capture file and reports the causes that it shows. The capture may come from any machine.
///
/// If the file is truncated or damaged, the part before the damage is examined, and the report says so.
///
/// # Errors
/// Returns an error if the file is not a capture file or cannot be read.
pub fn explain_capture(path: impl AsRef<Path>) -> Result<Report> {
    let mut file = CaptureFile::open(path)?;
    let mut recorder = Recorder::default();
    let damage = record(&mut file, &mut recorder)?;
    let (links, taps): (Vec<_>, Vec<_>) = (1..)
        .filter_map(InterfaceIndex::new)
        .zip(file.interfaces())
        .map(|(number, interface)| {
            let link = link(number, interface.name.as_deref());
            let tap = Tap { dropped: interface.dropped.unwrap_or_default(), ..Tap::on(&link) };
            (link, tap)
        })
        .unzip();
    let machine = Snapshot { links, ..Snapshot::default() };
    let mut wire = recorder.finish(taps, None);
    wire.undecodable = file.statistics().skipped;
    let observation = Observation {
        before: machine.clone(),
        after: machine,
        wire,
        target: ExaminationTarget::File,
        ..Observation::default()
    };
    let mut report = super::report(observation);
    report.open_questions.extend(damage.map(|error| {
        OpenQuestion::new("what the rest of the file contains", error.to_string())
            .with_effect(Effect::NoAnswer)
    }));
    Ok(report)
}

/// Returns the interface with this number in the file. One without a usable name is called by its number.
fn link(number: InterfaceIndex, name: Option<&str>) -> Link {
    let name = name.filter(|name| is_plain(name)).map_or_else(|| format!("#{number}"), str::to_owned);
    let mut interface = Interface::new(number, name);
    (interface.up, interface.running, interface.multicast) = (true, true, true);
    interface.into()
}

/// Records all readable frames; returns the damage that ended reading, if any.
fn record(file: &mut CaptureFile, recorder: &mut Recorder) -> Result<Option<FileError>> {
    loop {
        match file.next() {
            Ok(Some(frame)) => recorder.record(&frame),
            Ok(None) => return Ok(None),
            Err(error) if is_damage(error.kind()) => return Ok(Some(error)),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Returns whether a name is safe in a command that is pasted into a shell. The names come from the file,
/// which is untrusted.
fn is_plain(name: &str) -> bool {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "._:@-".contains(character);
    !name.is_empty() && !name.starts_with('-') && name.chars().all(is_plain)
}

fn is_damage(kind: FileErrorKind) -> bool {
    matches!(kind, FileErrorKind::Truncated { .. } | FileErrorKind::Malformed { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interface_name_with_shell_syntax_is_rejected() {
        for name in ["eth0", "en0.5", "eth0:1", "veth1@if2", "br-lan", "wlp2s0_x"] {
            assert!(is_plain(name), "{name}");
        }
        for name in ["", "-rf", "eth0;reboot", "$(reboot)", "`x`", "a b", "\u{1b}[31m", "a'b", "ü"] {
            assert!(!is_plain(name), "{name}");
        }
    }
}
