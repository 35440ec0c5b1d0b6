//! Where the frames come from: the wire, or a file.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mcast::{Interface, InterfaceIndex};
use mcast_capture::{
    Capture, CaptureFile, CaptureOptions, ErrorKind, Filter, Frame, FrameSource, SourceError,
};

use super::Arguments;
use crate::exit::Failure;
use crate::output::SafeText;

/// Where the frames come from.
pub(super) struct Source {
    pub(super) frames: Frames,
    /// Interfaces on which everything that is sent is heard as well.
    pub(super) loopbacks: Vec<InterfaceIndex>,
    /// The interfaces that are captured on; empty for a file.
    pub(super) interfaces: Vec<Interface>,
}

/// Frames with the names of their interfaces.
pub(super) struct Frames {
    source: Box<dyn FrameSource + Send>,
    names: HashMap<InterfaceIndex, Arc<str>>,
}

impl Frames {
    fn new(source: impl FrameSource + Send + 'static) -> Self {
        Self { source: Box::new(source), names: HashMap::new() }
    }

    /// Shows the next frame, if there is one in time, and says whether there was.
    pub(super) fn next(
        &mut self,
        timeout: Duration,
        show: impl FnOnce(&Frame<'_>, &Arc<str>),
    ) -> Result<bool, SourceError> {
        let Some(frame) = self.source.next_frame(Some(timeout))? else { return Ok(false) };
        if let Some(name) = self.names.get(&frame.interface) {
            show(&frame, name);
            return Ok(true);
        }
        // The source lends the frame, and must have it back before it tells a name.
        let bytes = frame.bytes.to_vec();
        let Frame { original_length, link_type, interface, direction, time, checksums, cut, .. } = frame;
        let name =
            self.source.interface_name(interface).map(|name| SafeText::new(name.as_bytes()).to_string());
        let name: Arc<str> = name.unwrap_or_else(|| interface.to_string()).into();
        let bytes = &bytes;
        let copy = Frame { bytes, original_length, link_type, interface, direction, time, checksums, cut };
        show(&copy, &name);
        self.names.insert(interface, name);
        Ok(true)
    }

    pub(super) fn are_over(&self) -> bool {
        self.source.is_at_end()
    }

    /// How many packets were lost before they got here; `None` where nobody counts, or can tell.
    pub(super) fn lost(&mut self) -> Option<u64> {
        self.source.lost().ok().flatten()
    }
}

pub(super) fn open(arguments: &Arguments) -> anyhow::Result<Source> {
    match &arguments.read {
        Some(path) => {
            let frames = Frames::new(open_file(path)?);
            Ok(Source { frames, loopbacks: Vec::new(), interfaces: Vec::new() })
        }
        None => open_capture(interfaces(arguments)?),
    }
}

fn open_file(path: &Path) -> anyhow::Result<CaptureFile> {
    Ok(match path == Path::new("-") {
        true => CaptureFile::from_reader(io::stdin(), "standard input")?,
        false => CaptureFile::open(path)?,
    })
}

fn open_capture(interfaces: Vec<Interface>) -> anyhow::Result<Source> {
    let mut names = interfaces.iter().map(|interface| interface.name.as_str());
    let Some(first) = names.next() else {
        return Err(Failure::environment("no interface is up and can multicast")
            .remedy("name one with -i; `mcast interfaces` lists those there are")
            .into());
    };
    let options = names.fold(CaptureOptions::on_name(first), CaptureOptions::and_on_name);
    let capture = Capture::open(options.filter(Filter::Multicast).all_multicast(true)).map_err(refused)?;
    let loopbacks = interfaces.iter().filter(|each| each.loopback).map(|each| each.index).collect();
    Ok(Source { frames: Frames::new(capture), loopbacks, interfaces })
}

/// The interfaces that are named, each once; or all that are joined on by default.
fn interfaces(arguments: &Arguments) -> anyhow::Result<Vec<Interface>> {
    if arguments.interfaces.is_empty() {
        let mut interfaces = mcast::interfaces()?;
        interfaces.retain(Interface::is_joined_by_default);
        return Ok(interfaces);
    }
    let mut interfaces: Vec<Interface> = Vec::new();
    for selector in &arguments.interfaces {
        let found = mcast::find(selector)?;
        if interfaces.iter().all(|known| known.index != found.index) {
            interfaces.push(found);
        }
    }
    Ok(interfaces)
}

/// Who may not capture can do other things.
fn refused(error: mcast_capture::Error) -> anyhow::Error {
    match error.kind() {
        ErrorKind::Permission => Failure::permission(error.to_string())
            .remedy(
                "run it as root, or grant the right once: sudo setcap cap_net_raw+ep \"$(command -v mcast)\"\n\
                 Without it, `mcast recv --discard GROUP:PORT` counts what comes to a group, `mcast groups` tells \
                 who has joined what, and `mcast top -r FILE` reads a capture",
            )
            .into(),
        _ => error.into(),
    }
}
