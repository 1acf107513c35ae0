//! Texts, numbers and booleans against their schema.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use serde_json::Value;

use crate::crd::QUANTITY_PATTERN;
use crate::duration::GoDuration;
use crate::manifest::tree::{Node, NodeValue};
use crate::problem::Problem;
use crate::suggest::{listed, nearest};

/// What is wrong with a value.
pub(super) struct ScalarProblem {
    message: String,
    fix: String,
    /// The value itself where the object can still be read with it.
    pub(super) kept: Option<Value>,
}

impl ScalarProblem {
    fn new(message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            fix: fix.into(),
            kept: None,
        }
    }

    pub(super) fn at(self, path: &str) -> Problem {
        Problem::new(path, self.message).with_fix(self.fix)
    }
}

pub(super) fn check(schema: &JSONSchemaProps, node: &Node) -> Result<Value, ScalarProblem> {
    if schema.x_kubernetes_int_or_string == Some(true) {
        return int_or_string(schema, node);
    }
    match schema.type_.as_deref() {
        Some("string") => string(schema, node),
        Some("integer") => integer(schema, node),
        Some("number") => match &node.value {
            NodeValue::Int(_) | NodeValue::Float(_) => Ok(node.to_json()),
            _ => Err(wrong_type("a number", node, "write it without quotes")),
        },
        Some("boolean") => match &node.value {
            NodeValue::Bool(value) => Ok(Value::Bool(*value)),
            _ => Err(wrong_type(
                "a boolean",
                node,
                "write `true` or `false` without quotes",
            )),
        },
        _ => Ok(node.to_json()),
    }
}

fn wrong_type(expected: &str, node: &Node, fix: &str) -> ScalarProblem {
    ScalarProblem::new(format!("{expected} is expected, not {}", node.kind()), fix)
}

