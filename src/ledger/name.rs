//! What can be invalidated, and what an entry belongs to.
//!
//! | text | invalidates |
//! |---|---|
//! | `all` | everything |
//! | `namespace:catalog` | entries under `catalog` and below (`catalog/products`, not `catalogue`) |
//! | `tag:product:7` | entries that carry the tag `product:7` |
//! | `url:/search?q=a` | the entry of this path and query, all variants, on every host |
//! | `path:/products/7` | the same with every query string |
//! | `prefix:/products/` | entries whose path starts with this text |
//! | `group://host/scripts` | entries of this host that belong to the group `scripts` (RFC 9875) |
//!
//! In `url`, `path` and `prefix` it does not matter which of the characters of ASCII are
//! percent-encoded, nor in which case the digits of an octet beyond it are written: RFC 3986 §6.2.2
//! calls most of such spellings equivalent, and to most origins all of them are. An entry keeps to
//! the spelling of its request all the same.
//!
//! `url`, `path` and `prefix` may start with `//host` and then mean that host only. A write names
//! no host: the same API is often reached under several, and one entry too many invalidated is a
//! miss, one too few is a stale read. A group always names its host, since what the same text means
//! elsewhere is not known; everything behind the slash is the group's, further slashes too.

use std::borrow::Cow;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::str::FromStr;

/// Something that can be invalidated.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Name {
    /// Everything.
    All,
    /// A namespace and all below it.
    Namespace(Box<str>),
    /// A surrogate key.
    Tag(Box<str>),
    /// A path and query, canonical as in the key.
    Url(Box<str>),
    /// A path with any query.
    Path(Box<str>),
    /// All paths that start so.
    Prefix(Box<str>),
    /// `//authority/group`, the authority as in keys: a group of one origin.
    Group(Box<str>),
}

/// A text that is not a [`Name`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected all, namespace:…, tag:…, url:/…, path:/…, prefix:/… or group://host/…")]
pub struct NotAName;

impl Name {
    /// A group of the origin that has this authority. No authority contains a slash, so no two
    /// groups of any two origins have the same text.
    pub fn group(authority: &str, group: &str) -> Self {
        Self::Group(format!("//{authority}/{group}").into())
    }

    /// The parts of the text form: its kind, and what stands behind the colon.
    fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::All => ("all", ""),
            Self::Namespace(s) => ("namespace", s),
            Self::Tag(s) => ("tag", s),
            Self::Url(s) => ("url", s),
            Self::Path(s) => ("path", s),
            Self::Prefix(s) => ("prefix", s),
            Self::Group(s) => ("group", s),
        }
    }

    /// A digest under which an index may keep it: equal names have equal digests. Two names that
    /// share one by accident cost a miss, never a stale hit.
    pub fn digest(&self) -> u64 {
        let (kind, text) = self.parts();
        match self {
            Self::Url(_) | Self::Path(_) | Self::Prefix(_) => digest(kind, &plain(text)),
            Self::All | Self::Namespace(_) | Self::Tag(_) | Self::Group(_) => digest(kind, text),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.parts() {
            (kind, "") => f.write_str(kind),
            (kind, text) => write!(f, "{kind}:{text}"),
        }
    }
}

impl FromStr for Name {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        if text == "all" {
            return Ok(Self::All);
        }
        let (kind, rest) = text.split_once(':').ok_or(NotAName)?;
        let place = rest.starts_with('/');
        match kind {
            "namespace" if !rest.is_empty() => Ok(Self::Namespace(rest.into())),
            "tag" if !rest.is_empty() => Ok(Self::Tag(rest.into())),
            "url" if place => Ok(Self::Url(rest.into())),
            "path" if place => Ok(Self::Path(rest.into())),
            "prefix" if place => Ok(Self::Prefix(rest.into())),
            "group" if has_host(rest) => Ok(Self::Group(rest.into())),
            _ => Err(NotAName),
        }
    }
}

/// `//host/…`, the host not empty.
fn has_host(place: &str) -> bool {
    let host = place.strip_prefix("//").and_then(|rest| rest.split_once('/'));
    host.is_some_and(|(host, _)| !host.is_empty())
}

/// Everything whose invalidation reaches one entry.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Belongs {
    /// Digests of the names, but for prefixes.
    pub names: Box<[u64]>,
    /// `//host/path`, to be compared with prefixes.
    pub place: Box<str>,
    /// Where the path starts in `place`.
    pub path_at: usize,
}

impl Belongs {
    /// Of an entry under `namespace`, at `url` (`//host/path?query`, the query canonical as in its
    /// key), carrying `tags`, in the `groups` of its origin.
    pub fn of<T: AsRef<str>, G: AsRef<str>>(
        namespace: &str,
        url: &str,
        tags: &[T],
        groups: &[G],
    ) -> Self {
        let end = plain(url.get(..url.find('?').unwrap_or(url.len())).unwrap_or(url)).len();
        let url = &*plain(url);
        let path_at = url.get(2..).and_then(|u| u.find('/')).map_or(url.len(), |at| at + 2);
        let (local, place) = (&url[path_at..], &url[..end]);
        let path = &url[path_at.min(end)..end];
        let mut names = vec![
            digest("all", ""),
            digest("url", url),
            digest("url", local),
            digest("path", place),
            digest("path", path),
        ];
        names.extend(lineage(namespace).map(|n| digest("namespace", n)));
        names.extend(tags.iter().map(|t| digest("tag", t.as_ref())));
        let authority = url.get(2..path_at).unwrap_or_default();
        names.extend(groups.iter().map(|g| Name::group(authority, g.as_ref()).digest()));
        Self { names: names.into(), place: place.into(), path_at: path_at.min(end) }
    }

