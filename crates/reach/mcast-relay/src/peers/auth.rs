//! Authentication of announcements, for segments on which anybody could stop a relay by announcing a better one.

use std::fmt;

/// The length of the tag at the end of an authenticated announcement.
pub(crate) const TAG_LENGTH: usize = 32;

/// Authenticates announcements with a key that the relays share.
pub trait Authenticator: Send + Sync + fmt::Debug {
    /// Returns the tag of these bytes.
    fn tag(&self, bytes: &[u8]) -> [u8; TAG_LENGTH];

    /// Returns whether this is the tag of these bytes, in constant time.
    fn verify(&self, bytes: &[u8], tag: &[u8]) -> bool;
}

#[cfg(feature = "seal")]
pub use key::AnnouncementKey;

#[cfg(feature = "seal")]
mod key {
    use std::fmt;

    use ring::hmac::{HMAC_SHA256, Key, sign, verify};

    use super::{Authenticator, TAG_LENGTH};

    /// A key of at least 16 random bytes, with HMAC-SHA256.
    pub struct AnnouncementKey(Key);

    impl AnnouncementKey {
        /// Creates a key from these bytes. `None` if there are fewer than 16.
        #[must_use]
        pub fn new(secret: &[u8]) -> Option<Self> {
            (secret.len() >= 16).then(|| Self(Key::new(HMAC_SHA256, secret)))
        }
    }

    impl fmt::Debug for AnnouncementKey {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("AnnouncementKey")
        }
    }

    impl Authenticator for AnnouncementKey {
        fn tag(&self, bytes: &[u8]) -> [u8; TAG_LENGTH] {
            let mut tag = [0; TAG_LENGTH];
            tag.iter_mut().zip(sign(&self.0, bytes).as_ref()).for_each(|(to, from)| *to = *from);
            tag
        }

        fn verify(&self, bytes: &[u8], tag: &[u8]) -> bool {
            verify(&self.0, bytes, tag).is_ok()
        }
    }
}
