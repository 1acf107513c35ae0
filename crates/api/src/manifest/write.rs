//! Values written as YAML, for showing objects.

use serde_json::Value;

/// A value as YAML in block style, as `kubectl get -o yaml` shows objects.
pub fn to_yaml(value: &Value) -> String {
    let mut text = String::new();
    write_value(&mut text, value, 0);
    text
}

fn write_value(text: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (position, (key, field)) in fields.iter().enumerate() {
                if position > 0 {
                    text.push_str(&" ".repeat(indent));
                }
                text.push_str(&scalar(key));
                text.push(':');
                write_field(text, field, indent);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (position, item) in items.iter().enumerate() {
                if position > 0 {
                    text.push_str(&" ".repeat(indent));
                }
                text.push_str("- ");
                write_value(text, item, indent + 2);
            }
        }
        leaf => {
            text.push_str(&inline(leaf, indent));
            text.push('\n');
        }
    }
}

/// The value behind a key: on the same line, or below it.
fn write_field(text: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            text.push('\n');
            text.push_str(&" ".repeat(indent + 2));
            write_value(text, value, indent + 2);
        }
        Value::Array(items) if !items.is_empty() => {
            text.push('\n');
            text.push_str(&" ".repeat(indent));
            write_value(text, value, indent);
        }
        leaf => {
            text.push(' ');
            text.push_str(&inline(leaf, indent + 2));
            text.push('\n');
        }
    }
}

fn inline(value: &Value, indent: usize) -> String {
    match value {
        Value::String(text) if text.contains('\n') && fits_block(text) => block(text, indent),
        Value::String(text) => scalar(text),
        other => other.to_string(),
    }
}

/// Whether a text of several lines survives as a literal block.
fn fits_block(text: &str) -> bool {
    let is_plain = text
        .chars()
        .all(|c| c == '\n' || !c.is_control() && !matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}'));
    is_plain
        && !text.starts_with([' ', '\n'])
        && !text.ends_with("\n\n")
        && !text.trim_end_matches('\n').is_empty()
}

fn block(text: &str, indent: usize) -> String {
    let marker = if text.ends_with('\n') { "|" } else { "|-" };
    let body = text.strip_suffix('\n').unwrap_or(text);
    let lines: Vec<String> = body
        .split('\n')
        .map(|line| {
            if line.is_empty() {
                String::new()
            } else {
                format!("{}{line}", " ".repeat(indent))
            }
        })
        .collect();
    format!("{marker}\n{}", lines.join("\n"))
}

/// A text on one line: plain where it cannot be taken for something else, otherwise quoted as JSON, which is YAML.
fn scalar(text: &str) -> String {
    let is_word = |c: char| c.is_alphanumeric() || "-_./ ".contains(c);
    let is_plain = text.starts_with(|c: char| c.is_alphabetic() || c == '/' || c == '_')
        && !text.ends_with(' ')
        && text.chars().all(is_word)
        && !is_reserved(text);
    if is_plain {
        text.to_owned()
    } else {
        Value::from(text).to_string()
    }
}

/// Words that some reader takes for a boolean or nothing.
fn is_reserved(text: &str) -> bool {
    let reserved = ["true", "false", "yes", "no", "on", "off", "y", "n", "null"];
    reserved.iter().any(|word| word.eq_ignore_ascii_case(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::yaml::parse;
    use serde_json::json;

    #[test]
    fn what_is_written_is_read_back() {
        let value = json!({
            "kind": "Repository",
            "metadata": {"name": "home", "labels": {"a.b/c": "yes", "empty": ""}},
            "list": [{"x": 1, "y": [1, 2, [3]]}, "0 2 * * *", "1.0", null, true, {}, []],
            "text": "one\n\n  two\n", "open": "a\nb", "odd": " \nx", "tabs": "a\tb\n", "colon": "a: b", "dash": "- a",
            "lines": ["first\nsecond\n", "x"],
        });
        let text = to_yaml(&value);
        let read = parse(&text).remove(0).content.unwrap().unwrap().to_json();
        assert_eq!(read, value, "{text}");
    }

    #[test]
    fn an_object_looks_as_people_write_it() {
        let value = json!({"spec": {"paths": ["/home"], "schedule": "0 2 * * *"}});
        assert_eq!(
            to_yaml(&value),
            "spec:\n  paths:\n  - /home\n  schedule: \"0 2 * * *\"\n"
        );
    }
}
