//! Live capture of frames, and capture files.

mod control;
mod error;
mod file;
mod live;
mod packet;
mod writer;

pub(crate) use control::{ControlMessage, ControlRecord};
pub(crate) use error::{raise, raise_file};
pub(crate) use file::{CaptureFile, FileInterface};
pub(crate) use live::{Capture, CaptureStatistics};
pub(crate) use packet::{_packet, Packet};
pub(crate) use writer::CaptureWriter;
