//! The keys that users of NATS prove who they are with: Ed25519, written in base 32 with a checksum.

use super::target::are_credentials;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{Ed25519KeyPair, KeyPair};

use crate::error::EngineError;
use crate::error::nats::no_seed;

const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// What the first letters of a seed and of a user's public key stand for: S and U.
const SEED: u8 = 18 << 3;
const USER: u8 = 20 << 3;

/// What a file of credentials contains: a key, and the token in which an account confirms it. A server that knows the
/// key itself needs no token.
pub(super) struct Credentials {
    key: Ed25519KeyPair,
    token: Option<String>,
}

impl Credentials {
    /// Returns those in a text as `nsc` makes it, with a token and a seed, or with a seed only, as `nk -gen user` prints;
    /// `None` if it is another secret.
    pub(super) fn find(text: &str) -> Result<Option<Self>, EngineError> {
        match are_credentials(text) {
            true => Self::parse(text).map(Some).ok_or_else(no_seed),
            false => Ok(None),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines().map(str::trim);
        let key = lines.clone().filter(|line| line.starts_with("SU")).find_map(parse_seed)?;
        let token = lines.find(|line| line.starts_with("ey") && line.split('.').count() == 3);
        Some(Self { key, token: token.map(str::to_owned) })
    }

    /// Adds to what a client states when it connects: who it is, and the signature of what the server sent for that.
    pub(super) fn add_to(&self, options: &mut serde_json::Value, nonce: &str) {
        match &self.token {
            Some(token) => options["jwt"] = token.as_str().into(),
            None => options["nkey"] = self.public_key().into(),
        }
        options["sig"] = URL_SAFE_NO_PAD.encode(self.key.sign(nonce.as_bytes())).into();
    }

    fn public_key(&self) -> String {
        let mut bytes = vec![USER];
        bytes.extend_from_slice(self.key.public_key().as_ref());
        bytes.extend(checksum(&bytes).to_le_bytes());
        encode(&bytes)
    }
}

/// Returns the key of a user whose seed this is.
fn parse_seed(text: &str) -> Option<Ed25519KeyPair> {
    let bytes = decode(text)?;
    let (bytes, sum) = bytes.split_last_chunk::<2>()?;
    let ([first, second], seed) = bytes.split_first_chunk::<2>()?;
    // The first two letters: 5 bits of the kind of key are split between two bytes.
    let is_of_user = *first == SEED | USER >> 5 && *second == (USER & 31) << 3;
    let is_intact = checksum(bytes).to_le_bytes() == *sum;
    if is_of_user && is_intact { Ed25519KeyPair::from_seed_unchecked(seed).ok() } else { None }
}

/// CRC-16 with the polynomial 0x1021, as in XMODEM.
fn checksum(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |sum, byte| {
        (0..8).fold(
            sum ^ u16::from(*byte) << 8,
            |sum, _| {
                if sum & 0x8000 == 0 { sum << 1 } else { sum << 1 ^ 0x1021 }
            },
        )
    })
}

/// Base 32 without padding (RFC 4648, section 6).
fn encode(bytes: &[u8]) -> String {
    let mut text = String::new();
    let (mut bits, mut count) = (0_u16, 0);
    for byte in bytes {
        bits = bits << 8 | u16::from(*byte);
        count += 8;
        while count >= 5 {
            count -= 5;
            text.push(char::from(ALPHABET[usize::from(bits >> count & 31)]));
        }
        bits &= (1 << count) - 1;
    }
    if count > 0 {
        text.push(char::from(ALPHABET[usize::from(bits << (5 - count) & 31)]));
    }
    text
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0_u16, 0);
    for letter in text.bytes() {
        let value = ALPHABET.iter().position(|known| *known == letter)?;
        bits = bits << 5 | u16::try_from(value).ok()?;
        count += 5;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
        bits &= (1 << count) - 1;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A pair that NATS documents as an example.
    const KNOWN_SEED: &str = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";
    const KNOWN_KEY: &str = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";

    #[test]
    fn a_seed_leads_to_the_public_key_that_nats_derives() {
        let credentials = Credentials::parse(KNOWN_SEED).unwrap();
        assert_eq!(credentials.public_key(), KNOWN_KEY);
        let mut options = serde_json::json!({});
        credentials.add_to(&mut options, "nonce");
        assert_eq!(options["nkey"], KNOWN_KEY);
        assert_eq!(options["sig"].as_str().unwrap().len(), 86, "64 bytes without padding");
    }

    #[test]
    fn a_file_of_credentials_has_a_token_and_a_seed() {
        let text = format!(
            "-----BEGIN NATS USER JWT-----\neyJ0.eyJq.c2ln\n------END NATS USER JWT------\n\nKeep it secret.\n\n\
             -----BEGIN USER NKEY SEED-----\n{KNOWN_SEED}\n------END USER NKEY SEED------\n"
        );
        let mut options = serde_json::json!({});
        Credentials::parse(&text).unwrap().add_to(&mut options, "nonce");
        assert_eq!((options["jwt"].as_str(), options.get("nkey")), (Some("eyJ0.eyJq.c2ln"), None));
        for broken in
            [KNOWN_SEED.replace("CSSL", "CSSM"), KNOWN_KEY.to_owned(), "SU".to_owned(), String::new()]
        {
            assert!(Credentials::parse(&broken).is_none(), "{broken}");
        }
    }

    #[test]
    fn credentials_are_distinguished_from_a_password_and_broken_ones_are_refused() {
        assert!(Credentials::find("secret").unwrap().is_none());
        assert!(Credentials::find(&format!("{KNOWN_SEED}\n")).unwrap().is_some());
        for broken in [&KNOWN_SEED.replace("CSSL", "CSSM"), "-----BEGIN NATS USER JWT-----\neyJ0.eyJq.c2ln\n"]
        {
            let error = Credentials::find(broken).err().unwrap();
            assert!(error.what.contains("seed"), "{error:?}");
        }
    }

    proptest! {
        #[test]
        fn bytes_are_decoded_as_they_were_encoded(bytes: Vec<u8>) {
            prop_assert_eq!(decode(&encode(&bytes)), Some(bytes));
        }
    }
}
