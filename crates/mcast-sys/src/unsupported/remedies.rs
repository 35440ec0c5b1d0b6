//! Suggestions to users of these systems.

/// After reaching a limit of the system.
pub const LIMIT: &str = "raise the limit that was reached";

/// To add a route to groups.
pub const ROUTE: &str = "with the system's own tools";

/// To bring an interface up.
pub fn up(_: &str) -> String {
    "with the system's own tools".to_owned()
}

/// To add an address to an interface.
pub fn address(_: &str) -> String {
    "with the system's own tools".to_owned()
}

/// To enable IPv6 on an interface.
pub fn ipv6(_: &str) -> String {
    "with the system's own tools".to_owned()
}
