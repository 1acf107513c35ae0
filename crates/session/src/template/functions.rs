//! The functions of Go templates and of sprig that hooks use.

use std::cmp::Ordering;

use serde_json::Value;

use super::TemplateError;
use super::evaluate::{is_true, shown};

/// Calls a function; a piped value is the last argument.
pub fn call(name: &str, arguments: &[Value]) -> Result<Value, TemplateError> {
    let wrong = |reason: &str| TemplateError::BadArguments {
        name: name.to_owned(),
        reason: reason.to_owned(),
    };
    let text = |at: usize| {
        arguments
            .get(at)
            .map(text_of)
            .ok_or_else(|| wrong("an argument is missing"))
    };
    let any = |at: usize| {
        arguments
            .get(at)
            .ok_or_else(|| wrong("an argument is missing"))
    };
    Ok(match name {
        "eq" => {
            let first = any(0)?;
            any(1)?;
            arguments[1..]
                .iter()
                .any(|other| is_equal(first, other))
                .into()
        }
        "ne" => (!is_equal(any(0)?, any(1)?)).into(),
        "lt" | "le" | "gt" | "ge" => {
            let order =
                compare(any(0)?, any(1)?).ok_or_else(|| wrong("two numbers or two texts"))?;
            match name {
                "lt" => order == Ordering::Less,
                "le" => order != Ordering::Greater,
                "gt" => order == Ordering::Greater,
                _ => order != Ordering::Less,
            }
            .into()
        }
        "not" => (!is_true(any(0)?)).into(),
        "and" => {
            any(0)?;
            arguments
                .iter()
                .find(|value| !is_true(value))
                .or(arguments.last())
                .cloned()
                .unwrap_or_default()
        }
        "or" => {
            any(0)?;
            arguments
                .iter()
                .find(|value| is_true(value))
                .or(arguments.last())
                .cloned()
                .unwrap_or_default()
        }
        "default" => {
            let given = any(1)?;
            if is_true(given) {
                given.clone()
            } else {
                any(0)?.clone()
            }
        }
        "coalesce" => arguments
            .iter()
            .find(|value| is_true(value))
            .cloned()
            .unwrap_or_default(),
        "ternary" => if is_true(any(2)?) { any(0)? } else { any(1)? }.clone(),
        "empty" => (!is_true(any(0)?)).into(),
        "len" => match any(0)? {
            Value::String(text) => text.len().into(),
            Value::Array(items) => items.len().into(),
            Value::Object(items) => items.len().into(),
            _ => return Err(wrong("a text, list or map")),
        },
        "index" => {
            index(arguments).ok_or_else(|| wrong("a list and a number, or a map and a key"))?
        }
        "print" => arguments.iter().map(shown).collect::<String>().into(),
        "printf" => printf(&text(0)?, &arguments[1..])
            .map_err(|reason| wrong(&reason))?
            .into(),
        "quote" => arguments
            .iter()
            .map(|value| format!("{:?}", text_of(value)))
            .collect::<Vec<_>>()
            .join(" ")
            .into(),
        "squote" => arguments
            .iter()
            .map(|value| format!("'{}'", text_of(value)))
            .collect::<Vec<_>>()
            .join(" ")
            .into(),
        "toString" => text(0)?.into(),
        "toJson" => any(0)?.to_string().into(),
        "js" | "html" | "urlquery" => escaped(name, &text(0)?).into(),
        "upper" => text(0)?.to_uppercase().into(),
        "lower" => text(0)?.to_lowercase().into(),
        "title" => title(&text(0)?).into(),
        "trim" => text(0)?.trim().into(),
        "trimPrefix" => text(1)?
            .strip_prefix(&text(0)?)
            .map_or_else(|| text(1), |rest| Ok(rest.to_owned()))?
            .into(),
        "trimSuffix" => text(1)?
            .strip_suffix(&text(0)?)
            .map_or_else(|| text(1), |rest| Ok(rest.to_owned()))?
            .into(),
        "contains" => text(1)?.contains(&text(0)?).into(),
        "hasPrefix" => text(1)?.starts_with(&text(0)?).into(),
        "hasSuffix" => text(1)?.ends_with(&text(0)?).into(),
        "replace" => text(2)?.replace(&text(0)?, &text(1)?).into(),
        "trunc" => {
            let count = any(0)?
                .as_u64()
                .ok_or_else(|| wrong("a positive number and a text"))?;
            text(1)?
                .chars()
                .take(usize::try_from(count).unwrap_or(usize::MAX))
                .collect::<String>()
                .into()
        }
        "join" => match any(1)? {
            Value::Array(items) => items
                .iter()
                .map(text_of)
                .collect::<Vec<_>>()
                .join(&text(0)?)
                .into(),
            _ => return Err(wrong("a separator and a list")),
        },
        _ => {
            return Err(TemplateError::UnknownFunction {
                name: name.to_owned(),
            });
        }
    })
}

