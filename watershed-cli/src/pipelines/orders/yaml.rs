//! YAML with the lines of its words, which serde's readers do not keep.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, Span};

/// A part of a document, and the line where it begins, from 1.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub line: usize,
    pub value: Value,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    Scalar(String),
    List(Vec<Node>),
    /// Names and values, in order, with those that come twice.
    Mapping(Vec<(Node, Node)>),
}

/// Reads a document; the error says line and reason.
pub(super) fn parse(text: &str) -> Result<Node, String> {
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, span) =
            event.map_err(|fault| format!("line {}: {}", fault.marker().line(), fault.info()))?;
        builder.take(event, span)?;
    }
    Ok(builder.root.unwrap_or(Node {
        line: 1,
        value: Value::Mapping(Vec::new()),
    }))
}

#[derive(Default)]
struct Builder {
    /// Lists and mappings that are not complete, the innermost last.
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    root: Option<Node>,
}

struct Open {
    node: Node,
    anchor: usize,
    /// A mapping's name that waits for its value.
    name: Option<Node>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), String> {
        let line = span.start.line();
        let mut begin = |value, anchor| {
            self.open.push(Open {
                node: Node { line, value },
                anchor,
                name: None,
            });
        };
        match event {
            Event::Scalar(text, _, anchor, _) => {
                let value = Value::Scalar(text.into_owned());
                self.complete(Node { line, value }, anchor);
            }
            Event::SequenceStart(anchor, _) => begin(Value::List(Vec::new()), anchor),
            Event::MappingStart(anchor, _) => begin(Value::Mapping(Vec::new()), anchor),
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(open) = self.open.pop() {
                    self.complete(open.node, open.anchor);
                }
            }
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).cloned();
                let node = node.ok_or_else(|| format!("line {line}: an unknown alias"))?;
                self.complete(node, 0);
            }
            Event::DocumentStart(_) if self.root.is_some() => {
                return Err(format!("line {line}: a second document"));
            }
            _ => {}
        }
        Ok(())
    }

    /// Puts a node where it belongs.
    fn complete(&mut self, node: Node, anchor: usize) {
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return;
        };
        match &mut open.node.value {
            Value::List(nodes) => nodes.push(node),
            Value::Mapping(pairs) => match open.name.take() {
                None => open.name = Some(node),
                Some(name) => pairs.push((name, node)),
            },
            Value::Scalar(_) => {}
        }
    }
}
