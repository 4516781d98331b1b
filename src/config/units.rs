//! From the text of one value to what it means, by the kind of its knob.

use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use http::header::HeaderName;

use super::error::Span;
use super::event::{Channel, EventRule};
use super::knobs::Kind;
use super::pattern::Pattern;
use super::suggest::did_you_mean;
use super::template::{HostPattern, Malformed, NameRule, Network, Template, check_namespace};
use super::valkey::ValkeyUrl;
use super::{HostPolicy, OriginUrl, Secret};

/// A value that is what its knob asks for.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Duration(Duration),
    /// An integer or a size.
    Number(u64),
    Ratio(f64),
    Bool(bool),
    Word(&'static str),
    Text(Arc<str>),
    Secret(Secret),
    Valkey(ValkeyUrl),
    /// `None`: off.
    Address(Option<SocketAddr>),
    Origin(OriginUrl),
    HostPolicy(HostPolicy),
    Path(Pattern),
    Host(HostPattern),
    Method(Method),
    Template(Template),
    Rule(NameRule),
    Channel(Channel),
    Event(EventRule),
    Field(HeaderName),
    Network(Network),
    List(Vec<(Self, Span)>),
}

impl Kind {
    /// What it is, to stand after "is not" or "expected".
    pub(super) fn noun(&self) -> String {
        match self {
            Self::Duration(..) => "a duration, such as \"30s\" or \"1h 30m\"".into(),
            Self::Size(..) => "a size, such as \"256MiB\"".into(),
            Self::Integer(..) => "a whole number".into(),
            Self::Ratio(_) => "a share, such as \"10%\"".into(),
            Self::Bool => "true or false".into(),
            Self::Words(words) => one_of(words),
            Self::Address => "an address and port, such as \"127.0.0.1:8080\"".into(),
            Self::AddressOrOff => {
                "an address and port, such as \"127.0.0.1:9090\", or \"off\"".into()
            }
            Self::OriginUrl => "an http URL, such as \"http://127.0.0.1:3000\"".into(),
            Self::ValkeyUrl => "a Valkey URL, such as \"valkey://127.0.0.1:6379\"".into(),
            Self::HostPolicy => "\"preserve\", \"origin\", or a host".into(),
            Self::PathPattern => "a path pattern, such as \"/products/{id}\"".into(),
            Self::HostPattern => "a host, such as \"api.example.com\"".into(),
            Self::NameRule => "text, such as \"tag:product:{id}\" or \"path:/products\"".into(),
            Self::Channel => "a channel, such as \"products.*\"".into(),
            Self::EventRule => "text, such as \"tag:product:{$.id}\"".into(),
            Self::Method => "a method, such as \"GET\"".into(),
            Self::List(_) => "a list, in square brackets".into(),
            _ => "text in quotes".into(),
        }
    }

    /// Are its values texts in quotes?
    pub(super) fn takes_text(&self) -> bool {
        !matches!(self, Self::Integer(..) | Self::Bool | Self::List(_))
    }

    /// Must its values be kept out of every message?
    pub(super) fn secret(&self) -> bool {
        matches!(self, Self::Secret | Self::Password | Self::ValkeyUrl)
    }

    /// What a text means.
    pub(super) fn read(&self, text: &str) -> Result<Value, Malformed> {
        match self {
            Self::Duration(least, most) => duration(text, *least, *most).map(Value::Duration),
            Self::Size(least, most) => size(text, *least, *most).map(Value::Number),
            Self::Integer(..) => {
                let number = text.trim().parse().map_err(|_| self.expected())?;
                self.number(number).map(Value::Number)
            }
            Self::Ratio(most) => percent(text, *most).map(Value::Ratio),
            Self::Bool => text.trim().parse().map(Value::Bool).map_err(|_| self.expected()),
            Self::Words(words) => word(text, words).map(Value::Word),
            Self::Address => address(text).map(|address| Value::Address(Some(address))),
            Self::AddressOrOff if text == "off" => Ok(Value::Address(None)),
            Self::AddressOrOff => address(text).map(|address| Value::Address(Some(address))),
            Self::OriginUrl => text.parse().map(Value::Origin),
            Self::ValkeyUrl => text.parse().map(Value::Valkey),
            Self::Secret => secret(text).map(Value::Secret),
            Self::Password => password(text).map(Value::Secret),
            Self::Username => username(text).map(Value::Text),
            Self::File => file(text).map(Value::Text),
            Self::HostPolicy => host_policy(text).map(Value::HostPolicy),
            Self::Prefix => prefix(text).map(Value::Text),
            Self::LogFilter => log_filter(text).map(Value::Text),
            Self::RouteName => route_name(text).map(Value::Text),
            Self::ClassName => Ok(Value::Text(text.into())),
            Self::PathPattern => text.parse().map(Value::Path),
            Self::HostPattern => text.parse().map(Value::Host),
            Self::Method => method(text).map(Value::Method),
            Self::Namespace => {
                let template = text.parse()?;
                check_namespace(&template)?;
                Ok(Value::Template(template))
            }
            Self::Tag => tag(text).map(Value::Template),
            Self::NameRule => text.parse().map(Value::Rule),
            Self::Channel => text.parse().map(Value::Channel),
            Self::EventRule => text.parse().map(Value::Event),
            Self::Parameter => parameter(text).map(Value::Text),
            Self::FieldName => field_name(text).map(Value::Field),
            Self::CookieName => cookie_name(text).map(Value::Text),
            Self::Network => text.parse().map(Value::Network),
            Self::List(_) => Err(self.expected()),
        }
    }

