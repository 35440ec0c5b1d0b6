//! Texts of others.

use std::fmt;

use mcast_group::SafeText;

/// Text from the network. It is shown with escapes, so that it cannot change a terminal, and is cut at
/// [`Self::MAX_LENGTH`] bytes.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UntrustedText(Box<[u8]>);

impl UntrustedText {
    /// The longest text that is kept, in bytes.
    pub const MAX_LENGTH: usize = 1_024;

    /// Keeps the beginning of `bytes`.
    #[must_use]
    pub fn new(bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref();
        Self(bytes[..bytes.len().min(Self::MAX_LENGTH)].into())
    }

    /// Returns the bytes as they arrived. They are not safe for a terminal.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns whether there is no text.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for UntrustedText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SafeText::new(&self.0).fmt(f)
    }
}

impl fmt::Debug for UntrustedText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl From<&str> for UntrustedText {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for UntrustedText {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}
