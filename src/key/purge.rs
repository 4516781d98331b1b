//! What a purge request names.
//!
//! | field | names | form |
//! |---|---|---|
//! | `url` | one path and query, all variants | `http://host/p?q`, `//host/p?q`; `/p?q` on every host |
//! | `path` | a path with every query | `/p`, or `//host/p` |
//! | `prefix` | all paths that start so | `/p`, or `//host/p` |
//! | `tag`, `tags` | entries that carry it | any text that may be a tag |
//! | `namespace` | a namespace and all below it | `catalog/products` |
//! | `group` | entries of a host that belong to it (RFC 9875) | `//host/group` |
//! | `all` | everything | `true` |
//!
//! Several may stand side by side, at least one must. A name that no entry could ever have is
//! refused rather than acknowledged: an operator who mistypes a purge must not believe that it
//! worked.

use std::time::Duration;

use http::uri::{Authority, PathAndQuery};
use serde::{Deserialize, Deserializer, de};

use super::tags::{self, TagFault};
use crate::ledger::name::Name;
use crate::semantics::groups::MAX_GROUP;

/// Most names in one purge; each is kept by every process for as long as entries live.
pub const MAX_NAMES: usize = 1_000;

/// How long a purge waits for the other instances unless it says otherwise, and the longest.
pub const WAIT: Duration = Duration::from_secs(5);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The longest that a soft purge is spread: records of purges are kept at least that long.
const LONGEST_SPREAD: Duration = Duration::from_secs(24 * 3600);

/// A purge as it was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PurgeRequest {
    /// A path and query, with or without a host.
    pub url: Option<String>,
    /// A path with every query.
    pub path: Option<String>,
    /// All paths that start so.
    pub prefix: Option<String>,
    /// A surrogate key.
    pub tag: Option<String>,
    /// More of them.
    pub tags: Vec<String>,
    /// A namespace and all below it.
    pub namespace: Option<String>,
    /// A group of one origin.
    pub group: Option<String>,
    /// Everything.
    pub all: bool,
    /// What becomes of the entries.
    pub mode: Mode,
    /// Entries turn stale one by one within this time, so that the origin is not asked for all of
    /// them at once. For soft purges only. Written as `30s`.
    #[serde(deserialize_with = "spread")]
    pub spread: Option<Duration>,
    /// How far the invalidation has to be applied before the answer.
    pub wait: Wait,
    /// How long to wait for the others, [`WAIT`] if it does not say. Written as `5s`.
    #[serde(deserialize_with = "timeout")]
    pub timeout: Option<Duration>,
}

/// What becomes of purged entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Stale from now on: served while they are refreshed behind.
    Soft,
    /// Gone. The default: whoever purges without a word more wants not to see it again.
    #[default]
    Hard,
}

/// Who has to have applied a purge before it is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wait {
    /// The process that was asked.
    #[default]
    Here,
    /// Every process that is alive.
    All,
}

