//! Schemas of records, generated from the types that are serialized.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use crate::{EventDeclaration, FieldKind};

/// The schema of one kind of record, in JSON Schema 2020-12. Descriptions are the documentation of the types and of
/// their fields.
#[derive(Clone, Debug)]
pub struct RecordSchema {
    name: &'static str,
    value: Value,
}

impl RecordSchema {
    /// Creates the schema of a type: the name of its file, without `.json`, and its title.
    #[must_use]
    pub fn new<T: JsonSchema>(name: &'static str, title: &str) -> Self {
        let mut value = schema_of::<T>();
        value["title"] = title.into();
        Self { name, value }
    }

    /// Creates the schema of events whose fields are listed, each with what it contains and its description. Those that do
    /// not apply to an event are null.
    #[must_use]
    pub fn of_events(
        name: &'static str,
        title: &str,
        description: &str,
        events: &[EventDeclaration],
        fields: &[(&str, FieldKind, &str)],
    ) -> Self {
        let names: Vec<_> = events.iter().map(|event| event.name).collect();
        let meanings: Vec<_> =
            events.iter().map(|event| format!("`{}`: {}", event.name, event.meaning)).collect();
        let event = json!({
            "type": "string",
            "description": format!("Type of the event. {}", meanings.join(" ")),
            "enum": names,
        });
        let time = "Time of the event (RFC 3339, UTC, with nanoseconds)";
        let mut properties = vec![("event", event), ("time", json!({"type": "string", "description": time}))];
        properties.extend(fields.iter().map(|(field, kind, description)| (*field, kind.schema(description))));
        properties.push(("text", json!({"type": "string", "description": "The event in words"})));
        properties.push(("remedy", FieldKind::Text.schema("What to do about it")));
        let mut value = object_of(&properties);
        value["properties"]["more"] = json!({
            "type": "integer",
            "description": "Only if present: number of other events like this one, within the 10 s before it, that were not \
                            printed",
        });
        let kind = [("$schema", DIALECT), ("title", title), ("description", description), ("type", "object")];
        for (key, text) in kind {
            value.insert(key.into(), text.into());
        }
        value.insert("additionalProperties".into(), false.into());
        Self { name, value: value.into() }
    }

    /// Adds what [`write_record`](crate::write_record) writes before the fields.
    #[must_use]
    pub fn event(mut self, event: &str) -> Self {
        let mut object =
            object_of(&[("event", json!({"type": "string", "enum": [event], "description": "Record type"}))]);
        merge(&mut object, &self.value, Required::ByEither);
        for (key, value) in object {
            self.value[key] = value;
        }
        self
    }

    /// Sets the names of the events that have this schema.
    #[must_use]
    pub fn events<'a>(mut self, events: impl IntoIterator<Item = &'a str>) -> Self {
        self.value["properties"]["event"]["enum"] = events.into_iter().collect();
        self
    }

    /// Adds what only some of the records have, which are of this type.
    #[must_use]
    pub fn or<T: JsonSchema>(mut self) -> Self {
        if let Value::Object(object) = &mut self.value {
            merge(object, &schema_of::<T>(), Required::ByBoth);
        }
        self
    }

    /// Adds fields that only some of the records have, each with what it contains and its description.
    #[must_use]
    pub fn fields(mut self, fields: &[(&str, FieldKind, &str)]) -> Self {
        for (field, kind, description) in fields {
            self.value["properties"][*field] = kind.schema_if_present(description);
        }
        self
    }

    /// Describes the record, if the documentation of its type says something else.
    #[must_use]
    pub fn about(mut self, description: &str) -> Self {
        self.value["description"] = description.into();
        self
    }

    /// Describes a field whose type does not know what it stands for here, by its path: `text`, `flows[].bytes`, or
    /// `hosts[]` for each item of `hosts`.
    #[must_use]
    pub fn describe(mut self, path: &str, description: &str) -> Self {
        let mut schema = &mut self.value;
        for field in path.split('.') {
            let name = field.trim_end_matches("[]");
            schema = &mut schema["properties"][name];
            if name != field {
                schema = &mut schema["items"];
            }
        }
        schema["description"] = description.into();
        self
    }

    /// Returns the name of the file, without `.json`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the content of the file.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn to_json(&self) -> serde_json::Result<String> {
        let mut value = self.value.clone();
        // A reader of the file learns where to change it.
        value["$comment"] = GENERATED.into();
        let mut text = serde_json::to_string_pretty(&Ordered(&value))?;
        text.push('\n');
        Ok(text)
    }
}

