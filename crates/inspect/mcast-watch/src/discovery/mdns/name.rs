//! Names of DNS-SD (RFC 6763 section 4): types of services, their instances, and hosts.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use mcast_packet::payload::Name;

use crate::discovery::{DiscoveryPlace, UntrustedText};

/// A name as labels, each after its length, then a zero. Names are compared without regard to the case of ASCII letters
/// (RFC 6762 section 16); no length is that of a letter.
#[derive(Clone, Debug)]
pub(super) struct OwnedName(Arc<[u8]>);

/// A name on a network.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct NameKey {
    pub(super) place: DiscoveryPlace,
    pub(super) name: OwnedName,
}

/// What a name below `local` stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NameRole {
    /// A type of service, such as `_ipp._tcp.local`.
    Type,
    /// A subtype, such as `_printer._sub._ipp._tcp.local`.
    Subtype,
    /// An instance of a service.
    Instance,
    /// A host.
    Host,
    /// The list of types, and names with other meanings.
    Other,
}

impl OwnedName {
    pub(super) fn new(name: Name<'_>) -> Self {
        Self::from_labels(name.labels())
    }

    /// Joins labels, each of which has 1 to 63 bytes.
    pub(super) fn from_labels<'a>(labels: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut bytes = Vec::with_capacity(64);
        for label in labels {
            bytes.push(label.len() as u8);
            bytes.extend_from_slice(label);
        }
        bytes.push(0);
        Self(bytes.into())
    }

    /// Reads a name as typed: labels separated by dots, with `\.` for a dot in a label. Returns `None` if a label is empty or
    /// too long, or the name is.
    pub(super) fn from_text(text: &str) -> Option<Self> {
        let mut labels = vec![Vec::new()];
        let mut bytes = text.strip_suffix('.').unwrap_or(text).bytes();
        while let Some(byte) = bytes.next() {
            match byte {
                b'.' => labels.push(Vec::new()),
                b'\\' => labels.last_mut()?.push(bytes.next()?),
                byte => labels.last_mut()?.push(byte),
            }
        }
        let valid = labels.iter().all(|label| (1..=63).contains(&label.len()));
        let name = Self::from_labels(labels.iter().map(Vec::as_slice).take_while(|_| valid));
        (valid && Name::from_bytes(&name.0).is_some()).then_some(name)
    }

    pub(super) fn name(&self) -> Option<Name<'_>> {
        Name::from_bytes(&self.0)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    fn labels(&self) -> Vec<&[u8]> {
        self.name().map(|name| name.labels().collect()).unwrap_or_default()
    }

    pub(super) fn role(&self) -> NameRole {
        let labels = self.labels();
        let Some((domain, rest)) = labels.split_last() else { return NameRole::Other };
        if !domain.eq_ignore_ascii_case(b"local") || rest.is_empty() {
            return NameRole::Other;
        }
        match rest {
            [before @ .., service, transport] if is_transport(transport) && service.starts_with(b"_") => {
                match before {
                    _ if service.eq_ignore_ascii_case(b"_dns-sd") => NameRole::Other,
                    [] => NameRole::Type,
                    [_, sub] if sub.eq_ignore_ascii_case(b"_sub") => NameRole::Subtype,
                    _ => NameRole::Instance,
                }
            }
            _ if rest.iter().any(|label| label.starts_with(b"_")) => NameRole::Other,
            _ => NameRole::Host,
        }
    }

    /// Returns the name of the type that an instance or subtype belongs to.
    pub(super) fn service_type(&self) -> Option<Self> {
        let labels = self.labels();
        let start = labels.len().checked_sub(3)?;
        Some(Self::from_labels(labels.get(start..)?.iter().copied()))
    }

    /// Returns a type without its domain, such as `_ipp._tcp`; that of an instance or subtype, too.
    pub(super) fn service(&self) -> UntrustedText {
        let labels = self.labels();
        UntrustedText::new(labels.iter().rev().skip(1).take(2).rev().copied().collect::<Vec<_>>().join(&b'.'))
    }

    /// Returns the part of an instance or subtype before its type, as people know it. Its dots are not escaped.
    pub(super) fn instance(&self) -> UntrustedText {
        let labels = self.labels();
        UntrustedText::new(labels.get(..labels.len().saturating_sub(3)).unwrap_or_default().join(&b'.'))
    }

    /// Returns the first label of a subtype.
    pub(super) fn subtype(&self) -> UntrustedText {
        UntrustedText::new(self.labels().first().copied().unwrap_or_default())
    }

    /// Returns the name of a host.
    pub(super) fn host(&self) -> UntrustedText {
        UntrustedText::new(self.labels().join(&b'.'))
    }

    /// Returns the whole name in lower case, which is unique: dots and backslashes in labels are escaped (RFC 6763 section 4.3).
    pub(super) fn id(&self) -> UntrustedText {
        let mut text = Vec::with_capacity(self.0.len());
        for label in self.labels() {
            if !text.is_empty() {
                text.push(b'.');
            }
            for &byte in label {
                if matches!(byte, b'.' | b'\\') {
                    text.push(b'\\');
                }
                text.push(byte.to_ascii_lowercase());
            }
        }
        UntrustedText::new(text)
    }

    fn lower(&self) -> impl Iterator<Item = u8> {
        self.0.iter().map(u8::to_ascii_lowercase)
    }
}

