//! A capture file.

use std::path::Path;

use mcast_capture::{CaptureFile, FileError, FileErrorKind};

use crate::observation::{About, Observation};
use crate::snapshot::{Link, Snapshot};
use crate::wire::{Recorder, Tap};
use crate::{Report, Result, Unknown};

/// Explains a capture file: what in it betrays a cause, on whichever machine it was made.
///
/// Of a file that ends too early or is damaged, what came before is explained, and the report says so.
///
/// # Errors
/// When it is no capture file, or cannot be read.
pub fn explain_capture(path: impl AsRef<Path>) -> Result<Report> {
    let mut file = CaptureFile::open(path)?;
    let mut recorder = Recorder::default();
    let damage = record(&mut file, &mut recorder)?;
    let name = |position: usize, name: Option<&str>| match name.filter(|name| is_plain(name)) {
        Some(name) => name.to_owned(),
        None => format!("interface-{}", position + 1),
    };
    let links: Vec<_> = file
        .interfaces()
        .iter()
        .enumerate()
        .map(|(position, interface)| Link {
            index: u32::try_from(position + 1).unwrap_or(u32::MAX),
            name: name(position, interface.name.as_deref()),
            up: true,
            running: true,
            multicast: true,
            ..Link::default()
        })
        .collect();
    let tap = |link: &Link| Tap { interface: link.index, name: link.name.clone(), refused: None, dropped: 0 };
    let taps = links.iter().map(tap).collect();
    let machine = Snapshot { links, ..Snapshot::default() };
    let wire = recorder.finish(taps, None);
    let seen = Observation {
        before: machine.clone(),
        after: machine,
        wire,
        about: About::File,
        ..Observation::default()
    };
    let mut report = super::report(&seen);
    report
        .unknown
        .extend(damage.map(|error| Unknown::new("what comes later in the file", error.to_string())));
    Ok(report)
}

/// Takes all frames that can be read; tells where no more could be.
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

/// Whether a name can stand in a command that is pasted into a shell: whoever made the file chose it.
fn is_plain(name: &str) -> bool {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "._:@-".contains(character);
    !name.is_empty() && !name.starts_with('-') && name.chars().all(is_plain)
}

fn is_damage(kind: FileErrorKind) -> bool {
    matches!(kind, FileErrorKind::CutOff { .. } | FileErrorKind::Malformed { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_a_shell_would_take_for_more_is_no_name() {
        for name in ["eth0", "en0.5", "eth0:1", "veth1@if2", "br-lan", "wlp2s0_x"] {
            assert!(is_plain(name), "{name}");
        }
        for name in ["", "-rf", "eth0;reboot", "$(reboot)", "`x`", "a b", "\u{1b}[31m", "a'b", "ü"] {
            assert!(!is_plain(name), "{name}");
        }
    }
}
