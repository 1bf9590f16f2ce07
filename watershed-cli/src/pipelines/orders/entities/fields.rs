//! The fields of a YAML mapping, and the faults found in them, each with its line.

use std::collections::HashSet;

use super::super::yaml::{Node, Value};

/// Reads on after a fault, so that all are told at once.
pub(super) struct Faults<'a> {
    place: &'a str,
    pub(super) found: Vec<String>,
}

/// The values of a mapping by name.
pub(super) type Fields<'n> = Vec<(&'n str, &'n Node)>;

impl Faults<'_> {
    pub(super) fn of(place: &str) -> Faults<'_> {
        Faults {
            place,
            found: Vec::new(),
        }
    }

    pub(super) fn fault(&mut self, line: usize, words: impl std::fmt::Display) {
        self.found
            .push(format!("{}, line {line}: {words}", self.place));
    }

    /// The values of a mapping whose names are all known and stand there once.
    pub(super) fn fields<'n>(
        &mut self,
        node: &'n Node,
        known: &[&str],
        what: &str,
    ) -> Option<Fields<'n>> {
        let Value::Mapping(pairs) = &node.value else {
            self.fault(node.line, format_args!("expected {what}"));
            return None;
        };
        let mut fields: Fields<'n> = Vec::new();
        for (name, value) in pairs {
            let Value::Scalar(word) = &name.value else {
                self.fault(name.line, "expected a field's name");
                continue;
            };
            if !known.contains(&&**word) {
                let words = format!(
                    "unknown field `{word}`: expected one of {}",
                    known.join(", ")
                );
                self.fault(name.line, words);
            } else if field(&fields, word).is_some() {
                self.fault(
                    name.line,
                    format_args!("the field `{word}` stands there twice"),
                );
            } else {
                fields.push((word, value));
            }
        }
        Some(fields)
    }

    pub(super) fn required(
        &mut self,
        fields: &Fields<'_>,
        name: &str,
        line: usize,
    ) -> Option<String> {
        match field(fields, name) {
            Some(node) => self.text(node, name),
            None => {
                self.fault(line, format_args!("the field `{name}` is missing"));
                None
            }
        }
    }

    pub(super) fn text(&mut self, node: &Node, what: &str) -> Option<String> {
        let text = self.text_or_nothing(node)?;
        if text.trim().is_empty() {
            self.fault(node.line, format_args!("expected {what}, found nothing"));
            return None;
        }
        Some(text)
    }

    pub(super) fn text_or_nothing(&mut self, node: &Node) -> Option<String> {
        match &node.value {
            Value::Scalar(text) => Some(text.clone()),
            _ => {
                self.fault(node.line, "expected text");
                None
            }
        }
    }

    pub(super) fn flag(&mut self, fields: &Fields<'_>, name: &str, default: bool) -> bool {
        let Some(node) = field(fields, name) else {
            return default;
        };
        let text = self.text_or_nothing(node).unwrap_or_default();
        match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" => true,
            "false" | "no" | "off" => false,
            _ => {
                self.fault(
                    node.line,
                    format_args!("`{name}`: `{text}`: expected true or false"),
                );
                default
            }
        }
    }

    pub(super) fn no_duplicates(&mut self, nodes: &[Node], name: &str, what: &str) {
        let mut seen = HashSet::new();
        for (text, line) in nodes.iter().filter_map(|node| scalar(node, name)) {
            if !seen.insert(text) {
                self.fault(line, format_args!("the {what} `{text}` stands there twice"));
            }
        }
    }
}

pub(super) fn field<'n>(fields: &Fields<'n>, name: &str) -> Option<&'n Node> {
    fields
        .iter()
        .find(|(there, _)| *there == name)
        .map(|(_, node)| *node)
}

/// A field of a mapping that is text, and its line.
pub(super) fn scalar<'n>(node: &'n Node, name: &str) -> Option<(&'n str, usize)> {
    let Value::Mapping(pairs) = &node.value else {
        return None;
    };
    pairs
        .iter()
        .find_map(|(there, value)| match (&there.value, &value.value) {
            (Value::Scalar(there), Value::Scalar(text)) if there == name => {
                Some((text.as_str(), value.line))
            }
            _ => None,
        })
}
