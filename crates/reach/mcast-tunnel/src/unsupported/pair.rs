//! No key pairs: this program was built without ciphers.

use crate::key_error::TunnelKeyError;

pub(crate) const fn random_seed() -> Result<[u8; 32], TunnelKeyError> {
    Err(TunnelKeyError::NoCiphers)
}

pub(crate) const fn to_public(_: &[u8; 32]) -> Result<[u8; 32], TunnelKeyError> {
    Err(TunnelKeyError::NoCiphers)
}
