//! YAML text to documents with positions. A document that cannot be read does not hide the ones behind it.
//!
//! Plain scalars mean what `kubectl` takes them for: `yes` and `on` are booleans and `0644` is octal.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput};

use crate::manifest::tree::{Entry, Node, NodeValue};

/// One document of a file.
pub(super) struct Document {
    /// From 1, counted by the `---` markers.
    pub(super) index: usize,
    pub(super) content: Result<Option<Node>, YamlError>,
}

/// Why a document cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct YamlError {
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) message: String,
}

/// Deepest nesting; the resources need about 15 levels.
const MAX_DEPTH: usize = 64;

/// Most values of one document, aliases counted as often as they are used.
const MAX_NODES: usize = 200_000;

/// Reads every document of a text.
pub(super) fn parse(text: &str) -> Vec<Document> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut documents: Vec<Document> = Vec::new();
    for (first_line, chunk) in split(text) {
        for content in parse_chunk(chunk, first_line) {
            documents.push(Document {
                index: documents.len() + 1,
                content,
            });
        }
    }
    documents
}

/// Cuts a text before each line that begins a document. YAML allows `---` at the start of a line nowhere else.
fn split(text: &str) -> Vec<(usize, &str)> {
    let mut starts = vec![(1, 0)];
    let mut offset = 0;
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let is_marker = line
            .strip_prefix("---")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace));
        if is_marker && offset > 0 {
            starts.push((number + 1, offset));
        }
        offset += line.len();
    }
    let ends = starts
        .iter()
        .skip(1)
        .map(|(_, start)| *start)
        .chain([text.len()]);
    let chunks = starts
        .iter()
        .zip(ends)
        .map(|((line, start), end)| (*line, &text[*start..end]));
    // Comments and directives before the first marker are no document.
    let mut chunks: Vec<_> = chunks.collect();
    if chunks.len() > 1
        && chunks[0]
            .1
            .lines()
            .all(|line| line.trim().is_empty() || line.starts_with(['#', '%']))
    {
        chunks.remove(0);
    }
    chunks
}

fn parse_chunk(chunk: &str, first_line: usize) -> Vec<Result<Option<Node>, YamlError>> {
    let mut reader = Reader {
        parser: Parser::new_from_str(chunk),
        first_line,
        anchors: HashMap::new(),
        nodes: 0,
    };
    let mut documents = Vec::new();
    loop {
        match reader.next_document() {
            Ok(Some(node)) => documents.push(Ok((!node.is_null()).then_some(node))),
            Ok(None) => break,
            Err(error) => {
                documents.push(Err(error));
                break;
            }
        }
    }
    if documents.is_empty() {
        documents.push(Ok(None));
    }
    documents
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    /// Line of the file the chunk begins on.
    first_line: usize,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<Option<(Event<'a>, Span)>, YamlError> {
        match self.parser.next_event() {
            None => Ok(None),
            Some(Ok(event)) => Ok(Some(event)),
            Some(Err(error)) => Err(self.scan_error(&error)),
        }
    }

    /// The next document of the chunk; `None` at its end.
    fn next_document(&mut self) -> Result<Option<Node>, YamlError> {
        while let Some((event, span)) = self.next()? {
            match event {
                Event::StreamEnd => return Ok(None),
                Event::StreamStart
                | Event::DocumentStart(_)
                | Event::DocumentEnd
                | Event::Nothing => {}
                event => return self.node(event, span, 0).map(Some),
            }
        }
        Ok(None)
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, YamlError> {
        self.nodes += 1;
        if depth > MAX_DEPTH {
            return Err(self.error(span, "the document is nested too deeply"));
        }
        if self.nodes > MAX_NODES {
            return Err(self.error(span, "the document holds too many values"));
        }
        let (line, column) = self.place(span);
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let is_core = tag.as_ref().is_none_or(|tag| tag.is_yaml_core_schema());
                if !is_core {
                    return Err(self.error(span, "tags of one's own have no meaning in manifests"));
                }
                let is_text = tag.is_some_and(|tag| tag.suffix == "str");
                let value = if is_text || style != ScalarStyle::Plain {
                    NodeValue::Text(text.into_owned())
                } else {
                    resolve(&text)
                };
                (value, anchor)
            }
            Event::SequenceStart(anchor, _) => (self.sequence(depth)?, anchor),
            Event::MappingStart(anchor, _) => (self.mapping(span, depth)?, anchor),
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    return Err(self.error(
                        span,
                        "the alias names an anchor that is not complete before it",
                    ));
                };
                self.nodes += count(&node);
                return Ok(Node {
                    line,
                    column,
                    value: node.value,
                });
            }
            _ => return Err(self.error(span, "a value is expected here")),
        };
        let node = Node {
            line,
            column,
            value,
        };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn sequence(&mut self, depth: usize) -> Result<NodeValue, YamlError> {
        let mut items = Vec::new();
        while let Some((event, span)) = self.next()? {
            if event == Event::SequenceEnd {
                break;
            }
            items.push(self.node(event, span, depth + 1)?);
        }
        Ok(NodeValue::Sequence(items))
    }

    fn mapping(&mut self, start: Span, depth: usize) -> Result<NodeValue, YamlError> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut merged: Vec<Node> = Vec::new();
        while let Some((event, span)) = self.next()? {
            if event == Event::MappingEnd {
                break;
            }
            let is_merge =
                matches!(&event, Event::Scalar(text, ScalarStyle::Plain, ..) if text == "<<");
            // A key is a word whatever it would mean as a value: `y: 1` has the key `y`.
            let Event::Scalar(key, ..) = event else {
                return Err(self.error(span, "a key must be a plain word"));
            };
            let (line, column) = self.place(span);
            let Some((event, value_span)) = self.next()? else {
                return Err(self.error(start, "the mapping does not end"));
            };
            let value = self.node(event, value_span, depth + 1)?;
            if is_merge {
                merged.push(value);
                continue;
            }
            let is_duplicate = entries.iter().any(|entry| entry.key == key);
            entries.push(Entry {
                key: key.into_owned(),
                line,
                column,
                value,
                is_duplicate,
            });
        }
        for node in merged {
            self.merge(&mut entries, node, start)?;
        }
        Ok(NodeValue::Mapping(entries))
    }

    /// Adds the entries of a `<<` that are not there yet.
    fn merge(&self, entries: &mut Vec<Entry>, node: Node, span: Span) -> Result<(), YamlError> {
        match node.value {
            NodeValue::Mapping(added) => {
                for entry in added {
                    if !entry.is_duplicate
                        && !entries.iter().any(|present| present.key == entry.key)
                    {
                        entries.push(entry);
                    }
                }
                Ok(())
            }
            NodeValue::Sequence(items) => items.into_iter().try_for_each(|item| match item.value {
                NodeValue::Mapping(_) => self.merge(entries, item, span),
                _ => Err(self.error(span, "`<<` takes a mapping or a list of mappings")),
            }),
            _ => Err(self.error(span, "`<<` takes a mapping or a list of mappings")),
        }
    }

    fn place(&self, span: Span) -> (usize, usize) {
        (
            span.start.line() + self.first_line - 1,
            span.start.col() + 1,
        )
    }

    fn error(&self, span: Span, message: &str) -> YamlError {
        let (line, column) = self.place(span);
        YamlError {
            line,
            column,
            message: message.to_owned(),
        }
    }

    fn scan_error(&self, error: &ScanError) -> YamlError {
        YamlError {
            line: error.marker().line() + self.first_line - 1,
            column: error.marker().col() + 1,
            message: error.info().to_owned(),
        }
    }
}

