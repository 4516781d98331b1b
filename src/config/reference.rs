//! `proxy.toml`, the reference: every key, its default, what it does, and when to turn it.
//!
//! The file at the root is this text; a test compares them. It is a configuration as it stands.

use super::knobs::{BRIDGE, CLASS, Knob, Preset, ROUTE, SECTIONS, Section, Shape};

/// What opens the file.
const HEAD: &str = "\
proxy.toml: every key there is, its default, what it does, and when to turn it.

A key behind a # is not given; the value there is its default, or, where there is none, an example. \
Durations are written \"50ms\", \"30s\", \"1h 30m\", sizes \"8MiB\", shares \"10%\". ${NAME} within a text is \
what the environment says, and an error if it says nothing; $${ is a plain ${. Mistakes are all \
reported at once: larder check proxy.toml.";

/// What the class of the reference says; the other keys of a class are at their defaults.
const CATALOG: &[(&str, &str)] = &[
    ("soft_ttl", "\"60s\""),
    ("hard_ttl", "\"10m\""),
    ("stale_if_error", "\"1h\""),
    ("negative_ttl", "\"5s\""),
    ("jitter", "\"10%\""),
];

/// The routes of the reference.
const ROUTES: &str = r#"
# One product: stored under its tag, and writing it changes every search.
[[route]]
path = "/products/{id}"
class = "catalog"
namespace = "catalog/products"
tags = ["product:{id}"]
on_write = ["path:/products", "namespace:search"]

# A list, tagged with what is in it: a purge of product:7 reaches every list that shows it.
[[route]]
path = "/products"
class = "catalog"
namespace = "catalog/products"
tags = ["product:{$.items[*].id}"]
on_write = ["namespace:search"]

# Parameters that only marketing reads make no other answer.
[[route]]
path = "/search"
class = "catalog"
namespace = "search"
query.ignore = ["utm_*"]

# What belongs to one user is never stored.
[[route]]
path = "/account/{*rest}"
cache = "off"
"#;

const WIDTH: usize = 100;

/// The text of the file.
pub fn reference() -> String {
    let mut text = String::new();
    for paragraph in HEAD.split("\n\n") {
        comment(&mut text, paragraph);
        text.push_str("#\n");
    }
    text.truncate(text.len() - "#\n".len());
    for section in SECTIONS {
        text.push('\n');
        match section.shape {
            Shape::Top => knobs(&mut text, section, as_preset),
            Shape::Once => {
                comment(&mut text, section.says);
                text.push_str(&format!("[{}]\n", section.name));
                knobs(&mut text, section, as_preset);
            }
            Shape::Named => class(&mut text),
            Shape::Many if section.name == BRIDGE.name => bridges(&mut text),
            Shape::Many => routes(&mut text),
        }
    }
    text
}

fn class(text: &mut String) {
    comment(text, CLASS.says);
    text.push_str("[class.catalog]\n");
    knobs(text, &CLASS, |knob| {
        let example = CATALOG.iter().find(|(key, _)| *key == knob.key);
        example.map_or_else(|| as_preset(knob).off(), |(_, value)| Line { on: true, value })
    });
}

/// The keys that only a route has, all of them off, and then some routes.
fn routes(text: &mut String) {
    comment(text, ROUTE.says);
    text.push_str("#\n");
    comment(text, "The keys of a route, besides those of a class, which it may have too:");
    text.push_str("# [[route]]\n");
    let own = |knob: &&Knob| CLASS.knob(knob.key).is_none();
    for (at, knob) in ROUTE.knobs().filter(own).enumerate() {
        if at > 0 {
            text.push('\n');
        }
        entry(text, knob, &as_preset(knob).off());
    }
    text.push_str(ROUTES);
}

/// The keys of a bridge, all of them off: nothing is listened to unless one is given.
fn bridges(text: &mut String) {
    comment(text, BRIDGE.says);
    text.push_str("# [[bridge]]\n");
    for (at, knob) in BRIDGE.knobs().enumerate() {
        if at > 0 {
            text.push('\n');
        }
        entry(text, knob, &as_preset(knob).off());
    }
}

/// How a key is shown.
struct Line {
    /// In effect, or behind a `#`.
    on: bool,
    value: &'static str,
}

impl Line {
    fn off(self) -> Self {
        Self { on: false, ..self }
    }
}

fn as_preset(knob: &Knob) -> Line {
    match knob.preset {
        Preset::Is(value) | Preset::Required(value) => Line { on: true, value },
        Preset::Unset(value) => Line { on: false, value },
    }
}

fn knobs(text: &mut String, section: &Section, line: impl Fn(&Knob) -> Line) {
    for (at, knob) in section.knobs().enumerate() {
        if at > 0 {
            text.push('\n');
        }
        entry(text, knob, &line(knob));
    }
}

fn entry(text: &mut String, knob: &Knob, line: &Line) {
    let default = match knob.preset {
        Preset::Is(value) if value != line.value => format!(" Default: {value}."),
        Preset::Unset(_) if line.on => " Default: none.".to_owned(),
        _ => String::new(),
    };
    comment(text, &format!("{} {}{default}", knob.says, knob.turn));
    let hash = if line.on { "" } else { "# " };
    text.push_str(&format!("{hash}{} = {}\n", knob.key, line.value));
}

/// Behind `#`, broken at spaces.
fn comment(text: &mut String, sentences: &str) {
    let mut width = 0;
    for word in sentences.split_whitespace() {
        let length = word.chars().count();
        if width == 0 || width + 1 + length > WIDTH {
            text.push_str(if width == 0 { "#" } else { "\n#" });
            width = 1;
        }
        text.push(' ');
        text.push_str(word);
        width += 1 + length;
    }
    text.push('\n');
}
