//! A toy cipher with the interface of a real one, without its security; and a notary, which checks that no nonce is
//! used for two different texts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use mcast_sim::{hash, mix};
use mcast_stream_proto::seal::{Cipher, Purpose, Secret};

/// Everything that was sealed by any party, by purpose and count.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notary {
    sealed: Arc<Mutex<BTreeMap<(u64, u64), u64>>>,
    reused: Arc<Mutex<bool>>,
}

impl Notary {
    pub(crate) fn secret(&self, key: u64) -> Arc<dyn Secret> {
        Arc::new(ToySecret { key, notary: self.clone() })
    }

    pub(crate) fn saw_reuse(&self) -> bool {
        *self.reused.lock().unwrap()
    }
}

struct ToySecret {
    key: u64,
    notary: Notary,
}

impl Secret for ToySecret {
    fn cipher(&self, purpose: &Purpose) -> Box<dyn Cipher> {
        let bytes = purpose.bytes();
        let (key, purpose) = (hash(self.key, &bytes), hash(0, &bytes));
        Box::new(ToyCipher { key, purpose, notary: self.notary.clone() })
    }
}

struct ToyCipher {
    key: u64,
    /// A hash of the purpose.
    purpose: u64,
    notary: Notary,
}

impl ToyCipher {
    fn hide(&self, count: u64, text: &mut [u8]) {
        for (at, chunk) in text.chunks_mut(8).enumerate() {
            let stream = mix(self.key ^ mix(count) ^ at as u64).to_be_bytes();
            chunk.iter_mut().zip(stream).for_each(|(byte, mask)| *byte ^= mask);
        }
    }

    fn tag(&self, count: u64, head: &[u8], hidden: &[u8]) -> [u8; 16] {
        let first = hash(hash(self.key ^ count, head), hidden);
        let mut tag = [0; 16];
        tag[..8].copy_from_slice(&first.to_be_bytes());
        tag[8..].copy_from_slice(&mix(first).to_be_bytes());
        tag
    }
}

impl Cipher for ToyCipher {
    fn seal(&self, count: u64, head: &[u8], text: &mut [u8]) -> Option<[u8; 16]> {
        let content = hash(hash(1, head), text);
        let known = self.notary.sealed.lock().unwrap().insert((self.purpose, count), content);
        if known.is_some_and(|known| known != content) {
            *self.notary.reused.lock().unwrap() = true;
        }
        self.hide(count, text);
        Some(self.tag(count, head, text))
    }

    fn open(&self, count: u64, head: &[u8], text_and_tag: &mut [u8]) -> bool {
        let Some(end) = text_and_tag.len().checked_sub(16) else { return false };
        let (hidden, tag) = text_and_tag.split_at_mut(end);
        if self.tag(count, head, hidden)[..] != *tag {
            return false;
        }
        self.hide(count, hidden);
        true
    }
}