fn count(node: &Node) -> usize {
    match &node.value {
        NodeValue::Sequence(items) => 1 + items.iter().map(count).sum::<usize>(),
        NodeValue::Mapping(entries) => {
            1 + entries
                .iter()
                .map(|entry| count(&entry.value))
                .sum::<usize>()
        }
        _ => 1,
    }
}

/// What a plain scalar means.
fn resolve(text: &str) -> NodeValue {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => NodeValue::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "y" | "Y" | "on" | "On" | "ON" => {
            NodeValue::Bool(true)
        }
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "n" | "N" | "off" | "Off" | "OFF" => {
            NodeValue::Bool(false)
        }
        _ => match integer(text) {
            Some(number) => NodeValue::Int(number),
            None if is_number(text) => NodeValue::Float(text.to_owned()),
            None => NodeValue::Text(text.to_owned()),
        },
    }
}

fn integer(text: &str) -> Option<i64> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => ("-", &text[1..]),
        b'+' => ("", &text[1..]),
        _ => ("", text),
    };
    if !digits.as_bytes().first()?.is_ascii_digit() {
        return None;
    }
    let (radix, digits) = match digits.get(..2) {
        Some("0x" | "0X") => (16, &digits[2..]),
        Some("0o" | "0O") => (8, &digits[2..]),
        Some("0b" | "0B") => (2, &digits[2..]),
        Some(_)
            if digits.starts_with('0')
                && digits.bytes().all(|byte| (b'0'..=b'7').contains(&byte)) =>
        {
            (8, digits)
        }
        _ => (10, digits),
    };
    let is_digits = !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(radix));
    is_digits
        .then(|| i64::from_str_radix(&format!("{sign}{digits}"), radix).ok())
        .flatten()
}

/// Whether a text is a decimal number, with point or exponent or of more than 64 bits.
fn is_number(text: &str) -> bool {
    let begins_like_one = text
        .trim_start_matches(['+', '-'])
        .strip_prefix('.')
        .unwrap_or(text.trim_start_matches(['+', '-']))
        .starts_with(|first: char| first.is_ascii_digit());
    begins_like_one && text.parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests;
