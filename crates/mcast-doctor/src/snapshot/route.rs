//! The route that groups take when nobody names an interface.

use mcast::Family;

/// The interface that a family's groups leave by when the program has chosen none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) family: Family,
    /// None: there is no route.
    pub(crate) interface: Option<u32>,
}