impl FieldKind {
    fn schema(self, description: &str) -> Value {
        let mut schema = self.schema_if_present(description);
        schema["type"] = json!([schema["type"], "null"]);
        schema
    }

    fn schema_if_present(self, description: &str) -> Value {
        let mut schema = json!({"description": description});
        schema["type"] = match self {
            Self::Text | Self::Name(_) => "string",
            Self::Number => "integer",
            Self::Seconds => "number",
            Self::Addresses => "array",
        }
        .into();
        match self {
            Self::Name(names) => schema["enum"] = names.into(),
            Self::Addresses => schema["items"] = json!({"type": "string", "description": "An address"}),
            _ => {}
        }
        schema
    }
}

/// The dialect of the schemas, as schemars names it.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// What the files say about themselves.
const GENERATED: &str = "Generated from the type of the record by `cargo xtask docs`; do not edit";

fn schema_of<T: JsonSchema>() -> Value {
    let settings =
        SchemaSettings::draft2020_12().for_serialize().with(|settings| settings.inline_subschemas = true);
    let mut value = settings.into_generator().into_root_schema_for::<T>().to_value();
    simplify(&mut value);
    value
}

/// Reduces a schema to what readers and tools need: a type, a description, and one object for the variants of an enum.
fn simplify(schema: &mut Value) {
    let Value::Object(object) = schema else { return };
    // The widths of integers are a detail of the program.
    for key in ["format", "minimum", "maximum", "minItems", "maxItems", "default", "unevaluatedProperties"] {
        object.remove(key);
    }
    if let Some(Value::String(text)) = object.get_mut("description") {
        *text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    }
    if let Some(constant) = object.remove("const") {
        object.insert("enum".into(), json!([constant]));
    }
    let required = object.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    for (field, schema) in object.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten() {
        simplify(schema);
        // What may be absent is left out instead of null.
        if !required.contains(&field.as_str().into()) {
            remove_null(schema);
        }
    }
    if let Some(items) = object.get_mut("items") {
        simplify(items);
    }
    for key in ["allOf", "anyOf", "oneOf"] {
        if let Some(Value::Array(variants)) = object.remove(key) {
            unite(object, variants, key == "allOf");
        }
    }
    if object.contains_key("properties") {
        object.insert("additionalProperties".into(), false.into());
        object.entry("required").or_insert_with(|| json!([]));
    }
    let is_nullable =
        object.get("type").and_then(Value::as_array).is_some_and(|types| types.contains(&"null".into()));
    if let Some(Value::Array(values)) = object.get_mut("enum")
        && is_nullable
        && !values.contains(&Value::Null)
    {
        values.push(Value::Null);
    }
}

fn remove_null(schema: &mut Value) {
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|name| name != "null");
        if let [name] = &types[..] {
            schema["type"] = name.clone();
        }
    }
    if let Some(Value::Array(values)) = schema.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
}

