//! Causes that an observation of one machine does not show: a [`PathTest`](crate::PathTest) judges them.

use super::{Cause, Check};

/// A host answers neither probes to the group nor by unicast.
pub(super) const HOST_UNREACHABLE: Cause = Cause::new(Check::PathTest, &[]);
/// Part of the probes between two machines is lost, at every size.
pub(super) const PATH_LOSS: Cause = Cause::new(Check::PathTest, &["RFC 8085 section 3.1"]);
/// A listener receives probes, and its replies do not come back.
pub(super) const REPLIES_LOST: Cause = Cause::new(Check::PathTest, &[]);
/// A host answers by unicast, and nothing sent to the group reaches it.
pub(super) const UNICAST_ONLY: Cause = Cause::new(Check::PathTest, &["RFC 4541 section 2"]);
