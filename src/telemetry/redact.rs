//! What must not be read in a log: secrets that travel in a query string, and characters that
//! would do something to whoever reads it.

/// A query parameter whose name, without its separators and in lower case, contains one of these
/// is a secret.
const ANYWHERE: [&str; 8] =
    ["token", "secret", "passw", "signature", "session", "credential", "apikey", "jwt"];

/// … or ends with one of these (`api_key` and `auth_code`; not `keyword`, not `author`).
const AT_END: [&str; 7] = ["key", "code", "auth", "authorization", "sig", "pwd", "otp"];

/// What stands in place of a secret.
const HIDDEN: &str = "***";

/// Appends a path and query, with the values of suspicious parameters hidden.
pub fn push_target(out: &mut String, target: &str) {
    let Some((path, query)) = target.split_once('?') else {
        out.push_str(target);
        return;
    };
    out.push_str(path);
    let mut before = '?';
    for pair in query.split('&') {
        out.push(before);
        before = '&';
        match pair.split_once('=') {
            Some((name, value)) => {
                out.push_str(name);
                out.push('=');
                out.push_str(if is_secret(name) && !value.is_empty() { HIDDEN } else { value });
            }
            None => out.push_str(pair),
        }
    }
}

/// Is a query parameter of this name likely to carry a secret? Rather one too many than one too
/// few.
pub fn is_secret(name: &str) -> bool {
    // Hiding the name behind percent signs hides nothing.
    let name: String = percent_encoding::percent_decode_str(name)
        .decode_utf8_lossy()
        .chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect();
    ANYWHERE.iter().any(|word| name.contains(word))
        || AT_END.iter().any(|word| name.ends_with(word))
}

/// Appends `text` as the inside of a JSON string, cut after `limit` bytes (`…` says so). No
/// character comes through that moves a cursor, starts a line or turns the direction of reading.
pub fn push_json(out: &mut String, text: &str, limit: usize) {
    let cut = if text.len() > limit { text.floor_char_boundary(limit) } else { text.len() };
    for c in text[..cut].chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            ' '..='~' => out.push(c),
            _ if acts(c) => {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    out.push_str("\\u");
                    for shift in [12, 8, 4, 0] {
                        let digit = u32::from(*unit >> shift) & 0xf;
                        out.push(char::from_digit(digit, 16).unwrap_or('0'));
                    }
                }
            }
            _ => out.push(c),
        }
    }
    if cut < text.len() {
        out.push('…');
    }
}

/// Does this character do something instead of being seen? Controls (ESC, and CSI as one
/// character), line and paragraph separators, marks that change the direction of reading, tags.
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> String {
        let mut out = String::new();
        push_target(&mut out, text);
        out
    }

    #[test]
    fn secrets_in_the_query_are_hidden() {
        for (typed, logged) in [
            ("/p", "/p"),
            ("/p?", "/p?"),
            ("/p?a=1&token=abc&b=2", "/p?a=1&token=***&b=2"),
            ("/p?access_token=abc", "/p?access_token=***"),
            ("/p?accessToken=abc", "/p?accessToken=***"),
            (
                "/p?X-Amz-Signature=f00&X-Amz-Credential=me",
                "/p?X-Amz-Signature=***&X-Amz-Credential=***",
            ),
            ("/p?api_key=1&key=2&client-secret=3", "/p?api_key=***&key=***&client-secret=***"),
            ("/p?PASSWORD=x&passwd=y", "/p?PASSWORD=***&passwd=***"),
            (
                "/p?session=1&sessionid=2&code=3&auth=4",
                "/p?session=***&sessionid=***&code=***&auth=***",
            ),
            ("/p?to%6ben=abc", "/p?to%6ben=***"),
            ("/p?token[]=abc", "/p?token[]=***"),
            ("/p?token=a=b=c", "/p?token=***"),
            ("/p?token", "/p?token"),
            ("/p?token=", "/p?token="),
            ("/p?q=token", "/p?q=token"),
            ("/p?x=1?token=2", "/p?x=1?token=2"),
        ] {
            assert_eq!(target(typed), logged);
        }
    }

    #[test]
    fn everyday_parameters_are_left_alone() {
        for name in
            ["q", "page", "author", "keyword", "sort", "id", "category", "encoded", "design"]
        {
            assert!(!is_secret(name), "{name}");
        }
    }

    #[test]
    fn nothing_in_a_string_acts_on_a_terminal() {
        let mut out = String::new();
        push_json(&mut out, "a\x1b[2J\r\n\"\\\u{9b}\u{7f}\u{202e}\u{2028}\0é😀", 100);
        assert_eq!(out, "a\\u001b[2J\\u000d\\u000a\\\"\\\\\\u009b\\u007f\\u202e\\u2028\\u0000é😀");
        let back: String = serde_json::from_str(&format!("\"{out}\"")).unwrap();
        assert_eq!(back, "a\x1b[2J\r\n\"\\\u{9b}\u{7f}\u{202e}\u{2028}\0é😀");
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        let mut out = String::new();
        push_json(&mut out, "aé", 2);
        assert_eq!(out, "a…");
        out.clear();
        push_json(&mut out, &"x".repeat(1 << 20), 2048);
        assert_eq!(out.len(), 2048 + '…'.len_utf8());
    }
}
