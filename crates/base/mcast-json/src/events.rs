//! Events that are declared once: type, names, fields, sentences and their schema derive from the declaration.

use std::net::{IpAddr, SocketAddr};

use serde::Serialize;

/// Declares the events of a part, each once: its variant, how severe it is, its name, its fields, the sentence that shows
/// it, and what to do about it, if anything helps. The documentation of a variant is its meaning in schemas.
///
/// The sentence and the remedy, an `Option<String>`, are expressions that see the fields and the members of the variant.
/// What the members alone do not show, such as the names behind numbers, is an argument of `report`. Instead of a
/// declaration, a variant may be `through` the events that it contains.
///
/// ```
/// mcast_json::events! {
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

        impl $name {
            /// Returns the event as it is shown.
            #[allow(clippy::redundant_locals)]
            #[must_use]
            $visibility fn report(&self, $context: $context_type) -> $crate::EventReport {
                match self {
                    $(Self::$variant { $($($member,)*)? $(0: $inner,)? } => {
                        $(
                            $(let $field = $value;)*
                            let (text, remedy): (String, Option<String>) = ($text, None $(.or($remedy))?);
                            let fields = [$((stringify!($field), $crate::EventField::value(&$field)),)*];
                            $crate::EventReport::new($event, text).with_fields(fields).with_remedy(remedy)
                        )?
                        $($target.report($argument))?
                    })*
                }
            }

            /// Returns whether something does not work that did, or should.
            #[allow(unused_variables)]
            #[must_use]
            $visibility fn severity(&self) -> $crate::EventSeverity {
                match self {
                    $(Self::$variant { $($($member,)*)? $(0: $inner,)? } => {
                        $($crate::EventSeverity::$severity)?
                        $($target.severity())?
                    })*
                }
            }

            /// Returns all events that there are.
            #[allow(unused_variables)]
            #[must_use]
            $visibility fn declared() -> Vec<$crate::EventDeclaration> {
                [$({
                    let meaning: &str = concat!($($doc),+).trim_ascii_start();
                    let declared: Vec<$crate::EventDeclaration>;
                    $(declared = vec![$crate::EventDeclaration {
                        name: $event,
                        meaning,
                        fields: &[$(stringify!($field)),*],
                    }];)?
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
    pub const fn new(name: &'static str, text: String) -> Self {
        Self { name, text, remedy: None, fields: Vec::new() }
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
}

/// The value of a field.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(untagged)]
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
}

/// What a field contains, where it applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// A text.
    Text,
    /// A whole number.
    Number,
    /// A list of addresses.
    Addresses,
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
    u64: number => EventValue::Number(*number),
    IpAddr: address => EventValue::Address(*address),
    SocketAddr: endpoint => EventValue::Endpoint(*endpoint),
    Vec<IpAddr>: addresses => EventValue::Addresses(addresses.clone()),
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
        assert_eq!(report.field("since"), Some(&EventValue::Number(7)));
        assert_eq!(WholeEvent::Works.report("Ada").remedy.as_deref(), Some("nothing"));
        assert_eq!(WholeEvent::Works.severity(), EventSeverity::Note);
    }

    #[test]
    fn a_field_without_a_value_does_not_apply() {
        let report = PartEvent::Lost { since: None }.report("Ada");
        assert_eq!(report.field("since"), None);
        assert_eq!(report.field("owner"), Some(&EventValue::Text("Ada".into())));
    }
}