fn string(schema: &JSONSchemaProps, node: &Node) -> Result<Value, ScalarProblem> {
    let Some(text) = node.as_text() else {
        let fix = if node.scalar().is_some() {
            "put it in quotes"
        } else {
            "write one text"
        };
        return Err(wrong_type("a string", node, fix));
    };
    let kept = |problem: ScalarProblem| ScalarProblem {
        kept: Some(Value::from(text)),
        ..problem
    };
    if let Some(allowed) = &schema.enum_ {
        let allowed: Vec<&str> = allowed
            .iter()
            .filter_map(|value| value.0.as_str())
            .collect();
        if !allowed.contains(&text) {
            let fix = match nearest(text, allowed.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`? Allowed are {}", listed(allowed)),
                None => format!("use one of {}", listed(allowed)),
            };
            return Err(ScalarProblem::new("the value is not allowed", fix));
        }
    }
    let length = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
    if schema.min_length.is_some_and(|least| length < least) {
        return Err(kept(ScalarProblem::new(
            "the text must not be empty",
            "give it a value",
        )));
    }
    if let Some(most) = schema.max_length
        && length > most
    {
        return Err(kept(ScalarProblem::new(
            format!("the text has {length} characters"),
            format!("use at most {most}"),
        )));
    }
    match schema.format.as_deref() {
        Some("duration") => {
            if let Err(error) = text.parse::<GoDuration>() {
                let fix = "write a duration with units, such as `1h30m`, `90s` or `500ms`";
                return Err(ScalarProblem::new(format!("not a duration: {error}"), fix));
            }
        }
        Some("date-time") if text.parse::<jiff::Timestamp>().is_err() => {
            return Err(ScalarProblem::new(
                "not a point in time",
                "write it as `2024-12-31T23:59:59Z`",
            ));
        }
        Some("byte") => {
            let compact: String = text.split_ascii_whitespace().collect();
            return match STANDARD.decode(&compact) {
                Ok(_) => Ok(Value::from(compact)),
                Err(_) => Err(ScalarProblem::new(
                    "the value is not base64",
                    "encode it with `base64`, or write the plain text into `stringData`",
                )),
            };
        }
        _ => {}
    }
    Ok(Value::from(text))
}

fn integer(schema: &JSONSchemaProps, node: &Node) -> Result<Value, ScalarProblem> {
    let NodeValue::Int(number) = node.value else {
        let fix = match node.as_text().and_then(|text| text.parse::<i64>().ok()) {
            Some(_) => "write it without quotes",
            None => "write a whole number",
        };
        return Err(wrong_type("an integer", node, fix));
    };
    let (mut least, mut most) = match schema.format.as_deref() {
        Some("int32") => (i64::from(i32::MIN), i64::from(i32::MAX)),
        _ => (i64::MIN, i64::MAX),
    };
    if let Some(minimum) = schema.minimum {
        least = least.max(whole(minimum));
    }
    if let Some(maximum) = schema.maximum {
        most = most.min(whole(maximum));
    }
    if number < least {
        let problem = ScalarProblem::new(
            format!("the number must be at least {least}"),
            "use a larger number",
        );
        let kept = (schema.format.as_deref() != Some("int32") || i32::try_from(number).is_ok())
            .then(|| Value::from(number));
        return Err(ScalarProblem { kept, ..problem });
    }
    if number > most {
        return Err(ScalarProblem::new(
            format!("the number must be at most {most}"),
            "use a smaller number",
        ));
    }
    Ok(Value::from(number))
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the limits of the schemas are small whole numbers"
)]
fn whole(limit: f64) -> i64 {
    limit as i64
}

fn int_or_string(schema: &JSONSchemaProps, node: &Node) -> Result<Value, ScalarProblem> {
    let is_quantity = schema.pattern.as_deref() == Some(QUANTITY_PATTERN);
    match &node.value {
        NodeValue::Int(number) if is_quantity || i32::try_from(*number).is_ok() => {
            Ok(Value::from(*number))
        }
        NodeValue::Int(_) => Err(ScalarProblem::new(
            "the number is too large",
            "use a smaller number",
        )),
        NodeValue::Float(text) if is_quantity && is_quantity_text(text) => {
            Ok(Value::from(text.as_str()))
        }
        NodeValue::Text(text) if !is_quantity || is_quantity_text(text) => {
            Ok(Value::from(text.as_str()))
        }
        NodeValue::Text(_) => Err(ScalarProblem::new(
            "not a quantity",
            "write a number with an optional unit, such as `512Mi`, `2Gi` or `500m`",
        )),
        _ => Err(wrong_type(
            "an integer or a string",
            node,
            "write one of the two",
        )),
    }
}

const QUANTITY_SUFFIXES: [&str; 16] = [
    "", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei",
];

/// Whether a text matches [`QUANTITY_PATTERN`].
fn is_quantity_text(text: &str) -> bool {
    let Some(suffix) = behind_decimal(text.strip_prefix(['+', '-']).unwrap_or(text)) else {
        return false;
    };
    if QUANTITY_SUFFIXES.contains(&suffix) {
        return true;
    }
    suffix
        .strip_prefix(['e', 'E'])
        .map(|exponent| exponent.strip_prefix(['+', '-']).unwrap_or(exponent))
        .is_some_and(|exponent| behind_decimal(exponent) == Some(""))
}

/// What stands behind a decimal number, if one stands at the beginning.
fn behind_decimal(text: &str) -> Option<&str> {
    let without_whole = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let has_whole = without_whole.len() < text.len();
    let Some(fraction) = without_whole.strip_prefix('.') else {
        return has_whole.then_some(without_whole);
    };
    let behind = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
    (has_whole || behind.len() < fraction.len()).then_some(behind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_told_from_other_texts() {
        for text in [
            "1", "1.5", "512Mi", "2Gi", "500m", "1e3", "1E-3", ".5", "5.", "+1k", "1Ei", "1E",
        ] {
            assert!(is_quantity_text(text), "{text}");
        }
        for text in ["", "Gi", "1 Gi", "1GB", "1e", "abc", ".", "--1", "1ki"] {
            assert!(!is_quantity_text(text), "{text}");
        }
    }
}