fn text_of(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        other => shown(other),
    }
}

fn is_equal(left: &Value, right: &Value) -> bool {
    match (left.as_f64(), right.as_f64()) {
        (Some(left), Some(right)) => (left - right).abs() < f64::EPSILON,
        // A missing value equals the empty text, as the zero value of the field would.
        _ => left == right || (left.is_null() && right == "") || (right.is_null() && left == ""),
    }
}

fn compare(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        _ => left.as_f64()?.partial_cmp(&right.as_f64()?),
    }
}

fn index(arguments: &[Value]) -> Option<Value> {
    let (first, keys) = arguments.split_first()?;
    let mut value = first;
    for key in keys {
        value = match key {
            Value::Number(number) => value.get(usize::try_from(number.as_u64()?).ok()?)?,
            Value::String(key) => value.get(key).unwrap_or(&Value::Null),
            _ => return None,
        };
    }
    Some(value.clone())
}

fn printf(format: &str, arguments: &[Value]) -> Result<String, String> {
    let mut out = String::new();
    let mut arguments = arguments.iter();
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            out.push(letter);
            continue;
        }
        let verb = letters.next().ok_or("the format ends in `%`")?;
        if verb == '%' {
            out.push('%');
            continue;
        }
        let value = arguments
            .next()
            .ok_or_else(|| format!("nothing is left for `%{verb}`"))?;
        match verb {
            's' | 'v' => out.push_str(&shown(value)),
            'd' => out.push_str(
                &value
                    .as_i64()
                    .ok_or("`%d` wants a whole number")?
                    .to_string(),
            ),
            'q' => out.push_str(&format!("{:?}", text_of(value))),
            't' => out.push_str(&value.as_bool().ok_or("`%t` wants a boolean")?.to_string()),
            other => return Err(format!("`%{other}` is not supported")),
        }
    }
    Ok(out)
}

fn title(text: &str) -> String {
    let mut is_start = true;
    text.chars()
        .flat_map(|letter| {
            let letters: Vec<char> = if is_start {
                letter.to_uppercase().collect()
            } else {
                vec![letter]
            };
            is_start = letter.is_whitespace();
            letters
        })
        .collect()
}

fn escaped(name: &str, text: &str) -> String {
    match name {
        "html" => text.chars().fold(String::new(), |mut out, letter| {
            match letter {
                '<' => out.push_str("&lt;"),
                '>' => out.push_str("&gt;"),
                '&' => out.push_str("&amp;"),
                '"' => out.push_str("&#34;"),
                '\'' => out.push_str("&#39;"),
                letter => out.push(letter),
            }
            out
        }),
        "urlquery" => text.bytes().fold(String::new(), |mut out, byte| {
            match byte {
                b' ' => out.push('+'),
                byte if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) => {
                    out.push(char::from(byte))
                }
                byte => out.push_str(&format!("%{byte:02X}")),
            }
            out
        }),
        _ => text
            .chars()
            .flat_map(|letter| match letter {
                '"' | '\'' | '\\' => vec!['\\', letter],
                '\n' => vec!['\\', 'n'],
                letter => vec![letter],
            })
            .collect(),
    }
}
