//! Events that are declared once: names, fields and sentences, from which text, JSON, its schema and attributes derive.

use alloc::borrow::ToOwned;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use crate::number::seconds;

/// Declares the events of a part, each once: its variant, how severe it is, its name, its fields, the sentence that shows
/// it, and what to do about it, if anything helps. The documentation of a variant is its meaning in schemas.
///
/// The sentence and the remedy, an `Option<String>`, are expressions that see the fields and the members of the variant.
/// What the members alone do not show, such as the names behind numbers, is an argument of `report`. Instead of a
/// declaration, a variant may be `through` the events that it contains.
///
/// ```
/// mcast_metrics::events! {
///     /// An event of a cable.
///     #[derive(Debug)]
///     pub enum CableEvent for owner: &str {
///         /// It is plugged in.
///         Connected {
///             /// The number of its port.
///             port: u64,
///         } is Note "connected" { port: *port, owner: owner }: format!("the cable of {owner} is in port {port}"),
///         /// It is not plugged in any more.
///         Disconnected is Problem "disconnected" {}: "the cable is loose".to_owned(); Some("plug it in".to_owned()),
///     }
/// }
///
/// let report = CableEvent::Connected { port: 7 }.report("Ada");
/// assert_eq!((report.name, &*report.text), ("connected", "the cable of Ada is in port 7"));
/// let names: Vec<_> = CableEvent::declared().iter().map(|event| event.name).collect();
/// assert_eq!(names, ["connected", "disconnected"]);
/// ```
#[macro_export]
macro_rules! events {
    (
        $(#[$attribute:meta])*
        $visibility:vis enum $name:ident for $context:ident: $context_type:ty {
            $(
                $(#[doc = $doc:literal])+
                $variant:ident
                $({ $($(#[$member_attribute:meta])* $member:ident: $type:ty),* $(,)? })?
                $(($inner:ident: $inner_type:ty))?
                $(through $nested:ty: $target:ident($argument:expr))?
                $(is $severity:ident $event:literal { $($field:ident: $value:expr),* $(,)? }: $text:expr $(; $remedy:expr)?)?,
            )*
        }
    ) => {
        $(#[$attribute])*
        $visibility enum $name {
            $(
                $(#[doc = $doc])+
                $variant $({ $($(#[$member_attribute])* $member: $type),* })? $(($inner_type))?,
            )*
        }

        $crate::event_reports! {
            $visibility impl $name for $context: $context_type {
                $(
                    $(#[doc = $doc])+
                    Self::$variant { $($($member,)*)? $(0: $inner,)? } =>
                        $(through $nested: $target($argument))?
                        $(is $severity $event { $($field: $value),* }: $text $(; $remedy)?)?,
                )*
            }
        }
    };
}

/// Declares how the events of a type are shown that is declared elsewhere, as [`events!`](crate::events) does: for each
/// pattern its severity, name, fields, sentence and remedy. The compiler demands all events of the type.
///
/// ```
/// pub enum DoorEvent {
///     Opened(u64),
/// }
///
/// mcast_metrics::event_reports! {
///     pub impl DoorEvent for house: &str {
///         Self::Opened(count) => is Note "opened" { count: *count }: format!("the door of {house} was opened"),
///     }
/// }
///
/// let event = DoorEvent::Opened(7);
/// assert_eq!((event.name(), event.report("Ada").text), ("opened", "the door of Ada was opened".to_owned()));
/// ```
#[macro_export]
macro_rules! event_reports {
    (
        $visibility:vis impl $name:ident for $context:ident: $context_type:ty {
            $(
                $(#[doc = $doc:literal])*
                $event_pattern:pat =>
                    $(through $nested:ty: $target:ident($argument:expr))?
                    $(is $severity:ident $event:literal { $($field:ident: $value:expr),* $(,)? }: $text:expr $(; $remedy:expr)?)?,
            )*
        }
    ) => {
        impl $name {
            /// Returns the event as it is shown.
            #[allow(clippy::redundant_locals, unused_variables)]
            #[must_use]
            $visibility fn report(&self, $context: $context_type) -> $crate::EventReport {
                match self {
                    $($event_pattern => {
                        $(
                            $(let $field = $value;)*
                            let (text, remedy) = ($text, None $(.or($remedy))?);
                            let fields = [$((stringify!($field), $crate::EventField::value(&$field)),)*];
                            $crate::EventReport::new($event, text).with_fields(fields).with_remedy(remedy)
                        )?
                        $($target.report($argument))?
                    })*
                }
            }

            /// Returns the name of the event, as in its report. Names never change.
            #[allow(unused_variables)]
            #[must_use]
            $visibility fn name(&self) -> &'static str {
                match self {
                    $($event_pattern => {
                        $($event)?
                        $($target.name())?
                    })*
                }
            }

            /// Returns whether something does not work that did, or should.
            #[allow(unused_variables)]
            #[must_use]
            $visibility fn severity(&self) -> $crate::EventSeverity {
                match self {
                    $($event_pattern => {
                        $($crate::EventSeverity::$severity)?
                        $($target.severity())?
                    })*
                }
            }

            /// Returns all events that there are.
            #[allow(unused_variables)]
            #[must_use]
            $visibility fn declared() -> $crate::EventDeclarations {
                [$({
                    let meaning = concat!($($doc),*).trim_ascii_start();
                    let declared: $crate::EventDeclarations;
                    $(declared = $crate::EventDeclarations::from([$crate::EventDeclaration {
                        name: $event,
                        meaning,
                        fields: &[$(stringify!($field)),*],
                    }]);)?
                    $(declared = <$nested>::declared();)?
                    declared
                }),*].concat()
            }
        }
    };
}

/// How severe an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventSeverity {
    /// It is worth knowing for who looks closely.
    Detail,
    /// It is worth knowing.
    Note,
    /// Something does not work that did, or should.
    Problem,
}

/// What is known of an event before it happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventDeclaration {
    /// Its name.
    pub name: &'static str,
    /// What it means.
    pub meaning: &'static str,
    /// The names of its fields.
    pub fields: &'static [&'static str],
}

/// What is known of several events.
pub type EventDeclarations = Vec<EventDeclaration>;

/// An event as it is shown, in words and by its fields.
#[derive(Clone, Debug, PartialEq)]
pub struct EventReport {
    /// Its name, which never changes.
    pub name: &'static str,
    /// The event in words.
    pub text: String,
    /// What to do about it.
    pub remedy: Option<String>,
    fields: Vec<(&'static str, EventValue)>,
}

impl EventReport {
    /// Creates a report without fields.
    #[must_use]
    pub fn new(name: &'static str, text: impl Into<String>) -> Self {
        Self { name, text: text.into(), remedy: None, fields: Vec::new() }
    }

    /// Adds a field, if it has a value.
    #[must_use]
    pub fn with(self, field: &'static str, value: impl EventField) -> Self {
        self.with_fields([(field, value.value())])
    }

    /// Adds those of the fields that have a value.
    #[must_use]
    pub fn with_fields(
        mut self,
        fields: impl IntoIterator<Item = (&'static str, Option<EventValue>)>,
    ) -> Self {
        self.fields.extend(fields.into_iter().filter_map(|(field, value)| Some((field, value?))));
        self
    }

    /// Sets what to do about it.
    #[must_use]
    pub fn with_remedy(self, remedy: Option<String>) -> Self {
        Self { remedy, ..self }
    }

    /// Returns the value of a field.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&EventValue> {
        self.fields.iter().find(|(field, _)| *field == name).map(|(_, value)| value)
    }

    /// Returns the value of a field that is a number.
    #[must_use]
    pub fn number_of(&self, field: &str) -> Option<u64> {
        match self.field(field)? {
            EventValue::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// Returns the value of a field as text.
    #[must_use]
    pub fn text_of(&self, field: &str) -> Option<String> {
        self.field(field).map(ToString::to_string)
    }
}

/// The value of a field.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(untagged))]
pub enum EventValue {
    /// A text, such as a name.
    Text(String),
    /// A number.
    Number(u64),
    /// An address.
    Address(IpAddr),
    /// An address and port.
    Endpoint(SocketAddr),
    /// Several addresses.
    Addresses(Vec<IpAddr>),
    /// A time, in JSON in seconds.
    Time(#[cfg_attr(feature = "serde", serde(serialize_with = "as_seconds"))] Duration),
}

#[cfg(feature = "serde")]
fn as_seconds<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}

impl fmt::Display for EventValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => text.fmt(f),
            Self::Number(number) => number.fmt(f),
            Self::Address(address) => address.fmt(f),
            Self::Endpoint(endpoint) => endpoint.fmt(f),
            Self::Addresses(addresses) => addresses.iter().enumerate().try_for_each(|(position, address)| {
                let separator = if position == 0 { "" } else { ", " };
                write!(f, "{separator}{address}")
            }),
            Self::Time(time) => seconds(*time).fmt(f),
        }
    }
}

/// What a field may be; without a value, the field does not apply to the event.
pub trait EventField {
    /// Returns the value.
    fn value(&self) -> Option<EventValue>;
}

macro_rules! fields {
    ($($type:ty: $field:ident => $value:expr,)*) => {$(
        impl EventField for $type {
            fn value(&self) -> Option<EventValue> {
                let $field = self;
                Some($value)
            }
        }
    )*};
}

fields! {
    &str: text => EventValue::Text((*text).to_owned()),
    String: text => EventValue::Text(text.clone()),
    u8: number => EventValue::Number((*number).into()),
    u16: number => EventValue::Number((*number).into()),
    u32: number => EventValue::Number((*number).into()),
    u64: number => EventValue::Number(*number),
    IpAddr: address => EventValue::Address(*address),
    SocketAddr: endpoint => EventValue::Endpoint(*endpoint),
    Vec<IpAddr>: addresses => EventValue::Addresses(addresses.clone()),
    Duration: time => EventValue::Time(*time),
}

impl<T: EventField> EventField for Option<T> {
    fn value(&self) -> Option<EventValue> {
        self.as_ref().and_then(T::value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    events! {
        /// An event of a part.
        enum PartEvent for owner: &str {
            /// It was lost.
            Lost { since: Option<u64> } is Problem "lost" { owner: owner, since: *since }: format!("{owner} lost it"),
        }
    }

    events! {
        /// An event of the whole.
        enum WholeEvent for owner: &str {
            /// It works.
            Works is Note "works" {}: "it works".to_owned(); Some("nothing".to_owned()),
            /// A part of it.
            Part(event: PartEvent) through PartEvent: event(owner),
        }
    }

    #[test]
    fn an_event_of_a_part_is_one_of_the_whole() {
        let declared: Vec<_> = WholeEvent::declared()
            .into_iter()
            .map(|event| (event.name, event.meaning, event.fields))
            .collect();
        assert_eq!(
            declared,
            [("works", "It works.", &[][..]), ("lost", "It was lost.", &["owner", "since"])]
        );
        let event = WholeEvent::Part(PartEvent::Lost { since: Some(7) });
        let report = event.report("Ada");
        assert_eq!((event.severity(), &*report.text), (EventSeverity::Problem, "Ada lost it"));
        assert_eq!((event.name(), WholeEvent::Works.name()), ("lost", "works"));
        assert_eq!(report.field("since"), Some(&EventValue::Number(7)));
        assert_eq!(WholeEvent::Works.report("Ada").remedy.as_deref(), Some("nothing"));
        assert_eq!(WholeEvent::Works.severity(), EventSeverity::Note);
    }

    #[test]
    fn a_field_without_a_value_does_not_apply() {
        let event = PartEvent::Lost { since: None };
        let report = event.report("Ada");
        assert_eq!(event.name(), report.name);
        assert_eq!(report.field("since"), None);
        assert_eq!(report.field("owner"), Some(&EventValue::Text("Ada".into())));
    }
}
