//! What is loaded: the entities that a YAML file declares.

mod fields;

use std::collections::HashSet;
use std::path::Path;

use watershed::connectors::sql::identifier;
use watershed::formats::values::ColumnType;

use super::yaml::{self, Node, Value};
use fields::{Faults, Fields, field, scalar};

/// Columns of the staging tables begin like this; an entity's must not.
const RESERVED: &str = "loader_";

/// A source and its process.
pub(super) struct Entities {
    /// First part of every topic.
    pub source: String,
    pub process: String,
    /// Folder in the bucket.
    pub schema: String,
    pub has_event_id: bool,
    /// In the order of their declaration.
    pub list: Vec<Entity>,
}

/// A table of the source, and the one it is loaded into.
#[derive(Clone, Debug)]
pub(super) struct Entity {
    /// Folder in the bucket.
    pub name: String,
    /// The target table as it was written.
    pub table: String,
    /// Its name, quoted.
    pub quoted_table: String,
    pub columns: Vec<Column>,
    /// Places of the key's columns among them.
    pub key: Vec<usize>,
    /// Place of the event's id among them.
    pub event_id: Option<usize>,
    /// Whether a full-load file is the complete table.
    pub snapshot: bool,
    pub form: Form,
}

#[derive(Clone, Debug)]
pub(super) struct Column {
    pub name: String,
    pub quoted: String,
    pub kind: ColumnType,
    pub not_null: bool,
}

/// What the migration task writes into its files beside the columns.
#[derive(Clone, Debug)]
pub(super) struct Form {
    pub header: bool,
    pub operation_in_full_load: bool,
    pub timestamp_column: bool,
    /// Unquoted, it stands for no value.
    pub null_value: String,
}

impl Entities {
    /// Reads a file.
    ///
    /// # Errors
    /// Every fault, with file and line.
    pub(super) fn read(path: &Path) -> Result<Entities, Vec<String>> {
        let place = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|error| vec![format!("reading {place}: {error}")])?;
        Entities::parse(&text, &place)
    }

    /// Reads a file's text; `place` names it in messages.
    pub(super) fn parse(text: &str, place: &str) -> Result<Entities, Vec<String>> {
        let root = yaml::parse(text).map_err(|fault| vec![format!("{place}, {fault}")])?;
        let mut faults = Faults::of(place);
        let entities = faults.entities(&root);
        match entities {
            Some(entities) if faults.found.is_empty() => Ok(entities),
            _ => Err(faults.found),
        }
    }
}

impl Entity {
    /// The key's columns.
    pub(super) fn key_columns(&self) -> impl Iterator<Item = &Column> {
        self.key.iter().map(|place| &self.columns[*place])
    }

    /// All other columns.
    pub(super) fn other_columns(&self) -> impl Iterator<Item = &Column> {
        let columns = self.columns.iter().enumerate();
        columns
            .filter(|(place, _)| !self.key.contains(place))
            .map(|(_, column)| column)
    }
}

