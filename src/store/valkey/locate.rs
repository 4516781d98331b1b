//! Who is the primary now? Asked of those who must know: all Sentinels, or all nodes of a cluster.
//!
//! They are asked at the same time, each on a connection that is kept, and each for a short while
//! only. They may disagree, since news travel; every claim comes with a configuration epoch, and the
//! highest one holds: that is how they settle it among themselves.

use std::collections::HashMap;
use std::future::pending;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::{Cmd, FromRedisValue, RedisResult, Value};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::door::{Connection, Door, Purpose, Spot};
use super::endpoint::nowhere;
use crate::config::valkey::Address;

mod nodes;
mod sentinel;

pub(super) use nodes::{Map, slot};

/// How long one of them may take to answer. A dead one costs this once per question.
const PATIENCE: Duration = Duration::from_millis(400);

const ASKING: Purpose = Purpose { name: "locate", queue: 8, patience: None };

/// Those who know.
pub(super) struct Locator {
    witnesses: Arc<Witnesses>,
    who: Who,
}

enum Who {
    /// The Sentinels, and what they call the primary.
    Sentinel { sentinels: Vec<Address>, primary: Arc<str> },
    /// Nodes to begin with, and all that were ever heard of.
    Cluster { seeds: Vec<Address>, heard: Mutex<Vec<Address>> },
}

impl Locator {
    /// Through this door to the Sentinels.
    pub(super) fn sentinel(door: Door, sentinels: &[Address], primary: &Arc<str>) -> Self {
        let who = Who::Sentinel { sentinels: sentinels.to_vec(), primary: Arc::clone(primary) };
        Self { witnesses: Witnesses::behind(door), who }
    }

    /// Through this door to the nodes.
    pub(super) fn cluster(door: Door, seeds: &[Address]) -> Self {
        let who = Who::Cluster { seeds: seeds.to_vec(), heard: Mutex::default() };
        Self { witnesses: Witnesses::behind(door), who }
    }

    /// Where the primary is that keeps the ledger.
    pub(super) async fn locate(&self) -> RedisResult<Address> {
        match &self.who {
            Who::Sentinel { sentinels, primary } => {
                sentinel::locate(&self.witnesses, sentinels, primary).await
            }
            Who::Cluster { .. } => {
                let map = self.map().await?;
                let owner = map.owner(slot(LEDGER_TAG)).cloned();
                owner.ok_or_else(|| nowhere("no node of the cluster owns the ledger's slot"))
            }
        }
    }

    /// Which node owns which slots; empty for who knows of no cluster.
    pub(super) async fn map(&self) -> RedisResult<Map> {
        let Who::Cluster { seeds, heard } = &self.who else { return Ok(Map::default()) };
        let mut whom = heard.lock().unwrap_or_else(PoisonError::into_inner).clone();
        whom.extend(seeds.iter().filter(|seed| !whom.contains(seed)).cloned().collect::<Vec<_>>());
        let map = nodes::map(&self.witnesses, &whom).await?;
        *heard.lock().unwrap_or_else(PoisonError::into_inner) = map.witnesses();
        Ok(map)
    }

    /// The connection, if what it leads to says itself that it is a primary. In a cluster a node
    /// refuses what it is not responsible for without being asked.
    pub(super) async fn confirm(&self, mut connection: Connection) -> RedisResult<Connection> {
        if let Who::Sentinel { .. } = self.who {
            let ask = redis::cmd("ROLE");
            let role = connection.send_packed_command(&ask);
            let role = timeout(PATIENCE, role).await.map_err(|_| nowhere("ROLE: no answer"))??;
            sentinel::must_be_primary(role.extract_error()?)?;
        }
        Ok(connection)
    }
}

/// What the names of the ledger's keys have in their braces.
const LEDGER_TAG: &str = "{l}";

/// Connections on which to ask, by address.
struct Witnesses {
    door: Door,
    open: Mutex<HashMap<Address, Connection>>,
}

impl Witnesses {
    fn behind(door: Door) -> Arc<Self> {
        Arc::new(Self { door, open: Mutex::default() })
    }

    /// What each of them answers to each of the questions; those who do not answer are left out.
    /// With the last complaint, for the case that nobody does.
    async fn ask<T: FromRedisValue + Send + 'static>(
        self: &Arc<Self>,
        whom: &[Address],
        questions: &[Cmd],
    ) -> (Vec<(Address, Vec<T>)>, Option<String>) {
        // Nobody comes back to those who are asked no more.
        self.open().retain(|address, _| whom.contains(address));
        let mut asked = JoinSet::new();
        for address in whom {
            let (witnesses, address) = (Arc::clone(self), address.clone());
            let questions = questions.to_vec();
            asked.spawn(async move {
                let answers = timeout(PATIENCE, witnesses.ask_one(&address, &questions)).await;
                let answers = answers.map_err(|_| "no answer".to_owned());
                let answers = answers.and_then(|read| read.map_err(|error| error.to_string()));
                if answers.is_err() {
                    witnesses.open().remove(&address);
                }
                (address, answers)
            });
        }
        let (mut all, mut complaint) = (Vec::new(), None);
        while let Some(Ok((address, answers))) = asked.join_next().await {
            match answers {
                Ok(answers) => all.push((address, answers)),
                Err(error) => complaint = Some(format!("{address}: {error}")),
            }
        }
        (all, complaint)
    }

    async fn ask_one<T: FromRedisValue>(
        &self,
        address: &Address,
        questions: &[Cmd],
    ) -> RedisResult<Vec<T>> {
        let kept = self.open().get(address).cloned();
        let mut connection = match kept {
            Some(connection) => connection,
            None => {
                let (spot, never) = (Spot::Server(address.clone()), Box::pin(pending()));
                let opened = self.door.open(&spot, ASKING, never).await?;
                self.open().insert(address.clone(), opened.clone());
                opened
            }
        };
        let mut answers = Vec::with_capacity(questions.len());
        for question in questions {
            let answer = connection.send_packed_command(question).await?;
            answers.push(redis::from_redis_value(Value::extract_error(answer)?)?);
        }
        Ok(answers)
    }

    fn open(&self) -> std::sync::MutexGuard<'_, HashMap<Address, Connection>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
