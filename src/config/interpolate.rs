//! `${NAME}` within a text: what the environment says. `$${` is a plain `${`.

/// Why a text could not be completed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Missing {
    /// The part of the text that it is about.
    pub(super) typed: String,
    pub(super) title: String,
    /// What was expected.
    pub(super) label: String,
    /// The cure.
    pub(super) help: String,
}

/// The text with the environment's values in it. Values are not interpolated again.
pub(super) fn interpolate(
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<String, Missing> {
    let mut full = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        if let Some(before) = before.strip_suffix('$') {
            full.push_str(before);
            full.push_str("${");
            rest = from.get(2..).unwrap_or("");
            continue;
        }
        full.push_str(before);
        let inside = from.get(2..).unwrap_or("");
        let (name, tail) =
            inside.split_once('}').filter(|(name, _)| is_name(name)).ok_or_else(|| {
                let typed = from.split_inclusive('}').next().unwrap_or(from).to_owned();
                Missing {
                    title: format!("`{typed}` names no environment variable"),
                    typed,
                    label: "expected ${NAME}, with letters, digits and `_`".to_owned(),
                    help: "write $${ to mean the characters themselves".to_owned(),
                }
            })?;
        let value = env(name).ok_or_else(|| Missing {
            typed: format!("${{{name}}}"),
            title: format!("the environment variable {name} is not set"),
            label: "expected a value from the environment".to_owned(),
            help: format!("set {name} for this process, or write the value here"),
        })?;
        full.push_str(&value);
        rest = tail;
    }
    full.push_str(rest);
    Ok(full)
}

fn is_name(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("api".to_owned()),
            "EMPTY" => Some(String::new()),
            "ODD" => Some("${HOST}".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn names_are_replaced_by_what_the_environment_says() {
        let rows = [
            ("", ""),
            ("plain $ {x} $HOST", "plain $ {x} $HOST"),
            ("http://${HOST}:80", "http://api:80"),
            ("${HOST}${EMPTY}${HOST}", "apiapi"),
            ("$${HOST}", "${HOST}"),
            ("a$${b}${HOST}", "a${b}api"),
            ("${ODD}", "${HOST}"),
        ];
        for (text, expected) in rows {
            assert_eq!(interpolate(text, &env).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_missing_or_misspelt_is_named() {
        let rows = [
            ("${NOPE}", "${NOPE}", "the environment variable NOPE is not set"),
            ("a${HOST", "${HOST", "`${HOST` names no environment variable"),
            ("${a-b}c", "${a-b}", "`${a-b}` names no environment variable"),
            ("${}", "${}", "`${}` names no environment variable"),
            ("${1A}", "${1A}", "`${1A}` names no environment variable"),
        ];
        for (text, typed, title) in rows {
            let missing = interpolate(text, &env).unwrap_err();
            assert_eq!((missing.typed.as_str(), missing.title.as_str()), (typed, title), "{text}");
        }
    }
}
