//! Systems whose kernels do not filter here: all filtering is done in user space.

use mcast_sys::capture::FilterInstruction;

use crate::Filter;

/// Returns `None`: the kernel accepts everything.
pub(crate) const fn program(_filter: Filter) -> Option<Vec<FilterInstruction>> {
    None
}
