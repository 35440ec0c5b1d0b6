//! Part of the probes between two machines is lost, at every size.

use super::{Cause, Check};

pub(super) const CAUSE: Cause = Cause::new(Check::PathTest, &["RFC 8085 section 3.1"]);
