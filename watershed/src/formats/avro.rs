//! Avro: records as bare datums for a stream, and as object container files.
//!
//! The schema is fetched, not ours: an [`Encoder`] is made by holding it against our fields once,
//! so that a field which one side lacks is an error by name before anything is read.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_avro_fast::object_container_file_encoding::WriterBuilder;
use serde_avro_fast::ser::SerializerConfig;
use serde_avro_fast::{Schema, to_datum_vec};
use serde_json::Value as Json;

use crate::connectors::http::{Http, without_secrets};
use crate::connectors::objects::local_path;
use crate::error::{Error, OrFail as _, Remedy, Result};
use crate::retry::{Policy, retry};

/// The value of one field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Field<'a> {
    /// Nothing.
    Null,
    /// A text.
    Text(&'a str),
    /// A whole number.
    Integer(i32),
    /// A truth value.
    Boolean(bool),
}

impl<'a> From<Option<&'a str>> for Field<'a> {
    fn from(text: Option<&'a str>) -> Field<'a> {
        text.map_or(Field::Null, Field::Text)
    }
}

impl From<Option<i32>> for Field<'_> {
    fn from(number: Option<i32>) -> Self {
        number.map_or(Field::Null, Field::Integer)
    }
}

impl Field<'_> {
    /// The value as JSON.
    pub fn to_json(self) -> Json {
        match self {
            Field::Null => Json::Null,
            Field::Text(text) => text.into(),
            Field::Integer(number) => number.into(),
            Field::Boolean(truth) => truth.into(),
        }
    }
}

/// A record that can be encoded.
pub trait Record {
    /// Names of the fields, in our order.
    const FIELDS: &'static [&'static str];
    /// Those that an older schema may lack: they are then left out, with a warning.
    const NEWER: &'static [&'static str];
    /// Values of the fields, in the order of [`Record::FIELDS`].
    fn values(&self) -> Vec<Field<'_>>;

    /// The record as a JSON object.
    fn to_json(&self) -> Json {
        let values = Self::FIELDS.iter().zip(self.values());
        Json::Object(
            values
                .map(|(name, value)| ((*name).to_owned(), value.to_json()))
                .collect(),
        )
    }
}

/// Encodes our records for one schema.
#[derive(Clone)]
pub struct Encoder(Arc<Inner>);

struct Inner {
    schema: Schema,
    name: String,
    fields: Vec<SchemaField>,
}

struct SchemaField {
    name: String,
    source: Source,
    types: Vec<String>,
    /// The kinds of our values that one of the types takes, a bit each.
    takes: u8,
}

/// Where a schema field's value comes from.
enum Source {
    /// Our field at this place.
    Ours(usize),
    /// Nothing of ours: the schema's default, or null.
    Default(Json),
}

/// Why a record does not fit the schema: field and types, without the value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Unfit(String);

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Encoder {
    /// Holds a schema (JSON text) against the fields of `R`; `place` is where it came from.
    ///
    /// # Errors
    /// [`Remedy::FixSettings`] when the text is no Avro record schema, when it has a field that
    /// we do not know and that admits neither null nor has a default, or lacks one of ours.
    pub fn new<R: Record>(schema: &str, place: &str) -> Result<Encoder> {
        let what = || format!("reading the Avro schema from {place}");
        let fix = |why: String| Error::new(Remedy::FixSettings, what()).caused_by(why);
        let json: Json = serde_json::from_str(schema).or_fail(Remedy::FixSettings, what)?;
        let parsed: Schema = schema.parse().or_fail(Remedy::FixSettings, what)?;
        let described = json.get("fields").and_then(Json::as_array);
        let described = described.ok_or_else(|| fix("it is not the schema of a record".into()))?;

        let mut fields = Vec::with_capacity(described.len());
        for field in described {
            let name = field
                .get("name")
                .and_then(Json::as_str)
                .unwrap_or_default()
                .to_owned();
            let types = type_names(field.get("type").unwrap_or(&Json::Null));
            let ours = R::FIELDS.iter().position(|ours| *ours == name);
            let source = if let Some(place) = ours {
                Source::Ours(place)
            } else if types.iter().any(|t| t == "null") {
                tracing::warn!(
                    "the schema's field {name} is not known here: it is written as null"
                );
                Source::Default(Json::Null)
            } else if let Some(default) = field.get("default") {
                tracing::warn!(
                    "the schema's field {name} is not known here: its default is written"
                );
                Source::Default(default.clone())
            } else {
                return Err(fix(format!(
                    "its field {name} is not known here, and it admits neither null nor has a default"
                )));
            };
            fields.push(SchemaField {
                name,
                source,
                takes: kinds_taken(&types),
                types,
            });
        }
        for ours in R::FIELDS {
            if fields.iter().any(|field| field.name == *ours) {
                continue;
            }
            if !R::NEWER.contains(ours) {
                return Err(fix(format!("it lacks the field {ours}")));
            }
            tracing::warn!("the schema lacks the field {ours}: it is left out");
        }
        let name = json
            .get("name")
            .and_then(Json::as_str)
            .unwrap_or("record")
            .to_owned();
        Ok(Encoder(Arc::new(Inner {
            schema: parsed,
            name,
            fields,
        })))
    }

    /// Whether a record's values are of the kinds that the schema expects. It hangs on the kinds
    /// alone, so that a pipeline of few kinds of records need not ask it of each.
    ///
    /// # Errors
    /// When one is not; it names the field and not the value.
    pub fn check<R: Record>(&self, record: &R) -> Result<(), Unfit> {
        self.0.check(&record.values())
    }

    /// Starts encoding records as bare datums.
    pub fn start(&self) -> Encoding<'_> {
        Encoding {
            encoder: &self.0,
            config: SerializerConfig::new(&self.0.schema),
        }
    }

    /// An object container file (Avro 1.11, no compression) of datums that [`Encoding::encode`]
    /// made.
    pub fn container<'a>(&self, datums: impl Iterator<Item = &'a [u8]>) -> Result<Vec<u8>> {
        let what = || "writing an Avro object container file".to_owned();
        let mut config = SerializerConfig::new(&self.0.schema);
        let mut writer = WriterBuilder::new(&mut config)
            .build(Vec::new())
            .or_fail(Remedy::ReportBug, what)?;
        for datum in datums {
            writer
                .push_serialized(datum, 1)
                .or_fail(Remedy::ReportBug, what)?;
        }
        writer.into_inner().or_fail(Remedy::ReportBug, what)
    }
}

