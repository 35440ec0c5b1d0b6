//! A listener receives probes, and its replies do not come back.

use super::{Cause, Check};

pub(super) const CAUSE: Cause = Cause::new(Check::PathTest, &[]);
