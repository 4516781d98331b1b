//! What a route's path pattern captured.

use std::fmt;
use std::sync::Arc;

/// Names and values, in the order of the pattern. Values are as they stand in the path: nothing
/// is decoded, so that two paths never capture the same by accident.
///
/// One allocation when the pattern captures anything, none when it does not: the names are shared
/// with the route, and the values stand in one text, each as `length:value`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Captures {
    names: Option<Arc<[Box<str>]>>,
    values: String,
}

impl Captures {
    /// No captures.
    pub const fn none() -> Self {
        Self { names: None, values: String::new() }
    }

    /// Each name with the value at the same place; the values take up to `room` bytes.
    pub(super) fn zip<'v>(
        names: &Arc<[Box<str>]>,
        values: impl Iterator<Item = &'v str>,
        room: usize,
    ) -> Self {
        if names.is_empty() {
            return Self::none();
        }
        // Three more bytes per value: enough for its length, up to 99, and the colon.
        let mut text = String::with_capacity(room + 3 * names.len());
        for value in values {
            push_length(&mut text, value.len());
            text.push_str(value);
        }
        Self { names: Some(Arc::clone(names)), values: text }
    }

    /// The value of this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(n, _)| *n == name).map(|(_, value)| value)
    }

    /// All of them, in the order of the pattern.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut rest = self.values.as_str();
        self.names.iter().flat_map(|names| names.iter()).map_while(move |name| {
            let (length, tail) = rest.split_once(':')?;
            let (value, tail) = tail.split_at_checked(length.parse().ok()?)?;
            rest = tail;
            Some((&**name, value))
        })
    }

    /// True if there are none.
    pub const fn is_empty(&self) -> bool {
        self.names.is_none()
    }
}

/// Decimal digits and a colon; `write!` would do the same, more slowly.
fn push_length(text: &mut String, length: usize) {
    let mut divisor = 1;
    while length / divisor >= 10 {
        divisor *= 10;
    }
    while divisor > 0 {
        let digit = u8::try_from(length / divisor % 10).unwrap_or(0);
        text.push(char::from(b'0' + digit));
        divisor /= 10;
    }
    text.push(':');
}

impl<'a> FromIterator<(&'a str, &'a str)> for Captures {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(pairs: I) -> Self {
        let (names, values): (Vec<Box<str>>, Vec<&str>) =
            pairs.into_iter().map(|(name, value)| (name.into(), value)).unzip();
        let room = values.iter().map(|value| value.len()).sum();
        Self::zip(&names.into(), values.into_iter(), room)
    }
}

impl fmt::Debug for Captures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_whatever_they_hold() {
        let long = "x".repeat(1234);
        let pairs =
            [("a", "7"), ("b", ""), ("c", "3:abc/é:"), ("d", long.as_str()), ("e", "0123456789")];
        let captures: Captures = pairs.into_iter().collect();
        assert_eq!(captures.iter().collect::<Vec<_>>(), pairs);
        for (name, value) in pairs {
            assert_eq!(captures.get(name), Some(value));
        }
        assert_eq!(captures.get("f"), None);
    }

    #[test]
    fn none_is_empty_and_takes_no_memory() {
        let captures: Captures = [].into_iter().collect();
        assert!(captures.is_empty() && captures == Captures::none());
        assert_eq!(captures.values.capacity(), 0);
        assert_eq!(captures.iter().count(), 0);
    }
}
