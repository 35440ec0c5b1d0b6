//! Time and rates for state machines, which never read a clock: their callers pass the time.
//!
//! | to | use |
//! |---|---|
//! | name a point in time; spans are [`Duration`](core::time::Duration)s | [`ClockTime`] |
//! | spend a budget that refills | [`TokenBucket`] |
//! | send evenly at a [`Rate`] | [`PaceSchedule`] |
//! | limit replies, so that forged requests cannot cause a flood | [`Limiter`] |
//! | limit reports, so that nobody can fill a log | [`ReportLimiter`] |
//!
//! The crate is `no_std` with `alloc`, and bounded in memory.
//!
//! ```
//! use core::time::Duration;
//! use mcast_pace::{ClockTime, PaceDecision, PaceSchedule, Rate};
//!
//! let mut pace = PaceSchedule::new("1000pps".parse::<Rate>()?);
//! assert_eq!(pace.allow(ClockTime::START, [1_000, 1_000]), PaceDecision::Now(1));
//! assert_eq!(pace.allow(ClockTime::START, [1_000]), PaceDecision::After(Duration::from_millis(1)));
//! # Ok::<(), mcast_pace::ParseRateError>(())
//! ```
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod limiter;
mod pace;
mod rate;
mod time;

pub use limiter::{Limiter, Quota, ReportLimiter, ReportQuota, WithheldReport};
pub use pace::{PaceDecision, PaceSchedule, TokenBucket};
pub use rate::{ParseRateError, Rate};
pub use time::ClockTime;