impl Inner {
    fn check(&self, values: &[Field<'_>]) -> Result<(), Unfit> {
        for field in &self.fields {
            if let Source::Ours(place) = field.source {
                field.fits(values[place])?;
            }
        }
        Ok(())
    }
}

/// Encodes one record after another.
pub struct Encoding<'a> {
    encoder: &'a Inner,
    config: SerializerConfig<'a>,
}

impl Encoding<'_> {
    /// The record's bare datum: no container, no header, no fingerprint.
    ///
    /// # Errors
    /// When a value does not fit the schema; it names the field and not the value.
    pub fn encode<R: Record>(&mut self, record: &R) -> Result<Vec<u8>, Unfit> {
        let values = record.values();
        self.encoder.check(&values)?;
        let ordered = InSchemaOrder {
            fields: &self.encoder.fields,
            values: &values,
        };
        // The library's message could repeat a value.
        to_datum_vec(&ordered, &mut self.config)
            .map_err(|_| Unfit("the record does not fit the schema".into()))
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Encoder({})", self.0.name)
    }
}

/// Fetches a schema: `file:path.avsc`, or the schema API's answer, whose `data.schema` is the
/// schema as a JSON text.
pub async fn fetch_schema(url: &str, policy: &Policy) -> Result<String> {
    // Alarms look for these words.
    let what = format!("Failed to retrieve schema from {}", without_secrets(url));
    if let Some(path) = url.strip_prefix("file:") {
        return std::fs::read_to_string(local_path(path)).or_fail(Remedy::FixSettings, || what);
    }
    let http = Http::new(Duration::from_secs(60))?;
    let body = retry(policy, &what, || http.text(&what, http.get(url))).await?;
    let fix = |why: &str| Error::new(Remedy::FixSettings, &*what).caused_by(why);
    let answer: Json = serde_json::from_str(&body).map_err(|_| fix("the answer is not JSON"))?;
    let schema = answer.pointer("/data/schema").and_then(Json::as_str);
    schema
        .map(str::to_owned)
        .ok_or_else(|| fix("the answer has no text at data.schema"))
}

fn type_names(kind: &Json) -> Vec<String> {
    match kind {
        Json::String(name) => vec![name.clone()],
        Json::Array(variants) => variants.iter().flat_map(type_names).collect(),
        Json::Object(described) => described.get("type").map(type_names).unwrap_or_default(),
        _ => Vec::new(),
    }
}

/// The kinds of values, and the types that take them.
const KINDS: [(&str, &[&str]); 4] = [
    ("null", &["null"]),
    ("a text", &["string", "enum"]),
    ("a whole number", &["int", "long", "float", "double"]),
    ("a boolean", &["boolean"]),
];

impl Field<'_> {
    /// Place of its kind in [`KINDS`].
    fn kind(self) -> usize {
        match self {
            Field::Null => 0,
            Field::Text(_) => 1,
            Field::Integer(_) => 2,
            Field::Boolean(_) => 3,
        }
    }
}

fn kinds_taken(types: &[String]) -> u8 {
    let kinds = KINDS.iter().enumerate();
    let taken = kinds.filter(|(_, (_, takers))| types.iter().any(|t| takers.contains(&t.as_str())));
    taken.fold(0, |taken, (kind, _)| taken | 1 << kind)
}

