//! Names that hosts and interfaces can have.

/// Whether the kernel takes this as a host's name, and people read it well.
pub(crate) fn is_host_name(name: &str) -> bool {
    let is_usual = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    (1..=63).contains(&name.len()) && name.chars().all(is_usual)
}

/// Whether the kernel takes this as an interface's name.
pub(crate) fn is_interface_name(name: &str) -> bool {
    let is_bad = |byte: u8| matches!(byte, b'/' | b':' | 0) || byte.is_ascii_whitespace();
    (1..=15).contains(&name.len()) && name != "." && name != ".." && !name.bytes().any(is_bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_hosts() {
        assert!(["a", "eastny", "r-1.lab_2", &"x".repeat(63)].into_iter().all(is_host_name));
        assert!(!["", "a b", "a\0b", "a/b", "\u{e4}", &"x".repeat(64)].into_iter().any(is_host_name));
    }

    #[test]
    fn names_of_interfaces() {
        assert!(["eth0", "wlan0.5", "a-b_c@d", "exactly15bytes_"].into_iter().all(is_interface_name));
        let wrong = ["", ".", "..", "a/b", "a b", "a:1", "a\0b", "sixteen_letters_"];
        assert!(!wrong.into_iter().any(is_interface_name));
    }
}
