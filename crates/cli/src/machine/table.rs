//! Tables as kubectl prints them: aligned columns, ages instead of dates.

use jiff::Timestamp;
use serde_json::Value;

/// A column: its heading and where its value lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Heading, in capitals when printed.
    pub name: String,
    /// A simple JSON path, `.status.phase`.
    pub path: String,
    /// Whether the value is a date, shown as an age.
    pub is_date: bool,
    /// Whether it is shown only in the wide form.
    pub is_wide: bool,
}

impl Column {
    /// A text column.
    pub fn text(name: &str, path: &str) -> Self {
        Self {
            name: name.to_owned(),
            path: path.to_owned(),
            is_date: false,
            is_wide: false,
        }
    }

    /// A column that shows how long ago a date was.
    pub fn age(name: &str, path: &str) -> Self {
        Self {
            is_date: true,
            ..Self::text(name, path)
        }
    }

    /// The same column, shown only in the wide form.
    #[must_use]
    pub fn wide(self) -> Self {
        Self {
            is_wide: true,
            ..self
        }
    }

    /// The cell of an object; empty when the object has no such value.
    pub fn cell(&self, object: &Value, now: Timestamp) -> String {
        let mut value = object;
        for part in self.path.split('.').filter(|part| !part.is_empty()) {
            value = &value[part];
        }
        match value {
            Value::Null => String::new(),
            Value::String(text) if self.is_date => text
                .parse::<Timestamp>()
                .map_or_else(|_| text.clone(), |moment| age(moment, now)),
            Value::String(text) => text.clone(),
            Value::Array(items) => items
                .iter()
                .map(|item| {
                    item.as_str()
                        .map_or_else(|| item.to_string(), str::to_owned)
                })
                .collect::<Vec<_>>()
                .join(","),
            other => other.to_string(),
        }
    }
}

/// How long ago, in at most two units, as kubectl does: `45s`, `5m10s`, `3h`, `2d4h`, `400d`.
pub fn age(moment: Timestamp, now: Timestamp) -> String {
    let seconds = now.as_second() - moment.as_second();
    if seconds < 0 {
        return "0s".to_owned();
    }
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match () {
        () if seconds < 120 => format!("{seconds}s"),
        () if minutes < 10 => two(minutes, "m", seconds % 60, "s"),
        () if minutes < 180 => format!("{minutes}m"),
        () if hours < 8 => two(hours, "h", minutes % 60, "m"),
        () if hours < 48 => format!("{hours}h"),
        () if hours < 192 => two(days, "d", hours % 24, "h"),
        () => format!("{days}d"),
    }
}

fn two(large: i64, large_unit: &str, small: i64, small_unit: &str) -> String {
    if small == 0 {
        format!("{large}{large_unit}")
    } else {
        format!("{large}{large_unit}{small}{small_unit}")
    }
}

/// Lines with aligned columns; the first is the headings.
pub fn lines(headings: &[String], rows: &[Vec<String>]) -> Vec<String> {
    let mut widths: Vec<usize> = headings
        .iter()
        .map(|heading| heading.chars().count())
        .collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let headings: Vec<String> = headings
        .iter()
        .map(|heading| heading.to_uppercase())
        .collect();
    std::iter::once(&headings)
        .chain(rows)
        .map(|row| {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(cell);
                let missing = width + 3 - cell.chars().count().min(width + 3);
                line.extend(std::iter::repeat_n(' ', missing));
            }
            line.trim_end().to_owned()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn ages_read_as_in_kubectl() {
        for (seconds, text) in [
            (0, "0s"),
            (119, "119s"),
            (130, "2m10s"),
            (600, "10m"),
            (7200, "120m"),
            (10_800, "3h"),
            (90_000, "25h"),
            (172_800, "2d"),
            (8_640_000, "100d"),
        ] {
            assert_eq!(age(at(0), at(seconds)), text, "{seconds}");
        }
        assert_eq!(age(at(5), at(0)), "0s");
    }

    #[test]
    fn a_cell_follows_its_path_and_is_empty_without_a_value() {
        let object = json!({"status": {"phase": "Ready", "integrity": true}, "metadata": {"creationTimestamp": "1970-01-01T00:00:00Z"}});
        assert_eq!(
            Column::text("Phase", ".status.phase").cell(&object, at(0)),
            "Ready"
        );
        assert_eq!(
            Column::text("Integrity", ".status.integrity").cell(&object, at(0)),
            "true"
        );
        assert_eq!(
            Column::text("Size", ".status.totalSize").cell(&object, at(0)),
            ""
        );
        assert_eq!(
            Column::age("Age", ".metadata.creationTimestamp").cell(&object, at(60)),
            "60s"
        );
    }

    #[test]
    fn columns_are_aligned_and_lines_have_no_trailing_blanks() {
        let table = lines(
            &["Name".into(), "Phase".into()],
            &[
                vec!["a-long-name".into(), String::new()],
                vec!["b".into(), "Ready".into()],
            ],
        );
        assert_eq!(
            table,
            ["NAME          PHASE", "a-long-name", "b             Ready"]
        );
    }
}
