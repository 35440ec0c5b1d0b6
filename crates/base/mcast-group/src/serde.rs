//! Addresses and memberships for serde (feature `serde`), in their text forms, so that a file contains what a user would
//! type. An interface index is a number.

use alloc::format;
use core::fmt;
use core::marker::PhantomData;
use core::str::FromStr;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{self, Serialize, Serializer};

use crate::{Destination, Group, GroupAddr, HostAddr, InterfaceIndex, InterfaceSelector, Membership};

/// Accepts what `FromStr` of the type accepts.
struct Text<T>(PhantomData<T>);

impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

macro_rules! as_text {
    ($($type:ty),*) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(Text(PhantomData))
            }
        }
    )*};
}

as_text!(Destination, Group, GroupAddr, HostAddr, InterfaceSelector);

impl Serialize for Membership {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.sources.is_none() {
            return Err(ser::Error::custom("a membership that admits no source has no text form"));
        }
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Membership {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text(PhantomData))
    }
}

impl Serialize for InterfaceIndex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(self.number())
    }
}

impl<'de> Deserialize<'de> for InterfaceIndex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u32::deserialize(deserializer)?;
        Self::new(number).ok_or_else(|| de::Error::custom(format!("{number} is not an interface index")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SourceFilter;
    use alloc::string::ToString;

    fn survives<T: Serialize + for<'de> Deserialize<'de> + PartialEq + fmt::Debug>(value: &T, json: &str) {
        assert_eq!(serde_json::to_string(value).unwrap(), json);
        assert_eq!(serde_json::from_str::<T>(json).unwrap(), *value);
    }

    #[test]
    fn values_are_written_as_users_type_them() {
        let membership: Membership = "!10.0.0.9@239.1.2.3%eth1:5000".parse().unwrap();
        survives(&membership, "\"!10.0.0.9@239.1.2.3%eth1:5000\"");
        survives(&membership.address, "\"239.1.2.3:5000\"");
        survives(&membership.address.group, "\"239.1.2.3\"");
        survives(&membership.interface, "\"eth1\"");
        survives(&"[ff15::1%7]:5000".parse::<Destination>().unwrap(), "\"[ff15::1%7]:5000\"");
        survives(&HostAddr::broadcast(7000), "\"255.255.255.255:7000\"");
        survives(&InterfaceIndex::new(7).unwrap(), "7");
    }

    #[test]
    fn an_error_contains_the_remedy() {
        let error = serde_json::from_str::<Membership>("\"10.0.0.1:5000\"").unwrap_err().to_string();
        assert!(error.contains("is not a multicast address"), "{error}");
        assert!(serde_json::from_str::<InterfaceIndex>("0").is_err());
    }

    #[test]
    fn a_membership_without_text_form_is_not_written_as_another_one() {
        let address = "239.1.2.3:5000".parse().unwrap();
        let none = Membership::new(address).from_sources(SourceFilter::NONE);
        assert!(serde_json::to_string(&none).is_err());
    }
}
