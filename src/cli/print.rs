//! The one place that writes to the terminal. A standard output that is gone (`larder stats |
//! head`) is no error and no reason to panic.

use std::fmt::Write as _;
use std::io::{self, Write};

use serde_json::Value;

use crate::telemetry::redact::push_json;

/// What was asked for, on standard output.
pub fn out(text: &str) {
    line(io::stdout().lock(), text);
}

/// What went wrong, on standard error.
pub fn error(text: &str) {
    line(io::stderr().lock(), &format!("larder: {text}"));
}

fn line(mut to: impl Write, text: &str) {
    let newline = if text.ends_with('\n') { "" } else { "\n" };
    let _ = write!(to, "{text}{newline}").and_then(|()| to.flush());
}

/// Text from elsewhere, with whatever would act on the terminal written out.
pub fn inert(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    push_json(&mut out, text, usize::MAX);
    out
}

/// JSON as an outline for people: a line for each member, indented by depth. No character in it
/// acts on the terminal.
pub fn outline(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(_) | Value::Array(_) if !is_short(value) => push(&mut out, value, 0),
        _ => {
            scalar(&mut out, value);
            out.push('\n');
        }
    }
    out
}

fn push(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Object(members) => {
            let width = members.keys().map(|name| name.chars().count()).max().unwrap_or(0);
            for (name, member) in members {
                let shown = inert(name);
                if is_short(member) {
                    let _ = write!(out, "{:1$}{shown:width$}  ", "", depth * 2);
                    scalar(out, member);
                    out.push('\n');
                } else {
                    let _ = writeln!(out, "{:1$}{shown}", "", depth * 2);
                    push(out, member, depth + 1);
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                if is_short(item) {
                    let _ = write!(out, "{:1$}", "", depth * 2);
                    scalar(out, item);
                    out.push('\n');
                } else {
                    let _ = writeln!(out, "{:1$}-", "", depth * 2);
                    push(out, item, depth + 1);
                }
            }
        }
        _ => scalar(out, value),
    }
}

/// Fits on the line of its name: a scalar, or a list of scalars.
fn is_short(value: &Value) -> bool {
    match value {
        Value::Object(members) => members.is_empty(),
        Value::Array(items) => {
            items.len() <= 8 && items.iter().all(|i| !i.is_object() && !i.is_array())
        }
        _ => true,
    }
}

fn scalar(out: &mut String, value: &Value) {
    match value {
        Value::Null | Value::Object(_) => out.push('-'),
        Value::Bool(yes) => out.push_str(if *yes { "yes" } else { "no" }),
        Value::Number(number) => {
            let _ = write!(out, "{number}");
        }
        Value::String(text) => push_json(out, text, usize::MAX),
        Value::Array(items) if items.is_empty() => out.push('-'),
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                out.push_str(if at == 0 { "" } else { ", " });
                scalar(out, item);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_reads_like_an_outline() {
        let answer = json!({
            "route": "/products/{id}", "usable": true, "left": null, "tags": ["a", "b"],
            "steps": [{ "asked": "memory", "found": false }], "none": []
        });
        let expected = [
            "left    -",
            "none    -",
            "route   /products/{id}",
            "steps",
            "  -",
            "    asked  memory",
            "    found  no",
            "tags    a, b",
            "usable  yes",
            "",
        ];
        assert_eq!(outline(&answer), expected.join("\n"));
    }

    #[test]
    fn nothing_in_an_answer_acts_on_the_terminal() {
        let shown = outline(&json!({ "a\u{1b}[2J": "b\u{1b}]0;x\u{7}\r" }));
        assert!(!shown.contains(['\u{1b}', '\u{7}', '\r']), "{shown:?}");
        assert_eq!(outline(&json!("\u{1b}")), "\\u001b\n");
    }
}
