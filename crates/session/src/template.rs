//! Go templates in hooks (`reference` of the published resources: exec commands and HTTP bodies may hold them).
//!
//! Supported: fields (`.Status.Phase`), texts, numbers, booleans, pipelines, parentheses, `if`/`else if`/`else`,
//! `with`, `range`, comments, trim markers, and the functions people use in hooks. A missing key yields its zero
//! value as with Go's `missingkey=default`. Anything else is an error that names it: a hook never runs half
//! rendered.

use serde_json::Value;

mod evaluate;
mod functions;
mod parse;

/// A template that cannot be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// The text is no template that we know.
    #[error("the template is malformed: {reason}")]
    Malformed {
        /// What does not fit.
        reason: String,
    },
    /// A function that does not exist here.
    #[error("the template calls `{name}`, which is not known")]
    UnknownFunction {
        /// Its name.
        name: String,
    },
    /// A function that got the wrong arguments.
    #[error("the template calls `{name}` with wrong arguments: {reason}")]
    BadArguments {
        /// Its name.
        name: String,
        /// What it wants.
        reason: String,
    },
}

/// Whether the text holds a template at all.
pub fn is_template(text: &str) -> bool {
    text.contains("{{")
}

/// The rendered text, trimmed of white space at both ends; a text without a template comes back as it is.
pub fn render(text: &str, data: &Value) -> Result<String, TemplateError> {
    if !is_template(text) {
        return Ok(text.to_owned());
    }
    let nodes = parse::parse(text)?;
    let mut out = String::new();
    evaluate::render(&nodes, data, data, &mut out)?;
    Ok(out.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn data() -> Value {
        json!({
            "Name": "home", "Namespace": "demo", "RetryLeft": 2,
            "Invoker": {"Kind": "BackupConfiguration", "Name": "home"},
            "Status": {"Phase": "Failed", "Error": "disk \"full\"", "Duration": "1m2s"},
            "Items": ["a", "b"]
        })
    }

    #[test]
    fn fields_pipelines_and_functions_render() {
        for (template, text) in [
            ("plain {text}", "plain {text}"),
            ("{{ .Name }}/{{.Namespace}}", "home/demo"),
            ("{{ .Status.Phase | lower }}", "failed"),
            ("{{ .Status.Phase | lower | upper | quote }}", "\"FAILED\""),
            ("{{ .Missing | default \"none\" }}", "none"),
            ("{{ default .Name .Missing }}", "home"),
            (
                "{{ printf \"%s has %d left (%v, %q)\" .Name .RetryLeft true .Namespace }}",
                "home has 2 left (true, \"demo\")",
            ),
            ("{{ toJson .Status.Error }}", "\"disk \\\"full\\\"\""),
            ("a {{- /* gone */ -}} b", "ab"),
            ("{{ range .Items }}[{{ . }}]{{ end }}", "[a][b]"),
            (
                "{{ with .Status }}{{ .Phase }} {{ $.Name }}{{ end }}",
                "Failed home",
            ),
            ("{{ len .Items }}{{ index .Items 1 }}", "2b"),
            ("{{ replace \"o\" \"0\" .Name }}", "h0me"),
            ("{{ \"a\\nb\" }}", "a\nb"),
            ("{{ `raw \\n` }}", "raw \\n"),
        ] {
            assert_eq!(render(template, &data()).unwrap(), text, "{template}");
        }
    }

    #[test]
    fn conditions_choose_a_branch() {
        let template = "{{ if eq .Status.Phase \"Succeeded\" }}good{{ else if and (eq .Status.Phase \"Failed\") (gt .RetryLeft 1) }}again{{ else }}bad{{ end }}";
        assert_eq!(render(template, &data()).unwrap(), "again");
        assert_eq!(
            render("{{ if not .Missing }}none{{ end }}", &data()).unwrap(),
            "none"
        );
        assert_eq!(
            render("{{ if or .Missing .Name }}some{{ end }}", &data()).unwrap(),
            "some"
        );
        assert_eq!(
            render("{{ if ne .Name \"x\" }}other{{ end }}", &data()).unwrap(),
            "other"
        );
    }

    #[test]
    fn a_missing_key_is_shown_as_go_shows_it() {
        assert_eq!(render("[{{ .Missing }}]", &data()).unwrap(), "[<no value>]");
    }

    #[test]
    fn mistakes_are_named() {
        for (template, part) in [
            ("{{ .Name", "not closed"),
            ("{{ if .Name }}x", "end"),
            ("{{ end }}", "end"),
            ("{{ nonsense .Name }}", "nonsense"),
            ("{{ .Name | env }}", "env"),
            ("{{ eq .Name }}", "eq"),
            ("{{ \"open }}", "not closed"),
            ("{{ }}", "empty"),
        ] {
            let error = render(template, &data()).unwrap_err().to_string();
            assert!(error.contains(part), "{template}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[{}. \"`|()$a-z0-9-]{0,40}") {
            let _ = render(&text, &data());
        }
    }
}
