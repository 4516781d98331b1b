//! What has to happen in Valkey in one step.

use redis::Cmd;

/// A Lua script, sent by its digest.
#[derive(Debug)]
pub struct Script {
    text: &'static str,
    digest: String,
}

impl Script {
    /// From its text.
    pub fn new(text: &'static str) -> Self {
        Self { text, digest: redis::Script::new(text).get_hash().to_owned() }
    }

    pub(super) fn by_digest(&self, keys: &[&str], args: &[&[u8]]) -> Cmd {
        call("EVALSHA", &self.digest, keys, args)
    }

    pub(super) fn by_text(&self, keys: &[&str], args: &[&[u8]]) -> Cmd {
        call("EVAL", self.text, keys, args)
    }
}

/// Prolongs a lease if it is still ours. ARGV: token, ms. Returns 1 if it was.
pub(super) const RENEW: &str = "\
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])";

/// Ends a lease if it is still ours. ARGV: token, and optionally a marker that takes its place and
/// for how many ms. Returns 1 if it was.
pub(super) const RELEASE: &str = "\
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] then
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
else
  redis.call('DEL', KEYS[1])
end
return 1";

fn call(verb: &str, script: &str, keys: &[&str], args: &[&[u8]]) -> Cmd {
    let mut cmd = redis::cmd(verb);
    cmd.arg(script).arg(keys.len());
    for key in keys {
        cmd.arg(*key);
    }
    for arg in args {
        cmd.arg(*arg);
    }
    cmd
}
