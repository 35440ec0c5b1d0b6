//! The codes by which a relay recognizes that a gateway receives at its address, without storing anything about it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mcast_packet::payload::AmtMac;
use ring::hmac::{HMAC_SHA256, Key, sign};
use ring::rand::SystemRandom;

/// The secret of the codes, and the one before it.
pub(super) struct MacSecrets {
    current: Key,
    previous: Key,
    lifetime: Duration,
    rotate_at: Duration,
}

/// The system has no random numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system has no random numbers")]
pub struct NoRandom;

impl MacSecrets {
    /// Creates secrets that are replaced after this time. A code is valid for at least this long, and for less than twice
    /// as long.
    pub(super) fn new(lifetime: Duration) -> Result<Self, NoRandom> {
        Ok(Self { current: new_key()?, previous: new_key()?, lifetime, rotate_at: lifetime })
    }

    /// Returns the code of an address and number.
    pub(super) fn mac(&self, gateway: SocketAddr, nonce: u32) -> AmtMac {
        mac(&self.current, gateway, nonce)
    }

    /// Returns whether this is the code of the address and number, in constant time.
    pub(super) fn verify(&self, gateway: SocketAddr, nonce: u32, found: AmtMac) -> bool {
        let differs = |key: &Key| {
            let expected = mac(key, gateway, nonce);
            expected.0.iter().zip(found.0).fold(0, |difference, (a, b)| difference | (a ^ b)) != 0
        };
        // Both are always computed.
        !(differs(&self.current) & differs(&self.previous))
    }

    /// Replaces the secret if it is due. If there are no random numbers, the secrets stay.
    pub(super) fn rotate(&mut self, now: Duration) {
        if now < self.rotate_at {
            return;
        }
        // After a long time without messages, the secret before is too old as well.
        let is_late = now >= self.rotate_at + self.lifetime;
        for _ in 0..if is_late { 2 } else { 1 } {
            let Ok(key) = new_key() else { return };
            self.previous = std::mem::replace(&mut self.current, key);
        }
        self.rotate_at = if is_late { now } else { self.rotate_at } + self.lifetime;
    }
}

fn new_key() -> Result<Key, NoRandom> {
    Key::generate(HMAC_SHA256, &SystemRandom::new()).map_err(|_| NoRandom)
}

fn mac(key: &Key, gateway: SocketAddr, nonce: u32) -> AmtMac {
    let address = match gateway.ip() {
        IpAddr::V4(address) => address.to_ipv6_compatible(),
        IpAddr::V6(address) => address,
    };
    let family = [u8::from(gateway.is_ipv6())];
    let input =
        [&family[..], &address.octets(), &gateway.port().to_be_bytes(), &nonce.to_be_bytes()].concat();
    let mut mac = [0; 6];
    mac.iter_mut().zip(sign(key, &input).as_ref()).for_each(|(to, from)| *to = *from);
    AmtMac(mac)
}

impl fmt::Debug for MacSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MacSecrets")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFETIME: Duration = Duration::from_secs(100);

    fn gateway(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_code_is_of_one_address_port_and_number() {
        let secrets = MacSecrets::new(LIFETIME).unwrap();
        let own = gateway("192.0.2.9:5000");
        let code = secrets.mac(own, 7);
        assert!(secrets.verify(own, 7, code));
        for other in ["192.0.2.8:5000", "192.0.2.9:5001", "[::192.0.2.9]:5000"] {
            assert!(!secrets.verify(gateway(other), 7, code), "{other}");
        }
        assert!(!secrets.verify(own, 8, code));
        for bit in 0..48 {
            let mut changed = code;
            changed.0[bit / 8] ^= 1 << (bit % 8);
            assert!(!secrets.verify(own, 7, changed), "{bit}");
        }
        assert!(!MacSecrets::new(LIFETIME).unwrap().verify(own, 7, code), "of another relay");
    }

    #[test]
    fn a_code_outlives_one_rotation_and_not_two() {
        let own = gateway("192.0.2.9:5000");
        let mut secrets = MacSecrets::new(LIFETIME).unwrap();
        let code = secrets.mac(own, 7);
        secrets.rotate(LIFETIME - Duration::from_nanos(1));
        assert_eq!(secrets.mac(own, 7), code);
        secrets.rotate(LIFETIME);
        assert_ne!(secrets.mac(own, 7), code);
        assert!(secrets.verify(own, 7, code));
        secrets.rotate(LIFETIME * 2);
        assert!(!secrets.verify(own, 7, code));
        let late = secrets.mac(own, 8);
        secrets.rotate(LIFETIME * 10);
        assert!(!secrets.verify(own, 8, late), "after a long time without messages");
    }
}
