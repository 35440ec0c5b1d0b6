//! Other relays: their announcements, and which relay forwards.

mod announcement;
mod auth;
mod table;

pub(crate) use announcement::{AnnouncedPair, AnnouncedState, Announcement, PAIRS_PER_CHUNK, UNICAST};
pub use announcement::{AnnouncementError, PortBlock, RelayId};
#[cfg(feature = "seal")]
pub use auth::AnnouncementKey;
pub use auth::Authenticator;
pub(crate) use table::{Candidacy, LIFETIME, PeerChange, Peers};