    /// What a number without quotes means.
    pub(super) fn number(&self, number: u64) -> Result<u64, Malformed> {
        match self {
            Self::Integer(least, most) if (*least..=*most).contains(&number) => Ok(number),
            Self::Integer(least, most) => {
                Err(Malformed::new(format!("a whole number from {least} to {most}")))
            }
            Self::Size(least, most) => within_size(number, *least, *most),
            _ => Err(self.expected()),
        }
    }

    /// What a fraction without quotes means.
    pub(super) fn fraction(&self, share: f64) -> Result<f64, Malformed> {
        match self {
            Self::Ratio(most) => within_ratio(share, *most),
            _ => Err(self.expected()),
        }
    }

    pub(super) fn expected(&self) -> Malformed {
        Malformed::new(self.noun())
    }
}

fn one_of(words: &[&str]) -> String {
    let quoted: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
    quoted.join(" or ")
}

fn duration(text: &str, least: Duration, most: Duration) -> Result<Duration, Malformed> {
    let expected = || Malformed::new("a duration, such as \"30s\" or \"1h 30m\"");
    let text = text.trim();
    if text.parse::<u64>().is_ok_and(|n| n > 0) {
        return Err(expected().help(format!("add a unit: \"{text}s\" or \"{text}ms\"")));
    }
    let duration = humantime::parse_duration(text).map_err(|_| expected())?;
    if (least..=most).contains(&duration) {
        return Ok(duration);
    }
    let (least, most) = (humantime::format_duration(least), humantime::format_duration(most));
    Err(Malformed::new(format!("a duration from {least} to {most}")))
}

fn size(text: &str, least: u64, most: u64) -> Result<u64, Malformed> {
    let size: bytesize::ByteSize = text.trim().parse().map_err(|_| {
        Malformed::new("a size, such as \"256MiB\"")
            .help("units are B, KiB, MiB, GiB, and KB, MB, GB for powers of ten")
    })?;
    within_size(size.as_u64(), least, most)
}

fn within_size(size: u64, least: u64, most: u64) -> Result<u64, Malformed> {
    if (least..=most).contains(&size) {
        return Ok(size);
    }
    Err(Malformed::new(format!("a size from {} to {}", show_size(least), show_size(most))))
}

/// `8MiB`, in the largest unit that leaves no fraction.
fn show_size(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let fits = units.iter().find(|(bits, _)| bytes > 0 && bytes.trailing_zeros() >= *bits);
    fits.map_or_else(|| format!("{bytes}B"), |(bits, unit)| format!("{}{unit}", bytes >> bits))
}

fn percent(text: &str, most: f64) -> Result<f64, Malformed> {
    let expected = || Malformed::new("a share, such as \"10%\"");
    let Some(number) = text.trim().strip_suffix('%') else {
        return Err(expected().help("end it with %"));
    };
    let number: f64 = number.trim().parse().map_err(|_| expected())?;
    within_ratio(number / 100.0, most)
}

fn within_ratio(share: f64, most: f64) -> Result<f64, Malformed> {
    if (0.0..=most).contains(&share) {
        return Ok(share);
    }
    Err(Malformed::new(format!("a share from \"0%\" to \"{}%\" (or 0.0 to {most})", most * 100.0)))
}

fn word(text: &str, words: &'static [&'static str]) -> Result<&'static str, Malformed> {
    let found = words.iter().find(|word| **word == text);
    found.copied().ok_or_else(|| {
        let help = did_you_mean(text, words.iter().copied());
        Malformed { expected: one_of(words), help }
    })
}

fn address(text: &str) -> Result<SocketAddr, Malformed> {
    text.parse().map_err(|_| {
        let expected = Malformed::new("an address and port, such as \"127.0.0.1:8080\"");
        match text.rsplit_once(':') {
            Some(("localhost", port)) => expected.help(format!("write \"127.0.0.1:{port}\"")),
            Some(("" | "*", port)) => {
                expected.help(format!("write \"0.0.0.0:{port}\" to listen on every interface"))
            }
            None if text.parse::<std::net::IpAddr>().is_ok() => expected.help("add the port"),
            _ => expected,
        }
    })
}

fn secret(text: &str) -> Result<Secret, Malformed> {
    let fits = !text.is_empty() && text.bytes().all(|b| (0x21..=0x7e).contains(&b));
    if fits {
        return Ok(Secret::new(text));
    }
    Err(Malformed::new("at least one character, and only visible ones of ASCII")
        .help("it is sent as `Authorization: Bearer …`"))
}

