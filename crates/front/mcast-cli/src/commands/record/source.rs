//! The source of datagrams: the wire, or sockets without the permission to capture.

use mcast_capture::ErrorKind;
use mcast_terminal::Console;
use mcast_watch::live::{GroupFrames, GroupFramesOptions, LiveError, SocketFrames, WireFrames};

use super::Via;
use crate::exit;

/// Where datagrams come from.
#[derive(Debug)]
pub(super) struct SourceKind {
    /// The name in JSON.
    pub(super) name: &'static str,
    /// The description for text.
    pub(super) description: &'static str,
    /// The comment for the file.
    pub(super) comment: &'static str,
}

const WIRE: SourceKind = SourceKind {
    name: "wire",
    description: "the wire",
    comment: "Recorded from the wire by mcast record: unmodified frames of the requested groups.",
};

const SOCKETS: SourceKind = SourceKind {
    name: "sockets",
    description: "sockets",
    comment: "Recorded from sockets by mcast record: payload, addresses, ports, TTL, DSCP and times are those \
              that the kernel reported; all other fields of the IP and UDP headers are reconstructed, and \
              fragmented datagrams are whole.",
};

/// Joins the groups and starts to receive.
pub(super) fn open(
    options: &GroupFramesOptions,
    via: Via,
    console: &Console,
) -> anyhow::Result<(&'static SourceKind, Box<dyn GroupFrames>)> {
    if via != Via::Sockets {
        match WireFrames::open(options) {
            Ok(wire) => return Ok((&WIRE, Box::new(wire))),
            Err(LiveError::Capture(error)) if via == Via::Auto && is_denied(&error) => {
                console.warn(&error);
                if let Some(remedy) = exit::remedy(&error.into()) {
                    console.advise(remedy);
                }
                console.warn(
                    "recording from sockets instead: payloads, addresses, TTL, DSCP and kernel times are \
                     real, and the other header fields are reconstructed",
                );
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok((&SOCKETS, Box::new(SocketFrames::open(options)?)))
}

/// Returns whether capturing is denied, in which case sockets may be used.
fn is_denied(error: &mcast_capture::Error) -> bool {
    matches!(error.kind(), ErrorKind::Permission | ErrorKind::Unsupported(_) | ErrorKind::LinkType(_))
}
