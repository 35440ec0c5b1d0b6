//! Key pairs of Ed25519 (RFC 8032).

use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{Ed25519KeyPair, KeyPair};

use crate::key_error::TunnelKeyError;

pub(crate) fn random_seed() -> Result<[u8; 32], TunnelKeyError> {
    let mut seed = [0; 32];
    SystemRandom::new().fill(&mut seed).map_err(|_| TunnelKeyError::NoRandomness)?;
    Ok(seed)
}

pub(crate) fn to_public(seed: &[u8; 32]) -> Result<[u8; 32], TunnelKeyError> {
    let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| TunnelKeyError::NoCiphers)?;
    pair.public_key().as_ref().try_into().map_err(|_| TunnelKeyError::NoCiphers)
}
