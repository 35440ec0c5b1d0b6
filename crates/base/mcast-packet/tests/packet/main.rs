//! Tests of decoding, building, segmenting and describing packets.

#![allow(clippy::unwrap_used, clippy::panic)]

mod agreement;
mod amt;
mod control;
mod encapsulated;
mod frames;
mod payloads;
mod pim;
mod querier;
mod segments;
mod support;