/// Why a purge request names nothing that can be purged. The texts are made for the person who
/// sent it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PurgeError {
    /// No target at all.
    #[error("nothing is named: give one of url, path, prefix, tag, tags, namespace, group, all")]
    Nothing,
    /// More than [`MAX_NAMES`].
    #[error("{0} names are more than the {MAX_NAMES} that one purge may have: send several purges")]
    TooMany(usize),
    /// A place that starts neither at a path nor at a host.
    #[error("{field}: expected {expected}, found {found:?}")]
    Place {
        /// Field of the request.
        field: &'static str,
        /// Forms it may have.
        expected: &'static str,
        /// What it was.
        found: String,
    },
    /// A character that no request target contains.
    #[error("{0}: blanks, control characters, quotes and # must be percent-encoded")]
    Character(&'static str),
    /// A query where every query is meant.
    #[error("{0}: covers every query, so it has none: use url for a single one")]
    Query(&'static str),
    /// A host that is none.
    #[error("{field}: {host:?} is not a host")]
    Host {
        /// Field of the request.
        field: &'static str,
        /// What stood there.
        host: String,
    },
    /// The URL has no canonical form here.
    #[error("url: no request for {0:?} could have been cached here")]
    Uncacheable(String),
    /// Not a tag that an entry could carry.
    #[error("{field}: {fault}")]
    Tag {
        /// Field of the request.
        field: &'static str,
        /// What is wrong with it.
        fault: TagFault,
    },
    /// Not a namespace that an entry could live under.
    #[error("namespace: expected names joined by /, none at the ends, found {0:?}")]
    Namespace(String),
    /// Not a group that an entry could belong to.
    #[error("group: expected //host/group, the group in printable ASCII, found {0:?}")]
    Group(String),
    /// A word that is no kind of name.
    #[error("{0:?} is no kind of name: expected all, namespace, tag, url, path, prefix or group")]
    Kind(String),
    /// A hard purge that is spread.
    #[error("spread: a hard purge is immediate; use mode \"soft\"")]
    Spread,
    /// Longer than `LONGEST_SPREAD`.
    #[error("spread: at most 24h")]
    LongSpread,
    /// A time to wait for nobody.
    #[error("timeout: is for wait \"all\"; the instance that is asked answers at once")]
    Timeout,
    /// Longer than `LONGEST_WAIT`.
    #[error("timeout: at most 60s")]
    LongTimeout,
}

impl PurgeRequest {
    /// The names to invalidate, without doubles, in the order of the table above.
    ///
    /// `canonicalise` takes `//host/path?query` or `/path?query` and gives the same with the query
    /// as the matching route makes it canonical (and, if it knows better, the authority); `None` if
    /// no such request could be cached.
    pub fn names(
        &self,
        canonicalise: impl Fn(&str) -> Option<String>,
    ) -> Result<Vec<Name>, PurgeError> {
        if self.spread.is_some() && self.mode == Mode::Hard {
            return Err(PurgeError::Spread);
        }
        if self.spread > Some(LONGEST_SPREAD) {
            return Err(PurgeError::LongSpread);
        }
        let asked = self.tags.len();
        if asked > MAX_NAMES {
            return Err(PurgeError::TooMany(asked));
        }
        let mut names = Vec::new();
        if let Some(url) = &self.url {
            let place = url_place(url)?;
            let canonical = canonicalise(&place).ok_or(PurgeError::Uncacheable(place))?;
            names.push(Name::Url(canonical.into()));
        }
        if let Some(path) = &self.path {
            names.push(Name::Path(path_place("path", path)?.into()));
        }
        if let Some(prefix) = &self.prefix {
            names.push(Name::Prefix(path_place("prefix", prefix)?.into()));
        }
        names.extend(self.tag.iter().map(|t| tag("tag", t)).collect::<Result<Vec<_>, _>>()?);
        names.extend(self.tags.iter().map(|t| tag("tags", t)).collect::<Result<Vec<_>, _>>()?);
        if let Some(namespace) = &self.namespace {
            names.push(namespace_name(namespace)?);
        }
        if let Some(group) = &self.group {
            names.push(group_name(group)?);
        }
        if self.all {
            names.push(Name::All);
        }
        if names.is_empty() { Err(PurgeError::Nothing) } else { Ok(distinct(names)) }
    }
}

impl PurgeRequest {
    /// How long the other instances are waited for; `None`: not at all.
    pub fn patience(&self) -> Result<Option<Duration>, PurgeError> {
        match (self.wait, self.timeout) {
            (Wait::Here, None) => Ok(None),
            (Wait::Here, Some(_)) => Err(PurgeError::Timeout),
            (Wait::All, Some(timeout)) if timeout > LONGEST_WAIT => Err(PurgeError::LongTimeout),
            (Wait::All, timeout) => Ok(Some(timeout.unwrap_or(WAIT))),
        }
    }
}

/// One name by its kind, the word before the colon of [`Name`]'s text, for names that do not come
/// from an operator and are held to the same rules. `canonicalise` is as for
/// [`PurgeRequest::names`].
pub fn name(
    kind: &str,
    text: &str,
    canonicalise: impl Fn(&str) -> Option<String>,
) -> Result<Name, PurgeError> {
    match kind {
        "url" => {
            let place = url_place(text)?;
            let canonical = canonicalise(&place).ok_or(PurgeError::Uncacheable(place))?;
            Ok(Name::Url(canonical.into()))
        }
        "path" => Ok(Name::Path(path_place("path", text)?.into())),
        "prefix" => Ok(Name::Prefix(path_place("prefix", text)?.into())),
        "tag" => tag("tag", text),
        "namespace" => namespace_name(text),
        "group" => group_name(text),
        "all" if text.is_empty() => Ok(Name::All),
        other => Err(PurgeError::Kind(other.chars().take(40).collect())),
    }
}

fn distinct(names: Vec<Name>) -> Vec<Name> {
    let mut seen = std::collections::HashSet::new();
    names.into_iter().filter(|name| seen.insert(name.clone())).collect()
}

fn tag(field: &'static str, text: &str) -> Result<Name, PurgeError> {
    tags::check(text).map_err(|fault| PurgeError::Tag { field, fault })?;
    Ok(Name::Tag(text.into()))
}

fn namespace_name(text: &str) -> Result<Name, PurgeError> {
    let is_fit = !text.is_empty()
        && !text.starts_with('/')
        && !text.ends_with('/')
        && !text.chars().any(char::is_control);
    if is_fit { Ok(Name::Namespace(text.into())) } else { Err(PurgeError::Namespace(text.into())) }
}

/// Everything behind the host's slash is the group, octet for octet.
fn group_name(text: &str) -> Result<Name, PurgeError> {
    let not_one = || PurgeError::Group(text.into());
    let place = text.strip_prefix("//").and_then(|rest| rest.split_once('/'));
    let (authority, group) = place.ok_or_else(not_one)?;
    let is_text = |text: &str| text.bytes().all(|b| matches!(b, b' '..=b'~'));
    if authority.contains(['?', '#']) || group.len() > MAX_GROUP || !is_text(group) {
        return Err(not_one());
    }
    let origin = hosted("group", authority, None)?;
    Ok(Name::Group([&origin, group].concat().into()))
}

/// `//host/path?query` or `/path?query`, the authority canonical.
fn url_place(text: &str) -> Result<String, PurgeError> {
    let scheme = |name: &str| {
        let start = text.get(..name.len()).filter(|start| start.eq_ignore_ascii_case(name));
        start.and_then(|_| text.get(name.len()..))
    };
    if let Some(rest) = scheme("http://") {
        hosted("url", rest, Some(80))
    } else if let Some(rest) = scheme("https://") {
        hosted("url", rest, Some(443))
    } else {
        local_or_hosted("url", text, "http://host/path?query or /path?query")
    }
}

fn path_place(field: &'static str, text: &str) -> Result<String, PurgeError> {
    if text.contains('?') {
        return Err(PurgeError::Query(field));
    }
    local_or_hosted(field, text, "/path or //host/path")
}

fn local_or_hosted(
    field: &'static str,
    text: &str,
    expected: &'static str,
) -> Result<String, PurgeError> {
    if let Some(rest) = text.strip_prefix("//") {
        // A host without a path would be a prefix of other hosts.
        if field != "url" && !rest.contains('/') {
            return Err(PurgeError::Place { field, expected, found: text.into() });
        }
        hosted(field, rest, None)
    } else if text.starts_with('/') {
        check_target(field, text)?;
        Ok(text.into())
    } else {
        Err(PurgeError::Place { field, expected, found: text.into() })
    }
}

/// From what stands behind the `//`.
fn hosted(
    field: &'static str,
    rest: &str,
    default_port: Option<u16>,
) -> Result<String, PurgeError> {
    let (authority, target) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let not_a_host = || PurgeError::Host { field, host: authority.into() };
    let authority: Authority = authority.parse().map_err(|_| not_a_host())?;
    let host = authority.host().to_ascii_lowercase();
    let host = host.strip_suffix('.').unwrap_or(&host);
    let is_host = !host.is_empty() && !authority.as_str().contains('@');
    if !is_host {
        return Err(not_a_host());
    }
    let port = authority.port_u16().filter(|port| Some(*port) != default_port);
    let port = port.map_or_else(String::new, |port| format!(":{port}"));
    let slash = if target.starts_with('/') { "" } else { "/" };
    let target = format!("{slash}{target}");
    check_target(field, &target)?;
    Ok(format!("//{host}{port}{target}"))
}

/// Refuses what no request target contains: such a name would match nothing.
fn check_target(field: &'static str, target: &str) -> Result<(), PurgeError> {
    let is_fit = !target.contains('#') && target.parse::<PathAndQuery>().is_ok();
    if is_fit { Ok(()) } else { Err(PurgeError::Character(field)) }
}

fn spread<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    duration(deserializer, "spread: expected a time such as 30s")
}