fn password(text: &str) -> Result<Secret, Malformed> {
    if text.is_empty() {
        return Err(Malformed::new("at least one character"));
    }
    Ok(Secret::new(text))
}

/// Valkey takes no blanks in the name of a user.
fn username(text: &str) -> Result<Arc<str>, Malformed> {
    if text.is_empty() || text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(Malformed::new("the name of a user, without spaces"));
    }
    Ok(text.into())
}

fn file(text: &str) -> Result<Arc<str>, Malformed> {
    if text.is_empty() || text.contains('\0') {
        return Err(Malformed::new("the path of a file, such as \"/etc/larder/ca.pem\""));
    }
    Ok(text.into())
}

fn host_policy(text: &str) -> Result<HostPolicy, Malformed> {
    match text {
        "preserve" => return Ok(HostPolicy::Preserve),
        "origin" => return Ok(HostPolicy::Origin),
        _ => {}
    }
    let expected =
        || Malformed::new("\"preserve\", \"origin\", or a host, such as \"api.internal\"");
    let (_, port) = super::hosts::split_port(text).ok_or_else(expected)?;
    if port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return Err(expected());
    }
    // A word one letter away from one of ours is a slip rather than a host.
    match did_you_mean(text, ["preserve", "origin"].into_iter()) {
        Some(help) if !text.contains('.') => Err(expected().help(help)),
        _ => Ok(HostPolicy::Fixed(text.into())),
    }
}

fn prefix(text: &str) -> Result<Arc<str>, Malformed> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if !text.is_empty() && text.len() <= 64 && text.bytes().all(plain) {
        return Ok(text.into());
    }
    Err(Malformed::new("1 to 64 letters, digits, `-`, `_` or `.`"))
}

/// Only what is plainly wrong is refused: the filter's own parser has the last word.
fn log_filter(text: &str) -> Result<Arc<str>, Malformed> {
    let expected = || {
        Malformed::new(
            "error, warn, info, debug or trace, also per module (\"info,larder::store=debug\")",
        )
    };
    const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
    for part in text.split(',') {
        let part = part.trim();
        let level = match part.rsplit_once('=') {
            Some((target, level)) if !target.is_empty() => level,
            Some(_) => return Err(expected()),
            None => part,
        };
        let known = LEVELS.iter().any(|l| l.eq_ignore_ascii_case(level));
        let bare_target = !part.contains('=') && part.contains("::");
        if !known && !bare_target {
            return Err(Malformed { help: did_you_mean(level, LEVELS.into_iter()), ..expected() });
        }
    }
    Ok(text.into())
}

fn route_name(text: &str) -> Result<Arc<str>, Malformed> {
    let fits = (1..=64).contains(&text.len())
        && text != "-"
        && text.chars().all(|c| c.is_alphanumeric() || "-_./".contains(c));
    if fits {
        return Ok(text.into());
    }
    let expected = Malformed::new("1 to 64 letters, digits, `-`, `_`, `.` or `/`");
    Err(match text {
        "-" => expected.help("`-` is the name of what no route matches"),
        _ => expected,
    })
}

fn method(text: &str) -> Result<Method, Malformed> {
    let expected = || Malformed::new("a method, such as \"GET\"");
    let method = Method::from_bytes(text.as_bytes()).map_err(|_| expected())?;
    // RFC 9110 §9.1: the method is case-sensitive.
    if text.bytes().any(|b| b.is_ascii_lowercase()) {
        return Err(expected().help(format!("write \"{}\"", text.to_ascii_uppercase())));
    }
    if method == Method::CONNECT || method == Method::TRACE {
        return Err(Malformed::new("a method that is forwarded; CONNECT and TRACE never are"));
    }
    Ok(method)
}

fn tag(text: &str) -> Result<Template, Malformed> {
    if text.is_empty() || text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        let expected = Malformed::new("a tag without spaces, such as \"product:{id}\"");
        return Err(expected);
    }
    Template::from_str(text)
}

fn parameter(text: &str) -> Result<Arc<str>, Malformed> {
    let body = text.strip_suffix('*').unwrap_or(text);
    let fits = !text.is_empty()
        && !body.contains(|c: char| "*&=#?".contains(c) || c.is_whitespace() || c.is_control());
    if fits {
        return Ok(text.into());
    }
    Err(Malformed::new("a parameter's name, perhaps with `*` at its end, such as \"utm_*\""))
}

fn field_name(text: &str) -> Result<HeaderName, Malformed> {
    let expected = || Malformed::new("the name of a request field, such as \"accept-language\"");
    let name = HeaderName::from_bytes(text.as_bytes()).map_err(|_| expected())?;
    if name == http::header::COOKIE {
        return Err(expected().help("name the cookies that count in `key.cookies`"));
    }
    Ok(name)
}

fn cookie_name(text: &str) -> Result<Arc<str>, Malformed> {
    // RFC 6265 §4.1.1: cookie-name is a token.
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if !text.is_empty() && text.bytes().all(token) {
        return Ok(text.into());
    }
    Err(Malformed::new("the name of a cookie, such as \"currency\""))
}

#[cfg(test)]
#[path = "units_tests.rs"]
mod tests;