impl Faults<'_> {
    fn entities(&mut self, root: &Node) -> Option<Entities> {
        const KNOWN: &[&str] = &[
            "source",
            "process",
            "schema",
            "event_id",
            "header",
            "operation_in_full_load",
            "timestamp_column",
            "null_value",
            "entities",
        ];
        let fields = self.fields(root, KNOWN, "a mapping of names to values")?;
        let source = self.required(&fields, "source", root.line);
        let process = self.required(&fields, "process", root.line);
        for (name, value) in [("source", &source), ("process", &process)] {
            if let (Some(value), Some(node)) = (value, field(&fields, name)) {
                self.topic_part(name, value, node.line);
            }
        }
        let schema = self.required(&fields, "schema", root.line);
        let event_id = field(&fields, "event_id").and_then(|node| {
            Some((
                self.text(node, "a column's name")?.to_lowercase(),
                node.line,
            ))
        });
        let form = self.form(
            &fields,
            Form {
                header: false,
                operation_in_full_load: false,
                timestamp_column: false,
                null_value: "NULL".into(),
            },
        );
        let nodes = match field(&fields, "entities") {
            Some(Node {
                value: Value::List(nodes),
                ..
            }) if !nodes.is_empty() => nodes.as_slice(),
            Some(node) => {
                self.fault(
                    node.line,
                    "`entities`: expected a list of at least one entity",
                );
                &[]
            }
            None => {
                self.fault(root.line, "the field `entities` is missing");
                &[]
            }
        };
        let list: Vec<Entity> = nodes
            .iter()
            .filter_map(|node| self.entity(node, &form, event_id.as_ref().map(|(name, _)| &**name)))
            .collect();
        self.no_duplicates(nodes, "name", "entity");
        self.no_shared_table(nodes);
        if let Some((name, line)) = &event_id
            && !list.is_empty()
            && list.iter().all(|entity| entity.event_id.is_none())
        {
            self.fault(
                *line,
                format_args!("`event_id`: no entity has a column `{name}`"),
            );
        }
        Some(Entities {
            source: source?,
            process: process?,
            schema: schema?,
            has_event_id: event_id.is_some(),
            list,
        })
    }

    fn entity(&mut self, node: &Node, form: &Form, event_id: Option<&str>) -> Option<Entity> {
        const KNOWN: &[&str] = &[
            "name",
            "table",
            "key",
            "columns",
            "snapshot",
            "header",
            "operation_in_full_load",
            "timestamp_column",
            "null_value",
        ];
        let fields = self.fields(node, KNOWN, "an entity")?;
        let name = self.required(&fields, "name", node.line);
        if let Some(name) = name.as_deref().filter(|name| name.contains('/')) {
            self.fault(
                node.line,
                format_args!("`{name}`: a folder's name has no slash"),
            );
        }
        let table = match field(&fields, "table") {
            Some(node) => self
                .text(node, "a table's name")
                .map(|text| (text, node.line)),
            None => name.clone().map(|name| (name, node.line)),
        };
        let quoted_table = table.as_ref().and_then(|(table, line)| {
            let quoted = identifier(table);
            quoted.map_err(|error| self.fault(*line, error)).ok()
        });
        let columns = match field(&fields, "columns") {
            Some(node) => self.columns(node),
            None => {
                self.fault(node.line, "the field `columns` is missing");
                Vec::new()
            }
        };
        let key = match field(&fields, "key") {
            Some(node) => self.key(node, &columns),
            None => {
                self.fault(node.line, "the field `key` is missing");
                Vec::new()
            }
        };
        let mut columns = columns;
        for place in &key {
            columns[*place].not_null = true;
        }
        let event_id = event_id.and_then(|id| columns.iter().position(|column| column.name == id));
        if let Some(column) = event_id.map(|place| &columns[place])
            && !column.kind.is_integer()
        {
            let words = format!(
                "`{}`: the column of `event_id` is a whole number, not `{}`",
                column.name, column.kind
            );
            self.fault(node.line, words);
        }
        let snapshot = self.flag(&fields, "snapshot", false);
        let form = self.form(&fields, form.clone());
        Some(Entity {
            name: name?,
            table: table?.0.to_lowercase(),
            quoted_table: quoted_table?,
            columns,
            key,
            event_id,
            snapshot,
            form,
        })
    }

    fn columns(&mut self, node: &Node) -> Vec<Column> {
        let Value::Mapping(pairs) = &node.value else {
            self.fault(node.line, "`columns`: expected a mapping of names to types");
            return Vec::new();
        };
        if pairs.is_empty() || pairs.len() > 1_500 {
            self.fault(node.line, "`columns`: expected 1 to 1500 of them");
        }
        let mut seen = HashSet::new();
        let mut columns = Vec::new();
        for (name, kind) in pairs {
            let (Some(word), Some(text)) = (
                self.text(name, "a column's name"),
                self.text(kind, "a type"),
            ) else {
                continue;
            };
            let lower = word.to_lowercase();
            if !seen.insert(lower.clone()) {
                self.fault(
                    name.line,
                    format_args!("the column `{word}` stands there twice"),
                );
            }
            if lower.starts_with(RESERVED) || word.contains('.') {
                self.fault(name.line, format_args!("`{word}`: a column's name has no dot in it and does not begin with `{RESERVED}`"));
            }
            let quoted = match identifier(&word) {
                Ok(quoted) => quoted,
                Err(_) => {
                    self.fault(
                        name.line,
                        format_args!("`{word}`: a column's name is made of letters, digits and _"),
                    );
                    continue;
                }
            };
            let lower_text = text.to_lowercase();
            let (kind_text, not_null) = match lower_text.trim_end().strip_suffix("not null") {
                Some(rest) => (&text[..rest.len()], true),
                None => (&*text, false),
            };
            let known = ColumnType::parse(kind_text);
            if known.is_none() {
                self.fault(kind.line, format_args!("column `{word}`: unknown type `{text}`: expected smallint, int, bigint, numeric(p,s), double, text, varchar(n), boolean, date, time, timestamp, timestamptz, uuid, jsonb or bytea, each with `not null` or without"));
            }
            columns.push(Column {
                name: lower,
                quoted,
                // Behind a fault any type will do: the column is there for the key and the event.
                kind: known.unwrap_or(ColumnType::BigInt),
                not_null,
            });
        }
        columns
    }

    fn key(&mut self, node: &Node, columns: &[Column]) -> Vec<usize> {
        let nodes = match &node.value {
            Value::List(nodes) => nodes.as_slice(),
            _ => std::slice::from_ref(node),
        };
        if nodes.is_empty() {
            self.fault(node.line, "`key`: expected at least one column");
        }
        let mut key = Vec::new();
        for node in nodes {
            let Some(word) = self.text(node, "a column's name") else {
                continue;
            };
            match columns
                .iter()
                .position(|column| column.name == word.to_lowercase())
            {
                Some(place) if key.contains(&place) => {
                    self.fault(
                        node.line,
                        format_args!("`key`: `{word}` stands there twice"),
                    );
                }
                Some(place) => key.push(place),
                None => self.fault(
                    node.line,
                    format_args!("`key`: `{word}` is no column of this entity"),
                ),
            }
        }
        key
    }

    fn form(&mut self, fields: &Fields<'_>, default: Form) -> Form {
        Form {
            header: self.flag(fields, "header", default.header),
            operation_in_full_load: self.flag(
                fields,
                "operation_in_full_load",
                default.operation_in_full_load,
            ),
            timestamp_column: self.flag(fields, "timestamp_column", default.timestamp_column),
            null_value: field(fields, "null_value")
                .and_then(|node| self.text_or_nothing(node))
                .unwrap_or(default.null_value),
        }
    }

    /// A part of a topic of NATS.
    fn topic_part(&mut self, name: &str, text: &str, line: usize) {
        if text
            .contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '.' | '*' | '>'))
        {
            self.fault(
                line,
                format_args!(
                    "`{name}`: `{text}`: a part of a topic has no blanks and none of . * >"
                ),
            );
        }
    }

    /// Two entities would count each other's rows.
    fn no_shared_table(&mut self, nodes: &[Node]) {
        let mut seen = HashSet::new();
        let mut names = HashSet::new();
        for node in nodes {
            let name = scalar(node, "name");
            let table = scalar(node, "table").or(name);
            // An entity that stands there twice was told already.
            let again = name.is_some_and(|(name, _)| !names.insert(name));
            if let Some((table, line)) = table
                && !seen.insert(table.to_lowercase())
                && !again
            {
                self.fault(
                    line,
                    format_args!("the table `{table}` belongs to another entity already"),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests;
