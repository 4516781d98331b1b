//! Reading and writing of `$.items[*].id`.
//!
//! | step | means |
//! |---|---|
//! | `.name`, `['any name']` | member of an object |
//! | `[0]` | element of an array |
//! | `[*]`, `.*` | every element of an array, or member of an object |

use std::fmt;
use std::str::FromStr;

use super::template::{JsonPath, JsonStep, Malformed};

/// Longer paths than this are a mistake rather than a need.
const MAX_STEPS: usize = 32;

impl FromStr for JsonPath {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let mut rest = text
            .strip_prefix('$')
            .ok_or_else(|| Malformed::new("a JSON path that starts with `$`, such as $.id"))?;
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let (step, tail) = step(rest)?;
            steps.push(step);
            rest = tail;
        }
        if steps.len() > MAX_STEPS {
            return Err(Malformed::new("a JSON path of at most 32 steps"));
        }
        Ok(Self { steps })
    }
}

fn step(text: &str) -> Result<(JsonStep, &str), Malformed> {
    if let Some(text) = text.strip_prefix('.') {
        let end = text.find(['.', '[']).unwrap_or(text.len());
        let (name, tail) = text.split_at(end);
        return match name {
            "*" => Ok((JsonStep::Each, tail)),
            "" => Err(Malformed::new("a member's name after `.` in a JSON path")),
            _ if name.contains([']', '\'', '"', ' ']) => Err(Malformed::new(
                "a plain name after `.` in a JSON path, or ['any name'] in brackets",
            )),
            _ => Ok((JsonStep::Member(name.into()), tail)),
        };
    }
    let inside = text.strip_prefix('[').ok_or_else(expected_step)?;
    if let Some(quoted) = inside.strip_prefix('\'') {
        let (name, tail) = quoted.split_once("']").ok_or_else(expected_step)?;
        return Ok((JsonStep::Member(name.into()), tail));
    }
    let (inside, tail) = inside.split_once(']').ok_or_else(expected_step)?;
    let digits = !inside.is_empty() && inside.bytes().all(|b| b.is_ascii_digit());
    match inside {
        "*" => Ok((JsonStep::Each, tail)),
        _ if digits => {
            let index = inside.parse().map_err(|_| expected_step())?;
            Ok((JsonStep::Index(index), tail))
        }
        _ => Err(expected_step()),
    }
}

fn expected_step() -> Malformed {
    Malformed::new("`.name`, `['name']`, `[0]` or `[*]` in a JSON path")
}

impl fmt::Display for JsonPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("$")?;
        self.steps.iter().try_for_each(|step| match step {
            JsonStep::Member(name)
                if name.is_empty()
                    || &**name == "*"
                    || name.contains(['.', '[', ']', '\'', '"', ' ', '{', '}']) =>
            {
                write!(f, "['{name}']")
            }
            JsonStep::Member(name) => write!(f, ".{name}"),
            JsonStep::Index(index) => write!(f, "[{index}]"),
            JsonStep::Each => f.write_str("[*]"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_and_written() {
        let member = |name: &str| JsonStep::Member(name.into());
        let rows: &[(&str, Vec<JsonStep>)] = &[
            ("$", vec![]),
            ("$.id", vec![member("id")]),
            ("$[0]", vec![JsonStep::Index(0)]),
            ("$.items[*].id", vec![member("items"), JsonStep::Each, member("id")]),
            ("$['a b']['c.d']['}']", vec![member("a b"), member("c.d"), member("}")]),
            ("$['*']['']", vec![member("*"), member("")]),
        ];
        for (text, steps) in rows {
            let path: JsonPath = text.parse().unwrap();
            assert_eq!(path.steps, *steps, "{text}");
            assert_eq!(path.to_string(), *text);
        }
        assert_eq!("$.*".parse::<JsonPath>().unwrap().to_string(), "$[*]");
    }

    #[test]
    fn what_is_not_a_path_is_refused() {
        let long = format!("${}", ".a".repeat(33));
        for text in [
            "",
            "id",
            "$id",
            "$.",
            "$..a",
            "$[",
            "$[]",
            "$[-1]",
            "$[1",
            "$['a]",
            "$.a b",
            "$[+1]",
            "$[99999999999999999999999]",
            &long,
        ] {
            assert!(text.parse::<JsonPath>().is_err(), "{text}");
        }
    }
}
