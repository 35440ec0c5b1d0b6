//! What to tell people of this system to do.

/// A limit of the system was met.
pub(crate) const LIMIT: &str = "raise the limit that was met";

/// To give groups a route.
pub(crate) const ROUTE: &str = "with the system's own tools";

/// To bring an interface up.
pub(crate) fn up(_: &str) -> String {
    "with the system's own tools".to_owned()
}

/// To give an interface an address.
pub(crate) fn address(_: &str) -> String {
    "with the system's own tools".to_owned()
}

/// To switch IPv6 on, on an interface.
pub(crate) fn ipv6(_: &str) -> String {
    "with the system's own tools".to_owned()
}