    /// The same entry asked for by another URL of its path: an invalidation of either reaches it.
    pub fn and(&self, other: &Self) -> Self {
        let names = self.names.iter().chain(&other.names).copied().collect();
        Self { names, ..self.clone() }
    }

    /// The path without the host.
    pub fn path(&self) -> &str {
        &self.place[self.path_at..]
    }
}

/// A namespace and its ancestors: `a/b/c`, `a/b`, `a`. Empty text has none.
pub fn lineage(namespace: &str) -> impl Iterator<Item = &str> {
    let mut next = Some(namespace).filter(|n| !n.is_empty());
    std::iter::from_fn(move || {
        let current = next?;
        next = current.rfind('/').map(|at| &current[..at]).filter(|n| !n.is_empty());
        Some(current)
    })
}

/// Digest of a prefix purge's text, as [`plain`] has it.
pub(super) fn prefix_digest(prefix: &str) -> u64 {
    digest("prefix", prefix)
}

/// A path or URL in one of its spellings: what ASCII can write is not percent-encoded, and the
/// digits of the rest are in upper case (RFC 3986 §6.2.2.1, §6.2.2.2). Reserved characters are
/// decoded as well: two names that come out the same by that cost a miss.
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        rest = after;
        let Some(digits) = after.get(..2) else {
            out.push('%');
            continue;
        };
        match u8::from_str_radix(digits, 16) {
            // `from_str_radix` takes a sign.
            Ok(_) if digits.starts_with('+') => {
                out.push('%');
                continue;
            }
            Ok(octet @ b'!'..=b'~') => out.push(char::from(octet)),
            Ok(_) => {
                out.push('%');
                out.push_str(&digits.to_ascii_uppercase());
            }
            Err(_) => {
                out.push('%');
                continue;
            }
        }
        rest = after.get(2..).unwrap_or_default();
    }
    out.push_str(rest);
    Cow::Owned(out)
}

fn digest(kind: &str, text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (kind, text).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_being_written_and_read() {
        for text in
            ["all", "namespace:a/b", "tag:product:7", "url:/s?q=1", "path:/p", "prefix://h/p"]
        {
            assert_eq!(text.parse::<Name>().unwrap().to_string(), text);
        }
        for (authority, group) in
            [("h", "a"), ("h:81", "a b"), ("[::1]", "/a//b"), ("h", ""), ("h", "\"?#:\\")]
        {
            let name = Name::group(authority, group);
            assert_eq!(name.to_string().parse(), Ok(name));
        }
    }

    #[test]
    fn what_is_not_a_name_is_refused() {
        for text in [
            "",
            "tag:",
            "namespace:",
            "path:products",
            "colour:red",
            "everything",
            "group:a",
            "group:/a",
            "group://h",
            "group:///a",
        ] {
            assert_eq!(text.parse::<Name>(), Err(NotAName), "{text}");
        }
    }

    #[test]
    fn an_entry_belongs_to_its_url_path_tags_and_namespaces() {
        let url = "//h.test/p/7?a=1";
        let belongs = Belongs::of("catalog/products", url, &["product:7"], &["scripts", "a b"]);
        for name in [
            "all",
            "url:/p/7?a=1",
            "url://h.test/p/7?a=1",
            "path:/p/7",
            "path://h.test/p/7",
            "namespace:catalog",
            "namespace:catalog/products",
            "tag:product:7",
            "group://h.test/scripts",
            "group://h.test/a b",
        ] {
            let name: Name = name.parse().unwrap();
            assert!(belongs.names.contains(&name.digest()), "{name}");
        }
        for name in [
            "path:/p",
            "path:/p/7?a=1",
            "namespace:cat",
            "tag:product",
            "url:/p/7",
            "tag:scripts",
            "group://g.test/scripts",
            "group://h.test:81/scripts",
            "group://h.test/Scripts",
            "group://h.test/product:7",
        ] {
            let name: Name = name.parse().unwrap();
            assert!(!belongs.names.contains(&name.digest()), "{name}");
        }
        assert_eq!(belongs.path(), "/p/7");
    }

    #[test]
    fn it_does_not_matter_how_a_place_is_percent_encoded() {
        let url = "//h/caf%C3%A9/~a'b?q=%7E";
        let belongs = Belongs::of("", url, &[""], &[""; 0]);
        for name in [
            "path:/caf%c3%a9/~a'b",
            "path:/%63af%C3%a9/%7ea%27b",
            "path://h/caf%C3%A9/%7Ea'b",
            "url:/caf%C3%a9/~a%27b?q=~",
        ] {
            let name: Name = name.parse().unwrap();
            assert!(belongs.names.contains(&name.digest()), "{name}");
        }
        for name in ["path:/caf%C3%A8/~a'b", "path:/cafe/~a'b", "path:/caf%C3%A9/~a'B"] {
            let name: Name = name.parse().unwrap();
            assert!(!belongs.names.contains(&name.digest()), "{name}");
        }
        assert_eq!(belongs.path(), "/caf%C3%A9/~a'b");
        assert_eq!(Belongs::of("", "//h/a%3fb?c", &[""], &[""; 0]).path(), "/a?b");
        for odd in ["%", "%2", "%zz", "%+1", "a%", "%%41", "%\u{e9}", "%E9\u{e9}%"] {
            let _ = plain(odd);
        }
    }

    #[test]
    fn odd_urls_do_not_panic() {
        for url in
            ["/%", "//h%2Fx?%", "//h/%3F?", "", "/", "//", "//h", "//h?x", "?", "//h/?", "/p?//x/"]
        {
            let _ = Belongs::of("", url, &[""], &[""]).path();
        }
    }
}