/// Makes one schema of several, which describe the same value or the alternatives to it.
fn unite(object: &mut Map<String, Value>, mut variants: Vec<Value>, all_hold: bool) {
    variants.iter_mut().for_each(simplify);
    let mut united = Map::new();
    for variant in &variants {
        let required = if all_hold { Required::ByEither } else { Required::ByBoth };
        merge(&mut united, variant, required);
    }
    // The variants have their own descriptions; what they are together is described outside.
    if object.contains_key("description") {
        united.remove("description");
    }
    merge(object, &Value::Object(united), Required::ByEither);
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Required {
    ByEither,
    ByBoth,
}

fn merge(object: &mut Map<String, Value>, other: &Value, required: Required) {
    let Value::Object(other) = other else { return };
    let is_first = object.is_empty();
    if !is_first
        && required == Required::ByBoth
        && !other.contains_key("required")
        && other.get("type") == object.get("type")
    {
        object.remove("required");
    }
    for (key, value) in other {
        match (key.as_str(), object.get_mut(key)) {
            (_, None) if key != "required" || is_first || required == Required::ByEither => {
                object.insert(key.clone(), value.clone());
            }
            ("type", Some(types)) => *types = types_of([&*types, value]),
            ("enum", Some(Value::Array(known))) => {
                let added = value.as_array().into_iter().flatten().filter(|each| !known.contains(each));
                let added: Vec<Value> = added.cloned().collect();
                known.extend(added);
            }
            ("required", Some(Value::Array(known))) => {
                let others = value.as_array().map(Vec::as_slice).unwrap_or_default();
                match required {
                    Required::ByBoth => known.retain(|field| others.contains(field)),
                    Required::ByEither => {
                        let added: Vec<Value> =
                            others.iter().filter(|field| !known.contains(field)).cloned().collect();
                        known.extend(added);
                    }
                }
            }
            ("properties", Some(Value::Object(known))) => {
                for (field, schema) in value.as_object().into_iter().flatten() {
                    match known.get_mut(field) {
                        Some(Value::Object(known)) => merge(known, schema, Required::ByBoth),
                        _ => {
                            known.insert(field.clone(), schema.clone());
                        }
                    }
                }
            }
            _ => {}
        }
    }
}

/// Returns a type, or several, as the value of `type`.
fn types_of(schemas: [&Value; 2]) -> Value {
    let mut types: Vec<&Value> = Vec::new();
    for schema in schemas {
        let names = schema.as_array().map_or_else(|| std::slice::from_ref(schema), Vec::as_slice);
        for name in names {
            if !types.contains(&name) {
                types.push(name);
            }
        }
    }
    match types[..] {
        [name] => name.clone(),
        _ => types.into_iter().cloned().collect(),
    }
}

fn object_of(properties: &[(&str, Value)]) -> Map<String, Value> {
    let mut object = Map::new();
    let required: Vec<Value> = properties.iter().map(|(name, _)| Value::from(*name)).collect();
    let properties = properties.iter().map(|(name, schema)| ((*name).to_owned(), schema.clone()));
    object.insert("required".into(), required.into());
    object.insert("properties".into(), Value::Object(properties.collect()));
    object
}

/// A schema in the order in which people read it: what it is before what it consists of, and fields in the order in
/// which they are written, followed by those that may be absent.
struct Ordered<'a>(&'a Value);

impl Serialize for Ordered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        const ORDER: [&str; 10] = [
            "$schema",
            "$comment",
            "title",
            "type",
            "description",
            "enum",
            "additionalProperties",
            "required",
            "properties",
            "items",
        ];
        let object = match self.0 {
            Value::Object(object) => object,
            Value::Array(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                items.iter().try_for_each(|item| list.serialize_element(&Ordered(item)))?;
                return list.end();
            }
            other => return other.serialize(serializer),
        };
        let mut keys: Vec<&String> = object.keys().collect();
        keys.sort_by_key(|key| ORDER.iter().position(|known| known == key).unwrap_or(ORDER.len()));
        let required = object.get("required").and_then(Value::as_array);
        let mut map = serializer.serialize_map(Some(keys.len()))?;
        for key in keys {
            match &object[key] {
                Value::Object(fields) if key == "properties" => {
                    map.serialize_entry(key, &Fields(fields, required))?;
                }
                value => map.serialize_entry(key, &Ordered(value))?,
            }
        }
        map.end()
    }
}

