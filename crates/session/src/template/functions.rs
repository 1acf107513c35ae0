//! The functions of Go templates and of sprig that hooks use.

use std::cmp::Ordering;

use serde_json::Value;

use super::TemplateError;
use super::evaluate::{is_true, shown};

/// Calls a function; a piped value is the last argument.
pub fn call(name: &str, arguments: &[Value]) -> Result<Value, TemplateError> {
    let arguments = Arguments {
        name,
        values: arguments,
    };
    for group in [decide, shape, change] {
        if let Some(value) = group(name, &arguments)? {
            return Ok(value);
        }
    }
    Err(TemplateError::UnknownFunction {
        name: name.to_owned(),
    })
}

/// The arguments of one call.
struct Arguments<'a> {
    name: &'a str,
    values: &'a [Value],
}

impl Arguments<'_> {
    fn wrong(&self, reason: &str) -> TemplateError {
        TemplateError::BadArguments {
            name: self.name.to_owned(),
            reason: reason.to_owned(),
        }
    }

    fn any(&self, at: usize) -> Result<&Value, TemplateError> {
        self.values
            .get(at)
            .ok_or_else(|| self.wrong("an argument is missing"))
    }

    fn text(&self, at: usize) -> Result<String, TemplateError> {
        self.any(at).map(text_of)
    }

    fn each(&self, shown: impl Fn(&Value) -> String) -> Value {
        self.values
            .iter()
            .map(shown)
            .collect::<Vec<_>>()
            .join(" ")
            .into()
    }
}

type Found = Result<Option<Value>, TemplateError>;

/// Functions that compare and choose.
fn decide(name: &str, arguments: &Arguments<'_>) -> Found {
    let any = |at| arguments.any(at);
    Ok(Some(match name {
        "eq" => {
            let first = any(0)?;
            any(1)?;
            arguments.values[1..]
                .iter()
                .any(|other| is_equal(first, other))
                .into()
        }
        "ne" => Value::Bool(!is_equal(any(0)?, any(1)?)),
        "lt" | "le" | "gt" | "ge" => {
            let order = compare(any(0)?, any(1)?)
                .ok_or_else(|| arguments.wrong("two numbers or two texts"))?;
            let holds = match name {
                "lt" => order == Ordering::Less,
                "le" => order != Ordering::Greater,
                "gt" => order == Ordering::Greater,
                _ => order != Ordering::Less,
            };
            holds.into()
        }
        "not" | "empty" => Value::Bool(!is_true(any(0)?)),
        "and" => {
            any(0)?;
            let values = arguments.values;
            values
                .iter()
                .find(|value| !is_true(value))
                .or(values.last())
                .cloned()
                .unwrap_or_default()
        }
        "or" => {
            any(0)?;
            let values = arguments.values;
            values
                .iter()
                .find(|value| is_true(value))
                .or(values.last())
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
            .values
            .iter()
            .find(|value| is_true(value))
            .cloned()
            .unwrap_or_default(),
        "ternary" => if is_true(any(2)?) { any(0)? } else { any(1)? }.clone(),
        _ => return Ok(None),
    }))
}

/// Functions that look into values and print them.
fn shape(name: &str, arguments: &Arguments<'_>) -> Found {
    Ok(Some(match name {
        "len" => match arguments.any(0)? {
            Value::String(text) => text.len().into(),
            Value::Array(items) => items.len().into(),
            Value::Object(items) => items.len().into(),
            _ => return Err(arguments.wrong("a text, list or map")),
        },
        "index" => {
            let found = index(arguments.values);
            found.ok_or_else(|| arguments.wrong("a list and a number, or a map and a key"))?
        }
        "print" => arguments
            .values
            .iter()
            .map(shown)
            .collect::<String>()
            .into(),
        "printf" => {
            let format = arguments.text(0)?;
            printf(&format, &arguments.values[1..])
                .map_err(|reason| arguments.wrong(&reason))?
                .into()
        }
        "quote" => arguments.each(|value| format!("{:?}", text_of(value))),
        "squote" => arguments.each(|value| format!("'{}'", text_of(value))),
        "toString" => arguments.text(0)?.into(),
        "toJson" => arguments.any(0)?.to_string().into(),
        "js" | "html" | "urlquery" => escaped(name, &arguments.text(0)?).into(),
        "join" => match arguments.any(1)? {
            Value::Array(items) => items
                .iter()
                .map(text_of)
                .collect::<Vec<_>>()
                .join(&arguments.text(0)?)
                .into(),
            _ => return Err(arguments.wrong("a separator and a list")),
        },
        _ => return Ok(None),
    }))
}

/// Functions that change texts.
fn change(name: &str, arguments: &Arguments<'_>) -> Found {
    let text = |at| arguments.text(at);
    Ok(Some(match name {
        "upper" => text(0)?.to_uppercase().into(),
        "lower" => text(0)?.to_lowercase().into(),
        "title" => title(&text(0)?).into(),
        "trim" => text(0)?.trim().into(),
        "trimPrefix" => {
            let whole = text(1)?;
            whole.strip_prefix(&text(0)?).unwrap_or(&whole).into()
        }
        "trimSuffix" => {
            let whole = text(1)?;
            whole.strip_suffix(&text(0)?).unwrap_or(&whole).into()
        }
        "contains" => text(1)?.contains(&text(0)?).into(),
        "hasPrefix" => text(1)?.starts_with(&text(0)?).into(),
        "hasSuffix" => text(1)?.ends_with(&text(0)?).into(),
        "replace" => text(2)?.replace(&text(0)?, &text(1)?).into(),
        "trunc" => {
            let count = arguments.any(0)?.as_u64();
            let count = count.ok_or_else(|| arguments.wrong("a positive number and a text"))?;
            text(1)?
                .chars()
                .take(usize::try_from(count).unwrap_or(usize::MAX))
                .collect::<String>()
                .into()
        }
        _ => return Ok(None),
    }))
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
                    out.push(char::from(byte));
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