fn is_transport(label: &[u8]) -> bool {
    [b"_tcp", b"_udp"].iter().any(|transport| label.eq_ignore_ascii_case(*transport))
}

impl PartialEq for OwnedName {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for OwnedName {}

impl Hash for OwnedName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // A name has at most 255 bytes.
        let mut lower = [0; 256];
        lower.iter_mut().zip(self.lower()).for_each(|(to, from)| *to = from);
        state.write(lower.get(..self.0.len()).unwrap_or_default());
    }
}

impl PartialOrd for OwnedName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for OwnedName {
    fn cmp(&self, other: &Self) -> Ordering {
        self.lower().cmp(other.lower())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_roles() {
        for (text, role) in [
            ("_ipp._tcp.local", NameRole::Type),
            ("_IPP._TCP.Local.", NameRole::Type),
            ("_printer._sub._ipp._tcp.local", NameRole::Subtype),
            ("Office 2\\.OG._ipp._tcp.local", NameRole::Instance),
            ("Split.by mistake._ipp._tcp.local", NameRole::Instance),
            ("_services._dns-sd._udp.local", NameRole::Other),
            ("printer.local", NameRole::Host),
            ("a.b.local", NameRole::Host),
            ("1.0.0.10.in-addr.arpa", NameRole::Other),
            ("_ipp._tcp.example.com", NameRole::Other),
            ("local", NameRole::Other),
        ] {
            assert_eq!(OwnedName::from_text(text).unwrap().role(), role, "{text}");
        }
    }

    #[test]
    fn names_are_equal_whatever_their_case() {
        let (a, b) = (
            OwnedName::from_text("Bürö\\.1._ipp._tcp.local").unwrap(),
            OwnedName::from_text("bürö\\.1._IPP._tcp.LOCAL").unwrap(),
        );
        assert_eq!(a, b);
        assert_eq!(a.cmp(&b), Ordering::Equal);
        assert_ne!(
            a,
            OwnedName::from_text("BÜRÖ\\.1._ipp._tcp.local").unwrap(),
            "only ASCII letters have no case"
        );
        assert_eq!((a.instance(), a.id()), ("Bürö.1".into(), "bürö\\.1._ipp._tcp.local".into()));
        assert_eq!(a.service_type(), OwnedName::from_text("_ipp._tcp.local"));
    }

    #[test]
    fn typed_names_that_cannot_be_names_are_refused() {
        for text in ["", "a..local", "a\\", &format!("{}.local", "x".repeat(64)), &"abc.".repeat(64)] {
            assert!(OwnedName::from_text(text).is_none(), "{text}");
        }
    }
}
