//! From template text to nodes.

use serde_json::Value;

use super::TemplateError;

/// Nested blocks and parentheses beyond this depth are refused.
const MAX_DEPTH: usize = 64;

/// A piece of a template.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// Text as it stands.
    Text(String),
    /// A pipeline whose value is printed.
    Print(Pipeline),
    /// `if`, with what follows `else`.
    If(Pipeline, Vec<Node>, Vec<Node>),
    /// `with`.
    With(Pipeline, Vec<Node>, Vec<Node>),
    /// `range`.
    Range(Pipeline, Vec<Node>, Vec<Node>),
}

/// Commands whose results feed each other.
pub type Pipeline = Vec<Vec<Term>>;

/// An operand of a command.
#[derive(Debug, Clone, PartialEq)]
pub enum Term {
    /// `.A.B`: from the current value; `.` alone is the value itself.
    Field(Vec<String>),
    /// `$.A.B`: from the data given to the template.
    Root(Vec<String>),
    /// A text, number or boolean.
    Literal(Value),
    /// A function.
    Function(String),
    /// A pipeline in parentheses.
    Group(Pipeline),
}

/// Parses a whole template.
pub fn parse(text: &str) -> Result<Vec<Node>, TemplateError> {
    let mut parts = split(text)?.into_iter().peekable();
    let mut parser = Blocks { parts: &mut parts };
    let (nodes, end) = parser.block(0)?;
    match end {
        End::Text => Ok(nodes),
        End::Block | End::Else(_) => Err(malformed("`end` or `else` without a block")),
    }
}

fn malformed(reason: impl Into<String>) -> TemplateError {
    TemplateError::Malformed {
        reason: reason.into(),
    }
}

enum Part {
    Text(String),
    Action(String),
}

/// Splits text from actions and applies the trim markers.
fn split(text: &str) -> Result<Vec<Part>, TemplateError> {
    let mut parts = Vec::new();
    let mut rest = text;
    let mut trims_next = false;
    while let Some(start) = rest.find("{{") {
        let mut before = &rest[..start];
        let mut action = &rest[start + 2..];
        if trims_next {
            before = before.trim_start();
        }
        if let Some(trimmed) = action.strip_prefix("- ") {
            before = before.trim_end();
            action = trimmed;
        }
        let end = action_end(action).ok_or_else(|| malformed("an action is not closed by `}}`"))?;
        rest = &action[end + 2..];
        let mut body = &action[..end];
        trims_next = body.ends_with(" -");
        if trims_next {
            body = &body[..body.len() - 2];
        }
        parts.push(Part::Text(before.to_owned()));
        let body = body.trim();
        if !(body.starts_with("/*") && body.ends_with("*/")) {
            parts.push(Part::Action(body.to_owned()));
        }
    }
    parts.push(Part::Text(
        if trims_next { rest.trim_start() } else { rest }.to_owned(),
    ));
    Ok(parts)
}

/// Where `}}` closes the action, texts in quotes left aside.
fn action_end(action: &str) -> Option<usize> {
    let bytes = action.as_bytes();
    let mut quote = None;
    let mut at = 0;
    while at < bytes.len() {
        match (quote, bytes[at]) {
            (Some(b'"'), b'\\') => at += 1,
            (Some(open), byte) if byte == open => quote = None,
            (None, byte @ (b'"' | b'`')) => quote = Some(byte),
            (None, b'}') if bytes.get(at + 1) == Some(&b'}') => return Some(at),
            _ => {}
        }
        at += 1;
    }
    None
}

enum End {
    Text,
    Block,
    /// The rest of `else if …`, empty for a plain `else`.
    Else(String),
}

struct Blocks<'a, I: Iterator<Item = Part>> {
    parts: &'a mut I,
}

impl<I: Iterator<Item = Part>> Blocks<'_, I> {
    fn block(&mut self, depth: usize) -> Result<(Vec<Node>, End), TemplateError> {
        if depth > MAX_DEPTH {
            return Err(malformed("blocks are nested too deeply"));
        }
        let mut nodes = Vec::new();
        while let Some(part) = self.parts.next() {
            let action = match part {
                Part::Text(text) => {
                    if !text.is_empty() {
                        nodes.push(Node::Text(text));
                    }
                    continue;
                }
                Part::Action(action) => action,
            };
            let (word, rest) = action
                .split_once(char::is_whitespace)
                .unwrap_or((&action, ""));
            match word {
                "end" => return Ok((nodes, End::Block)),
                "else" => return Ok((nodes, End::Else(rest.trim().to_owned()))),
                "if" | "with" | "range" => nodes.push(self.branch(word, rest, depth)?),
                _ => nodes.push(Node::Print(pipeline(&action)?)),
            }
        }
        Ok((nodes, End::Text))
    }

    fn branch(&mut self, word: &str, condition: &str, depth: usize) -> Result<Node, TemplateError> {
        let condition = pipeline(condition)?;
        let (then, end) = self.block(depth + 1)?;
        let otherwise = match end {
            End::Block => Vec::new(),
            End::Text => return Err(malformed(format!("`{word}` has no `end`"))),
            End::Else(rest) if rest.is_empty() => match self.block(depth + 1)? {
                (nodes, End::Block) => nodes,
                _ => return Err(malformed(format!("`else` of `{word}` has no `end`"))),
            },
            // `else if` shares the `end` of its `if`.
            End::Else(rest) => match rest.split_once(char::is_whitespace) {
                Some(("if", rest)) => vec![self.branch("if", rest, depth + 1)?],
                _ => return Err(malformed(format!("`else {rest}`"))),
            },
        };
        Ok(match word {
            "if" => Node::If(condition, then, otherwise),
            "with" => Node::With(condition, then, otherwise),
            _ => Node::Range(condition, then, otherwise),
        })
    }
}

