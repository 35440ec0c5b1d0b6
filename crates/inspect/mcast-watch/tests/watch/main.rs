//! Tests of the public interface: synthetic packets and times in, reports out.
#![allow(clippy::unwrap_used, clippy::panic)]

mod control;
mod flood;
mod numbers;
mod rates;
mod support;
