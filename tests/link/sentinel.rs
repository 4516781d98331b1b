//! What if the primary dies, or is deposed, and Sentinel promotes a replica?

use std::time::Duration;

use tokio::time::Instant;

use crate::load::{Load, RECOVERY};
use crate::process::Process;
use crate::single::{documented, documented_user};
use crate::support::wait::{eventually, within};
use crate::{World, heard};

/// A primary with a replica, and three Sentinels that watch over them.
struct Watched {
    primary: Process,
    replica: Process,
    sentinels: Vec<Process>,
}

impl Watched {
    async fn new() -> Self {
        let soon = ["--repl-diskless-sync-delay", "0"];
        let primary = Process::server(&soon);
        let port = primary.port().to_string();
        let follows = ["--replicaof", "127.0.0.1", &port];
        let replica = Process::server(&[&follows[..], &soon].concat());
        let linked = "the replica follows";
        eventually(linked, async || info(&replica).contains("master_link_status:up")).await;
        let sentinels = (0..3).map(|_| Process::sentinel("mymaster", primary.port(), 2)).collect();
        let watched = Self { primary, replica, sentinels };
        within(RECOVERY, "the Sentinels know everybody", async || {
            watched.sentinels.iter().all(|sentinel| {
                let known: Vec<String> = sentinel.tell("SENTINEL MASTER mymaster").unwrap();
                let of = |key| known.iter().skip_while(|word| *word != key).nth(1).cloned();
                of("num-slaves").as_deref() == Some("1")
                    && of("num-other-sentinels").as_deref() == Some("2")
            })
        })
        .await;
        watched
    }

    fn store(&self) -> String {
        url(&self.sentinels)
    }
}

fn url(sentinels: &[Process]) -> String {
    let ports: Vec<_> = sentinels.iter().map(|s| format!("127.0.0.1:{}", s.port())).collect();
    format!("valkey = \"valkey-sentinel://{}/mymaster\"", ports.join(","))
}

/// Who is promoted hangs up on everybody.
fn info(server: &Process) -> String {
    server.tell("INFO replication").unwrap_or_default()
}

/// How many connections of ours lead there.
fn connections(server: &Process) -> usize {
    let clients: String = server.tell("CLIENT LIST").unwrap();
    clients.lines().filter(|line| line.contains("name=larder-")).count()
}