/// The fields of an object, and the names of those that are always there.
struct Fields<'a>(&'a Map<String, Value>, Option<&'a Vec<Value>>);

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(fields, required) = self;
        let place =
            |name: &str| required.and_then(|required| required.iter().position(|known| known == name));
        let mut names: Vec<&String> = fields.keys().collect();
        names.sort_by_key(|name| place(name).unwrap_or(usize::MAX));
        let mut map = serializer.serialize_map(Some(names.len()))?;
        names.into_iter().try_for_each(|name| map.serialize_entry(name, &Ordered(&fields[name])))?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One object per arrival.
    #[derive(JsonSchema, Serialize)]
    struct Arrival {
        /// Sender
        sender: String,
        /// Age,
        /// in seconds
        age_seconds: Option<f64>,
        #[serde(flatten)]
        detail: Detail,
        /// Port
        #[serde(skip_serializing_if = "Option::is_none")]
        port: Option<u16>,
    }

    #[derive(JsonSchema, Serialize)]
    #[serde(untagged)]
    #[expect(dead_code, reason = "only its schema is of interest")]
    enum Detail {
        Nothing {},
        Text {
            /// Text
            text: String,
        },
    }

    #[derive(JsonSchema, Serialize)]
    #[serde(rename_all = "kebab-case")]
    #[expect(dead_code, reason = "only its schema is of interest")]
    enum Side {
        LeftHand,
        RightHand,
    }

    #[test]
    fn a_schema_has_each_field_with_its_documentation() {
        let schema = RecordSchema::new::<Arrival>("arrival", "Arrival").event("arrival");
        let expected = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "Arrival",
            "description": "One object per arrival.",
            "type": "object",
            "additionalProperties": false,
            "required": ["event", "sender", "age_seconds"],
            "properties": {
                "event": {"type": "string", "enum": ["arrival"], "description": "Record type"},
                "sender": {"type": "string", "description": "Sender"},
                "age_seconds": {"type": ["number", "null"], "description": "Age, in seconds"},
                "text": {"type": "string", "description": "Text"},
                "port": {"type": "integer", "description": "Port"},
            },
        });
        assert_eq!(schema.value, expected);
    }

    #[test]
    fn a_schema_of_events_has_their_names_meanings_and_fields() {
        let events = [EventDeclaration { name: "lost", meaning: "It was lost.", fields: &["count"] }];
        let fields = [("count", FieldKind::Number, "How many")];
        let schema = RecordSchema::of_events("event", "Event", "One object per event.", &events, &fields);
        let expected = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "Event",
            "description": "One object per event.",
            "type": "object",
            "additionalProperties": false,
            "required": ["event", "time", "count", "text", "remedy"],
            "properties": {
                "event": {
                    "type": "string",
                    "enum": ["lost"],
                    "description": "Type of the event. `lost`: It was lost.",
                },
                "time": schema.value["properties"]["time"],
                "count": {"type": ["integer", "null"], "description": "How many"},
                "text": {"type": "string", "description": "The event in words"},
                "remedy": {"type": ["string", "null"], "description": "What to do about it"},
                "more": schema.value["properties"]["more"],
            },
        });
        assert_eq!(schema.value, expected);
    }

    #[test]
    fn fields_are_in_the_order_in_which_they_are_written() {
        let text = RecordSchema::new::<Arrival>("arrival", "Arrival").event("arrival").to_json().unwrap();
        let places = ["\"event\": {", "\"sender\": {", "\"age_seconds\": {", "\"port\": {"]
            .map(|name| text.find(name));
        assert!(places.is_sorted() && places[0].is_some(), "{text}");
    }

    #[test]
    fn a_file_says_that_it_is_generated_before_all_else() {
        let text = RecordSchema::new::<Arrival>("arrival", "Arrival").to_json().unwrap();
        let places = ["\"$schema\"", "\"$comment\": \"Generated ", "\"title\""].map(|key| text.find(key));
        assert!(places.is_sorted() && places[0].is_some(), "{text}");
    }

    #[test]
    fn names_without_data_are_an_enumeration() {
        #[derive(JsonSchema, Serialize)]
        struct Turn {
            /// Side
            side: Option<Side>,
        }
        let schema = schema_of::<Turn>();
        let expected = json!({"type": ["string", "null"], "enum": ["left-hand", "right-hand", null], "description": "Side"});
        assert_eq!(schema["properties"]["side"], expected);
    }

    #[test]
    fn items_are_described_by_their_path() {
        #[derive(JsonSchema, Serialize)]
        struct Flows {
            flows: Vec<Gap>,
        }
        #[derive(JsonSchema, Serialize)]
        struct Gap {
            count: u64,
        }
        let schema = RecordSchema::new::<Flows>("flows", "Flows")
            .describe("flows[].count", "Count")
            .describe("flows[]", "Flow");
        let items = &schema.value["properties"]["flows"]["items"];
        assert_eq!(
            (&items["properties"]["count"]["description"], &items["description"]),
            (&"Count".into(), &"Flow".into())
        );
    }

    #[test]
    fn only_what_all_alternatives_have_is_required() {
        #[derive(JsonSchema, Serialize)]
        struct Gap {
            /// Sender
            sender: String,
            /// Count
            count: u64,
        }
        let schema = RecordSchema::new::<Arrival>("arrival", "Arrival").or::<Gap>();
        assert_eq!(schema.value["required"], json!(["sender"]));
        assert_eq!(schema.value["properties"]["count"]["type"], "integer");
    }
}
