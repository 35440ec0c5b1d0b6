//! Packets of every kind: decoded, built, cut, described, and damaged.

#![allow(clippy::unwrap_used, clippy::panic)]

mod agreement;
mod control;
mod frames;
mod payloads;
mod pim;
mod querier;
mod segments;
mod support;
