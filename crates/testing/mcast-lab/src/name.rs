//! Valid names of hosts and interfaces.

/// Returns whether this is a valid host name: short enough for the kernel, and only with letters, digits, `-`, `_`
/// and `.`.
pub(crate) fn is_host_name(name: &str) -> bool {
    let is_allowed = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    (1..=63).contains(&name.len()) && name.chars().all(is_allowed)
}

/// Returns whether the kernel accepts this as the name of an interface.
pub(crate) fn is_interface_name(name: &str) -> bool {
    let is_forbidden = |byte: u8| matches!(byte, b'/' | b':' | 0) || byte.is_ascii_whitespace();
    (1..=15).contains(&name.len()) && name != "." && name != ".." && !name.bytes().any(is_forbidden)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_are_checked() {
        assert!(["a", "eastny", "r-1.lab_2", &"x".repeat(63)].into_iter().all(is_host_name));
        assert!(!["", "a b", "a\0b", "a/b", "\u{e4}", &"x".repeat(64)].into_iter().any(is_host_name));
    }

    #[test]
    fn interface_names_are_checked() {
        assert!(["eth0", "wlan0.5", "a-b_c@d", "exactly15bytes_"].into_iter().all(is_interface_name));
        let invalid = ["", ".", "..", "a/b", "a b", "a:1", "a\0b", "sixteen_letters_"];
        assert!(!invalid.into_iter().any(is_interface_name));
    }
}