async fn all_hear(world: &World) {
    for larder in &world.larders {
        within(RECOVERY, "the ledger is heard", async || heard(larder).await).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_is_killed_under_load_is_replaced_without_a_restart_or_a_stale_answer() {
    let mut watched = Watched::new().await;
    let world = World::over(&watched.store(), 2).await;
    world.works().await;
    let load = Load::on(&world);
    load.records(20).await;
    let killed = Instant::now();
    watched.primary.kill();
    within(RECOVERY, "the replica is promoted", async || {
        info(&watched.replica).contains("role:master")
    })
    .await;
    let promoted = killed.elapsed();
    all_hear(&world).await;
    let back = killed.elapsed();
    load.records(20).await;
    let cost = load.must_be_fine().await;
    println!("promoted after {promoted:?}, all heard after {back:?}, {cost:?}");
    world.works().await;
    // The old one comes back as a replica, and nobody is led astray.
    watched.primary.start();
    within(RECOVERY, "the old one is a replica", async || {
        info(&watched.primary).contains("role:slave")
    })
    .await;
    world.works().await;
    assert_eq!(connections(&watched.primary), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_was_frozen_is_not_believed_when_it_comes_back() {
    let watched = Watched::new().await;
    let world = World::over(&watched.store(), 2).await;
    let load = Load::on(&world);
    load.records(20).await;
    watched.primary.signal("STOP");
    within(RECOVERY, "the replica is promoted", async || {
        info(&watched.replica).contains("role:master")
    })
    .await;
    // Now there are two who call themselves primary, and it takes seconds until one is told.
    watched.primary.signal("CONT");
    all_hear(&world).await;
    load.records(20).await;
    println!("{:?}", load.must_be_fine().await);
    world.works().await;
    within(RECOVERY, "nobody is there any more", async || connections(&watched.primary) == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_planned_failover_needs_nobody_here() {
    let watched = Watched::new().await;
    let world = World::over(&watched.store(), 2).await;
    let load = Load::on(&world);
    load.records(20).await;
    let started = Instant::now();
    let () = watched.sentinels[0].tell("SENTINEL FAILOVER mymaster").unwrap();
    within(RECOVERY, "the replica is promoted and in use", async || {
        info(&watched.replica).contains("role:master") && connections(&watched.replica) >= 8
    })
    .await;
    all_hear(&world).await;
    println!("in use after {:?}", started.elapsed());
    load.records(20).await;
    println!("{:?}", load.must_be_fine().await);
    world.works().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deposed_primary_that_answers_happily_is_left_when_sentinel_says_so() {
    let (old, new) = (Process::server(&[]), Process::server(&[]));
    let mut sentinels =
        vec![Process::sentinel("mymaster", old.port(), 1), Process::sentinel("x", new.port(), 1)];
    // A Sentinel that is away, and one that knows nobody of this name, do not matter.
    sentinels.push(Process::sentinel("mymaster", old.port(), 1));
    sentinels[2].kill();
    let world = World::over(&url(&sentinels), 2).await;
    world.works().await;
    assert!(connections(&old) >= 10 && connections(&new) == 0);
    let () = sentinels[0].tell("SENTINEL REMOVE mymaster").unwrap();
    let there = format!("SENTINEL MONITOR mymaster 127.0.0.1 {} 1", new.port());
    let () = sentinels[0].tell(&there).unwrap();
    let started = Instant::now();
    within(Duration::from_secs(4), "everybody has gone over", async || {
        connections(&old) == 0 && connections(&new) >= 10
    })
    .await;
    println!("gone over after {:?}", started.elapsed());
    all_hear(&world).await;
    world.works().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_and_servers_have_users_of_their_own() {
    let server = Process::server(&[]);
    let mut user = documented_user();
    user.push(documented("+role"));
    let () = redis::cmd("ACL").arg(user).query(&mut server.client()).unwrap();
    let sentinel = Process::sentinel("mymaster", server.port(), 1);
    let there = documented(
        "+sentinel|get-master-addr-by-name +sentinel|master +client|setinfo +client|setname",
    );
    let () = sentinel.tell(&format!("ACL SETUSER watcher on >word -@all {there}")).unwrap();
    let login = "username = \"larder\"\npassword = \"secret\"\nsentinel_username = \"watcher\"";
    let store = format!("{}\n{login}", url(std::slice::from_ref(&sentinel)));
    let world = World::over(&format!("{store}\nsentinel_password = \"word\""), 2).await;
    world.works().await;
    for larder in &world.larders {
        assert!(!larder.told().contains("NOPERM"), "{}", larder.told());
    }
    let wrong = World::unheard(&format!("{store}\nsentinel_password = \"hunter2\"")).await;
    eventually("it says who did not believe it", async || {
        let told = wrong.larders[0].told();
        told.contains("no Sentinel says where the primary is")
            && told.contains("Password authentication failed")
    })
    .await;
    assert!(!wrong.larders[0].told().contains("hunter2"));
}

/// What an instance does that is cut off, together with a deposed primary, from all who know better.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_must_have_a_replica_is_not_trusted_without_one() {
    let alone = ["--min-replicas-to-write", "1", "--min-replicas-max-lag", "1"];
    let primary = Process::server(&[&alone[..], &["--repl-diskless-sync-delay", "0"]].concat());
    let port = primary.port().to_string();
    let mut replica = Process::server(&["--replicaof", "127.0.0.1", &port]);
    eventually("the replica follows", async || info(&replica).contains("link_status:up")).await;
    let world = World::over(&format!("valkey = \"valkey://127.0.0.1:{port}\""), 1).await;
    world.works().await;
    let stale = || world.larders[0].client();
    assert!(stale().get(crate::PATH).await.is_hit());
    replica.kill();
    within(RECOVERY, "the ledger is heard no more", async || !heard(&world.larders[0]).await).await;
    let told = world.larders[0].told();
    assert!(told.contains("NOREPLICAS") || told.contains("Not enough good replicas"), "{told}");
    let fetched = world.origin.saw(crate::PATH);
    eventually("what is stored is asked for again", async || {
        stale().get(crate::PATH).await;
        world.origin.saw(crate::PATH) > fetched
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strict_routes_show_nothing_old_while_the_primary_is_replaced() {
    let mut watched = Watched::new().await;
    let world = World::strict(&watched.store(), 2).await;
    let load = Load::strict(&world);
    load.records(20).await;
    watched.primary.kill();
    load.records(20).await;
    let promoted = "the replica is promoted";
    within(RECOVERY, promoted, async || info(&watched.replica).contains("role:master")).await;
    watched.primary.start();
    let follows = "the old one follows";
    within(RECOVERY, follows, async || info(&watched.primary).contains("link_status:up")).await;
    // And back again, as planned by somebody.
    within(RECOVERY, "Sentinel is willing", async || {
        watched.sentinels[0].tell::<()>("SENTINEL FAILOVER mymaster").is_ok()
    })
    .await;
    within(RECOVERY, "the old one is promoted", async || {
        info(&watched.primary).contains("role:master")
    })
    .await;
    load.records(20).await;
    all_hear(&world).await;
    println!("{:?}", load.must_be_fine().await);
}
