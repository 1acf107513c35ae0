//! From nodes and data to text.

use serde_json::Value;

use super::TemplateError;
use super::functions::call;
use super::parse::{Node, Pipeline, Term};

/// Appends the rendered nodes. `root` is what `$` stands for, `dot` the current value.
pub fn render(
    nodes: &[Node],
    root: &Value,
    dot: &Value,
    out: &mut String,
) -> Result<(), TemplateError> {
    for node in nodes {
        match node {
            Node::Text(text) => out.push_str(text),
            Node::Print(pipeline) => out.push_str(&shown(&run(pipeline, root, dot)?)),
            Node::If(condition, then, otherwise) => {
                let branch = if is_true(&run(condition, root, dot)?) {
                    then
                } else {
                    otherwise
                };
                render(branch, root, dot, out)?;
            }
            Node::With(value, then, otherwise) => {
                let value = run(value, root, dot)?;
                if is_true(&value) {
                    render(then, root, &value, out)?;
                } else {
                    render(otherwise, root, dot, out)?;
                }
            }
            Node::Range(items, each, otherwise) => match run(items, root, dot)? {
                Value::Array(items) if !items.is_empty() => {
                    for item in &items {
                        render(each, root, item, out)?;
                    }
                }
                Value::Object(items) if !items.is_empty() => {
                    for item in items.values() {
                        render(each, root, item, out)?;
                    }
                }
                _ => render(otherwise, root, dot, out)?,
            },
        }
    }
    Ok(())
}

fn run(pipeline: &Pipeline, root: &Value, dot: &Value) -> Result<Value, TemplateError> {
    let mut result = None;
    for command in pipeline {
        result = Some(run_command(command, result, root, dot)?);
    }
    Ok(result.unwrap_or(Value::Null))
}

fn run_command(
    command: &[Term],
    piped: Option<Value>,
    root: &Value,
    dot: &Value,
) -> Result<Value, TemplateError> {
    let Some((first, rest)) = command.split_first() else {
        return Ok(Value::Null);
    };
    let mut arguments = rest
        .iter()
        .map(|term| value(term, root, dot))
        .collect::<Result<Vec<_>, _>>()?;
    arguments.extend(piped);
    match first {
        Term::Function(name) => call(name, &arguments),
        term if arguments.is_empty() => value(term, root, dot),
        _ => Err(TemplateError::Malformed {
            reason: "a value is used like a function".to_owned(),
        }),
    }
}

fn value(term: &Term, root: &Value, dot: &Value) -> Result<Value, TemplateError> {
    match term {
        Term::Field(path) => Ok(follow(dot, path)),
        Term::Root(path) => Ok(follow(root, path)),
        Term::Literal(value) => Ok(value.clone()),
        Term::Function(name) => call(name, &[]),
        Term::Group(pipeline) => run(pipeline, root, dot),
    }
}

fn follow(start: &Value, path: &[String]) -> Value {
    path.iter()
        .try_fold(start, |value, field| value.get(field))
        .cloned()
        .unwrap_or(Value::Null)
}

/// Go's truth: empty and zero are false.
pub fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(items) => !items.is_empty(),
    }
}

/// A value as Go prints it.
pub fn shown(value: &Value) -> String {
    match value {
        Value::Null => "<no value>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!(
            "[{}]",
            items.iter().map(shown).collect::<Vec<_>>().join(" ")
        ),
        Value::Object(items) => {
            let pairs: Vec<String> = items
                .iter()
                .map(|(key, value)| format!("{key}:{}", shown(value)))
                .collect();
            format!("map[{}]", pairs.join(" "))
        }
        other => other.to_string(),
    }
}
