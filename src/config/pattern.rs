//! A route's path pattern: what it captures, and whether it can match anything at all.

use std::str::FromStr;
use std::sync::Arc;

use matchit::InsertError;

use super::template::Malformed;

/// A path pattern in matchit's syntax: `/products/{id}`, `/files/{*rest}`.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    /// As it was typed.
    pub(super) text: Arc<str>,
    /// Names of its captures, in order.
    pub(super) captures: Arc<[Box<str>]>,
    /// The pattern without the names of its captures: equal shapes match equal paths.
    pub(super) shape: Box<str>,
}

impl FromStr for Pattern {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        check_path(text)?;
        matchit::Router::new().insert(text, ()).map_err(|error| from_matchit(&error))?;
        let (captures, shape) = split(text);
        for (at, name) in captures.iter().enumerate() {
            if name.is_empty() {
                return Err(Malformed::new("a name in braces, such as {id}"));
            }
            if captures.iter().take(at).any(|earlier| earlier == name) {
                return Err(Malformed::new(format!(
                    "each capture once, and {{{name}}} is there twice"
                )));
            }
        }
        Ok(Self { text: text.into(), captures: captures.into(), shape: shape.into() })
    }
}

/// Refuses what no normalised path can look like.
fn check_path(text: &str) -> Result<(), Malformed> {
    if !text.starts_with('/') {
        return Err(Malformed::new("a path that starts with `/`, such as \"/products/{id}\""));
    }
    if text.contains(['?', '#']) {
        return Err(Malformed::new("a path alone")
            .help("query strings are not matched; `query.only` says which parameters count"));
    }
    if text.split('/').any(|segment| segment == "." || segment == "..") {
        return Err(Malformed::new("a path without dot segments: they are resolved beforehand"));
    }
    if !text.bytes().all(|b| (0x21..=0x7e).contains(&b)) {
        return Err(Malformed::new(
            "a path as it is sent, with %XX for anything but visible ASCII",
        ));
    }
    Ok(())
}

fn from_matchit(error: &InsertError) -> Malformed {
    match error {
        InsertError::InvalidParamSegment => {
            Malformed::new("at most one capture between two slashes")
        }
        InsertError::InvalidCatchAll => {
            Malformed::new("a catch-all capture, such as {*rest}, at the very end only")
        }
        _ => Malformed::new("captures in braces, such as {id} or {*rest}")
            .help("write {{ and }} to mean braces"),
    }
}

/// Names of the captures, and the pattern without them. The pattern is one that matchit takes.
fn split(text: &str) -> (Vec<Box<str>>, String) {
    let (mut captures, mut shape) = (Vec::new(), String::new());
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, from) = rest.split_at(at);
        shape.push_str(before);
        if from.starts_with("{{") || from.starts_with("}}") {
            let (escaped, tail) = from.split_at(2);
            shape.push_str(escaped);
            rest = tail;
            continue;
        }
        let Some((name, tail)) = from.get(1..).and_then(|inside| inside.split_once('}')) else {
            break;
        };
        shape.push_str(if name.starts_with('*') { "{*}" } else { "{}" });
        captures.push(name.strip_prefix('*').unwrap_or(name).into());
        rest = tail;
    }
    shape.push_str(rest);
    (captures, shape)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_tell_what_they_capture() {
        let rows: &[(&str, &[&str], &str)] = &[
            ("/", &[], "/"),
            ("/products/{id}", &["id"], "/products/{}"),
            ("/t/{tenant}/files/{*rest}", &["tenant", "rest"], "/t/{}/files/{*}"),
            ("/img-{id}.png", &["id"], "/img-{}.png"),
            ("/{{x}}/{id}", &["id"], "/{{x}}/{}"),
        ];
        for (text, captures, shape) in rows {
            let pattern: Pattern = text.parse().unwrap();
            let names: Vec<_> = pattern.captures.iter().map(|name| &**name).collect();
            assert_eq!((names.as_slice(), &*pattern.shape), (*captures, *shape), "{text}");
        }
    }

    #[test]
    fn what_can_never_match_is_refused() {
        for text in [
            "",
            "products",
            "/a?b",
            "/a#b",
            "/a b",
            "/é",
            "/a/../b",
            "/./a",
            "/{",
            "/{}",
            "/{*}",
            "/a/{*r}/b",
            "/{a}{b}",
            "/{a}/{a}",
            "/a}",
        ] {
            assert!(text.parse::<Pattern>().is_err(), "{text}");
        }
    }
}