fn timeout<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    duration(deserializer, "timeout: expected a time such as 5s")
}

fn duration<'de, D: Deserializer<'de>>(
    deserializer: D,
    expected: &str,
) -> Result<Option<Duration>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| humantime::parse_duration(&text))
        .transpose()
        .map_err(|fault| de::Error::custom(format!("{expected}: {fault}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parsed(body: serde_json::Value) -> PurgeRequest {
        serde_json::from_value(body).unwrap()
    }

    fn names(body: serde_json::Value) -> Result<Vec<String>, PurgeError> {
        let names = parsed(body).names(|url| Some(url.replace("?b&a", "?a&b")))?;
        Ok(names.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn each_kind_of_target_has_its_name() {
        for (body, expected) in [
            (json!({"url": "/p?b&a"}), "url:/p?a&b"),
            (json!({"url": "http://H.test./p?q"}), "url://h.test/p?q"),
            (json!({"url": "HTTPS://h.test:443"}), "url://h.test/"),
            (json!({"url": "http://h.test:80?q"}), "url://h.test/?q"),
            (json!({"url": "http://h.test:443/"}), "url://h.test:443/"),
            (json!({"url": "http://[::1]:80/p"}), "url://[::1]/p"),
            (json!({"url": "//h.test:81/p"}), "url://h.test:81/p"),
            (json!({"path": "/p"}), "path:/p"),
            (json!({"path": "//H.test/p"}), "path://h.test/p"),
            (json!({"prefix": "/"}), "prefix:/"),
            (json!({"prefix": "//h.test/"}), "prefix://h.test/"),
            (json!({"tag": "product:7"}), "tag:product:7"),
            (json!({"tags": ["a b"]}), "tag:a b"),
            (json!({"namespace": "catalog/products"}), "namespace:catalog/products"),
            (json!({"group": "//H.test./a b/?#"}), "group://h.test/a b/?#"),
            (json!({"group": "//h.test:81/"}), "group://h.test:81/"),
            (json!({"all": true}), "all"),
        ] {
            assert_eq!(names(body.clone()), Ok(vec![expected.to_owned()]), "{body}");
        }
    }

    #[test]
    fn several_targets_stand_side_by_side_without_doubles() {
        let body = json!({"path": "/p", "tags": ["a", "b", "a"], "tag": "b", "namespace": "n"});
        assert_eq!(names(body).unwrap(), ["path:/p", "tag:b", "tag:a", "namespace:n"]);
    }

    #[test]
    fn what_could_never_match_is_refused_with_its_reason() {
        for (body, expected) in [
            (
                json!({}),
                "nothing is named: give one of url, path, prefix, tag, tags, namespace, group, all",
            ),
            (
                json!({"all": false, "tags": []}),
                "nothing is named: give one of url, path, prefix, tag, tags, namespace, group, all",
            ),
            (json!({"path": "p"}), r#"path: expected /path or //host/path, found "p""#),
            (
                json!({"path": "http://h/p"}),
                r#"path: expected /path or //host/path, found "http://h/p""#,
            ),
            (
                json!({"prefix": "//h.te"}),
                r#"prefix: expected /path or //host/path, found "//h.te""#,
            ),
            (json!({"prefix": ""}), r#"prefix: expected /path or //host/path, found """#),
            (
                json!({"url": "p?q"}),
                r#"url: expected http://host/path?query or /path?query, found "p?q""#,
            ),
            (
                json!({"url": "ftp://h/p"}),
                r#"url: expected http://host/path?query or /path?query, found "ftp://h/p""#,
            ),
            (json!({"url": "http:///p"}), r#"url: "" is not a host"#),
            (json!({"url": "http://a@h/p"}), r#"url: "a@h" is not a host"#),
            (json!({"path": "//h h/p"}), r#"path: "h h" is not a host"#),
            (
                json!({"path": "/p?q"}),
                "path: covers every query, so it has none: use url for a single one",
            ),
            (
                json!({"path": "/a b"}),
                "path: blanks, control characters, quotes and # must be percent-encoded",
            ),
            (
                json!({"url": "http://h/p#top"}),
                "url: blanks, control characters, quotes and # must be percent-encoded",
            ),
            (
                json!({"url": "http://h#top"}),
                "url: blanks, control characters, quotes and # must be percent-encoded",
            ),
            (json!({"tag": ""}), "tag: a tag is empty"),
            (json!({"tags": ["a\n"]}), "tags: a tag contains a control character or is not UTF-8"),
            (
                json!({"namespace": "catalog/"}),
                r#"namespace: expected names joined by /, none at the ends, found "catalog/""#,
            ),
            (
                json!({"group": "scripts"}),
                r#"group: expected //host/group, the group in printable ASCII, found "scripts""#,
            ),
            (
                json!({"group": "//h?x/a"}),
                r#"group: expected //host/group, the group in printable ASCII, found "//h?x/a""#,
            ),
            (
                json!({"group": "//h/é"}),
                r#"group: expected //host/group, the group in printable ASCII, found "//h/é""#,
            ),
            (json!({"group": "///a"}), r#"group: "" is not a host"#),
            (
                json!({"tag": "a", "spread": "30s"}),
                r#"spread: a hard purge is immediate; use mode "soft""#,
            ),
            (json!({"tag": "a", "mode": "soft", "spread": "25h"}), "spread: at most 24h"),
            (
                json!({"tags": vec!["a"; MAX_NAMES + 1]}),
                "1001 names are more than the 1000 that one purge may have: send several purges",
            ),
        ] {
            let found = names(body.clone()).map_err(|fault| fault.to_string());
            assert_eq!(found, Err(expected.to_owned()), "{body}");
        }
        let refused = parsed(json!({"url": "/p"})).names(|_| None);
        assert_eq!(refused, Err(PurgeError::Uncacheable("/p".into())));
    }

    #[test]
    fn how_it_is_purged_is_read_with_its_defaults() {
        let plain = parsed(json!({"all": true}));
        assert_eq!((plain.mode, plain.spread, plain.wait), (Mode::Hard, None, Wait::Here));
        let spread = parsed(json!({"tag": "a", "mode": "soft", "spread": "30s", "wait": "all"}));
        assert_eq!(spread.spread, Some(Duration::from_secs(30)));
        assert_eq!((spread.mode, spread.wait), (Mode::Soft, Wait::All));
        assert!(spread.names(|_| None).is_ok());
    }

    #[test]
    fn who_waits_for_all_waits_no_longer_than_it_says() {
        let patience = |body| parsed(body).patience();
        let seconds = |seconds| Ok(Some(Duration::from_secs(seconds)));
        for (body, expected) in [
            (json!({"all": true}), Ok(None)),
            (json!({"all": true, "wait": "here"}), Ok(None)),
            (json!({"all": true, "wait": "all"}), seconds(5)),
            (json!({"all": true, "wait": "all", "timeout": "0s"}), seconds(0)),
            (json!({"all": true, "wait": "all", "timeout": "1m"}), seconds(60)),
            (json!({"all": true, "wait": "all", "timeout": "61s"}), Err(PurgeError::LongTimeout)),
            (json!({"all": true, "timeout": "1s"}), Err(PurgeError::Timeout)),
        ] {
            assert_eq!(patience(body.clone()), expected, "{body}");
        }
    }

    #[test]
    fn a_body_with_a_mistake_is_refused_when_it_is_read() {
        for (body, expected) in [
            (json!({"tga": "a"}), "unknown field `tga`"),
            (json!({"all": true, "mode": "gentle"}), "unknown variant `gentle`"),
            (json!({"all": true, "spread": "soon"}), "spread: expected a time such as 30s"),
            (json!({"all": true, "timeout": "5"}), "timeout: expected a time such as 5s"),
            (json!({"tags": "a"}), "expected a sequence"),
        ] {
            let fault = serde_json::from_value::<PurgeRequest>(body).unwrap_err().to_string();
            assert!(fault.contains(expected), "{fault}");
        }
    }
}
