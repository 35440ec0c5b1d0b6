//! A host answers by unicast, and nothing sent to the group reaches it.

use super::{Cause, Check};

pub(super) const CAUSE: Cause = Cause::new(Check::PathTest, &["RFC 4541 section 2"]);