fn pipeline(text: &str) -> Result<Pipeline, TemplateError> {
    let mut letters = Letters { text, at: 0 };
    let pipeline = letters.pipeline(0)?;
    if letters.at < text.len() {
        return Err(malformed(format!("unexpected `{}`", &text[letters.at..])));
    }
    Ok(pipeline)
}

struct Letters<'a> {
    text: &'a str,
    at: usize,
}

impl Letters<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn skip_blanks(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn pipeline(&mut self, depth: usize) -> Result<Pipeline, TemplateError> {
        if depth > MAX_DEPTH {
            return Err(malformed("parentheses are nested too deeply"));
        }
        let mut commands = vec![Vec::new()];
        loop {
            self.skip_blanks();
            match self.rest().chars().next() {
                None | Some(')') => break,
                Some('|') => {
                    self.at += 1;
                    commands.push(Vec::new());
                }
                Some(_) => {
                    let term = self.term(depth)?;
                    if let Some(command) = commands.last_mut() {
                        command.push(term);
                    }
                }
            }
        }
        if commands.iter().any(Vec::is_empty) {
            return Err(malformed("an action or a part of a pipeline is empty"));
        }
        Ok(commands)
    }

    fn term(&mut self, depth: usize) -> Result<Term, TemplateError> {
        match self.rest().chars().next() {
            Some('(') => {
                self.at += 1;
                let group = self.pipeline(depth + 1)?;
                if !self.rest().starts_with(')') {
                    return Err(malformed("a parenthesis is not closed"));
                }
                self.at += 1;
                Ok(Term::Group(group))
            }
            Some('"') => self.quoted(),
            Some('`') => {
                let body = &self.rest()[1..];
                let end = body
                    .find('`')
                    .ok_or_else(|| malformed("a raw text is not closed"))?;
                let text = body[..end].to_owned();
                self.at += end + 2;
                Ok(Term::Literal(Value::String(text)))
            }
            _ => self.word(),
        }
    }

    /// A Go text in double quotes, whose escapes are those of JSON for all that hooks need.
    fn quoted(&mut self) -> Result<Term, TemplateError> {
        let rest = self.rest();
        let mut is_escaped = false;
        let end = rest
            .char_indices()
            .skip(1)
            .find(|(_, letter)| {
                let is_end = *letter == '"' && !is_escaped;
                is_escaped = *letter == '\\' && !is_escaped;
                is_end
            })
            .map(|(at, _)| at)
            .ok_or_else(|| malformed("a text is not closed"))?;
        let text = serde_json::from_str(&rest[..=end])
            .map_err(|_| malformed(format!("the text {} has an unknown escape", &rest[..=end])))?;
        self.at += end + 1;
        Ok(Term::Literal(text))
    }

    fn word(&mut self) -> Result<Term, TemplateError> {
        let rest = self.rest();
        let end = rest
            .find(|letter: char| letter.is_whitespace() || "()|\"`".contains(letter))
            .unwrap_or(rest.len());
        let word = rest[..end].to_owned();
        self.at += end;
        if let Some(path) = word.strip_prefix('$') {
            return match path.strip_prefix('.') {
                Some(path) => Ok(Term::Root(fields(path)?)),
                None if path.is_empty() => Ok(Term::Root(Vec::new())),
                None => Err(malformed(format!("the variable `{word}` is not supported"))),
            };
        }
        if let Some(path) = word.strip_prefix('.') {
            return if path.is_empty() {
                Ok(Term::Field(Vec::new()))
            } else {
                Ok(Term::Field(fields(path)?))
            };
        }
        match word.as_str() {
            "true" => return Ok(Term::Literal(true.into())),
            "false" => return Ok(Term::Literal(false.into())),
            "nil" => return Ok(Term::Literal(Value::Null)),
            _ => {}
        }
        if let Ok(number) = word.parse::<i64>() {
            return Ok(Term::Literal(number.into()));
        }
        if let Ok(number) = word.parse::<f64>()
            && word.starts_with(|letter: char| letter.is_ascii_digit() || letter == '-')
        {
            return Ok(Term::Literal(number.into()));
        }
        if !word.is_empty()
            && word
                .chars()
                .all(|letter| letter.is_alphanumeric() || letter == '_')
        {
            return Ok(Term::Function(word));
        }
        Err(malformed(format!("`{word}` is not understood")))
    }
}

fn fields(path: &str) -> Result<Vec<String>, TemplateError> {
    let fields: Vec<String> = path.split('.').map(str::to_owned).collect();
    if fields.iter().any(String::is_empty) {
        return Err(malformed(format!("`.{path}` has an empty field name")));
    }
    Ok(fields)
}
