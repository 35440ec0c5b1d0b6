//! The table through its public face: invented packets and times in, reports out.
#![allow(clippy::unwrap_used, clippy::panic)]

mod control;
mod flood;
mod numbers;
mod rates;
mod support;
