//! Which server is asked: in turn, those that refused a connection a moment ago last.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::client::Server;
use crate::config;

/// A server that refuses connections is not asked for this long while others are there.
const REST: Duration = Duration::from_secs(3);

/// The servers of an origin.
#[derive(Debug)]
pub(super) struct Servers {
    servers: Vec<Server>,
    /// Until when each one rests, in milliseconds since `start`; 0 if it does not.
    resting: Vec<AtomicU64>,
    turn: AtomicUsize,
    start: Instant,
}

impl Servers {
    pub(super) fn new(config: &config::Origin) -> Result<Self, String> {
        if config.urls.is_empty() {
            return Err("the origin has no URL".to_owned());
        }
        let servers = config
            .urls
            .iter()
            .enumerate()
            .map(|(index, url)| Server::new(index, url, config))
            .collect::<Result<Vec<_>, _>>()?;
        let resting = servers.iter().map(|_| AtomicU64::new(0)).collect();
        Ok(Self { servers, resting, turn: AtomicUsize::new(0), start: Instant::now() })
    }

    /// The next one in turn that was not tried yet: awake and with a connection to spare if there
    /// is one, else awake, else any. `None` when all were tried.
    pub(super) fn next(&self, tried: &[usize]) -> Option<&Server> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let now = self.now();
        let mut best = None;
        for step in 0..self.servers.len() {
            let index = turn.wrapping_add(step) % self.servers.len();
            let (Some(server), Some(until)) = (self.servers.get(index), self.resting.get(index))
            else {
                continue;
            };
            if tried.contains(&index) {
                continue;
            }
            let rank = match (until.load(Ordering::Relaxed) <= now, server.has_room()) {
                (true, true) => return Some(server),
                (true, false) => 1,
                (false, _) => 2,
            };
            if best.is_none_or(|(best_rank, _)| rank < best_rank) {
                best = Some((rank, server));
            }
        }
        best.map(|(_, server)| server)
    }

    /// Lets `server` rest: it could not be reached.
    pub(super) fn rest(&self, server: &Server) {
        if let Some(until) = self.resting.get(server.index()) {
            let rest = u64::try_from(REST.as_millis()).unwrap_or(u64::MAX);
            until.store(self.now().saturating_add(rest), Ordering::Relaxed);
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{HostPolicy, OriginUrl};

    fn servers(count: u16) -> Servers {
        let url = |port| OriginUrl { tls: false, host: "127.0.0.1".into(), port };
        Servers::new(&config::Origin {
            urls: (1..=count).map(url).collect(),
            timeout: Duration::from_secs(1),
            connect_timeout: Duration::from_secs(1),
            max_connections: 1,
            queue_timeout: Duration::from_secs(1),
            idle_timeout: Duration::from_secs(1),
            host: HostPolicy::Preserve,
            max_refreshes: 1,
            retry_after: Duration::from_secs(1),
        })
        .unwrap()
    }

    fn asked(servers: &Servers, times: usize) -> Vec<usize> {
        (0..times).map(|_| servers.next(&[]).unwrap().index()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn servers_are_asked_in_turn() {
        assert_eq!(asked(&servers(3), 6), [0, 1, 2, 0, 1, 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_cannot_be_reached_is_skipped_for_a_while_and_then_asked_again() {
        let servers = servers(2);
        servers.rest(servers.next(&[]).unwrap());
        assert_eq!(asked(&servers, 4), [1, 1, 1, 1]);
        tokio::time::advance(REST + Duration::from_millis(1)).await;
        let mut again = asked(&servers, 4);
        again.sort_unstable();
        assert_eq!(again, [0, 0, 1, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_resting_server_is_asked_when_there_is_no_other() {
        let servers = servers(2);
        servers.rest(servers.next(&[]).unwrap());
        assert_eq!(servers.next(&[1]).unwrap().index(), 0);
        assert!(servers.next(&[0, 1]).is_none());
    }
}
