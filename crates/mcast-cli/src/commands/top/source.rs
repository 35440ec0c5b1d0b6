//! The source of frames: interfaces, or a file.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mcast::{Interface, InterfaceIndex, InterfaceSelector};
use mcast_capture::{
    Capture, CaptureFile, CaptureOptions, ErrorKind, Filter, Frame, FrameSource, SourceError,
};

use super::Arguments;
use super::following::FollowingCapture;
use super::memberships::HeldMemberships;
use crate::exit::Failure;
use crate::output::SafeText;

/// The source of frames.
pub(super) struct Source {
    pub(super) frames: Frames,
    /// The captured interfaces; empty for a file.
    pub(super) interfaces: Vec<Interface>,
}

/// Frames with the names of their interfaces.
pub(super) struct Frames {
    origin: Origin,
    names: HashMap<InterfaceIndex, Arc<str>>,
}

enum Origin {
    File(Box<CaptureFile>),
    Wire(Box<FollowingCapture>),
}

impl Frames {
    fn new(origin: Origin) -> Self {
        Self { origin, names: HashMap::new() }
    }

    /// Follows interfaces that appear and vanish, with their memberships.
    pub(super) fn follow(&mut self, memberships: Option<HeldMemberships>) -> anyhow::Result<()> {
        match &mut self.origin {
            Origin::File(_) => Ok(()),
            Origin::Wire(capture) => capture.follow(memberships),
        }
    }

    /// Passes the next frame to `show`, if one arrives within the timeout; returns whether one did.
    pub(super) fn next(
        &mut self,
        timeout: Duration,
        show: impl FnOnce(&Frame<'_>, &Arc<str>),
    ) -> Result<bool, SourceError> {
        match &mut self.origin {
            Origin::File(file) => show_next(&mut **file, timeout, &mut self.names, |_| true, show),
            Origin::Wire(capture) => capture.next(timeout, &mut self.names, show),
        }
    }

    /// Returns the captured interfaces, if they have changed since the last call.
    pub(super) fn changed_interfaces(&mut self) -> Option<Vec<Interface>> {
        match &mut self.origin {
            Origin::File(_) => None,
            Origin::Wire(capture) => capture.changed_interfaces(),
        }
    }

    pub(super) fn are_over(&self) -> bool {
        match &self.origin {
            Origin::File(file) => file.is_at_end(),
            Origin::Wire(_) => false,
        }
    }

    /// Returns the number of lost packets; `None` if it is unknown.
    pub(super) fn lost(&mut self) -> Option<u64> {
        match &mut self.origin {
            Origin::File(file) => file.lost().ok().flatten(),
            Origin::Wire(capture) => capture.lost(),
        }
    }
}

/// Passes the next frame of a source to `show` if `is_selected` returns true; returns whether there was a frame.
pub(super) fn show_next(
    source: &mut impl FrameSource,
    timeout: Duration,
    names: &mut HashMap<InterfaceIndex, Arc<str>>,
    is_selected: impl FnOnce(&Frame<'_>) -> bool,
    show: impl FnOnce(&Frame<'_>, &Arc<str>),
) -> Result<bool, SourceError> {
    let Some(frame) = source.next_frame(Some(timeout))? else { return Ok(false) };
    if !is_selected(&frame) {
        return Ok(true);
    }
    if let Some(name) = names.get(&frame.interface) {
        show(&frame, name);
        return Ok(true);
    }
    // The frame borrows the source, so it is copied before the source is asked for the name.
    let bytes = frame.bytes.to_vec();
    let Frame { original_length, link_type, interface, direction, time, checksums, resegmented, .. } = frame;
    let name = source.interface_name(interface).map(|name| SafeText::new(name.as_bytes()).to_string());
    let name: Arc<str> = name.unwrap_or_else(|| format!("#{interface}")).into();
    let bytes = &bytes;
    let copy =
        Frame { bytes, original_length, link_type, interface, direction, time, checksums, resegmented };
    show(&copy, &name);
    names.insert(interface, name);
    Ok(true)
}

pub(super) fn open(arguments: &Arguments) -> anyhow::Result<Source> {
    match &arguments.input.read {
        Some(path) => {
            let frames = Frames::new(Origin::File(Box::new(open_file(path)?)));
            Ok(Source { frames, interfaces: Vec::new() })
        }
        None => {
            let interfaces = interfaces(&arguments.interfaces)?;
            if interfaces.is_empty() {
                return Err(Failure::environment("no interface is up and can multicast")
                    .remedy("name one with -i; `mcast interfaces` lists them")
                    .into());
            }
            let capture = capture_on(&interfaces).map_err(refused)?;
            let capture = FollowingCapture::new(arguments.interfaces.clone(), capture, &interfaces);
            Ok(Source { frames: Frames::new(Origin::Wire(Box::new(capture))), interfaces })
        }
    }
}

fn open_file(path: &Path) -> anyhow::Result<CaptureFile> {
    Ok(match path == Path::new("-") {
        true => CaptureFile::from_reader(io::stdin(), "standard input")?,
        false => CaptureFile::open(path)?,
    })
}

/// Starts to capture on these interfaces. There must be at least one.
pub(super) fn capture_on(interfaces: &[Interface]) -> mcast_capture::Result<Capture> {
    let mut names = interfaces.iter().map(|interface| interface.name.as_str());
    let first = names.next().unwrap_or_default();
    let options = names.fold(CaptureOptions::on_name(first), CaptureOptions::and_on_name);
    Capture::open(options.filter(Filter::Multicast).all_multicast(true))
}

/// Returns the selected interfaces without duplicates, or by default all on which groups are joined by default.
fn interfaces(selectors: &[InterfaceSelector]) -> anyhow::Result<Vec<Interface>> {
    if selectors.is_empty() {
        let mut interfaces = mcast::interfaces()?;
        interfaces.retain(Interface::is_joined_by_default);
        return Ok(interfaces);
    }
    let mut interfaces: Vec<Interface> = Vec::new();
    for selector in selectors {
        let found = mcast::find(selector)?;
        if interfaces.iter().all(|known| known.index != found.index) {
            interfaces.push(found);
        }
    }
    Ok(interfaces)
}

/// Returns the selected interfaces that exist and are up.
pub(super) fn present(selectors: &[InterfaceSelector]) -> Vec<Interface> {
    match selectors {
        [] => interfaces(selectors).unwrap_or_default(),
        _ => {
            let found =
                selectors.iter().filter_map(|selector| interfaces(std::slice::from_ref(selector)).ok());
            let mut all: Vec<Interface> = found.flatten().filter(|interface| interface.up).collect();
            all.sort_by_key(|interface| interface.index);
            all.dedup_by_key(|interface| interface.index);
            all
        }
    }
}

/// Adds a remedy for users who may not capture.
fn refused(error: mcast_capture::Error) -> anyhow::Error {
    match error.kind() {
        ErrorKind::Permission => Failure::permission(error.to_string())
            .remedy(format!(
                "{}\nWithout it, `mcast recv --discard GROUP:PORT` counts the datagrams of a group, `mcast \
                 groups` shows which processes have joined groups, and `mcast top -r FILE` reads a capture",
                error.remedy().unwrap_or_default()
            ))
            .into(),
        _ => error.into(),
    }
}
