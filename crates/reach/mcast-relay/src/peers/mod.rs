//! Other relays: their announcements, and which relay forwards.

mod announcement;
mod table;

#[cfg(feature = "seal")]
pub use announcement::AnnouncementKey;
pub use announcement::Authenticator;
pub(crate) use announcement::{AnnouncedPair, AnnouncedState, Announcement, PAIRS_PER_CHUNK, UNICAST};
pub use announcement::{AnnouncementError, PortBlock, RelayId};
pub(crate) use table::{Candidacy, LIFETIME, PeerChange, Peers};
