//! Why there is no key.

/// Peers of one file. Each may have tunnels of its own.
pub(crate) const MAX_PEERS: usize = 1_024;

/// Why a text is not a file of keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TunnelKeyError {
    /// A line is none of those that a file has.
    #[error(
        "line {0} is neither `tunnel-private` and 64 hexadecimal digits nor `peer NAME tunnel:` and 64 hexadecimal digits"
    )]
    Line(usize),
    /// There is no private key.
    #[error("there is no line `tunnel-private`, with the key of this relay")]
    NoPrivateKey,
    /// There are several private keys.
    #[error("line {0} is a second private key: a relay has one")]
    SecondPrivateKey(usize),
    /// There are too many peers.
    #[error("there are more than {MAX_PEERS} peers")]
    TooManyPeers,
    /// A text is not a public key.
    #[error("a public key is `tunnel:` and 64 hexadecimal digits")]
    PublicKey,
    /// The system has no random numbers.
    #[error("the system returned no random numbers")]
    NoRandomness,
    /// This program was built without ciphers.
    #[error("this program was built without ciphers")]
    NoCiphers,
}
