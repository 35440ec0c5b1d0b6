//! A host answers neither probes to the group nor by unicast.

use super::{Cause, Check};

pub(super) const CAUSE: Cause = Cause::new(Check::PathTest, &[]);
