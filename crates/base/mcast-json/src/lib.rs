//! Records as JSON Lines: one object per line, by the convention of the command `mcast`. Its records are described by
//! the files in `schemas/` of the crate `mcast-cli`.
//!
//! `event` is the type of a record. A name ends in the unit of its number (`_seconds`, `_ms`, `_us`, `_per_second`)
//! unless it is a count or a length in bytes. `protocol` is a name in lowercase. Times are RFC 3339 in UTC with
//! nanoseconds.
//!
//! ```
//! use std::time::{Duration, SystemTime};
//!
//! mcast_json::record! {
//!     fn new(time: SystemTime, length: usize, age: Duration) {}
//!
//!     /// An arrival.
//!     struct ArrivalRecord {
//!         time: String = mcast_json::rfc3339(time),
//!         length: usize = length,
//!         age_seconds: f64 = age.as_secs_f64(),
//!     }
//! }
//!
//! let mut out = Vec::new();
//! let record = ArrivalRecord::new(SystemTime::UNIX_EPOCH, 7, Duration::from_millis(500));
//! mcast_json::write_record(&mut out, "arrival", &record)?;
//! assert_eq!(
//!     String::from_utf8_lossy(&out),
//!     "{\"event\":\"arrival\",\"time\":\"1970-01-01T00:00:00.000000000Z\",\"length\":7,\"age_seconds\":0.5}\n"
//! );
//! # Ok::<(), std::io::Error>(())
//! ```
#![forbid(unsafe_code)]

#[cfg(feature = "schema")]
mod schema;

use std::fmt::Display;
use std::io::{self, Write};
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::{Serialize, Serializer};

pub use mcast_metrics::{
    EventDeclaration, EventField, EventReport, EventSeverity, EventValue, count, count_of, events,
};
#[cfg(feature = "schema")]
pub use schema::RecordSchema;

/// Defines a record, and the function that makes it: each field with its type and its value. The statements in the
/// body of the function are for values that several fields need. The caller's crate needs `serde`, and a feature `schema`
/// with `schemars`, with which the record has a schema; see the crate's documentation for an example.
#[macro_export]
macro_rules! record {
    (
        $(#[$new_attribute:meta])*
        $new_visibility:vis fn $new:ident($($argument:tt)*) { $($statements:tt)* }

        $(#[$attribute:meta])*
        $visibility:vis struct $name:ident $(<$life:lifetime>)? {
            $($(#[$field_attribute:meta])* $seen:vis $field:ident: $type:ty = $value:expr,)*
        }
    ) => {
        #[derive(Debug, serde::Serialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        $(#[$attribute])*
        $visibility struct $name $(<$life>)? {
            $($(#[$field_attribute])* $seen $field: $type,)*
        }

        impl $(<$life>)? $name $(<$life>)? {
            $(#[$new_attribute])*
            $new_visibility fn $new($($argument)*) -> Self {
                $($statements)*
                Self { $($field: $value,)* }
            }
        }
    };
}

/// Defines the function `schemas` of a module, which returns the schemas of its records, with the feature `schema` of the
/// caller's crate: its visibility, and a list of instances of `RecordSchema`.
#[macro_export]
macro_rules! schemas {
    ($visibility:vis, $($schemas:tt)*) => {
        #[cfg(feature = "schema")]
        $visibility fn schemas() -> Vec<$crate::RecordSchema> {
            use $crate::RecordSchema;

            vec![$($schemas)*]
        }
    };
}

/// What a field of an event contains, where it applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// A text.
    Text,
    /// One of these names.
    Name(&'static [&'static str]),
    /// A whole number.
    Number,
    /// A time in seconds.
    Seconds,
    /// A list of addresses.
    Addresses,
}

/// Writes an object as one line.
///
/// # Errors
/// If writing fails.
pub fn write_json(out: &mut impl Write, object: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, object)?;
    out.write_all(b"\n")
}

/// Writes a record with `event` before its own fields.
///
/// # Errors
/// If writing fails.
pub fn write_record(out: &mut impl Write, event: &'static str, fields: &impl Serialize) -> io::Result<()> {
    #[derive(Serialize)]
    struct Record<'a, T> {
        event: &'static str,
        #[serde(flatten)]
        fields: &'a T,
    }

    write_json(out, &Record { event, fields })
}

/// Bytes as fields of an object: `text` if they are UTF-8, otherwise `base64`.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PayloadRecord<'a> {
    /// Payload, if it is valid UTF-8
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    /// Payload in base64 (RFC 4648, section 4), if it is not valid UTF-8
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

impl<'a> PayloadRecord<'a> {
    /// Creates the fields for these bytes.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self { text: Some(text), base64: None },
            Err(_) => Self { text: None, base64: Some(base64(bytes)) },
        }
    }
}

/// Returns bytes in the standard encoding of Base64.
#[must_use]
pub fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Serializes a field as its `Display` text, for `#[serde(serialize_with)]`.
///
/// # Errors
/// Those of the serializer.
pub fn as_text<S: Serializer>(value: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// RFC 3339 in UTC with nanoseconds: `2024-05-01T12:34:56.123456789Z`.
#[must_use]
pub fn rfc3339(time: SystemTime) -> String {
    format!("{:.9}", timestamp(time))
}

/// The time of day in UTC with microseconds: `12:34:56.123456`.
#[must_use]
pub fn clock_time(time: SystemTime) -> String {
    const DAY: i128 = 86_400 * 1_000_000;
    let micros = timestamp(time).as_nanosecond().div_euclid(1_000).rem_euclid(DAY);
    let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
    format!("{:02}:{:02}:{:02}.{micros:06}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

/// Converts a time. A clock outside the range of years that can be written shows the end of that range.
fn timestamp(time: SystemTime) -> Timestamp {
    let is_past = time < SystemTime::UNIX_EPOCH;
    Timestamp::try_from(time).unwrap_or(if is_past { Timestamp::MIN } else { Timestamp::MAX })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn a_record_starts_with_its_event() {
        let mut line = Vec::new();
        write_record(&mut line, "bytes", &PayloadRecord::new(b"x")).unwrap();
        assert_eq!(line, b"{\"event\":\"bytes\",\"text\":\"x\"}\n");
    }

    #[test]
    fn utf8_bytes_are_text_and_others_base64() {
        let json = |bytes: &[u8]| serde_json::to_string(&PayloadRecord::new(bytes)).unwrap();
        assert_eq!(json("grüß\n".as_bytes()), r#"{"text":"grüß\n"}"#);
        assert_eq!(json(b""), r#"{"text":""}"#);
        assert_eq!(json(&[0xff, 0]), r#"{"base64":"/wA="}"#);
    }

    #[test]
    fn times_have_their_full_precision() {
        let time = UNIX_EPOCH + Duration::new(1_700_000_000, 12_345_678);
        assert_eq!(rfc3339(time), "2023-11-14T22:13:20.012345678Z");
        assert_eq!(clock_time(time), "22:13:20.012345");
        assert_eq!(rfc3339(UNIX_EPOCH), "1970-01-01T00:00:00.000000000Z");
    }

    #[test]
    fn times_before_1970_are_written() {
        let time = UNIX_EPOCH - Duration::from_micros(1);
        assert_eq!(rfc3339(time), "1969-12-31T23:59:59.999999000Z");
        assert_eq!(clock_time(time), "23:59:59.999999");
    }
}
