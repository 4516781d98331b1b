//! JSON Schema (draft 2020-12) of `proxy.toml`, for editors, made from the knobs.
//!
//! A schema cannot say all that [`Config::load`](super::Config::load) checks, and must refuse
//! nothing that it takes: where a text may come from the environment, `${…}` is let through.

use serde_json::{Map, Value, json};

use super::file;
use super::knobs::{Kind, Knob, Preset, SECTIONS, Section, Shape};

/// The schema.
pub fn schema() -> Value {
    let mut properties = Map::new();
    for section in SECTIONS {
        let mut table = table(section);
        match section.shape {
            Shape::Top => {
                if let Some(top) = table["properties"].as_object_mut() {
                    properties.append(top);
                }
            }
            Shape::Once => drop(properties.insert(section.name.to_owned(), table)),
            Shape::Named => {
                let classes = json!({
                    "type": "object",
                    "description": section.says,
                    "additionalProperties": table,
                });
                properties.insert(section.name.to_owned(), classes);
            }
            Shape::Many => {
                let routes =
                    json!({ "type": "array", "description": section.says, "items": table });
                properties.insert(section.name.to_owned(), routes);
            }
        }
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "proxy.toml",
        "description": "Configuration of Larder, a caching reverse proxy for HTTP APIs",
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
    })
}

fn table(section: &Section) -> Value {
    let mut properties = Map::new();
    for knob in section.knobs() {
        let schema = of_knob(knob);
        match knob.key.split_once('.') {
            None => drop(properties.insert(knob.key.to_owned(), schema)),
            Some((outer, inner)) => {
                let outer = properties.entry(outer).or_insert_with(
                    || json!({ "type": "object", "additionalProperties": false, "properties": {} }),
                );
                if let Some(below) = outer.get_mut("properties").and_then(Value::as_object_mut) {
                    below.insert(inner.to_owned(), schema);
                }
            }
        }
    }
    // `origin.url` may come from the command line; what a route needs must be in the file.
    let needed =
        |knob: &&Knob| section.shape == Shape::Many && matches!(knob.preset, Preset::Required(_));
    let required: Vec<_> = section.knobs().filter(needed).map(|knob| knob.key).collect();
    json!({
        "type": "object",
        "description": section.says,
        "additionalProperties": false,
        "required": required,
        "properties": properties,
    })
}

fn of_knob(knob: &'static Knob) -> Value {
    let mut schema = of_kind(&knob.kind);
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("description".into(), format!("{} {}", knob.says, knob.turn).into());
        let (word, text) = match knob.preset {
            Preset::Is(text) => ("default", text),
            Preset::Unset(text) | Preset::Required(text) => ("examples", text),
        };
        if let Some(value) = file::plain(text) {
            let value = if word == "examples" { json!([value]) } else { value };
            schema.insert(word.into(), value);
        }
    }
    schema
}

fn of_kind(kind: &Kind) -> Value {
    match kind {
        Kind::Bool => json!({ "anyOf": [{ "type": "boolean" }, from_environment()] }),
        Kind::Integer(least, most) => json!({ "anyOf": [
            { "type": "integer", "minimum": least, "maximum": most }, from_environment(),
        ] }),
        Kind::Size(least, most) => json!({ "anyOf": [
            { "type": "integer", "minimum": least, "maximum": most },
            text(r"^\s*[0-9.]+\s*([KkMmGgTtPpEe]?[Ii]?[Bb]?)\s*$"),
        ] }),
        Kind::Ratio(most) => json!({ "anyOf": [
            { "type": "number", "minimum": 0, "maximum": most },
            text(r"^\s*[0-9.]+\s*%\s*$"),
        ] }),
        Kind::Duration(..) => text(r"^\s*(0|([0-9.]+\s*[A-Za-zµ]+\s*)+)$"),
        Kind::Words(words) => {
            json!({ "anyOf": [{ "type": "string", "enum": words }, from_environment()] })
        }
        Kind::Address => text(r"^(\[[0-9A-Fa-f:.]+\]|[0-9.]+):[0-9]+$"),
        Kind::AddressOrOff => text(r"^(off|(\[[0-9A-Fa-f:.]+\]|[0-9.]+):[0-9]+)$"),
        Kind::OriginUrl => text(r"^[Hh][Tt][Tt][Pp][Ss]?://[^/?#@]+/?$"),
        Kind::ValkeyUrl => text(r"^(unix|(valkey|redis)s?(-sentinel|-cluster)?)://.+$"),
        Kind::PathPattern => text(r"^/[^?#\s]*$"),
        Kind::NameRule => text(r"^(tag|namespace|url|path|prefix):.+$"),
        Kind::EventRule => text(r"^(all$|(tag|namespace|url|path|prefix|group):.+|\{)"),
        Kind::List(inner) => json!({ "type": "array", "items": of_kind(inner) }),
        _ => json!({ "type": "string" }),
    }
}

/// A text of this form, or one that the environment completes.
fn text(pattern: &str) -> Value {
    json!({ "type": "string", "pattern": format!(r"{pattern}|\$\{{") })
}

fn from_environment() -> Value {
    json!({ "type": "string", "pattern": r"\$\{" })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every object of the schema that describes a table.
    fn tables<'s>(schema: &'s Value, found: &mut Vec<&'s Value>) {
        if schema.get("properties").is_some() {
            found.push(schema);
        }
        match schema {
            Value::Object(map) => map.values().for_each(|inner| tables(inner, found)),
            Value::Array(list) => list.iter().for_each(|inner| tables(inner, found)),
            _ => {}
        }
    }

    #[test]
    fn every_table_refuses_keys_that_no_knob_has() {
        let schema = schema();
        let mut found = Vec::new();
        tables(&schema, &mut found);
        assert_eq!(found.len(), SECTIONS.len() + 2, "one per section, query and key");
        assert!(found.iter().all(|table| table["additionalProperties"] == json!(false)));
    }

    #[test]
    fn every_knob_is_described() {
        let schema = schema();
        for section in SECTIONS {
            let table = match section.shape {
                Shape::Top => &schema,
                Shape::Once => &schema["properties"][section.name],
                Shape::Named => &schema["properties"][section.name]["additionalProperties"],
                Shape::Many => &schema["properties"][section.name]["items"],
            };
            for knob in section.knobs() {
                let pointer = format!("/properties/{}", knob.key.replace('.', "/properties/"));
                let found = table.pointer(&pointer).unwrap_or_else(|| panic!("{}", knob.key));
                let says = found["description"].as_str().unwrap();
                assert!(says.contains(knob.says) && says.contains(knob.turn), "{}", knob.key);
                let shown = found.get("default").or_else(|| found.get("examples"));
                assert!(shown.is_some_and(|value| !value.is_null()), "{}", knob.key);
            }
        }
    }
}