impl SchemaField {
    fn fits(&self, value: Field<'_>) -> Result<(), Unfit> {
        if self.takes & 1 << value.kind() != 0 {
            return Ok(());
        }
        let (kind, _) = KINDS[value.kind()];
        let (name, types) = (&self.name, self.types.join(" or "));
        Err(Unfit(format!(
            "field {name} is {kind}, and the schema expects {types}"
        )))
    }
}

struct InSchemaOrder<'a> {
    fields: &'a [SchemaField],
    values: &'a [Field<'a>],
}

impl Serialize for InSchemaOrder<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.fields.len()))?;
        for field in self.fields {
            match &field.source {
                Source::Ours(place) => map.serialize_entry(&field.name, &self.values[*place])?,
                Source::Default(default) => map.serialize_entry(&field.name, default)?,
            }
        }
        map.end()
    }
}

impl Serialize for Field<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Field::Null => serializer.serialize_unit(),
            Field::Text(text) => serializer.serialize_str(text),
            Field::Integer(number) => serializer.serialize_i32(*number),
            Field::Boolean(truth) => serializer.serialize_bool(*truth),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Visit {
        site: Option<&'static str>,
        enters: Option<i32>,
        healthy: bool,
    }

    impl Record for Visit {
        const FIELDS: &'static [&'static str] = &["site", "enters", "healthy"];
        const NEWER: &'static [&'static str] = &["healthy"];
        fn values(&self) -> Vec<Field<'_>> {
            vec![
                self.site.into(),
                self.enters.into(),
                Field::Boolean(self.healthy),
            ]
        }
    }

    const SITE: &str = r#"{"name": "site", "type": ["null", "string"]}"#;
    const ENTERS: &str = r#"{"name": "enters", "type": "int"}"#;
    const HEALTHY: &str = r#"{"name": "healthy", "type": "boolean"}"#;

    fn schema(fields: &[&str]) -> String {
        format!(
            r#"{{"name": "Visit", "type": "record", "fields": [{}]}}"#,
            fields.join(",")
        )
    }

    fn encoder(fields: &[&str]) -> Result<Encoder> {
        Encoder::new::<Visit>(&schema(fields), "the test")
    }

    fn visits(enters: impl IntoIterator<Item = Option<i32>>) -> Vec<Visit> {
        enters
            .into_iter()
            .map(|enters| Visit {
                site: Some("aa"),
                enters,
                healthy: true,
            })
            .collect()
    }

    #[test]
    fn fields_are_written_in_the_order_of_the_schema() {
        let records = visits([Some(3)]);
        let encode = |fields: &[&str]| {
            encoder(fields)
                .unwrap()
                .start()
                .encode(&records[0])
                .unwrap()
        };
        assert_eq!(encode(&[SITE, ENTERS, HEALTHY]), [2, 4, b'a', b'a', 6, 1]);
        assert_eq!(encode(&[HEALTHY, ENTERS, SITE]), [1, 6, 2, 4, b'a', b'a']);
        assert_eq!(encode(&[SITE, ENTERS]), [2, 4, b'a', b'a', 6]);
        let more = [
            SITE,
            ENTERS,
            HEALTHY,
            r#"{"name": "a", "type": ["null", "int"]}"#,
            r#"{"name": "b", "type": "string", "default": "x"}"#,
        ];
        assert_eq!(encode(&more), [2, 4, b'a', b'a', 6, 1, 0, 2, b'x']);
    }

    #[test]
    fn a_field_that_one_side_lacks_is_an_error_by_name() {
        let lacking = encoder(&[SITE, HEALTHY]).unwrap_err();
        assert!(
            format!("{lacking:?}").contains("it lacks the field enters"),
            "{lacking:?}"
        );
        let more =
            encoder(&[SITE, ENTERS, r#"{"name": "weather", "type": "string"}"#]).unwrap_err();
        assert!(
            format!("{more:?}").contains("field weather is not known"),
            "{more:?}"
        );
        for text in [
            "<html>",
            "{",
            "[]",
            "\"string\"",
            "{}",
            r#"{"type": "record"}"#,
        ] {
            let error = Encoder::new::<Visit>(text, "the test").unwrap_err();
            assert_eq!(error.remedy(), Remedy::FixSettings, "{text}");
        }
    }

    #[test]
    fn a_record_that_does_not_fit_is_named_by_field() {
        let encoder = encoder(&[SITE, ENTERS, HEALTHY]).unwrap();
        let records = visits([Some(1), None]);
        let mut encoding = encoder.start();
        assert!(encoding.encode(&records[0]).is_ok());
        assert_eq!(
            encoding.encode(&records[1]).unwrap_err().to_string(),
            "field enters is null, and the schema expects int"
        );
    }
}
