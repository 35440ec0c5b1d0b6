//! A capture file.

use std::path::Path;

use mcast_capture::CaptureFile;

use crate::observation::{About, Observation};
use crate::snapshot::{Link, Snapshot};
use crate::wire::{Recorder, Tap};
use crate::{Report, Result};

/// Explains a capture file: what in it betrays a cause, on whichever machine it was made.
///
/// # Errors
/// When it is no capture file, or is damaged.
pub fn explain_capture(path: impl AsRef<Path>) -> Result<Report> {
    let mut file = CaptureFile::open(path)?;
    let mut recorder = Recorder::default();
    while let Some(frame) = file.next()? {
        recorder.record(&frame);
    }
    let name = |position: usize, name: Option<&str>| {
        name.map_or_else(|| format!("interface {}", position + 1), str::to_owned)
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
    Ok(super::report(&seen))
}
