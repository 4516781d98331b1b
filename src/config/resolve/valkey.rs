//! The URL of Valkey and the keys beside it, put together.
//!
//! | mistake | cure |
//! |---|---|
//! | a key beside no URL at all | give the URL |
//! | said in the URL and in a key | leave one out |
//! | a user without a password, a certificate without its key | give both |
//! | certificates without TLS | `valkeys://` |
//! | Sentinel's login without Sentinel | `valkey-sentinel://` |
//! | a database in a cluster | leave it out |

use std::path::PathBuf;
use std::sync::Arc;

use crate::config::Secret;
use crate::config::error::{Findings, Mistake};
use crate::config::table::{FromValue, Table};
use crate::config::valkey::{Login, Place, Tls, Valkey, ValkeyUrl};

const BESIDE: [&str; 8] = [
    "username",
    "password",
    "database",
    "ca_file",
    "cert_file",
    "key_file",
    "sentinel_username",
    "sentinel_password",
];

/// How Valkey is reached; `None` if it is not to be, or a mistake was found.
pub(super) fn valkey(table: &Table, out: &mut Findings) -> Option<Valkey> {
    if table.given("valkey").is_none() {
        for key in BESIDE {
            refuse(table, key, "there is no `valkey` that it could be for", out, |mistake| {
                mistake.help("give `valkey` its URL, or leave this out")
            });
        }
        return None;
    }
    let ValkeyUrl { place, tls, login, database } = table.get("valkey")?;
    let login = Login {
        username: once(table, "username", login.username, "user", out),
        password: once(table, "password", login.password, "password", out),
    };
    needs_password(table, "username", "password", &login, out);
    let number = table.get::<u64>("database").and_then(|number| u32::try_from(number).ok());
    match (&place, database, number) {
        (Place::Cluster(_), _, Some(1..)) => {
            refuse(table, "database", "a cluster has one database", out, |mistake| {
                mistake.help("leave it out, and tell installations apart by their `prefix`")
            });
        }
        (_, Some(_), Some(_)) => twice(table, "database", "database", out),
        _ => {}
    }
    let tls = certificates(table, tls, &place, out);
    let place = with_login(table, place, out);
    Some(Valkey { place, tls, login, database: number.or(database).unwrap_or(0) })
}

/// What the URL or the key says.
fn once<T: FromValue>(
    table: &Table,
    key: &'static str,
    in_url: Option<T>,
    what: &str,
    out: &mut Findings,
) -> Option<T> {
    if in_url.is_some() && table.given(key).is_some() {
        twice(table, key, what, out);
    }
    in_url.or_else(|| table.get(key))
}

fn twice(table: &Table, key: &str, what: &str, out: &mut Findings) {
    let (Some(span), Some(url)) = (table.span(key), table.span("valkey")) else { return };
    let title = format!("the {what} of Valkey is given twice");
    let mistake = Mistake::at(span, title, "expected it here or in the URL").also(url, "the URL");
    out.mistake(mistake.help(format!("leave the {what} out of the URL")));
}

fn needs_password(table: &Table, user: &str, password: &str, login: &Login, out: &mut Findings) {
    if login.username.is_none() || login.password.is_some() || table.given(password).is_some() {
        return;
    }
    if let Some(span) = table.span(user).or_else(|| table.span("valkey")) {
        let label = "expected a password too";
        let mistake = Mistake::at(span, "a user without a password cannot log in", label);
        out.absence(mistake.help(format!("write {password} = \"${{VALKEY_PASSWORD}}\" below")));
    }
}

fn certificates(table: &Table, tls: bool, place: &Place, out: &mut Findings) -> Option<Tls> {
    const FILES: [&str; 3] = ["ca_file", "cert_file", "key_file"];
    if !tls {
        for key in FILES {
            refuse(table, key, "the way to Valkey is not encrypted", out, |mistake| {
                mistake.help(match place {
                    Place::Socket(_) => "leave it out: a socket needs no TLS",
                    Place::Server(_) => "begin the URL with valkeys://, or leave this out",
                    Place::Sentinel { .. } => {
                        "begin the URL with valkeys-sentinel://, or leave this out"
                    }
                    Place::Cluster(_) => "begin the URL with valkeys-cluster://, or leave this out",
                })
            });
        }
        return None;
    }
    for (one, other) in [("cert_file", "key_file"), ("key_file", "cert_file")] {
        if let (Some(span), None) = (table.span(one), table.given(other)) {
            let title = format!("`{one}` is given without `{other}`");
            let label = "a certificate and its key belong together";
            out.absence(Mistake::at(span, title, label).help(format!("give `{other}` too")));
        }
    }
    let path = |key| table.get::<Arc<str>>(key).map(|text| PathBuf::from(&*text));
    Some(Tls { ca_file: path("ca_file"), certificate: path("cert_file").zip(path("key_file")) })
}

/// Sentinels know other users than servers do.
fn with_login(table: &Table, place: Place, out: &mut Findings) -> Place {
    match place {
        Place::Sentinel { sentinels, primary, .. } => {
            let username = table.get("sentinel_username");
            let login = Login { username, password: table.get::<Secret>("sentinel_password") };
            needs_password(table, "sentinel_username", "sentinel_password", &login, out);
            Place::Sentinel { sentinels, primary, login }
        }
        other => {
            for key in ["sentinel_username", "sentinel_password"] {
                refuse(table, key, "there is no Sentinel that it could be for", out, |mistake| {
                    mistake.help("begin the URL with valkey-sentinel://, or leave this out")
                });
            }
            other
        }
    }
}

/// Says that a key stands there for nothing, if it does.
fn refuse(
    table: &Table,
    key: &str,
    why: &str,
    out: &mut Findings,
    cure: impl FnOnce(Mistake) -> Mistake,
) {
    if let Some(span) = table.span(key) {
        let title = format!("`{key}` has no use here");
        out.absence(cure(Mistake::at(span, title, why)));
    }
}
